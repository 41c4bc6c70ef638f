package guard

import (
	"slices"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// transform checks that the suite is exactly one that a proposal of the child offers, and that the keys are as long as it needs.
func (c *check) transform(m *msg.InstallChild) *Refusal {
	t := m.Transform
	if r := c.suite(t); r != nil {
		return r
	}
	encr, integ, ok := backend.KeyLengths(t)
	if !ok {
		return c.refuse("no datapath carries %v-%d with %v", t.Encr, t.KeyBits, t.Integ)
	}
	if m.EncrIn.Len() != encr || m.EncrOut.Len() != encr || m.IntegIn.Len() != integ || m.IntegOut.Len() != integ {
		return c.refuse("keys of a wrong length for %v-%d with %v", t.Encr, t.KeyBits, t.Integ)
	}
	// Both directions count their nonces from 1: one key for both would use a nonce twice.
	if m.EncrIn.Equal(m.EncrOut) {
		return c.refuse("the same key for both directions")
	}
	return nil
}

func (c *check) suite(t msg.Transform) *Refusal {
	if !slices.ContainsFunc(c.child.Proposals, func(p plan.ESPProposal) bool { return offers(p, t) }) {
		return c.refuse("%v-%d with %v and %v is in no ESP proposal of the plan", t.Encr, t.KeyBits, t.Integ, t.SN)
	}
	return nil
}

func offers(p plan.ESPProposal, t msg.Transform) bool {
	integ := slices.Contains(p.Integ, t.Integ)
	if len(p.Integ) == 0 {
		integ = t.Integ == ikev2.AUTH_NONE
	}
	return integ && slices.Contains(p.Encr, plan.Encr{ID: t.Encr, KeyBits: t.KeyBits}) && slices.Contains(p.SN, t.SN)
}
