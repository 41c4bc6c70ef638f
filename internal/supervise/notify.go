package supervise

import "net"

// notify tells systemd how triked stands (sd_notify(3)). Nobody listening is no fault.
func notify(socket, text string) {
	if socket == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte(text))
}
