package kernel

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

func (m maskedPort) has(p uint16) bool { return p&m.mask == m.port&m.mask }

func TestBlocksCoverExactlyTheRange(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ranges := []portRange{anyPort, {0, 0}, {65535, 65535}, {1, 65534}, {443, 443}, {1024, 65535}, {0, 1023}, {80, 8080}}
	for range 30 {
		a, b := uint16(r.Uint32()), uint16(r.Uint32())
		ranges = append(ranges, portRange{min(a, b), max(a, b)})
	}
	for _, x := range ranges {
		blocks := x.blocks()
		if len(blocks) == 0 || len(blocks) > 30 {
			t.Errorf("%v: %d blocks", x, len(blocks))
		}
		for p := range 65536 {
			n := 0
			for _, b := range blocks {
				if b.has(uint16(p)) {
					n++
				}
			}
			want := 0
			if uint16(p) >= x.first && uint16(p) <= x.last {
				want = 1
			}
			if n != want {
				t.Fatalf("%v: port %d is in %d blocks", x, p, n)
			}
		}
	}
	if got := anyPort.blocks(); !slices.Equal(got, []maskedPort{{}}) {
		t.Errorf("any port: %v", got)
	}
}

func prefixSel(p string, proto uint8, first, last uint16) plan.Selector {
	return plan.Selector{Prefix: netip.MustParsePrefix(p), Protocol: proto, PortFirst: first, PortLast: last}
}

func TestBetween(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b plan.Selector
		n    int
	}{
		{"whole networks", prefixSel("10.1.0.0/16", 0, 0, 65535), prefixSel("10.2.0.0/16", 0, 0, 65535), 1},
		{"two families", prefixSel("10.1.0.0/16", 0, 0, 65535), prefixSel("fd00::/16", 0, 0, 65535), 0},
		{"one protocol", prefixSel("10.1.0.0/16", 0, 0, 65535), prefixSel("10.2.0.0/16", 6, 443, 443), 1},
		{"two protocols", prefixSel("10.1.0.0/16", 17, 0, 65535), prefixSel("10.2.0.0/16", 6, 443, 443), 0},
		{"a port range", prefixSel("10.1.0.0/16", 6, 1024, 65535), prefixSel("10.2.0.0/16", 6, 80, 81), 6},
		{"echo request", prefixSel("10.1.0.0/16", 1, 0x0800, 0x08ff), prefixSel("10.2.0.0/16", 1, 0, 65535), 1},
		{"ICMP that does not meet", prefixSel("10.1.0.0/16", 1, 0x0800, 0x0800), prefixSel("10.2.0.0/16", 1, 0x0000, 0x0000), 0},
	} {
		if got := between(c.a, c.b); len(got) != c.n {
			t.Errorf("%s: %d selectors: %v", c.name, len(got), got)
		}
	}
	echo := between(prefixSel("10.1.0.0/16", 1, 0x0800, 0x08ff), prefixSel("10.2.0.0/16", 1, 0, 65535))[0]
	if echo.sport != (maskedPort{8, 0xffff}) || echo.dport != (maskedPort{}) {
		t.Errorf("echo request: %+v", echo)
	}
	if back := echo.reversed(); back.sport != echo.sport || back.src != echo.dst {
		t.Errorf("echo request, reversed: %+v", back)
	}
	all := between(prefixSel("fd00::/16", 58, 0, 65535), prefixSel("fd01::/16", 58, 0, 65535))[0]
	if all.sport != (maskedPort{}) || all.dport != (maskedPort{}) {
		t.Errorf("all of ICMPv6: %+v", all)
	}
}

func TestSelectorOnTheWire(t *testing.T) {
	for _, s := range []selector{
		between(prefixSel("10.1.0.0/16", 6, 1024, 2047), prefixSel("0.0.0.0/0", 0, 0, 65535))[0],
		between(prefixSel("fd00::1/128", 17, 53, 53), prefixSel("::/0", 0, 0, 65535))[0],
	} {
		b := make([]byte, sizeSelector)
		s.put(b)
		if got, ok := getSelector(b); !ok || got != s {
			t.Errorf("%+v came back as %+v", s, got)
		}
	}
	if _, ok := getSelector(make([]byte, sizeSelector)); ok {
		t.Error("a selector of no family was read")
	}
	bad := make([]byte, sizeSelector)
	put16(bad[40:], afINET)
	bad[42] = 33
	if _, ok := getSelector(bad); ok {
		t.Error("a prefix of 33 bits was read")
	}
}

func TestAsSelectors(t *testing.T) {
	for _, c := range []struct {
		first, last string
		most        int
		want        []string
	}{
		{"10.2.0.0", "10.2.255.255", 1, []string{"10.2.0.0/16"}},
		{"0.0.0.0", "255.255.255.255", 1, []string{"0.0.0.0/0"}},
		{"10.2.0.1", "10.2.0.1", 1, []string{"10.2.0.1/32"}},
		{"10.2.0.1", "10.2.0.4", 4, []string{"10.2.0.1/32", "10.2.0.2/31", "10.2.0.4/32"}},
		{"10.2.0.1", "10.2.0.4", 2, nil},
		{"255.255.255.254", "255.255.255.255", 1, []string{"255.255.255.254/31"}},
		{"fd00::", "fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, []string{"fd00::/16"}},
		{"10.2.0.4", "10.2.0.1", 4, nil},
	} {
		got := asSelectors(msg.TS{First: netip.MustParseAddr(c.first), Last: netip.MustParseAddr(c.last)}, c.most)
		var text []string
		for _, s := range got {
			text = append(text, s.Prefix.String())
		}
		if !slices.Equal(text, c.want) {
			t.Errorf("%s-%s: %v", c.first, c.last, text)
		}
	}
}

func TestThresholdFitsThePlan(t *testing.T) {
	set := newPolicySet()
	for i := range 1000 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
		for _, s := range between(prefixSel("10.200.0.0/16", 0, 0, 65535), plan.Selector{Prefix: p, PortLast: 65535}) {
			set.add(policyKey{dirOut, s}, policyValue{})
		}
	}
	set.add(policyKey{dirOut, between(prefixSel("0.0.0.0/0", 0, 0, 65535), prefixSel("0.0.0.0/0", 0, 0, 65535))[0]}, policyValue{})
	if got, ok := threshold(set, afINET, 512); !ok || got != (prefixBits{16, 24}) {
		t.Errorf("hub and spokes: %v %v", got, ok)
	}
	if _, ok := threshold(set, afINET, 5000); ok {
		t.Error("few policies need no threshold")
	}
	lumped := newPolicySet()
	for i := range 1000 {
		s := selector{src: netip.MustParsePrefix("10.0.0.0/8"), dst: netip.MustParsePrefix("10.0.0.0/8"), proto: 6, dport: maskedPort{uint16(i), 0xffff}}
		lumped.add(policyKey{dirOut, s}, policyValue{})
	}
	if got, ok := threshold(lumped, afINET, 512); ok {
		t.Errorf("a threshold that lumps all together was taken: %v", got)
	}
}

func TestPolicySetPrecedence(t *testing.T) {
	k := policyKey{dirOut, between(prefixSel("10.1.0.0/16", 0, 0, 65535), prefixSel("10.2.0.0/16", 0, 0, 65535))[0]}
	clear, protected := policyValue{priority: 10}, policyValue{priority: 10, reqid: 7}
	for _, order := range [][]policyValue{{clear, protected}, {protected, clear}} {
		s := newPolicySet()
		for _, v := range order {
			s.add(k, v)
		}
		if s.values[k] != protected || len(s.keys) != 1 {
			t.Errorf("at one priority clear wins over protected: %+v", s.values[k])
		}
	}
	s := newPolicySet()
	s.add(k, protected)
	s.add(k, policyValue{priority: 9})
	if s.values[k].reqid != 0 {
		t.Error("the lower number does not win")
	}
}
