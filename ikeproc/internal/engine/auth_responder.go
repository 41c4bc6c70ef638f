package engine

import (
	"fmt"

	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/status"
)

// authRequest has authproc check who the initiator is, then makes our AUTH and its first child. Without AUTH the initiator wants EAP.
//
//	--> IKE_AUTH { IDi, [CERT,] [N(INITIAL_CONTACT),] [CERTREQ,] [IDr,] [AUTH,] SAi2, TSi, TSr }
func (e *Engine) authRequest(sa *ikeSA, shape wire.Shape, ps []wire.Payload) {
	s := sa.setup
	if s.rounds != len(sa.suite.AddKE) {
		e.authFail(sa, "the peer left an additional key exchange out")
		return
	}
	if s.eap != nil { // its EAP goes on, and does not begin anew
		sa.answering = false
		return
	}
	sa.state = stateAuth
	sa.timers.half.stop() // authproc and xfrmproc answer in their own time, or their links are reset
	s.authID = sa.nextIn
	ps = keep(ps)
	s.learnRequests(ps)
	id, auth := wire.FindID(ps, false), wire.Find[*wire.AUTH](ps)
	if auth == nil {
		e.eapBegin(sa, shape, ps, id)
		return
	}
	e.verifyInitiator(sa, shape, ps, id, auth)
}

// verifyInitiator has authproc check the AUTH that ends the initiator's part. ps is its first IKE_AUTH request.
func (e *Engine) verifyInitiator(sa *ikeSA, shape wire.Shape, ps []wire.Payload, id *wire.ID, auth *wire.AUTH) {
	s := sa.setup
	m := &msg.Verify{Conversation: e.conversation(sa), Initiator: true, PeerID: copyID(id), PeerAddr: sa.remote.Addr(), Method: uint8(auth.Method),
		Data: append([]byte(nil), auth.Data...), Certs: certsOf(ps)}
	for _, c := range s.candidates {
		m.Connections = append(m.Connections, c.cfg.Name)
	}
	if idr := wire.FindID(ps, true); idr != nil {
		m.LocalID = copyID(idr)
	}
	m.Config, m.HasConfig = configOf(ps, ikev2.CFG_REQUEST)
	m.Octets = sa.octets(true, s.authID, id.Reserved)
	e.askAuth(sa, m, &m.Req, func(answer msg.Message) {
		v, _ := answer.(*msg.Verified)
		if v == nil {
			e.authFail(sa, "authproc was started again while it checked the peer")
			return
		}
		var c *conn
		if v.OK && len(v.Grants) > 0 {
			c = e.conns[v.Grants[0].Connection]
		}
		if c == nil {
			e.authFail(sa, fmt.Sprintf("AUTHENTICATION_FAILED: %s is not who the policy wants: %s", sa.remote, v.Error))
			return
		}
		sa.grant, sa.peerID = v.Grants[0], m.PeerID
		if c.cfg.Unique == "keep" && e.another(c, sa) != nil {
			e.authFail(sa, "the peer has an IKE SA already, and the policy says to keep it")
			return
		}
		sa.conn = c
		c.problem = nil
		c.sas = append(c.sas, sa)
		e.signAnswer(sa, shape, ps, v)
	})
}

// authFail refuses an initiator: it learns no more than the RFC says, the operator all of it.
func (e *Engine) authFail(sa *ikeSA, why string) {
	e.distrust(sa, why)
	if e.answer(sa, ikev2.IKE_AUTH, wire.NotifyStatus(ikev2.AUTHENTICATION_FAILED, nil)) {
		e.linger(sa, why)
	}
}

// distrust tells the operator, at the connections that may be meant, why an initiator is refused.
func (e *Engine) distrust(sa *ikeSA, why string) {
	for _, c := range sa.setup.candidates[:min(len(sa.setup.candidates), 4)] {
		e.problem(c, sa, status.Problem{Code: "authentication-failed", Text: why, Hint: advice(&c.cfg)})
	}
}

// linger keeps a refused SA for a while, only to repeat the refusal when it was lost.
func (e *Engine) linger(sa *ikeSA, why string) {
	if c := sa.conn; c != nil {
		c.forget(sa)
		sa.conn = nil
	}
	sa.state = stateAuth
	sa.timers.half.stop()
	sa.timers.half = e.after(halfOpenLife, func() { e.dead(sa, why) })
	sa.gone = true
}

func (e *Engine) signAnswer(sa *ikeSA, shape wire.Shape, ps []wire.Payload, v *msg.Verified) {
	e.askSign(sa, sa.conn.cfg.Name, func(signed *msg.Signed) {
		if signed == nil || signed.Error != "" {
			e.authFail(sa, cannotSign(signed))
			return
		}
		var out []wire.Payload
		if sa.setup.eap == nil { // else the peer has known since before EAP
			out = append(out, &wire.ID{Responder: true, Type: signed.ID.Type, Data: signed.ID.Data})
			out = append(out, certPayloads(signed.Certs)...)
		}
		out = append(out, &wire.AUTH{Method: ikev2.AuthMethod(signed.Method), Data: signed.Data})
		out = append(append(out, configReply(v.Config)...), e.lifetimeOf(sa, v.Reauth)...)
		if why := e.withoutAddress(sa, v); why != 0 {
			e.authAnswer(sa, ps, append(out, wire.NotifyStatus(why, nil)))
			return
		}
		if shape == wire.AuthChildless {
			e.authAnswer(sa, ps, out)
			return
		}
		n := &childNegotiation{conn: sa.conn}
		sa.making = n
		e.childRequest(sa, n, ps, nil, func(child []wire.Payload) {
			sa.making = nil
			e.authAnswer(sa, ps, append(out, child...))
		})
	})
}

// authAnswer sends the response and counts the SA as established.
//
//	<-- IKE_AUTH { IDr, AUTH, [CP(CFG_REPLY),] SAr2, TSi, TSr }
func (e *Engine) authAnswer(sa *ikeSA, ps, out []wire.Payload) {
	if !e.answer(sa, ikev2.IKE_AUTH, out...) {
		return
	}
	sa.setup = nil
	if wire.FindNotify(ps, ikev2.INITIAL_CONTACT) != nil {
		e.initialContact(sa) // first: what the peer has forgotten needs no Delete
	}
	e.establish(sa)
	e.createWanted(sa)
}

// keep copies the payloads that outlive the datagram: what childRequest needs.
func keep(ps []wire.Payload) []wire.Payload {
	b, err := wire.AppendPayloads(nil, ps)
	if err != nil || len(ps) == 0 {
		return ps
	}
	again, err := wire.ParsePayloads(ps[0].PayloadType(), b, wire.DefaultLimits())
	if err != nil {
		return ps
	}
	return again
}
