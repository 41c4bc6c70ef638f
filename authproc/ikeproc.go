package authproc

import (
	"fmt"

	"github.com/trike-ipsec/trike/authproc/internal/authn"
	"github.com/trike-ipsec/trike/internal/msg"
)

// noPlan answers requests that come before there is a plan.
const noPlan = "no plan is in force yet: ask again after the reload"

// fromIKEProc deals with one request of ikeproc's. An error ends the link.
func (p *process) fromIKEProc(m msg.Message) error {
	switch m := m.(type) {
	case *msg.Sign:
		return p.ike.Say(p.sign(m))
	case *msg.Verify:
		return p.ike.Say(p.verify(m))
	case *msg.Renew:
		return p.ike.Say(p.renew(m))
	}
	return fmt.Errorf("ikeproc said %T, which has no place here", m)
}

func (p *process) sign(m *msg.Sign) *msg.Signed {
	if p.state == nil {
		m.Octets.SKp.Close()
		return &msg.Signed{Req: m.Req, Error: noPlan}
	}
	answer := p.state.Sign(m, authn.With{})
	if answer.Error != "" {
		p.note(m.Connection, answer.Error)
	}
	return answer
}

func (p *process) verify(m *msg.Verify) *msg.Verified {
	if p.state == nil {
		m.Octets.SKp.Close()
		return &msg.Verified{Req: m.Req, Error: noPlan}
	}
	answer := p.state.Verify(m, authn.With{Issuer: &p.issuer, Now: p.cfg.Now()})
	if !answer.OK {
		p.note("", answer.Error)
	}
	return answer
}

func (p *process) renew(m *msg.Renew) *msg.Renewed {
	if p.state == nil {
		return &msg.Renewed{Req: m.Req, Error: noPlan}
	}
	answer := p.state.Renew(m, &p.issuer, p.cfg.Now())
	if answer.Error != "" {
		p.note(m.Grant.Connection, answer.Error)
	}
	return answer
}

// note counts and logs what was not given. What peers, or a hostile ikeproc, can make of the log is bounded: the first hundred each, then every 1024th.
func (p *process) note(connection, why string) {
	if p.refused++; p.refused > 100 && p.refused%1024 != 0 {
		return
	}
	if p.state != nil && !p.state.Has(connection) {
		connection = ""
	}
	p.log("warn", "not-authenticated", connection, why)
}

// hint tells ikeproc which connections cannot authenticate, so that the status can say so before a peer finds out.
func (p *process) hint() {
	if p.ike == nil || p.state == nil {
		return
	}
	if err := p.ike.Say(&msg.TrustHints{Problems: p.state.Problems()}); err != nil {
		p.dropIKE(err)
	}
}
