package authproc

import (
	"fmt"
	"time"

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
	case *msg.EAPStart:
		return p.eapStart(m)
	case *msg.EAPPacket:
		return p.eapPacket(m)
	case *msg.Forget:
		p.endConversation(m.Conversation, m.Reason)
		return nil
	case *msg.Usage:
		p.usage(m)
		return nil
	}
	return fmt.Errorf("ikeproc said %T, which has no place here", m)
}

func (p *process) sign(m *msg.Sign) *msg.Signed {
	if p.state == nil {
		m.Octets.SKp.Close()
		return &msg.Signed{Req: m.Req, Error: noPlan}
	}
	answer := p.state.Sign(m, p.with(m.Conversation))
	switch {
	case answer.Error != "":
		p.note(m.Connection, answer.Error)
	case answer.EAPOnly: // the server may begin with EAP at once
		c := p.open(m.Conversation)
		c.connections = []string{m.Connection}
	default:
		p.used(m.Conversation, func(c *conversation) { c.signed = true })
	}
	return answer
}

func (p *process) verify(m *msg.Verify) *msg.Verified {
	if p.state == nil {
		m.Octets.SKp.Close()
		return &msg.Verified{Req: m.Req, Error: noPlan}
	}
	answer := p.state.Verify(m, p.with(m.Conversation))
	switch {
	case !answer.OK:
		p.note("", answer.Error)
		p.endConversation(m.Conversation, answer.Error)
	case answer.More:
		c := p.open(m.Conversation)
		c.connections, c.peerID, c.start.PeerAddr = m.Connections[:1], m.PeerID, m.PeerAddr
	}
	if answer.OK && m.Initiator && len(answer.Grants) > 0 {
		name := ""
		if c := p.conversations[m.Conversation]; c != nil {
			name = c.name
		}
		p.openAccount(&answer.Grants[0], p.proofOf(m.Conversation), name, m.PeerAddr)
	}
	p.used(m.Conversation, func(c *conversation) { c.verified = answer.OK && !answer.More })
	if answer.InternalAddressFailure != "" {
		p.note(answer.Grants[0].Connection, answer.InternalAddressFailure)
	}
	return answer
}

// with is what a decision is made with beside the plan.
func (p *process) with(conversation uint64) authn.With {
	return authn.With{Issuer: &p.issuer, Now: p.cfg.Now(), Proof: p.proofOf(conversation), Leases: p.book}
}

// usage notes what became of a session. ikeproc may lie about it: it can give away no address that others have, and end no session but with its grant.
func (p *process) usage(m *msg.Usage) {
	if !p.issuer.Made(m.Grant) {
		return
	}
	p.accountUsage(m)
	switch m.What {
	case msg.UsageStart:
		p.book.Confirm(m.Grant.Session)
	case msg.UsageStop:
		p.leases(p.book.Release(m.Grant.Session, p.cfg.Now()))
	}
}

// leases tells the operator when leases cannot be written down.
func (p *process) leases(err error) {
	if err != nil {
		p.log("error", "leases", "", "the leases will not survive a restart: "+err.Error())
	}
}

func (p *process) renew(m *msg.Renew) *msg.Renewed {
	if p.state == nil {
		return &msg.Renewed{Req: m.Req, Error: noPlan}
	}
	answer := p.state.Renew(m, &p.issuer, p.cfg.Now())
	for _, a := range m.Grant.Peer {
		if holder := p.book.Holder(a); answer.Error == "" && holder != 0 && holder != m.Grant.Session {
			answer = &msg.Renewed{Req: m.Req, Error: fmt.Sprintf("connection %q: the address %v is another session's now", m.Grant.Connection, a)}
		}
	}
	if answer.Error != "" {
		p.note(m.Grant.Connection, answer.Error)
	} else {
		if a := p.accounts[answer.Grant.Session]; a != nil {
			a.expiry = answer.Grant.Expiry
		}
		p.leases(p.book.Extend(answer.Grant.Session, time.Unix(answer.Grant.Expiry, 0)))
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
	if err := p.ike.Say(&msg.TrustHints{Problems: p.state.Problems(), Requests: p.state.Requests()}); err != nil {
		p.dropIKE(err)
	}
}
