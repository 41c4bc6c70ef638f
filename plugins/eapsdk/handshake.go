package eapsdk

import (
	"fmt"
	"strings"
)

// SocketOf reads the line that a plugin says first on its standard output, go-plugin's handshake: CORE|VERSION|unix|PATH|grpc, and what newer versions add behind. It gives the path.
func SocketOf(line string) (string, error) {
	f := strings.Split(strings.TrimSpace(line), "|")
	if len(f) < 5 || f[0] != "1" || f[1] != fmt.Sprint(HandshakeVersion) || f[2] != "unix" || f[3] == "" || f[4] != "grpc" {
		return "", fmt.Errorf("it does not speak %s: it said %.100q, and not 1|%d|unix|SOCKET|grpc", Protocol, line, HandshakeVersion)
	}
	return f[3], nil
}
