package live

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/test/bed"
)

// IPv6 inside the tunnel, forwarded by both gateways, with a kill of what carries it: back again, and never in clear.
func TestInsideIPv6(t *testing.T) {
	s := newSite(t)
	const bob = "2001:db8:2::2"
	s.guarded(func() {
		if got, out := s.alice.Ping(bob, "", 20, 20*time.Millisecond); got != 20 {
			t.Errorf("%d of 20 pings came back:\n%s", got, out)
		}
		s.must(syscall.Kill(s.pid(s.b, "xfrmproc"), syscall.SIGKILL))
		s.alice.Ping(bob, "", 10, 20*time.Millisecond)
		s.must(bed.Until(20*time.Second, "IPv6 to cross again", func() bool {
			got, _ := s.alice.Ping(bob, "", 1, 100*time.Millisecond)
			return got == 1
		}))
		s.ask(s.b, "down", "berlin-paris")
		if got, _ := s.alice.Ping(bob, "", 5, 50*time.Millisecond); got != 0 {
			t.Errorf("%d pings came back with the tunnel down", got)
		}
	})
}

// Somebody between the gateways sends in clear what should come through the tunnel: a gateway forwards nothing of it.
func TestClearFromOutside(t *testing.T) {
	s := newSite(t)
	for name, c := range map[string]struct{ bob, alice, filter string }{
		"IPv4": {"10.2.0.9", "10.1.0.2", "icmp and src 10.2.0.9"},
		"IPv6": {"2001:db8:2::9", "2001:db8:1::2", "icmp6 and src 2001:db8:2::9"},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			bits := "/32"
			if name == "IPv6" {
				bits = "/128"
			}
			if out, err := s.net.Run(t.Context(), "ip", "addr", "add", c.bob+bits, "dev", "lo"); err != nil {
				t.Fatal(err, out)
			}
			dev, err := s.alice.Run(t.Context(), "sh", "-c", "ls /sys/class/net | grep ^w")
			s.must(err)
			capture, err := s.alice.Capture(strings.TrimSpace(dev), "")
			s.must(err)
			s.net.Ping(c.alice, c.bob, 5, 50*time.Millisecond)
			// The same without a policy that protects it arrives: the way is open.
			s.net.Ping(c.alice, "", 2, 50*time.Millisecond)
			capture.Stop()
			if n, err := capture.Count(c.filter); n != 0 || err != nil {
				t.Errorf("%d packets in clear reached alice (%v)", n, err)
			}
			if n, err := capture.Count("icmp or icmp6"); n == 0 || err != nil {
				t.Errorf("nothing at all reached alice: the test shows nothing (%v)", err)
			}
		})
	}
}
