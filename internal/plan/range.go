package plan

import "net/netip"

// LastAddr is the highest address of a prefix.
func LastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Prefixes are the fewest prefixes that cover a range of addresses exactly; nil when it is none.
func Prefixes(first, last netip.Addr) (out []netip.Prefix) {
	for first.IsValid() && first.BitLen() == last.BitLen() && first.Compare(last) <= 0 {
		p := netip.PrefixFrom(first, first.BitLen())
		for p.Bits() > 0 { // widen while it still begins at first and ends within the range
			wider := netip.PrefixFrom(first, p.Bits()-1)
			if wider.Masked().Addr() != first || LastAddr(wider).Compare(last) > 0 {
				break
			}
			p = wider
		}
		out = append(out, p)
		first = LastAddr(p).Next() // invalid after the last address of all
	}
	return out
}
