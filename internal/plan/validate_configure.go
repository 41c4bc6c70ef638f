package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// MaxConfigure bounds, each, the pools, DNS servers, domains and subnets of one connection.
const MaxConfigure = 64

const maxDomain = 255 // octets

// checkPools: each is a range of one family, and none shares an address with another: else one address could have two owners.
func (p *Plan) checkPools(known credentials) error {
	if len(p.Pools) > MaxPools {
		return fmt.Errorf("%d pools: at most %d are possible", len(p.Pools), MaxPools)
	}
	if err := sorted("pool", p.Pools, func(x Pool) string { return x.Name }); err != nil {
		return err
	}
	for _, x := range p.Pools {
		if !unicast(x.First) || !unicast(x.Last) || x.First.Is4() != x.Last.Is4() || x.Last.Less(x.First) {
			return fmt.Errorf("pool %s: %v to %v is no range of addresses that peers can have", x.Name, x.First, x.Last)
		}
		known.pools[x.Name] = x
	}
	byFirst := slices.SortedFunc(slices.Values(p.Pools), func(a, b Pool) int { return a.First.Compare(b.First) })
	for i := 1; i < len(byFirst); i++ {
		if a, b := byFirst[i-1], byFirst[i]; a.First.Is4() == b.First.Is4() && b.First.Compare(a.Last) <= 0 {
			return fmt.Errorf("pools %s and %s share %v", a.Name, b.Name, b.First)
		}
	}
	return nil
}

func unicast(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}

// checkConfigure: what a peer is given comes from pools of the plan, and its children select nothing else of it; what is asked for is bounded by the policy.
func (k credentials) checkConfigure(c *Connection) error {
	f := &c.Configure
	if len(f.Pools) > MaxConfigure || len(f.DNS) > MaxConfigure || len(f.Domains) > MaxConfigure || len(f.Subnets) > MaxConfigure {
		return fmt.Errorf("more than %d pools, DNS servers, domains or subnets", MaxConfigure)
	}
	asks := c.Request.IPv4 || c.Request.IPv6
	switch {
	case len(f.Pools) == 0 && len(f.DNS)+len(f.Domains)+len(f.Subnets) > 0:
		return fmt.Errorf("it tells a peer of DNS servers, domains or subnets, and has no pool to give it an address")
	case asks || len(c.Request.Accept) > 0:
		return fmt.Errorf("asking a peer for an address is not served by this version: nothing would give it to a device")
	}
	for _, d := range f.DNS {
		if !unicast(d) {
			return fmt.Errorf("DNS server %v", d)
		}
	}
	for _, d := range f.Domains {
		if d == "" || len(d) > maxDomain || strings.ContainsFunc(d, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("domain %q", d)
		}
	}
	for _, s := range f.Subnets {
		if !s.IsValid() || s != s.Masked() || s.Addr().Is4In6() {
			return fmt.Errorf("prefix %v", s)
		}
	}
	for _, name := range f.Pools {
		if _, ok := k.pools[name]; !ok {
			return fmt.Errorf("pool %s, which the plan does not have", name)
		}
	}
	for i := range c.Children {
		ch := &c.Children[i]
		if len(f.Pools) > 0 && ch.Mode != ModeTunnel {
			return fmt.Errorf("child %s: addresses of a pool need tunnel mode", ch.Name)
		}
		if len(f.Pools) == 0 {
			continue
		}
		if ch.Initiate != InitiateNever {
			return fmt.Errorf("child %s: who is given an address begins itself", ch.Name)
		}
		for _, s := range ch.Remote {
			if !k.inPools(f.Pools, s.Prefix) {
				return fmt.Errorf("child %s: the remote selector %v is not inside the connection's pools", ch.Name, s.Prefix)
			}
		}
	}
	return nil
}

func (k credentials) inPools(names []string, p netip.Prefix) bool {
	if !p.IsValid() {
		return false
	}
	return slices.ContainsFunc(names, func(n string) bool {
		x := k.pools[n]
		first, last := p.Addr(), LastAddr(p)
		if first.BitLen()-p.Bits() >= 2 { // a pool that is a prefix gives neither its first address nor its last
			first, last = first.Next(), last.Prev()
		}
		return x.First.BitLen() == first.BitLen() && x.First.Compare(first) <= 0 && last.Compare(x.Last) <= 0
	})
}
