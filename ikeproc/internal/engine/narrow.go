package engine

import (
	"fmt"
	"net/netip"

	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// maxSelectors bounds what a negotiation may come to on one side.
const maxSelectors = 128

// selectors writes the plan's selectors as ranges. One without a prefix stands for this end's own address.
func selectors(ss []plan.Selector, own netip.Addr) []msg.TS {
	out := make([]msg.TS, 0, len(ss))
	for _, s := range ss {
		ts := msg.TS{Protocol: s.Protocol, PortFirst: s.PortFirst, PortLast: s.PortLast, First: own, Last: own}
		if s.Prefix.IsValid() {
			ts.First, ts.Last = s.Prefix.Masked().Addr(), plan.LastAddr(s.Prefix)
		}
		if ts.First.IsValid() {
			out = append(out, ts)
		}
	}
	return out
}

// fromWire reads a TS payload; selectors of types that we do not know are left out (RFC 7296 section 3.13.1).
func fromWire(p *wire.TS) []msg.TS {
	var out []msg.TS
	for i := range p.Selectors {
		s := &p.Selectors[i]
		if s.Known() {
			out = append(out, msg.TS{Protocol: s.Protocol, PortFirst: s.StartPort, PortLast: s.EndPort, First: s.Start, Last: s.End})
		}
	}
	return out
}

func toWire(responder bool, list []msg.TS) *wire.TS {
	p := &wire.TS{Responder: responder}
	for _, t := range list {
		p.Selectors = append(p.Selectors, wire.AddressRange(t.First, t.Last, t.Protocol, t.PortFirst, t.PortLast))
	}
	return p
}

// meet is what two selectors have in common.
func meet(a, b msg.TS) (msg.TS, bool) {
	if a.First.BitLen() != b.First.BitLen() {
		return msg.TS{}, false
	}
	out := a
	switch {
	case a.Protocol == 0:
		out.Protocol = b.Protocol
	case b.Protocol != 0 && b.Protocol != a.Protocol:
		return msg.TS{}, false
	}
	opaque := func(t msg.TS) bool { return t.PortFirst == 0xffff && t.PortLast == 0 }
	any := func(t msg.TS) bool { return t.PortFirst == 0 && t.PortLast == 0xffff }
	switch {
	case any(a):
		out.PortFirst, out.PortLast = b.PortFirst, b.PortLast
	case any(b):
	case opaque(a) || opaque(b):
		if opaque(a) != opaque(b) {
			return msg.TS{}, false
		}
	default:
		out.PortFirst, out.PortLast = max(a.PortFirst, b.PortFirst), min(a.PortLast, b.PortLast)
		if out.PortFirst > out.PortLast {
			return msg.TS{}, false
		}
	}
	if b.First.Compare(out.First) > 0 {
		out.First = b.First
	}
	if b.Last.Compare(out.Last) < 0 {
		out.Last = b.Last
	}
	return out, out.First.Compare(out.Last) <= 0
}

// within tells whether a lies in b.
func within(a, b msg.TS) bool {
	m, ok := meet(a, b)
	return ok && m == a
}

// narrow gives what the peer's selectors and ours have in common, in the peer's order, nothing twice (RFC 7296 section 2.9).
func narrow(ours, theirs []msg.TS) []msg.TS {
	var out []msg.TS
	for _, t := range theirs {
		for _, o := range ours {
			m, ok := meet(t, o)
			if !ok || covered(m, out) {
				continue
			}
			kept := out[:0]
			for _, have := range out {
				if !within(have, m) {
					kept = append(kept, have)
				}
			}
			if out = append(kept, m); len(out) == maxSelectors {
				return out
			}
		}
	}
	return out
}

func covered(t msg.TS, list []msg.TS) bool {
	for _, o := range list {
		if within(t, o) {
			return true
		}
	}
	return false
}

func allCovered(list, by []msg.TS) bool {
	for _, t := range list {
		if !covered(t, by) {
			return false
		}
	}
	return true
}

// describeTS writes selectors for the operator.
func describeTS(list []msg.TS) (out []string) {
	for i, t := range list {
		if i == 32 {
			return append(out, fmt.Sprintf("and %d more", len(list)-i))
		}
		out = append(out, textTS(t))
	}
	return out
}

func textTS(t msg.TS) string {
	text := t.First.String()
	if p, ok := asPrefix(t); ok {
		text = p.String()
	} else if t.First != t.Last {
		text += "-" + t.Last.String()
	}
	if t.Protocol != 0 {
		text += fmt.Sprintf(" protocol %d", t.Protocol)
	}
	switch {
	case t.PortFirst == 0 && t.PortLast == 0xffff:
	case t.PortFirst == t.PortLast:
		text += fmt.Sprintf(" port %d", t.PortFirst)
	case t.PortFirst > t.PortLast:
		text += " ports opaque"
	default:
		text += fmt.Sprintf(" ports %d-%d", t.PortFirst, t.PortLast)
	}
	return text
}

func asPrefix(t msg.TS) (netip.Prefix, bool) {
	for bits := t.First.BitLen(); bits >= 0; bits-- {
		p := netip.PrefixFrom(t.First, bits)
		if p.Masked().Addr() != t.First {
			break
		}
		if plan.LastAddr(p) == t.Last {
			return p, true
		}
	}
	return netip.Prefix{}, false
}
