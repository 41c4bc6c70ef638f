package simnet

import (
	"net/netip"
	"testing"
	"time"
)

var (
	inside  = netip.MustParseAddrPort("10.0.0.1:500")
	outside = netip.MustParseAddr("192.0.2.1")
	other   = netip.MustParseAddrPort("203.0.113.2:4500")
)

func behindNAT(cfg NATConfig) (*Net, *NAT) {
	n := New(1)
	cfg.Inside, cfg.Outside = netip.MustParsePrefix("10.0.0.0/8"), outside
	return n, n.AddNAT(cfg)
}

// cross sends one datagram and gives what arrived.
func cross(t *testing.T, n *Net, now time.Time, from, to netip.AddrPort) (Datagram, bool) {
	t.Helper()
	n.Send(now, from, to, []byte("x"))
	got := n.Deliver(now)
	if len(got) > 1 {
		t.Fatalf("%d arrived", len(got))
	}
	if len(got) == 0 {
		return Datagram{}, false
	}
	return got[0], true
}

func TestNATTranslates(t *testing.T) {
	n, box := behindNAT(NATConfig{})
	d, ok := cross(t, n, epoch, inside, right)
	if !ok || d.From.Addr() != outside || d.From.Port() == inside.Port() || d.To != right {
		t.Fatalf("got %+v", d)
	}
	if m, ok := box.Outside(epoch, inside, right); !ok || m != d.From {
		t.Errorf("mapped to %v", m)
	}
	back, ok := cross(t, n, epoch, right, d.From)
	if !ok || back.To != inside || back.From != right {
		t.Errorf("answer is %+v", back)
	}
	second, _ := cross(t, n, epoch, netip.MustParseAddrPort("10.0.0.2:500"), right)
	if second.From == d.From {
		t.Error("two hosts share a mapping")
	}
	if again, _ := cross(t, n, epoch, inside, other); again.From != d.From {
		t.Error("another destination is seen from another port")
	}
}

func TestNATFilters(t *testing.T) {
	n, _ := behindNAT(NATConfig{})
	d, _ := cross(t, n, epoch, inside, right)
	if _, ok := cross(t, n, epoch, other, d.From); ok {
		t.Error("a stranger gets in")
	}
	if _, ok := cross(t, n, epoch, right, netip.AddrPortFrom(outside, 1)); ok {
		t.Error("a port without mapping lets in")
	}
	if _, ok := cross(t, n, epoch, right, inside); ok {
		t.Error("an inside address is reached from outside")
	}
	if n.Stats().Filtered != 3 {
		t.Errorf("%+v", n.Stats())
	}
	n, _ = behindNAT(NATConfig{Open: true})
	d, _ = cross(t, n, epoch, inside, right)
	if _, ok := cross(t, n, epoch, other, d.From); !ok {
		t.Error("an open NAT filters")
	}
}

func TestSymmetricNAT(t *testing.T) {
	n, _ := behindNAT(NATConfig{Symmetric: true})
	a, _ := cross(t, n, epoch, inside, right)
	b, _ := cross(t, n, epoch, inside, other)
	if a.From == b.From {
		t.Error("two destinations see one port")
	}
}

func TestNATForgets(t *testing.T) {
	n, box := behindNAT(NATConfig{Timeout: time.Minute})
	d, _ := cross(t, n, epoch, inside, right)
	// A datagram from outside does not keep the mapping alive, one from inside does.
	if _, ok := cross(t, n, epoch.Add(59*time.Second), right, d.From); !ok {
		t.Error("forgotten too early")
	}
	if _, ok := cross(t, n, epoch.Add(60*time.Second), right, d.From); ok {
		t.Error("kept too long")
	}
	if _, ok := box.Outside(epoch.Add(60*time.Second), inside, right); ok {
		t.Error("kept too long")
	}
	now := epoch.Add(2 * time.Minute)
	e, _ := cross(t, n, now, inside, right)
	if e.From == d.From {
		t.Error("a new mapping has the old port")
	}
	cross(t, n, now.Add(50*time.Second), inside, right)
	if _, ok := cross(t, n, now.Add(100*time.Second), right, e.From); !ok {
		t.Error("a keepalive from inside does not keep the mapping")
	}
}

func TestNATRebinds(t *testing.T) {
	n, box := behindNAT(NATConfig{})
	d, _ := cross(t, n, epoch, inside, right)
	box.Rebind(netip.Addr{})
	if _, ok := cross(t, n, epoch, right, d.From); ok {
		t.Error("the old mapping still leads inside")
	}
	e, _ := cross(t, n, epoch, inside, right)
	if e.From == d.From || e.From.Addr() != outside {
		t.Errorf("seen from %v after %v", e.From, d.From)
	}
	moved := netip.MustParseAddr("192.0.2.77")
	box.Rebind(moved)
	if f, _ := cross(t, n, epoch, inside, right); f.From.Addr() != moved {
		t.Errorf("seen from %v after the box moved", f.From)
	}
}

func TestBehindOneNAT(t *testing.T) {
	n, _ := behindNAT(NATConfig{})
	second := netip.MustParseAddrPort("10.0.0.2:500")
	if d, ok := cross(t, n, epoch, inside, second); !ok || d.From != inside {
		t.Errorf("neighbours see %+v", d)
	}
	// Hairpin: through the box's outside address.
	d, _ := cross(t, n, epoch, second, right)
	cross(t, n, epoch, second, netip.AddrPortFrom(outside, firstPort+1)) // lets the neighbour answer
	if e, ok := cross(t, n, epoch, inside, d.From); !ok || e.To != second || e.From.Addr() != outside {
		t.Errorf("hairpin gives %+v %t", e, ok)
	}
}

// Ports go round without meeting one that is in use.
func TestNATPortsGoRound(t *testing.T) {
	n, box := behindNAT(NATConfig{Symmetric: true})
	box.next = 65535
	a, _ := cross(t, n, epoch, inside, right)
	b, _ := cross(t, n, epoch, inside, other)
	box.next = 65535
	c, _ := cross(t, n, epoch, inside, netip.MustParseAddrPort("203.0.113.3:4500"))
	if a.From.Port() != 65535 || b.From.Port() != firstPort || c.From.Port() != firstPort+1 {
		t.Errorf("ports %v %v %v", a.From, b.From, c.From)
	}
}
