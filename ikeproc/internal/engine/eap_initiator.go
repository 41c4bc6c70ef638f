package engine

import (
	"fmt"

	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/status"
)

// eapStarted takes the responder's first answer to an initiator that wants EAP. Who it is comes first, unless the method is to show it (RFC 5998).
//
//	<-- IKE_AUTH { IDr, [CERT,] [AUTH,] EAP }
func (e *Engine) eapStarted(sa *ikeSA, signed *msg.Signed, r reply) {
	if r.shape != wire.AuthEAPStart {
		if r.shape == wire.AuthDone || r.shape == wire.AuthDoneNoChild {
			e.authDistrust(sa, status.Problem{Code: "authentication-failed", Text: fmt.Sprintf("%s let us in without EAP, which the policy wants", sa.remote)})
			return
		}
		e.authRefused(sa, wire.FindError(r.ps))
		return
	}
	s := sa.setup
	id, auth := wire.FindID(r.ps, true), wire.Find[*wire.AUTH](r.ps)
	s.peer = copyID(id)
	s.peerReserved = id.Reserved
	packet := append([]byte(nil), wire.Find[*wire.EAP](r.ps).Packet...)
	if auth == nil {
		if !signed.EAPOnly {
			e.authDistrust(sa, status.Problem{Code: "authentication-failed", Text: fmt.Sprintf("%s wants EAP and does not prove itself first", sa.remote),
				Hint: "give it a certificate, or say `only: true` where the EAP method proves the server"})
			return
		}
		e.eapRound(sa, packet)
		return
	}
	e.verifyResponder(sa, r.ps, auth, func(v *msg.Verified) {
		if !v.More {
			e.authDistrust(sa, status.Problem{Code: "internal", Text: "authproc did not expect EAP here"})
			return
		}
		e.eapRound(sa, packet)
	})
}

// eapFailure is the code of EAP Failure (RFC 3748 section 4.2).
const eapFailure = 4

// eapRound has authproc answer a packet of the server's, and sends the answer.
//
//	--> IKE_AUTH { EAP }   <-- IKE_AUTH { EAP }
func (e *Engine) eapRound(sa *ikeSA, packet []byte) {
	s := sa.setup
	if s.eapRounds++; s.eapRounds > eapRounds {
		e.authDistrust(sa, status.Problem{Code: "eap", Text: "EAP comes to no end"})
		return
	}
	m := &msg.EAPPacket{Conversation: s.conversation, Packet: packet}
	e.askAuth(sa, m, &m.Req, func(answer msg.Message) {
		r, _ := answer.(*msg.EAPReply)
		switch {
		case r == nil:
			e.setupFailed(sa, status.Problem{Code: "internal", Text: "authproc was started again in the middle of EAP"})
		case r.Done && !r.OK && len(packet) > 0 && packet[0] == eapFailure: // it has refused us, and forgets us
			e.setupFailed(sa, status.Problem{Code: "eap", Text: fmt.Sprintf("%s refuses us: %s", sa.remote, r.Error), Hint: advice(&sa.conn.cfg)})
		case r.Done && !r.OK:
			e.authDistrust(sa, status.Problem{Code: "eap", Text: fmt.Sprintf("EAP with %s failed: %s", sa.remote, r.Error), Hint: advice(&sa.conn.cfg)})
		case r.Done:
			e.eapLast(sa)
		default:
			e.ask(sa, ikev2.IKE_AUTH, []wire.Payload{&wire.EAP{Packet: r.Packet}}, func(r reply) {
				if r.shape != wire.AuthEAP {
					e.authRefused(sa, wire.FindError(r.ps))
					return
				}
				e.eapRound(sa, append([]byte(nil), wire.Find[*wire.EAP](r.ps).Packet...))
			}, nil)
		}
	})
}

// eapLast binds what EAP left to this IKE SA, from both sides.
//
//	--> IKE_AUTH { AUTH }   <-- IKE_AUTH { AUTH, [CP,] SAr2, TSi, TSr }
func (e *Engine) eapLast(sa *ikeSA) {
	e.askSign(sa, sa.conn.cfg.Name, func(signed *msg.Signed) {
		if signed == nil || signed.Error != "" || signed.EAP {
			e.setupFailed(sa, status.Problem{Code: "no-credentials", Text: cannotSign(signed)})
			return
		}
		ps := []wire.Payload{&wire.AUTH{Method: ikev2.AuthMethod(signed.Method), Data: signed.Data}}
		e.ask(sa, ikev2.IKE_AUTH, ps, func(r reply) {
			if r.shape != wire.AuthEAPDone && r.shape != wire.AuthEAPDoneNoChild {
				e.authRefused(sa, wire.FindError(r.ps))
				return
			}
			e.authProved(sa, r)
		}, nil)
	})
}

// cannotSign says why there is no AUTH of ours.
func cannotSign(signed *msg.Signed) string {
	if signed == nil {
		return "authproc was started again while it made our AUTH"
	}
	return "this gateway cannot authenticate itself: " + signed.Error
}
