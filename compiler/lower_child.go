package compiler

import (
	"net/netip"
	"slices"

	"github.com/trike-ipsec/trike/internal/plan"
)

func (c *lowerer) child(name string, d *childDoc, td *tunnelDoc, t *plan.Connection, defaults tunnelDefaults, legacy *legacyUse, tunnelPath []string, local, remote end) (plan.Child, bool) {
	before := len(c.findings)
	path := sub(tunnelPath, "children", name)
	ch := plan.Child{Name: name, Mode: plan.Mode(d.Mode), ReplayWindow: d.ReplayWindow, Initiate: t.Initiate, Pos: c.pos(path)}
	if d.Initiate != "" {
		ch.Initiate = c.initiate(d.Initiate, defaults, sub(path, "initiate"))
	}
	esp, espPath := d.ESP, sub(path, "esp")
	if esp.Suite == "" && len(esp.Proposals) == 0 {
		esp, espPath = td.ESP, sub(tunnelPath, "esp")
	}
	ch.Proposals = c.espProposals(esp, legacy, espPath)
	ch.Lifetime = c.lifetime(d.Lifetime, lifetimeDefaults{rekey: 3600, jitterPart: 10, hardNum: 4, hardDen: 3}, sub(path, "lifetime"))
	ch.Local = c.side(d.Local, ch.Mode, local, sub(path, "local"), path)
	ch.Remote = c.side(d.Remote, ch.Mode, remote, sub(path, "remote"), path)
	if len(ch.Local) == 0 || len(ch.Remote) == 0 {
		return ch, false
	}
	c.matchFamilies(&ch, d, path, local, remote)
	c.checkSides(&ch, d, path, local, remote)
	if ch.Mode == plan.ModeTransport {
		c.checkTransport(ch.Local, local, d.Local != nil, sub(path, "local"))
		c.checkTransport(ch.Remote, remote, d.Remote != nil, sub(path, "remote"))
	}
	ch.Priority = protectPriority + unspecific(ch.Local, ch.Remote)
	return ch, !Failed(c.findings[before:])
}

// side is what a child protects on one side: what it says, or its default.
func (c *lowerer) side(docs []selectorDoc, mode plan.Mode, e end, path, child []string) []plan.Selector {
	switch {
	case docs != nil:
		return c.selectors(docs, path)
	case mode == plan.ModeTransport:
		return slices.Clone(ownAddress)
	case len(e.networks) > plan.MaxSelectors:
		d := c.fail(CodeManySelectors, child, "say `"+path[len(path)-1]+"` in several children, or use larger prefixes", "%d networks on the side of %s, a child may have %d selectors",
			len(e.networks), e.where[len(e.where)-1], plan.MaxSelectors)
		c.also(d, sub(e.where, "networks"), "the networks are here")
		return nil
	case len(e.networks) > 0:
		return all(e.networks)
	case e.gateway == nil && !e.reached.IsValid(): // a road warrior is reached at its own address
		return slices.Clone(ownAddress)
	}
	if e.written == 0 { // else they are wrong, and that has been said
		d := c.fail(CodeNoSelector, child, "give it `networks`, or say `"+path[len(path)-1]+"` in a child", "nothing says what this protects on the side of %s", e.where[len(e.where)-1])
		c.also(d, e.where, "no `networks` here")
	}
	return nil
}

// matchFamilies leaves out what has no counterpart of its IP version on the other side. What the policy wrote out must have one.
func (c *lowerer) matchFamilies(ch *plan.Child, d *childDoc, path []string, local, remote end) {
	have := func(list []plan.Selector, e end) (v4, v6 bool) {
		for _, s := range list {
			a := e.own
			if s.Prefix.IsValid() {
				a = s.Prefix.Addr()
			}
			v4, v6 = v4 || !a.IsValid() || a.Is4(), v6 || !a.IsValid() || !a.Is4()
		}
		return v4, v6
	}
	l4, l6 := have(ch.Local, local)
	r4, r6 := have(ch.Remote, remote)
	if !(l4 && r4) && !(l6 && r6) {
		c.fail(CodeTSFamilies, path, "give both sides prefixes of one IP version", "the two sides have no IP version in common: nothing can be protected")
		return
	}
	keep := func(list []plan.Selector, v4, v6, written bool, side []string) (kept []plan.Selector) {
		for i, s := range list {
			if !s.Prefix.IsValid() || s.Prefix.Addr().Is4() && v4 || !s.Prefix.Addr().Is4() && v6 {
				kept = append(kept, s)
			} else if written {
				c.fail(CodeTSFamilies, sub(side, itoa(i)), "give the other side a prefix of that IP version, or take this one away", "%v has no counterpart of its IP version on the other side", s.Prefix)
			}
		}
		return kept
	}
	ch.Local = keep(ch.Local, r4, r6, d.Local != nil, sub(path, "local"))
	ch.Remote = keep(ch.Remote, l4, l6, d.Remote != nil, sub(path, "remote"))
}

// checkSides: the same network cannot be behind both ends. That both are everything is how routes decide.
func (c *lowerer) checkSides(ch *plan.Child, d *childDoc, path []string, local, remote end) {
	for i, l := range ch.Local {
		for j, r := range ch.Remote {
			if l != r || !l.Prefix.IsValid() || l.Prefix.Bits() == 0 {
				continue
			}
			f := c.fail(CodeBothSides, path, "give each side its own networks; of two networks with the same addresses one must be renumbered",
				"%v is on both sides: nobody could tell where a packet belongs", l.Prefix)
			c.also(f, sideAt(sub(path, "local"), d.Local != nil, i, local, l.Prefix), "on the one side here")
			c.also(f, sideAt(sub(path, "remote"), d.Remote != nil, j, remote, r.Prefix), "on the other side here")
			return
		}
	}
}

// sideAt is where the policy says one selector of a side: in the child, or among the end's networks.
func sideAt(path []string, written bool, i int, e end, p netip.Prefix) []string {
	if written {
		return sub(path, itoa(i))
	}
	return sub(e.where, "networks", itoa(max(slices.Index(e.networks, p), 0)))
}

// checkTransport: transport mode protects the two ends themselves (RFC 4301 section 4.1).
func (c *lowerer) checkTransport(list []plan.Selector, e end, written bool, path []string) {
	if !written {
		return
	}
	for i, s := range list {
		if s.Prefix.IsValid() && (!e.own.IsValid() || s.Prefix != netip.PrefixFrom(e.own, e.own.BitLen())) && (!e.reached.IsValid() || s.Prefix != netip.PrefixFrom(e.reached, e.reached.BitLen())) {
			c.fail(CodeTransport, sub(path, itoa(i)), "say \"self\", or use mode \"tunnel\"", "%v is not the end's own address, and transport mode carries nothing else", s.Prefix)
		}
	}
}
