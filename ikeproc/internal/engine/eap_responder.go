package engine

import (
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
)

// Bounds on EAP as IKEv2 carries it. A person may have to type something meanwhile.
const (
	eapLife   = 2 * time.Minute
	eapRounds = 110 // authproc has a lower bound, and says why
)

// eapServing is an initiator's EAP in progress, with what waits for its end: the first request's other payloads.
type eapServing struct {
	id      *wire.ID
	shape   wire.Shape
	first   []wire.Payload
	rounds  int
	waiting bool // for the peer
	done    bool // EAP succeeded: its AUTH is due
}

// eapBegin meets an initiator that sent no AUTH (RFC 7296 section 2.16).
//
//	--> IKE_AUTH { IDi, [CERTREQ,] [IDr,] SAi2, TSi, TSr }
func (e *Engine) eapBegin(sa *ikeSA, shape wire.Shape, ps []wire.Payload, id *wire.ID) {
	s := sa.setup
	s.eap = &eapServing{id: id, shape: shape, first: ps}
	m := &msg.EAPStart{Conversation: e.conversation(sa), PeerID: copyID(id), Local: sa.local.Addr(), PeerAddr: sa.remote.Addr(),
		EAPOnly: wire.FindNotify(ps, ikev2.EAP_ONLY_AUTHENTICATION) != nil}
	for _, c := range s.candidates {
		m.Connections = append(m.Connections, c.cfg.Name)
	}
	if idr := wire.FindID(ps, true); idr != nil {
		m.LocalID = copyID(idr)
	}
	e.askAuth(sa, m, &m.Req, func(answer msg.Message) {
		r, _ := answer.(*msg.EAPReply)
		switch {
		case r == nil:
			e.authFail(sa, "authproc was started again while it began EAP")
			return
		case r.Done || e.conns[r.Connection] == nil:
			e.authFail(sa, "EAP cannot begin: "+r.Error)
			return
		}
		e.eapFirst(sa, r)
	})
}

// eapFirst proves who we are, unless the method does (RFC 5998), and asks the first question.
//
//	<-- IKE_AUTH { IDr, [CERT,] AUTH, EAP }
func (e *Engine) eapFirst(sa *ikeSA, r *msg.EAPReply) {
	c := e.conns[r.Connection]
	if r.EAPOnly {
		id, ok := idOf(c.cfg.Local.ID)
		if !ok {
			e.authFail(sa, fmt.Sprintf("connection %q: with EAP only, this gateway's identity cannot be a distinguished name", r.Connection))
			return
		}
		e.eapAnswer(sa, &wire.ID{Responder: true, Type: id.Type, Data: id.Data}, &wire.EAP{Packet: r.Packet})
		return
	}
	e.askSign(sa, r.Connection, func(signed *msg.Signed) {
		if signed == nil || signed.Error != "" {
			e.authFail(sa, cannotSign(signed))
			return
		}
		out := []wire.Payload{&wire.ID{Responder: true, Type: signed.ID.Type, Data: signed.ID.Data}}
		out = append(out, certPayloads(signed.Certs)...)
		out = append(out, &wire.AUTH{Method: ikev2.AuthMethod(signed.Method), Data: signed.Data}, &wire.EAP{Packet: r.Packet})
		e.eapAnswer(sa, out...)
	})
}

// eapAnswer sends a question, and gives the peer its time.
func (e *Engine) eapAnswer(sa *ikeSA, ps ...wire.Payload) {
	if !e.answer(sa, ikev2.IKE_AUTH, ps...) {
		return
	}
	s := sa.setup
	if !s.eap.waiting {
		s.eap.waiting = true
		sa.timers.half.stop()
		sa.timers.half = e.after(eapLife, func() { e.dead(sa, "the peer did not come to the end of EAP") })
	}
}

// eapRequest hands the peer's packet on.
//
//	--> IKE_AUTH { EAP }   <-- IKE_AUTH { EAP }
func (e *Engine) eapRequest(sa *ikeSA, ps []wire.Payload) {
	s := sa.setup
	if s == nil || s.eap == nil || s.eap.done {
		sa.answering = false
		return
	}
	if s.eap.rounds++; s.eap.rounds > eapRounds {
		e.authFail(sa, "EAP comes to no end")
		return
	}
	m := &msg.EAPPacket{Conversation: s.conversation, Packet: append([]byte(nil), wire.Find[*wire.EAP](ps).Packet...)}
	e.askAuth(sa, m, &m.Req, func(answer msg.Message) {
		r, _ := answer.(*msg.EAPReply)
		switch {
		case r == nil:
			e.authFail(sa, "authproc was started again in the middle of EAP")
		case r.Done && !r.OK:
			e.eapFailed(sa, r)
		case len(r.Packet) == 0:
			e.authFail(sa, "authproc has nothing to say in EAP")
		default:
			s.eap.done = r.Done
			e.eapAnswer(sa, &wire.EAP{Packet: r.Packet})
		}
	})
}

// eapFailed sends EAP Failure; the operator learns why.
func (e *Engine) eapFailed(sa *ikeSA, r *msg.EAPReply) {
	if len(r.Packet) == 0 {
		e.authFail(sa, r.Error)
		return
	}
	e.distrust(sa, "EAP failed: "+r.Error)
	if e.answer(sa, ikev2.IKE_AUTH, &wire.EAP{Packet: r.Packet}) {
		e.linger(sa, r.Error)
	}
}

// eapFinal checks the AUTH that the peer made with what EAP left; from there all is as without EAP.
//
//	--> IKE_AUTH { AUTH }   <-- IKE_AUTH { AUTH, SAr2, TSi, TSr }
func (e *Engine) eapFinal(sa *ikeSA, ps []wire.Payload) {
	s := sa.setup
	if s == nil || s.eap == nil || !s.eap.done {
		sa.answering = false
		return
	}
	sa.timers.half.stop()
	e.verifyInitiator(sa, s.eap.shape, s.eap.first, s.eap.id, wire.Find[*wire.AUTH](ps))
}
