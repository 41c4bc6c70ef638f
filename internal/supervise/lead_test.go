package supervise

import (
	"cmp"
	"net/netip"
	"slices"
	"testing"

	"github.com/trike-ipsec/trike/internal/plan"
)

// seen is a packet as routing sees it.
type seen struct {
	from, to     string
	protocol     uint8
	sport, dport uint16
	iif          string // the device that it came in by; lo: the host's own
	mark         bool   // of one of our own sockets
}

// decide follows the rules as the kernel does: into the device, to the host's own tables, or nowhere.
func (l lead) decide(p seen) string {
	from, to := netip.MustParseAddr(p.from), netip.MustParseAddr(p.to)
	rules := slices.Clone(l.rules)
	slices.SortStableFunc(rules, func(a, b rule) int { return cmp.Compare(a.stage, b.stage) })
	skip := stageOwn
	for _, r := range rules {
		fits := r.v6 == to.Is6() && r.stage >= skip && (!r.mark || p.mark) && (r.iif == "" || r.iif == p.iif) &&
			(!r.from.IsValid() || r.from.Contains(from) && !(r.unbound && !r.v6)) && (!r.to.IsValid() || r.to.Contains(to)) && (r.protocol == 0 || r.protocol == p.protocol) &&
			within(r.sport, p.sport) && within(r.dport, p.dport)
		switch {
		case !fits:
		case r.on != 0:
			skip = r.on
		case r.stage == stageRefuse || r.stage == stageShut:
			return "nowhere"
		case r.stage == stageAdmitted || r.stage == stageEnd:
		default:
			for _, way := range l.routes {
				if way.table == r.table && way.to.Contains(to) {
					return "device"
				}
			}
		}
	}
	return "host"
}

func within(r [2]uint16, port uint16) bool { return r == [2]uint16{} || r[0] <= port && port <= r[1] }

func ofPlan(t *testing.T, v6 bool) lead {
	t.Helper()
	side := func(v4, six string, protocol uint8, first, last uint16) []plan.Selector {
		if v6 {
			v4 = six
		}
		return []plan.Selector{{Prefix: netip.MustParsePrefix(v4), Protocol: protocol, PortFirst: first, PortLast: last}}
	}
	p := &plan.Plan{Connections: []plan.Connection{{Name: "paris", Children: []plan.Child{
		{Name: "net", Priority: 2000, Local: side("10.1.0.0/16", "2001:db8:1::/48", 0, 0, 65535), Remote: side("10.2.0.0/16", "2001:db8:2::/48", 0, 0, 65535)},
		{Name: "web", Priority: 1000, Local: side("10.1.0.0/16", "2001:db8:1::/48", 6, 0, 65535), Remote: side("10.3.0.0/16", "2001:db8:3::/48", 6, 443, 443)},
	}}}, Bypass: []plan.Bypass{{Name: "dns", Priority: 500, Local: side("10.1.0.0/16", "2001:db8:1::/48", 17, 0, 65535), Remote: side("10.2.0.0/16", "2001:db8:2::/48", 17, 53, 53)}}}
	l, open := leadOf(p)
	if len(open) != 0 {
		t.Fatalf("open: %q", open)
	}
	return l
}

func TestLead(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		here, there, web, else1 := "10.1.0.7", "10.2.0.7", "10.3.0.7", "192.0.2.7"
		if v6 {
			here, there, web, else1 = "2001:db8:1::7", "2001:db8:2::7", "2001:db8:3::7", "2001:db8:9::7"
		}
		l := ofPlan(t, v6)
		refused := map[bool]string{false: "host", true: "nowhere"}[v6] // over IPv4 an XFRM policy refuses it
		for _, c := range []struct {
			what string
			p    seen
			want string
		}{
			{"from net to net", seen{from: here, to: there, iif: "lan"}, "device"},
			{"of the host's own", seen{from: here, to: there, iif: "lo"}, "device"},
			{"from net to elsewhere", seen{from: here, to: else1, iif: "lan"}, "host"},
			{"from elsewhere to net", seen{from: else1, to: there, iif: "lan"}, "host"},
			{"our own ESP", seen{from: here, to: there, iif: "lo", mark: true}, "host"},
			{"HTTPS", seen{from: here, to: web, protocol: 6, sport: 40000, dport: 443, iif: "lan"}, "device"},
			{"HTTP, which no child has", seen{from: here, to: web, protocol: 6, sport: 40000, dport: 80, iif: "lan"}, "host"},
			{"DNS, which may pass in clear", seen{from: here, to: there, protocol: 17, sport: 40000, dport: 53, iif: "lan"}, "host"},
			{"decrypted", seen{from: there, to: here, iif: tunName}, "host"},
			{"in clear from outside", seen{from: there, to: here, iif: "wan"}, refused},
			{"DNS's answer in clear", seen{from: there, to: here, protocol: 17, sport: 53, dport: 40000, iif: "wan"}, "host"},
			{"from outside to elsewhere", seen{from: there, to: else1, iif: "wan"}, "host"},
		} {
			if got := l.decide(c.p); got != c.want {
				t.Errorf("IPv6 %v, %s: %s, want %s", v6, c.what, got, c.want)
			}
		}
		// Without its routes, as when the device is gone for good, nothing falls through.
		bare := l
		bare.routes = nil
		want := map[bool]string{false: "host", true: "nowhere"}[v6]
		if got := bare.decide(seen{from: here, to: there, iif: "lan"}); got != want {
			t.Errorf("IPv6 %v, without routes: %s, want %s", v6, got, want)
		}
		blocks := 0
		for _, p := range l.policies {
			if p.block && p.src.Contains(netip.MustParseAddr(here)) && p.dst.Contains(netip.MustParseAddr(there)) && p.dir == dirOut {
				blocks++
			}
		}
		if (blocks > 0) == v6 {
			t.Errorf("IPv6 %v: %d XFRM policies block the way out", v6, blocks)
		}
	}
}

// While rules are added or swept away, what shuts is never there without what leads.
func TestLeadOrder(t *testing.T) {
	l := ofPlan(t, true)
	shut := slices.IndexFunc(l.rules, func(r rule) bool { return r.stage == stageShut || r.stage == stageRefuse })
	for i, r := range l.rules {
		if i > shut && r.stage != stageShut && r.stage != stageRefuse {
			t.Errorf("a rule of stage %d is added after one that shuts", r.stage)
		}
	}
	if order(stageShut) >= order(stageNets) || order(stageEnd) <= order(stageOwn) {
		t.Error("the sweep begins with what leads, or ends before what goes on")
	}
}
