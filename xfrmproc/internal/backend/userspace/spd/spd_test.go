package spd

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

func sel(prefix string, protocol uint8, first, last uint16) plan.Selector {
	return plan.Selector{Prefix: netip.MustParsePrefix(prefix), Protocol: protocol, PortFirst: first, PortLast: last}
}

func to(prefix string) plan.Selector { return sel(prefix, 0, 0, 65535) }

func sides(local, remote string, protocol uint8, localPort, remotePort uint16) Sides {
	return Sides{Local: netip.MustParseAddr(local), Remote: netip.MustParseAddr(remote), Protocol: protocol, HasPorts: true, LocalPort: localPort, RemotePort: remotePort}
}

// SP-01, SP-02: order by priority, then the longer prefix; protocol, ports, families.
func TestLookup(t *testing.T) {
	b := NewBuilder[string]()
	b.Add("net", 200, []plan.Selector{to("10.1.0.0/16"), to("fd01::/16")}, []plan.Selector{to("10.2.0.0/16"), to("fd02::/16")})
	b.Add("web", 100, []plan.Selector{to("10.1.0.0/16")}, []plan.Selector{sel("10.2.0.0/16", 6, 443, 443)})
	b.Add("all", 300, []plan.Selector{to("10.1.0.0/16")}, []plan.Selector{to("0.0.0.0/0")})
	b.Add("host", 200, []plan.Selector{to("10.1.0.0/16")}, []plan.Selector{to("10.2.9.9/32")})
	b.Add("printer", 300, []plan.Selector{sel("10.1.0.0/16", 17, 161, 162)}, []plan.Selector{to("192.0.2.0/24")})
	b.Add("opaque", 50, []plan.Selector{sel("10.1.0.0/16", 17, 0, 65535)}, []plan.Selector{sel("10.3.0.0/16", 17, 65535, 0)})
	b.Add("never", 1, []plan.Selector{sel("10.1.0.0/16", 6, 0, 65535)}, []plan.Selector{sel("10.2.0.0/16", 17, 0, 65535)}) // protocols do not meet
	tab := b.Table()
	for _, c := range []struct {
		s    Sides
		want string
	}{
		{sides("10.1.0.1", "10.2.0.1", 17, 1, 2), "net"},
		{sides("10.1.0.1", "10.2.0.1", 6, 1, 443), "web"},
		{sides("10.1.0.1", "10.2.0.1", 6, 443, 1), "net"},
		{sides("10.1.0.1", "10.2.9.9", 17, 1, 2), "host"},
		{sides("10.1.0.1", "8.8.8.8", 17, 1, 2), "all"},
		{sides("10.1.0.1", "192.0.2.1", 17, 161, 2), "printer"},
		{sides("10.1.0.1", "192.0.2.1", 17, 163, 2), "all"},
		{sides("10.9.0.1", "10.2.0.1", 17, 1, 2), ""},
		{sides("fd01::1", "fd02::1", 17, 1, 2), "net"},
		{sides("fd01::1", "fd03::1", 17, 1, 2), ""},
		{sides("10.1.0.1", "10.3.0.1", 17, 1, 2), "all"},
		{Sides{Local: netip.MustParseAddr("10.1.0.1"), Remote: netip.MustParseAddr("10.3.0.1"), Protocol: 17}, "opaque"}, // a later fragment
		{Sides{Local: netip.MustParseAddr("10.1.0.1"), Remote: netip.MustParseAddr("10.2.0.1"), Protocol: 6}, "net"},     // never a policy with ports
	} {
		if got, ok := tab.Lookup(c.s); got != c.want || ok != (c.want != "") {
			t.Errorf("%+v: %q, want %q", c.s, got, c.want)
		}
	}
	more := tab.Extend("road", 10, []plan.Selector{to("10.1.0.0/16")}, []plan.Selector{to("10.2.0.0/16")})
	s := sides("10.1.0.1", "10.2.0.1", 17, 1, 2)
	if got, _ := more.Lookup(s); got != "road" || more.Len() != tab.Len()+1 {
		t.Errorf("extended: %q", got)
	}
	if got, _ := tab.Lookup(s); got != "net" {
		t.Errorf("Extend changed the table it began with: %q", got)
	}
	if _, ok := new(Table[string]).Lookup(s); ok {
		t.Error("the empty table has a policy")
	}
	if got, _ := new(Table[string]).Extend("x", 1, []plan.Selector{to("10.1.0.0/16")}, []plan.Selector{to("10.2.0.0/16")}).Lookup(s); got != "x" {
		t.Error("the empty table cannot be extended")
	}
}

// The table agrees with trying every policy in turn.
func TestLookupAgainstScan(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	type policy struct {
		priority      uint32
		local, remote plan.Selector
	}
	random := func() plan.Selector {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(4)), byte(r.IntN(4))}), []int{0, 8, 16, 24, 30, 32}[r.IntN(6)]).Masked()
		s := plan.Selector{Prefix: p, Protocol: []uint8{0, 0, 6, 17}[r.IntN(4)], PortLast: 65535}
		if r.IntN(3) == 0 {
			s.PortFirst, s.PortLast = uint16(r.IntN(4)), uint16(4+r.IntN(4))
		}
		return s
	}
	for range 50 {
		var list []policy
		b := NewBuilder[uint32]()
		for n := range r.IntN(60) {
			p := policy{uint32(n * 7 % 61), random(), random()} // priorities are distinct
			list = append(list, p)
			b.Add(p.priority, p.priority, []plan.Selector{p.local}, []plan.Selector{p.remote})
		}
		slices.SortFunc(list, func(a, b policy) int { return int(a.priority) - int(b.priority) })
		tab := b.Table()
		for range 500 {
			s := Sides{Local: netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(4)), byte(r.IntN(4))}),
				Remote: netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(4)), byte(r.IntN(4))}), Protocol: []uint8{1, 6, 17}[r.IntN(3)], HasPorts: r.IntN(5) > 0}
			if s.HasPorts {
				s.LocalPort, s.RemotePort = uint16(r.IntN(9)), uint16(r.IntN(9))
			}
			at := slices.IndexFunc(list, func(p policy) bool {
				return one(p.local, s.Local, s.LocalPort, s) && one(p.remote, s.Remote, s.RemotePort, s)
			})
			got, ok := tab.Lookup(s)
			if ok != (at >= 0) || ok && got != list[at].priority {
				t.Fatalf("%+v: %d, %v; the scan says %d", s, got, ok, at)
			}
		}
	}
}

func one(p plan.Selector, a netip.Addr, port uint16, s Sides) bool {
	return p.Prefix.Contains(a) && (p.Protocol == 0 || p.Protocol == s.Protocol) && (p.PortFirst == 0 && p.PortLast == 65535 || s.HasPorts && p.PortFirst <= port && port <= p.PortLast)
}

func TestCovers(t *testing.T) {
	ts := func(first, last string, protocol uint8, pf, pl uint16) msg.TS {
		return msg.TS{Protocol: protocol, PortFirst: pf, PortLast: pl, First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
	}
	local := []msg.TS{ts("10.1.0.5", "10.1.0.9", 0, 0, 65535), ts("fd01::", "fd01::ffff", 0, 0, 65535)}
	remote := []msg.TS{ts("10.2.0.0", "10.2.0.255", 17, 53, 53), ts("fd02::", "fd02::ffff", 0, 0, 65535)}
	for s, want := range map[Sides]bool{
		sides("10.1.0.5", "10.2.0.0", 17, 9, 53):                                                        true,
		sides("10.1.0.9", "10.2.0.255", 17, 9, 53):                                                      true,
		sides("10.1.0.4", "10.2.0.1", 17, 9, 53):                                                        false,
		sides("10.1.0.10", "10.2.0.1", 17, 9, 53):                                                       false,
		sides("10.1.0.5", "10.2.0.1", 6, 9, 53):                                                         false,
		sides("10.1.0.5", "10.2.0.1", 17, 9, 54):                                                        false,
		sides("fd01::1", "fd02::1", 58, 1, 1):                                                           true,
		{Local: netip.MustParseAddr("10.1.0.5"), Remote: netip.MustParseAddr("10.2.0.1"), Protocol: 17}: false,
	} {
		if Covers(local, remote, s) != want {
			t.Errorf("%+v: %v", s, !want)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for _, c := range []struct {
		first, last string
		want        []string
	}{
		{"10.0.0.0", "10.255.255.255", []string{"10.0.0.0/8"}},
		{"0.0.0.0", "255.255.255.255", []string{"0.0.0.0/0"}},
		{"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", []string{"::/0"}},
		{"10.0.0.1", "10.0.0.6", []string{"10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"}},
		{"255.255.255.254", "255.255.255.255", []string{"255.255.255.254/31"}},
		{"10.0.0.2", "10.0.0.1", nil},
		{"10.0.0.1", "fd00::1", nil},
	} {
		var got []string
		for _, p := range Prefixes(msg.TS{First: netip.MustParseAddr(c.first), Last: netip.MustParseAddr(c.last)}) {
			got = append(got, p.Prefix.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s-%s: %v, want %v", c.first, c.last, got, c.want)
		}
	}
	if got := Prefixes(msg.TS{}); got != nil {
		t.Errorf("no range: %v", got)
	}
}

func BenchmarkLookup(b *testing.B) {
	t := NewBuilder[int]()
	for i := range 10_000 {
		t.Add(i, 100, []plan.Selector{to("10.0.0.0/8")}, []plan.Selector{{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24), PortLast: 65535}})
	}
	tab, s := t.Table(), sides("10.1.0.1", "20.5.5.5", 17, 1, 2)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := tab.Lookup(s); !ok {
			b.Fatal("lost")
		}
	}
}
