package servers_test

import (
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/servers"
)

// bind is a UDP socket on loopback, which ends with the test.
func bind(t *testing.T) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func overUDP(t *testing.T, conn net.PacketConn) *servers.Group {
	t.Helper()
	host, port, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	g := servers.New(servers.Config{Servers: []servers.Endpoint{{Host: host, Port: port}}, Secret: secret, Timeout: 200 * time.Millisecond, Tries: 1, Dead: time.Minute,
		Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(g.Close)
	return g
}

// Even with the secret, only the address and port that were asked may answer.
func TestAnswerFromAnotherPortIsNobodys(t *testing.T) {
	asked, other := bind(t), bind(t)
	g := overUDP(t, asked)
	done := make(chan struct{})
	answer := func(as net.PacketConn) {
		buffer := make([]byte, 4096)
		n, from, err := asked.ReadFrom(buffer)
		if err != nil {
			t.Error(err)
		} else if _, err := as.WriteTo(says(radius.CodeAccessAccept, buffer[:n], secret), from); err != nil {
			t.Error(err)
		}
		done <- struct{}{}
	}
	go answer(other)
	if _, err := g.Exchange(t.Context(), nil, access()); !errors.Is(err, servers.ErrNoAnswer) {
		t.Errorf("%v", err)
	}
	<-done
	go answer(asked)
	if _, err := g.Exchange(t.Context(), nil, access()); err != nil {
		t.Error(err)
	}
	<-done
}
