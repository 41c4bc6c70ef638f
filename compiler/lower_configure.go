package compiler

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/trike-ipsec/trike/internal/plan"
)

// addressPool is one entry of `pools`: what is given to peers, and the prefixes that hold all of it.
type addressPool struct {
	first, last netip.Addr
	prefixes    []netip.Prefix
	user        string // the gateway whose peers have its addresses
}

// lowerPools reads the pools. Those with mistakes are nil, so that nothing more is said of them.
func (c *lowerer) lowerPools() {
	c.ranges = map[string]*addressPool{}
	if len(c.pools) > plan.MaxPools {
		c.fail(CodeManySelectors, at("pools"), "use larger ranges", "%d pools, at most %d are allowed", len(c.pools), plan.MaxPools)
	}
	for _, name := range keys(c.pools) {
		c.ranges[name] = nil
		path := at("pools", name, "addresses")
		p, why := poolOf(c.pools[name].Addresses)
		if why != "" {
			c.fail(CodePool, path, "write a prefix such as \"10.99.0.0/24\", or a range such as \"10.99.0.10-10.99.0.250\"", "%s", why)
			continue
		}
		for _, other := range keys(c.ranges) {
			if o := c.ranges[other]; o != nil && o.first.BitLen() == p.first.BitLen() && o.first.Compare(p.last) <= 0 && p.first.Compare(o.last) <= 0 {
				d := c.fail(CodePool, path, "keep pools apart: an address belongs to one", "the pools %s and %s share addresses", other, name)
				c.also(d, at("pools", other, "addresses"), "the other is here")
			}
		}
		c.ranges[name] = p
	}
}

// poolOf reads a prefix, whose first and last address are left out as hosts' are, or a range, of which all are given.
func poolOf(text string) (p *addressPool, why string) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		if prefix != prefix.Masked() {
			return nil, text + " has bits set beyond its length"
		}
		p = &addressPool{first: prefix.Addr(), last: plan.LastAddr(prefix), prefixes: []netip.Prefix{prefix}}
		if prefix.Addr().BitLen()-prefix.Bits() >= 2 {
			p.first, p.last = p.first.Next(), p.last.Prev()
		}
	} else {
		from, to, _ := strings.Cut(text, "-")
		first, err1 := netip.ParseAddr(strings.TrimSpace(from))
		last, err2 := netip.ParseAddr(strings.TrimSpace(to))
		switch {
		case err1 != nil || err2 != nil:
			return nil, "\"" + text + "\" is neither a prefix nor a range of addresses"
		case first.BitLen() != last.BitLen():
			return nil, text + " begins in one IP version and ends in the other"
		case last.Less(first):
			return nil, text + " ends before it begins"
		}
		p = &addressPool{first: first, last: last, prefixes: plan.Prefixes(first, last)}
	}
	for _, a := range []netip.Addr{p.first, p.last} {
		if a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
			return nil, a.String() + " is not an address that a peer can have"
		}
	}
	return p, ""
}

// configure lowers what a connection's peers are given, and says which networks they are reached at: the pools'.
func (c *lowerer) configure(d *configureDoc, gateway string, path []string) (out plan.Configure, networks []netip.Prefix) {
	for i, name := range d.Pools {
		p := sub(path, "pools", itoa(i))
		if !c.mustHave(CodeNoPool, "pool", name, keys(c.pools), p) {
			continue
		}
		if slices.Contains(out.Pools, name) {
			c.fail(CodeProposalTwice, p, "take one away", "the pool %q stands twice", name)
			continue
		}
		out.Pools = append(out.Pools, name)
		r := c.ranges[name]
		if r == nil { // it is wrong, and that has been said
			continue
		}
		if r.user != "" && r.user != gateway {
			c.fail(CodePool, p, "give each gateway a pool of its own", "the pool %q is gateway %s's, and two gateways would give the same address to two peers", name, r.user)
		}
		r.user = gateway
		networks = append(networks, r.prefixes...)
	}
	for i, a := range d.DNS {
		if addr, ok := c.address(a, sub(path, "dns", itoa(i))); ok {
			out.DNS = append(out.DNS, addr)
		}
	}
	out.Domains = d.Domains
	out.Subnets = c.networks(d.Subnets, sub(path, "subnets"))
	for _, list := range []struct {
		name string
		n    int
	}{{"pools", len(d.Pools)}, {"dns", len(d.DNS)}, {"domains", len(d.Domains)}, {"subnets", len(d.Subnets)}} {
		if list.n > plan.MaxConfigure {
			c.fail(CodeManySelectors, sub(path, list.name), "", "%d entries, at most %d are allowed", list.n, plan.MaxConfigure)
		}
	}
	return out, networks
}

// accounting lowers who is told of a connection's sessions.
func (c *lowerer) accounting(d *accountingDoc, path []string) (out plan.Accounting) {
	if d == nil || !c.mustHave(CodeNoPlugin, "plugin", d.Plugin, keys(c.plugins), sub(path, "plugin")) {
		return out
	}
	out = plan.Accounting{Plugin: d.Plugin, Interim: c.seconds(d.Interim, 0, plan.MaxInterim, sub(path, "interim"))}
	if out.Interim > 0 && out.Interim < plan.MinInterim {
		c.fail(CodeDuration, sub(path, "interim"), "", "%s between records is too short: at least %s", duration(out.Interim), duration(plan.MinInterim))
	}
	return out
}

// checkLeased: children of a connection with pools select nothing else of the peer than what a pool gives it.
func (c *lowerer) checkLeased(t *plan.Connection, networks []netip.Prefix, path []string) {
	for i := range t.Children {
		ch := &t.Children[i]
		where := sub(path, "children", ch.Name)
		if ch.Mode == plan.ModeTransport {
			c.fail(CodeTransport, sub(where, "mode"), "say \"tunnel\", or nothing", "a peer with an address of a pool needs tunnel mode")
			continue
		}
		for j, s := range ch.Remote {
			inside := s.Prefix.IsValid() && slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Overlaps(s.Prefix) && n.Bits() <= s.Prefix.Bits() })
			if !inside {
				c.fail(CodePool, sub(where, "remote", itoa(j)), "leave `remote` out: it then means the address that the peer is given", "this is not inside the connection's pools, whose addresses are all that its peers have")
			}
		}
	}
}
