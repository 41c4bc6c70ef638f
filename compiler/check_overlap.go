package compiler

import (
	"net/netip"
	"sort"

	"github.com/trike-ipsec/trike/internal/plan"
)

// entry is one pair of selectors of a child at a gateway, as the datapath will hold it.
type entry struct {
	local, remote plan.Selector // prefixes valid
	priority      uint32
	connection    string
	child         string
}

// entries are the pairs of a child. What stands for an address that is not known yet has none: it will not be the same for two peers.
func (c *lowerer) entries(cn *plan.Connection, ch *plan.Child, remote end) (out []entry) {
	for _, l := range resolved(ch.Local, cn.Local.Address) {
		for _, r := range resolved(ch.Remote, remote.reached) {
			if l.Prefix.Addr().Is4() == r.Prefix.Addr().Is4() {
				out = append(out, entry{l, r, ch.Priority, cn.Name, ch.Name})
			}
		}
	}
	return out
}

// maxComparisons bounds the search for overlaps at a gateway where very many selectors lie within each other.
const maxComparisons = 50_000_000

// checkOverlaps: each packet must have one child that it belongs to. A pair inside another is fine, the inner one wins; equal ones and such that cross
// are not. Prefixes either nest or are apart, so in sorted order all that overlap an entry are on the stack of those that hold it.
func (c *lowerer) checkOverlaps(g *gateway) {
	es := g.entries
	sort.SliceStable(es, func(i, j int) bool {
		a, b := es[i].remote.Prefix, es[j].remote.Prefix
		if n := a.Addr().Compare(b.Addr()); n != 0 {
			return n < 0
		}
		if a.Bits() != b.Bits() {
			return a.Bits() < b.Bits()
		}
		if es[i].connection != es[j].connection {
			return es[i].connection < es[j].connection
		}
		return es[i].child < es[j].child
	})
	var stack []int
	said := map[[4]string]bool{}
	comparisons := 0
	for i := range es {
		for len(stack) > 0 && !covers(es[stack[len(stack)-1]].remote.Prefix, es[i].remote.Prefix) {
			stack = stack[:len(stack)-1]
		}
		for _, j := range stack {
			if comparisons++; comparisons > maxComparisons || len(c.findings) >= maxFindings {
				return
			}
			a, b := &es[j], &es[i]
			if !a.local.Prefix.Overlaps(b.local.Prefix) || a.connection == b.connection && a.child == b.child {
				continue
			}
			pair := [4]string{a.connection, a.child, b.connection, b.child}
			if !said[pair] && c.overlap(a, b) {
				said[pair] = true
			}
		}
		stack = append(stack, i)
	}
}

func covers(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }

// within tells whether every packet of b is one of a.
func within(a, b plan.Selector) bool {
	return covers(a.Prefix, b.Prefix) && (a.Protocol == 0 || a.Protocol == b.Protocol) && a.PortFirst <= b.PortFirst && a.PortLast >= b.PortLast
}

func meets(a, b plan.Selector) bool {
	return a.Prefix.Overlaps(b.Prefix) && (a.Protocol == 0 || b.Protocol == 0 || a.Protocol == b.Protocol) && a.PortFirst <= b.PortLast && b.PortFirst <= a.PortLast
}

// overlap says what is wrong with two entries that have packets in common, if anything is.
func (c *lowerer) overlap(a, b *entry) bool {
	if !meets(a.local, b.local) || !meets(a.remote, b.remote) {
		return false
	}
	aInB := within(b.local, a.local) && within(b.remote, a.remote)
	bInA := within(a.local, b.local) && within(a.remote, b.remote)
	path := func(e *entry) []string {
		p := c.tunnelPath(e.connection)
		if _, written := c.ev.index.find(sub(p, "children", e.child)); written {
			return sub(p, "children", e.child)
		}
		return p
	}
	name := func(e *entry) string { return e.connection + "/" + e.child }
	show := func(e *entry) string { return e.local.Prefix.String() + " to " + e.remote.Prefix.String() }
	var d *Diagnostic
	switch {
	case aInB && bInA:
		d = c.fail(CodeOverlap, path(b), "give each packet one child", "%s covers %s, and so does %s", name(b), show(b), name(a))
	case aInB && a.priority < b.priority, bInA && b.priority < a.priority:
		return false // the inner one wins
	case aInB, bInA:
		inner, outer := a, b
		if bInA {
			inner, outer = b, a
		}
		d = c.fail(CodeShadow, path(inner), "put the wide and the narrow selectors of "+name(inner)+" into two children",
			"%s covers %s, but %s covers it too and comes first: these packets never reach %s", name(inner), show(inner), name(outer), name(inner))
		c.also(d, path(outer), "%s is here: %s", name(outer), show(outer))
		return true
	default:
		d = c.fail(CodeOverlap, path(b), "make one lie within the other, or apart", "%s (%s) and %s (%s) cross: some packets belong to both", name(b), show(b), name(a), show(a))
	}
	c.also(d, path(a), "%s is here: %s", name(a), show(a))
	return true
}
