package guard

import (
	"fmt"
	"net/netip"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// selectors checks that each traffic selector lies inside one of the plan's. Narrowing gives parts of the plan's selectors, never
// what spans two of them.
func (c *check) selectors(m *msg.InstallChild) *Refusal {
	if r := c.side("local", m.TSLocal, c.child.Local, m.Local.Addr()); r != nil {
		return r
	}
	return c.side("remote", m.TSRemote, c.child.Remote, m.Remote.Addr())
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
