package backend

import (
	"net/netip"

	"github.com/trike-ipsec/trike/internal/plan"
)

// PoliciesOf is what a plan wants of a datapath.
func PoliciesOf(v plan.XFRMView) Policies {
	var p Policies
	for _, c := range v.Connections {
		for _, ch := range c.Children {
			p.Protect = append(p.Protect, protectOf(c, ch))
		}
	}
	for _, b := range v.Bypass {
		p.Bypass = append(p.Bypass, Bypass{Name: b.Name, Priority: b.Priority, LocalTS: masked(b.Local), RemoteTS: masked(b.Remote)})
	}
	return p
}

func protectOf(c plan.XFRMConnection, ch plan.Child) Protect {
	p := Protect{Connection: c.Name, Child: ch.Name, Reqid: ch.Reqid, Priority: ch.Priority, Mode: ch.Mode,
		Local: c.Local.Address, Remote: c.Remote.Address, Lifetime: ch.Lifetime, Pos: ch.Pos}
	p.Leased = c.Leased
	p.LocalTS, _ = own(ch.Local, c.Local.Address)
	p.RemoteTS, p.OwnAddress = own(ch.Remote, c.Remote.Address)
	return p
}

// own puts addr for every selector that means this end's own address; with an invalid addr those are returned apart.
func own(sel []plan.Selector, addr netip.Addr) (known, unknown []plan.Selector) {
	for _, s := range sel {
		switch {
		case s.Prefix.IsValid():
			s.Prefix = s.Prefix.Masked()
			known = append(known, s)
		case addr.IsValid():
			s.Prefix = netip.PrefixFrom(addr, addr.BitLen())
			known = append(known, s)
		default:
			unknown = append(unknown, s)
		}
	}
	return known, unknown
}

// masked is a bypass's selectors: an invalid prefix there means any address, of either family.
func masked(sel []plan.Selector) []plan.Selector {
	var out []plan.Selector
	for _, s := range sel {
		if s.Prefix.IsValid() {
			s.Prefix = s.Prefix.Masked()
			out = append(out, s)
			continue
		}
		for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			s.Prefix = netip.PrefixFrom(any, 0)
			out = append(out, s)
		}
	}
	return out
}
