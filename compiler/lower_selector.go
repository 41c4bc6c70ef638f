package compiler

import (
	"net/netip"
	"slices"

	"github.com/trike-ipsec/trike/internal/plan"
)

// XFRM priorities: lower wins. A bypass is above all protection; within each, what is more specific is above what is less.
const (
	bypassPriority  = 100
	protectPriority = 2000
)

func (c *lowerer) selectors(docs []selectorDoc, path []string) (out []plan.Selector) {
	if len(docs) > plan.MaxSelectors {
		c.fail(CodeManySelectors, path, "use larger prefixes, or more children", "%d selectors, at most %d are allowed", len(docs), plan.MaxSelectors)
		return nil
	}
	for i, d := range docs {
		p := sub(path, itoa(i))
		var s plan.Selector
		ok := true
		if d.Prefix != self {
			s.Prefix, ok = c.prefix(d.Prefix, p)
		}
		var err error
		if s.Protocol, s.PortFirst, s.PortLast, err = ports(d.Protocol, d.Port); err != nil {
			c.fail(CodePort, p, "", "%v", err)
			ok = false
		}
		if ok && slices.Contains(out, s) {
			c.fail(CodeOverlap, p, "take one away", "this selector stands twice")
			ok = false
		}
		if ok {
			out = append(out, s)
		}
	}
	return out
}

func all(prefixes []netip.Prefix) (out []plan.Selector) {
	for _, p := range prefixes {
		out = append(out, plan.Selector{Prefix: p, PortLast: 65535})
	}
	return out
}

var ownAddress = []plan.Selector{{PortLast: 65535}}

// resolved are selectors with "self" as the address that it means; with an address that is not known it stays out.
func resolved(list []plan.Selector, address netip.Addr) (out []plan.Selector) {
	for _, s := range list {
		if !s.Prefix.IsValid() {
			if !address.IsValid() {
				continue
			}
			s.Prefix = netip.PrefixFrom(address, address.BitLen())
		}
		out = append(out, s)
	}
	return out
}

// share tells whether two sides have an IP version in common.
func share(a, b []plan.Selector) bool {
	return slices.ContainsFunc(a, func(x plan.Selector) bool {
		return slices.ContainsFunc(b, func(y plan.Selector) bool { return x.Prefix.Addr().Is4() == y.Prefix.Addr().Is4() })
	})
}

// unspecific is a number from 0 (one host to one host, protocol and ports given) to 1028 (everything): that of the widest pair.
func unspecific(local, remote []plan.Selector) uint32 {
	widest := uint32(0)
	for _, a := range local {
		for _, b := range remote {
			if a.Prefix.IsValid() && b.Prefix.IsValid() && a.Prefix.Addr().Is4() != b.Prefix.Addr().Is4() {
				continue
			}
			widest = max(widest, width(a)+width(b))
		}
	}
	return widest
}

// width is 0 to 514 for a selector: four for each open bit of 128, one for an open port, one for an open protocol.
func width(s plan.Selector) uint32 {
	w := uint32(0)
	if s.Prefix.IsValid() {
		open := s.Prefix.Addr().BitLen() - s.Prefix.Bits()
		if s.Prefix.Addr().Is4() {
			open *= 4
		}
		w = uint32(open) * 4
	}
	if s.Protocol == 0 {
		w++
	}
	if s.PortFirst == 0 && s.PortLast == 65535 {
		w++
	}
	return w
}
