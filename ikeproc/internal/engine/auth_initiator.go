package engine

import (
	"fmt"

	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/status"
)

// startAuth has authproc make our AUTH, reserves an SPI for the first child, and sends IKE_AUTH.
func (e *Engine) startAuth(sa *ikeSA) {
	sa.state = stateAuth
	sa.setup.authID = sa.nextOut
	e.askSign(sa, sa.conn.cfg.Name, func(signed *msg.Signed) {
		if signed == nil {
			e.setupFailed(sa, status.Problem{Code: "internal", Text: cannotSign(signed)})
			return
		}
		if signed.Error != "" {
			e.setupFailed(sa, status.Problem{Code: "no-credentials", Text: cannotSign(signed), Hint: "see the secret or certificate that the connection names"})
			return
		}
		e.authWithChild(sa, signed)
	})
}

func (sa *ikeSA) octets(byInitiator bool, authID uint32, reserved [3]byte) msg.Octets {
	prf, message, nonce, skp, intAuth := sa.signed(byInitiator, authID)
	return msg.Octets{PRF: prf, Message: message, Nonce: nonce, SKp: skp, IntAuth: intAuth, IDReserved: reserved}
}

// authWithChild readies the first child that is wanted. Without one (all came up meanwhile) the SA has no purpose.
func (e *Engine) authWithChild(sa *ikeSA, signed *msg.Signed) {
	c := sa.conn
	var cfg *plan.Child
	for _, name := range c.wanted() {
		if cfg = c.child(name); cfg != nil {
			break
		}
	}
	if cfg == nil {
		cfg = &c.cfg.Children[0]
	}
	n := &childNegotiation{conn: c, cfg: *cfg, initiator: true, offers: espOffers(cfg.Proposals, false)}
	sa.setup.child = n
	e.reserveSPI(sa, n, func(problem string) {
		if problem != "" {
			e.setupFailed(sa, status.Problem{Code: "internal", Text: "no SPI for the child: " + problem})
			return
		}
		e.sendAuth(sa, signed, n)
	})
}

// --> IKE_AUTH { IDi, [CERT,] [N(INITIAL_CONTACT),] [CERTREQ,] IDr, [AUTH,] [CP(CFG_REQUEST),] SAi2, TSi, TSr }
func (e *Engine) sendAuth(sa *ikeSA, signed *msg.Signed, n *childNegotiation) {
	c := sa.conn
	ps := []wire.Payload{&wire.ID{Type: signed.ID.Type, Data: signed.ID.Data}}
	ps = append(ps, certPayloads(signed.Certs)...)
	if len(c.sas) == 1 {
		// We know of no other SA with this peer: whatever it has of ours is from before our last start (RFC 7296 section 2.4).
		ps = append(ps, wire.NotifyStatus(ikev2.INITIAL_CONTACT, nil))
	}
	ps = append(ps, requestPayloads(signed.Requests)...)
	if id, ok := idOf(c.cfg.Remote.ID); ok {
		ps = append(ps, &wire.ID{Responder: true, Type: id.Type, Data: id.Data})
	}
	done := func(r reply) { e.authResponse(sa, r) }
	if signed.EAP {
		if signed.EAPOnly {
			ps = append(ps, wire.NotifyStatus(ikev2.EAP_ONLY_AUTHENTICATION, nil))
		}
		done = func(r reply) { e.eapStarted(sa, signed, r) }
	} else {
		ps = append(ps, &wire.AUTH{Method: ikev2.AuthMethod(signed.Method), Data: signed.Data})
	}
	ps = append(append(ps, configRequest(c.cfg.Request)...), e.childOffer(sa, n)...)
	e.ask(sa, ikev2.IKE_AUTH, ps, done, nil)
}

// authResponse checks who answered before anything that the answer says counts.
//
//	<-- IKE_AUTH { IDr, [CERT,] AUTH, SAr2, TSi, TSr }  or  { N(AUTHENTICATION_FAILED) }
func (e *Engine) authResponse(sa *ikeSA, r reply) {
	if r.shape != wire.AuthDone && r.shape != wire.AuthDoneNoChild {
		e.authRefused(sa, wire.FindError(r.ps))
		return
	}
	id := wire.FindID(r.ps, true)
	sa.setup.peer, sa.setup.peerReserved = copyID(id), id.Reserved
	e.authProved(sa, r)
}

// authProved has authproc check the responder's last AUTH, and takes what came with it.
func (e *Engine) authProved(sa *ikeSA, r reply) {
	e.verifyResponder(sa, r.ps, wire.Find[*wire.AUTH](r.ps), func(v *msg.Verified) {
		if len(v.Grants) == 0 || v.Grants[0].Connection != sa.conn.cfg.Name {
			e.authDistrust(sa, status.Problem{Code: "internal", Text: "authproc vouches for another connection"})
			return
		}
		sa.grant, sa.peerID = v.Grants[0], sa.setup.peer
		sa.conn.problem = nil
		e.establish(sa)
		e.firstChild(sa, r)
	})
}

// verifyResponder has authproc check an AUTH of the responder's. Only what was proved goes on.
func (e *Engine) verifyResponder(sa *ikeSA, ps []wire.Payload, auth *wire.AUTH, then func(*msg.Verified)) {
	s := sa.setup
	m := &msg.Verify{Conversation: e.conversation(sa), Connections: []string{sa.conn.cfg.Name}, PeerID: s.peer, PeerAddr: sa.remote.Addr(),
		Method: uint8(auth.Method), Data: append([]byte(nil), auth.Data...), Certs: certsOf(ps)}
	if asks(&sa.conn.cfg) { // with nothing in it, authproc says that there should be something
		m.HasConfig = true
		m.Config, _ = configOf(ps, ikev2.CFG_REPLY)
	}
	m.Octets = sa.octets(false, s.authID, s.peerReserved)
	e.askAuth(sa, m, &m.Req, func(answer msg.Message) {
		v, _ := answer.(*msg.Verified)
		if v == nil || !v.OK {
			text := "authproc was started again while it checked the peer"
			if v != nil {
				text = fmt.Sprintf("AUTHENTICATION_FAILED: %s does not prove that it is the peer of this connection: %s", sa.remote, v.Error)
			}
			e.authDistrust(sa, status.Problem{Code: "authentication-failed", Text: text, Hint: advice(&sa.conn.cfg)})
			return
		}
		then(v)
	})
}

// authDistrust tells the responder that we do not believe it, and forgets it (RFC 7296 section 2.21.2).
func (e *Engine) authDistrust(sa *ikeSA, p status.Problem) {
	e.problem(sa.conn, sa, p)
	sa.doomed = true
	end := func() { e.dead(sa, p.Text) }
	e.ask(sa, ikev2.INFORMATIONAL, []wire.Payload{wire.NotifyStatus(ikev2.AUTHENTICATION_FAILED, nil)}, func(reply) { end() }, end)
	e.failEarly(sa)
}

// failEarly lets the operator's wish fail now; the SA itself ends when the peer has been told.
func (e *Engine) failEarly(sa *ikeSA) { e.gaveUp(sa.conn) }

func (e *Engine) authRefused(sa *ikeSA, n *wire.Notify) {
	p := status.Problem{Code: "refused", Text: fmt.Sprintf("%s refused IKE_AUTH", sa.remote)}
	if n != nil {
		p.Text = fmt.Sprintf("%s refused IKE_AUTH with %v", sa.remote, n.Type)
		if n.Type == ikev2.AUTHENTICATION_FAILED {
			p = status.Problem{Code: "authentication-failed",
				Text: fmt.Sprintf("AUTHENTICATION_FAILED: %s does not accept that we are %s", sa.remote, sa.conn.cfg.Local.ID.Data),
				Hint: advice(&sa.conn.cfg) + "; the peer's log says which it missed"}
		}
	}
	e.setupFailed(sa, p)
}

// firstChild takes the child that came with IKE_AUTH. That it was refused leaves the IKE SA up (RFC 7296 section 1.2).
func (e *Engine) firstChild(sa *ikeSA, r reply) {
	n := sa.setup.child
	n.ni, n.nr = sa.setup.nonceI, sa.setup.nonceR // RFC 7296 section 2.17
	sa.setup = nil
	if r.shape == wire.AuthDoneNoChild || r.shape == wire.AuthEAPDoneNoChild {
		e.childRefused(sa, n, wire.FindError(r.ps))
		e.createWanted(sa)
		return
	}
	sa.making = n
	e.childAnswer(sa, n, r.ps, func() {
		sa.making = nil
		e.createWanted(sa)
		e.next(sa)
	})
}

func copyID(id *wire.ID) msg.ID { return msg.ID{Type: id.Type, Data: append([]byte(nil), id.Data...)} }
