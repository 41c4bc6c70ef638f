package guard

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// selectors checks that each traffic selector lies inside one of the plan's. Narrowing gives parts of the plan's selectors, never
// what spans two of them.
func (c *check) selectors(m *msg.InstallChild) *Refusal {
	if r := c.localSide(m); r != nil {
		return r
	}
	if r := c.side("remote", m.TSRemote, c.child.Remote, m.Remote.Addr()); r != nil {
		return r
	}
	return c.leased(m)
}

// localSide checks our end. Where we are a peer's client, a selector without a prefix means what the peer gave us, inside what the policy accepts.
func (c *check) localSide(m *msg.InstallChild) *Refusal {
	if len(c.conn.Request.Accept) == 0 {
		return c.side("local", m.TSLocal, c.child.Local, m.Local.Addr())
	}
	var allowed []plan.Selector
	for _, s := range c.child.Local {
		if s.Prefix.IsValid() {
			allowed = append(allowed, s)
			continue
		}
		for _, own := range m.Grant.Own {
			if slices.ContainsFunc(c.conn.Request.Accept, func(p netip.Prefix) bool { return p.Contains(own) }) {
				s.Prefix = netip.PrefixFrom(own, own.BitLen())
				allowed = append(allowed, s)
			}
		}
	}
	return c.side("local", m.TSLocal, allowed, netip.Addr{})
}

// leased checks that what is sent to a peer, and taken from it, is of the addresses that authproc gave it, and that no later session has them.
func (c *check) leased(m *msg.InstallChild) *Refusal {
	if !c.conn.Leased {
		return nil
	}
	for _, t := range m.TSRemote {
		if t.First != t.Last || !slices.Contains(m.Grant.Peer, t.First) {
			return c.refuse("remote traffic selector %s is not an address that a pool gave the peer", tsText(t))
		}
		if c.state == nil { // it stands, and was allowed
			continue
		}
		if l := c.state.leases[t.First]; l.session != m.Grant.Session && l.serial > m.Grant.Serial {
			return c.refuse("the address %v was given to another session since", t.First)
		}
	}
	return nil
}

// side checks one end. addr, already checked, is what a selector without a prefix means: that end's own address.
func (c *check) side(end string, ts []msg.TS, allowed []plan.Selector, addr netip.Addr) *Refusal {
	if len(ts) == 0 || len(ts) > plan.MaxSelectors {
		return c.refuse("%d %s traffic selectors: 1 to %d are possible", len(ts), end, plan.MaxSelectors)
	}
	for _, t := range ts {
		if !insideAny(t, allowed, addr) {
			return c.refuse("%s traffic selector %s is not inside the plan's", end, tsText(t))
		}
	}
	return nil
}

func insideAny(t msg.TS, allowed []plan.Selector, addr netip.Addr) bool {
	for _, s := range allowed {
		if inside(t, s, addr) {
			return true
		}
	}
	return false
}

func inside(t msg.TS, s plan.Selector, addr netip.Addr) bool {
	if !s.Prefix.IsValid() {
		if !addr.IsValid() {
			return false
		}
		s.Prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if t.First.Zone() != "" || t.Last.Zone() != "" || t.First.BitLen() != t.Last.BitLen() || t.Last.Less(t.First) {
		return false
	}
	// A prefix is one run of addresses: both ends inside means all inside.
	if !s.Prefix.Contains(t.First) || !s.Prefix.Contains(t.Last) {
		return false
	}
	if s.Protocol != 0 && t.Protocol != s.Protocol {
		return false
	}
	return t.PortFirst <= t.PortLast && t.PortFirst >= s.PortFirst && t.PortLast <= s.PortLast
}

func tsText(t msg.TS) string {
	return fmt.Sprintf("%v-%v protocol %d ports %d-%d", t.First, t.Last, t.Protocol, t.PortFirst, t.PortLast)
}
