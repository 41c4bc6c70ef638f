package compiler

import (
	"net/netip"
	"slices"

	"github.com/trike-ipsec/trike/internal/plan"
)

func (c *lowerer) lowerGateway(g *gateway) {
	path := at("gateways", g.name)
	g.plan = &plan.Plan{Format: plan.Format, Gateway: g.name, Datapath: plan.Datapath(g.doc.Datapath)}
	add := func(s string, p []string) {
		a, ok := c.address(s, p)
		if !ok {
			return
		}
		if slices.Contains(g.addresses, a) {
			c.fail(CodeAddressTwice, p, "take one away", "the address %v stands twice", a)
			return
		}
		g.addresses, g.own = append(g.addresses, a), append(g.own, a)
	}
	add(g.doc.Address, sub(path, "address"))
	for i, s := range g.doc.Addresses {
		add(s, sub(path, "addresses", itoa(i)))
	}
	if g.doc.Inside != "" && len(g.own) > 0 {
		if in, ok := c.address(g.doc.Inside, sub(path, "inside")); ok {
			if in.Is4() != g.addresses[0].Is4() {
				c.fail(CodeFamilies, sub(path, "inside"), "", "`inside` %v and `address` %v are of different IP versions: no NAT maps one to the other", in, g.addresses[0])
			}
			g.own[0] = in
		}
	}
	if g.doc.ID != "" {
		if id, err := identity(g.doc.ID); err != nil {
			c.fail(CodeIdentity, sub(path, "id"), "", "%v", err)
		} else if pattern(id) {
			c.fail(CodeIdentity, sub(path, "id"), "write the gateway's own identity", "%q is a pattern, and a gateway is one", g.doc.ID)
		}
	}
	if g.doc.Certificate != "" {
		c.mustHave(CodeNoCertificate, "certificate", g.doc.Certificate, keys(c.certificates), sub(path, "certificate"))
	}
	g.networks = c.networks(g.doc.Networks, sub(path, "networks"))
	g.plan.Listen = slices.Clone(g.own)
	slices.SortFunc(g.plan.Listen, netip.Addr.Compare)
	g.plan.Listen = slices.Compact(g.plan.Listen)
}

// address reads an address that a packet can be sent to.
func (c *lowerer) address(s string, path []string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		c.fail(CodeAddress, path, "", "%q is not an IP address", s)
		return a, false
	case a.Zone() != "" || a.Is4In6():
		c.fail(CodeAddress, path, "", "%v: write an address without a zone, and IPv4 as IPv4", a)
		return a, false
	case a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		c.fail(CodeAddress, path, "", "%v is not the address of one machine", a)
		return a, false
	}
	return a, true
}

func (c *lowerer) networks(list []string, path []string) (out []netip.Prefix) {
	for i, s := range list {
		if p, ok := c.prefix(s, sub(path, itoa(i))); ok {
			out = append(out, p)
		}
	}
	return out
}

// prefix reads a prefix and refuses host bits: they are nearly always a slip.
func (c *lowerer) prefix(s string, path []string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6() || p.Addr().Zone() != "":
		c.fail(CodeValue, path, "", "%q is not a prefix; want e.g. \"10.1.0.0/16\" or \"2001:db8::/32\"", s)
		return p, false
	case p != p.Masked():
		c.fail(CodeHostBits, path, "did you mean \""+p.Masked().String()+"\" or \""+netip.PrefixFrom(p.Addr(), p.Addr().BitLen()).String()+"\"?",
			"%v has bits set beyond its length of %d", p, p.Bits())
		return p, false
	}
	return p, true
}

func (c *lowerer) gatewayHint(name string) string {
	names := keys(c.gateways)
	if n := nearest(name, names); n != "" {
		return "did you mean \"" + n + "\"?"
	}
	return "gateways of this policy: " + few(names)
}

// few lists at most ten names.
func few(names []string) string {
	out := ""
	for i, n := range names {
		if i == 10 {
			return out + ", …"
		}
		if i > 0 {
			out += ", "
		}
		out += n
	}
	if out == "" {
		return "none"
	}
	return out
}

func (c *lowerer) lowerBypass(name string, d *bypassDoc) {
	path := at("bypass", name)
	g := c.gateways[d.Gateway]
	if g == nil {
		c.fail(CodeNoGateway, sub(path, "gateway"), c.gatewayHint(d.Gateway), "there is no gateway %q", d.Gateway)
		return
	}
	b := plan.Bypass{Name: name, Local: c.selectors(d.Local, sub(path, "local")), Remote: c.selectors(d.Remote, sub(path, "remote")), Pos: c.pos(path)}
	if len(b.Local) == 0 || len(b.Remote) == 0 {
		return
	}
	for _, s := range b.Remote {
		if !s.Prefix.IsValid() {
			c.fail(CodeNoSelector, sub(path, "remote"), "write the prefix that may be reached in clear", "a bypass has no other end for \"self\" to mean")
			return
		}
	}
	if !share(b.Local, b.Remote) && !slices.ContainsFunc(b.Local, func(s plan.Selector) bool { return !s.Prefix.IsValid() }) {
		c.fail(CodeTSFamilies, path, "give both sides prefixes of one IP version", "`local` and `remote` have no IP version in common")
		return
	}
	b.Priority = bypassPriority + unspecific(b.Local, b.Remote)
	g.plan.Bypass = append(g.plan.Bypass, b)
}
