package kernel

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// selector is struct xfrm_selector in a comparable form. Ports match under a mask, so a range becomes several selectors.
type selector struct {
	src, dst     netip.Prefix // valid, masked, of one family
	proto        uint8
	sport, dport maskedPort
}

type maskedPort struct{ port, mask uint16 }

const (
	protoICMP   = 1
	protoICMPv6 = 58
)

// portRange is a range of ports; for ICMP type*256+code (RFC 7296 section 3.13.1).
type portRange struct{ first, last uint16 }

var anyPort = portRange{0, 0xffff}

// blocks splits a range into aligned powers of two, which is what a mask can say: at most 30 for any range of ports.
func (r portRange) blocks() []maskedPort {
	var out []maskedPort
	for first, last := uint32(r.first), uint32(r.last); first <= last; {
		size := uint32(1) << 16
		if first != 0 {
			size = first & -first
		}
		for first+size-1 > last {
			size >>= 1
		}
		out = append(out, maskedPort{uint16(first), ^uint16(size - 1)})
		first += size
	}
	return out
}

// meet is the range that both have, ok false for none.
func (r portRange) meet(o portRange) (portRange, bool) {
	m := portRange{max(r.first, o.first), min(r.last, o.last)}
	return m, m.first <= m.last
}

// between gives the selectors of traffic from a to b, none where families or protocols do not meet.
func between(a, b plan.Selector) []selector {
	if a.Prefix.Addr().Is4() != b.Prefix.Addr().Is4() {
		return nil
	}
	proto := a.Protocol
	if proto == 0 {
		proto = b.Protocol
	} else if b.Protocol != 0 && b.Protocol != proto {
		return nil
	}
	base := selector{src: a.Prefix, dst: b.Prefix, proto: proto}
	pa, pb := portRange{a.PortFirst, a.PortLast}, portRange{b.PortFirst, b.PortLast}
	if proto == protoICMP || proto == protoICMPv6 {
		return icmp(base, pa, pb)
	}
	var out []selector
	for _, s := range pa.blocks() {
		for _, d := range pb.blocks() {
			base.sport, base.dport = s, d
			out = append(out, base)
		}
	}
	return out
}

// icmp: both sides' port fields hold type and code; the kernel has the type as the source port and the code as the destination
// port, whichever way the packet goes.
func icmp(base selector, a, b portRange) []selector {
	r, ok := a.meet(b)
	if !ok {
		return nil
	}
	var out []selector
	for _, p := range r.blocks() {
		base.sport = maskedPort{p.port >> 8, 0xff00 | p.mask>>8}
		base.dport = maskedPort{p.port & 0xff, 0xff00 | p.mask&0xff}
		// A mask over all types, or all codes, is no condition at all.
		if p.mask>>8 == 0 {
			base.sport = maskedPort{}
		}
		if p.mask&0xff == 0 {
			base.dport = maskedPort{}
		}
		out = append(out, base)
	}
	return out
}

// reversed is the selector of the traffic that comes back. ICMP's type and code do not change places.
func (s selector) reversed() selector {
	s.src, s.dst = s.dst, s.src
	if s.proto != protoICMP && s.proto != protoICMPv6 {
		s.sport, s.dport = s.dport, s.sport
	}
	return s
}

// put writes struct xfrm_selector.
func (s selector) put(b []byte) {
	putAddr(b[0:16], s.dst.Addr())
	putAddr(b[16:32], s.src.Addr())
	binary.BigEndian.PutUint16(b[32:], s.dport.port)
	binary.BigEndian.PutUint16(b[34:], s.dport.mask)
	binary.BigEndian.PutUint16(b[36:], s.sport.port)
	binary.BigEndian.PutUint16(b[38:], s.sport.mask)
	put16(b[40:], familyOf(s.src.Addr()))
	b[42], b[43], b[44] = uint8(s.dst.Bits()), uint8(s.src.Bits()), s.proto
}

// getSelector reads struct xfrm_selector; ok is false for a family that is not IP.
func getSelector(b []byte) (s selector, ok bool) {
	if len(b) < sizeSelector {
		return s, false
	}
	var any netip.Addr
	switch get16(b[40:]) {
	case afINET:
		any = netip.IPv4Unspecified()
	case afINET6:
		any = netip.IPv6Unspecified()
	default:
		return s, false
	}
	prefix := func(addr []byte, n uint8) netip.Prefix {
		a := getAddr(addr, familyOf(any))
		if !a.IsValid() {
			a = any
		}
		p, _ := a.Prefix(int(n))
		return p
	}
	s.dst, s.src = prefix(b[0:16], b[42]), prefix(b[16:32], b[43])
	s.dport = maskedPort{binary.BigEndian.Uint16(b[32:]), binary.BigEndian.Uint16(b[34:])}
	s.sport = maskedPort{binary.BigEndian.Uint16(b[36:]), binary.BigEndian.Uint16(b[38:])}
	s.proto = b[44]
	return s, s.dst.IsValid() && s.src.IsValid()
}

// asSelectors writes a negotiated traffic selector as prefixes: at most most of them, else nil.
func asSelectors(t msg.TS, most int) []plan.Selector {
	var out []plan.Selector
	for first := t.First; ; {
		if len(out) == most || !first.IsValid() || t.Last.Less(first) {
			return nil
		}
		n := widest(first, t.Last)
		p := netip.PrefixFrom(first, n)
		out = append(out, plan.Selector{Prefix: p, Protocol: t.Protocol, PortFirst: t.PortFirst, PortLast: t.PortLast})
		end := lastOf(p)
		if end == t.Last {
			return out
		}
		first = end.Next()
	}
}

// widest is the length of the widest prefix that begins at first and does not go past last.
func widest(first, last netip.Addr) int {
	n := first.BitLen() - trailingZeros(first)
	for ; n < first.BitLen(); n++ {
		if !last.Less(lastOf(netip.PrefixFrom(first, n))) {
			break
		}
	}
	return n
}

func trailingZeros(a netip.Addr) int {
	n := 0
	b := a.AsSlice()
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0 {
			return n + bits.TrailingZeros8(b[i])
		}
		n += 8
	}
	return n
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// packetTS is the two ends of a packet for which the kernel wants an SA, as traffic selectors of that one flow.
func packetTS(s selector) (src, dst msg.TS) {
	src = msg.TS{Protocol: s.proto, PortLast: 0xffff, First: s.src.Addr(), Last: lastOf(s.src)}
	dst = msg.TS{Protocol: s.proto, PortLast: 0xffff, First: s.dst.Addr(), Last: lastOf(s.dst)}
	switch s.proto {
	case protoICMP, protoICMPv6:
		p := s.sport.port<<8 | s.dport.port&0xff
		src.PortFirst, src.PortLast, dst.PortFirst, dst.PortLast = p, p, p, p
	default:
		if s.sport.mask == 0xffff {
			src.PortFirst, src.PortLast = s.sport.port, s.sport.port
		}
		if s.dport.mask == 0xffff {
			dst.PortFirst, dst.PortLast = s.dport.port, s.dport.port
		}
	}
	return src, dst
}
