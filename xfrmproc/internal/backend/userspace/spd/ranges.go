package spd

import (
	"net/netip"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// Prefixes are the fewest prefixes that cover the range of addresses of a negotiated selector exactly, as selectors of a policy; nil when
// the range is none.
func Prefixes(t msg.TS) []plan.Selector {
	var out []plan.Selector
	first, last := t.First, t.Last
	for first.IsValid() && first.BitLen() == last.BitLen() && first.Compare(last) <= 0 {
		bits := first.BitLen()
		// Widen while the prefix still begins at first and ends within the range.
		for bits > 0 {
			wider := netip.PrefixFrom(first, bits-1)
			if wider.Masked().Addr() != first || end(wider).Compare(last) > 0 {
				break
			}
			bits--
		}
		p := netip.PrefixFrom(first, bits)
		out = append(out, plan.Selector{Prefix: p, Protocol: t.Protocol, PortFirst: t.PortFirst, PortLast: t.PortLast})
		first = end(p).Next() // invalid after the last address of all
	}
	return out
}

// end is the last address of a prefix.
func end(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		if n := p.Bits() - i*8; n <= 0 {
			b[i] = 0xff
		} else if n < 8 {
			b[i] |= 0xff >> n
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
