package supervise

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// TR-03, UE-02: by the first four octets each process gets its own, even when the other's socket is shut in its own process.
func TestSplit(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		var ike, esp *os.File
		var at netip.AddrPort
		for port := uint16(34500); port < 34600; port++ { // a free one
			var err error
			at = netip.AddrPortFrom(netip.MustParseAddr(addr), port)
			if ike, esp, err = OpenSplit(at); err == nil {
				break
			} else if port == 34599 {
				t.Skipf("no port to be had: %v", err)
			}
		}
		defer ike.Close()
		defer esp.Close()
		c, err := net.Dial("udp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, m := range []struct {
			text string
			to   *os.File
		}{{"\x00\x00\x00\x00ike", ike}, {"\x01\x00\x00\x00esp", esp}, {"\x00\x00\x00\x01esp", esp}, {"\xff", ike}, {"\x00\x00\x00\x00more", ike}} {
			if _, err := c.Write([]byte(m.text)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 100)
			_ = m.to.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, err := m.to.Read(b)
			if err != nil || string(b[:n]) != m.text {
				t.Errorf("%s: %q: %q, %v", addr, m.text, b[:n], err)
			}
		}
	}
}

func TestOpenPrivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a TUN device and raw sockets need root")
	}
	f, err := OpenTUN("triketest0", 1400)
	if err != nil {
		t.Skipf("no TUN device to be had here: %v", err)
	}
	defer f.Close()
	i, err := net.InterfaceByName("triketest0")
	if err != nil || i.MTU != 1400 || i.Flags&net.FlagUp == 0 {
		t.Errorf("%+v, %v", i, err)
	}
	for _, addr := range []string{"127.0.0.1", "::1", "192.0.2.77"} { // the last is nobody's yet
		s, err := OpenESP(netip.MustParseAddr(addr))
		if err != nil {
			t.Error(err)
			continue
		}
		_ = s.Close()
	}
	u, err := OpenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	_ = u.Close()
}
