package spd

import (
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// Prefixes are the fewest prefixes that cover the range of addresses of a negotiated selector exactly, as selectors of a policy; nil when
// the range is none.
func Prefixes(t msg.TS) (out []plan.Selector) {
	for _, p := range plan.Prefixes(t.First, t.Last) {
		out = append(out, plan.Selector{Prefix: p, Protocol: t.Protocol, PortFirst: t.PortFirst, PortLast: t.PortLast})
	}
	return out
}
