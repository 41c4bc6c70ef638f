package engine

import (
	"cmp"
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/status"
)

// deleteChild tells the peer that a pair goes, and removes it when the peer knows: until then its packets are still received
// (RFC 7296 section 1.4.1).
func (e *Engine) deleteChild(ch *childSA) {
	if ch.state == childDeleting {
		return
	}
	ch.state = childDeleting
	ch.rekey.stop()
	ch.hard.stop()
	e.sendDelete(ch)
}

// --> INFORMATIONAL { D(our inbound SPI) }, <-- INFORMATIONAL { D(the peer's) }
func (e *Engine) sendDelete(ch *childSA) {
	e.enqueue(ch.sa, "", func(sa *ikeSA) bool {
		if sa.childOut(ch.spiOut) != ch {
			return false
		}
		gone := func() {
			if sa := ch.sa; !sa.closed && sa.childOut(ch.spiOut) == ch {
				e.dropChild(ch)
			}
			e.settle(sa.conn)
		}
		return e.ask(sa, ikev2.INFORMATIONAL, []wire.Payload{&wire.Delete{Protocol: ikev2.ProtocolESP, SPIs: []uint32{ch.spiIn}}}, func(r reply) {
			if wire.Find[*wire.Delete](r.ps) == nil && e.unseen(ch) {
				// The peer does not know the pair yet, and will: it must hear of its end after that.
				e.after(2*time.Second, func() { e.sendDelete(ch) })
				return
			}
			gone()
		}, nil)
	})
}

// deleteIKE tells the peer that the IKE SA goes, with all its children, and forgets it when the peer knows or does not answer.
func (e *Engine) deleteIKE(sa *ikeSA, why string, restart bool) {
	if sa.closed || sa.state == stateDeleting {
		return
	}
	c := sa.conn
	if sa.state < stateUp {
		e.close(sa)
		return
	}
	was := sa.state
	sa.state, sa.why = stateDeleting, why
	sa.timers.rekey.stop()
	sa.timers.hard.stop()
	sa.timers.renew.stop()
	sa.timers.dpd.stop()
	sa.dropRekey()
	gone := func() {
		if sa.closed {
			return
		}
		again := restart
		e.dropChildren(sa)
		e.close(sa)
		if was == stateUp {
			e.log(status.Event{Level: "info", Event: "ike-down", Connection: c.cfg.Name, Peer: sa.remote.String(), Text: why})
		}
		if again {
			for _, name := range sa.lost {
				if !c.hasChild(name) {
					c.want[name] = true
				}
			}
		}
		if was == stateUp {
			e.lost(c)
		}
		e.settle(c)
	}
	sa.queue = []task{{"delete IKE", func(*ikeSA) bool {
		return e.ask(sa, ikev2.INFORMATIONAL, []wire.Payload{&wire.Delete{Protocol: ikev2.ProtocolIKE}}, func(reply) { gone() }, gone)
	}}}
	sa.making = e.abandon(sa.making)
	e.next(sa)
	// Whatever holds the queue up, it does not hold the end up.
	e.after(30*time.Second, gone)
}

// abandon gives up a negotiation whose SA is going.
func (e *Engine) abandon(n *childNegotiation) *childNegotiation {
	if n != nil {
		e.releaseChild(n)
	}
	return nil
}

// infoRequest answers INFORMATIONAL: Deletes, errors, or nothing at all, which is a liveness check (RFC 7296 section 1.4). The answer to the Delete of a pair that was rekeyed
// waits until we send on its successor: the peer receives nothing on the old one when it has the answer.
func (e *Engine) infoRequest(sa *ikeSA, ps []wire.Payload) {
	var ours []uint32
	waiting := 1
	failed := wire.FindNotify(ps, ikev2.AUTHENTICATION_FAILED) != nil
	respond := func() {
		if waiting--; waiting == 0 {
			e.infoAnswer(sa, ours, failed)
		}
	}
	for d := range wire.All[*wire.Delete](ps) {
		switch d.Protocol {
		case ikev2.ProtocolIKE:
			e.peerDeletesIKE(sa)
			return
		case ikev2.ProtocolESP:
			for _, spi := range d.SPIs {
				if ch := sa.childOut(spi); ch != nil && ch.theirs != nil {
					waiting++
					e.activateThen(ch.theirs, respond)
				}
				if in, ok := e.peerDeletesChild(sa, spi); ok {
					ours = append(ours, in)
				}
			}
		}
	}
	respond()
}

func (e *Engine) infoAnswer(sa *ikeSA, ours []uint32, failed bool) {
	var answer []wire.Payload
	if len(ours) > 0 {
		answer = append(answer, &wire.Delete{Protocol: ikev2.ProtocolESP, SPIs: ours})
	}
	if !e.answer(sa, ikev2.INFORMATIONAL, answer...) {
		return
	}
	if failed {
		e.problem(sa.conn, sa, status.Problem{Code: "authentication-failed", Text: fmt.Sprintf("AUTHENTICATION_FAILED: %s does not accept that we are who we say", sa.remote),
			Hint: "compare the identities and the pre-shared key on both sides; the peer's log says which it missed"})
		e.end(sa, "the peer says that we did not authenticate", false)
		return
	}
	e.next(sa)
}

// peerDeletesIKE: the response holds nothing, and the SA is gone with its children.
func (e *Engine) peerDeletesIKE(sa *ikeSA) {
	c, was := sa.conn, sa.state
	e.answer(sa, ikev2.INFORMATIONAL)
	if next := sa.peerSuccessor(); next != nil && was == stateUp {
		e.finishRekey(sa, next)
		was = stateRekeyed
	}
	sa.cause = cmp.Or(sa.cause, "user-request")
	e.dropChildren(sa)
	e.bury(sa)
	if was == stateRekeyed || was == stateDeleting {
		if was == stateDeleting && len(c.sas) == 0 {
			e.lost(c)
		}
		e.settle(c)
		return
	}
	e.log(status.Event{Level: "info", Event: "ike-down", Connection: c.cfg.Name, Peer: sa.remote.String(), Text: "the peer deleted the IKE SA"})
	e.lost(c)
}

// graveLife is how long the last response of an IKE SA is kept for a repeated Delete (DL-05).
const graveLife = 20 * time.Second

// bury takes an IKE SA off the books, but for repeating its last response.
func (e *Engine) bury(sa *ikeSA) {
	response, in, spi := sa.response, sa.in, sa.ownSPI()
	sa.in = nil
	e.close(sa)
	grave := &ikeSA{initiator: sa.initiator, spiI: sa.spiI, spiR: sa.spiR, local: sa.local, remote: sa.remote, in: in, nextIn: sa.nextIn, response: response, gone: true, state: stateDeleting}
	e.sas[spi] = grave
	e.buried++
	e.after(graveLife, func() {
		grave.closed = true
		in.Close()
		delete(e.sas, spi)
		e.buried--
	})
}

// peerDeletesChild removes a pair whose inbound SA at the peer has this SPI. ok is false when the response must not name it: it is unknown, or our own
// Delete of it is under way (crossing Deletes, RFC 7296 section 1.4.1).
func (e *Engine) peerDeletesChild(sa *ikeSA, spi uint32) (in uint32, ok bool) {
	ch := sa.childOut(spi)
	if ch == nil {
		return 0, false
	}
	crossing := ch.state == childDeleting
	replaced := ch.theirs != nil || ch.state == childRekeying
	if ch.theirs != nil {
		ch.theirs.old = nil
	}
	e.dropChild(ch)
	c := sa.conn
	if !replaced && !crossing {
		e.log(status.Event{Level: "info", Event: "child-down", Connection: c.cfg.Name, Child: ch.cfg.Name, Peer: sa.remote.String(),
			Text: fmt.Sprintf("the peer deleted child SA %08x/%08x", ch.spiIn, ch.spiOut)})
		if now := c.child(ch.cfg.Name); now != nil && now.Initiate == plan.InitiateStart && !c.hasChild(ch.cfg.Name) {
			e.startIfWanted(c, time.Second+e.spread(time.Second))
		}
	}
	e.settle(c)
	return ch.spiIn, !crossing
}

// infoBeforeUp: an initiator that does not believe our AUTH says so before it forgets us (RFC 7296 section 2.21.2); only that counts here.
func (e *Engine) infoBeforeUp(sa *ikeSA, ps []wire.Payload) {
	if !e.answer(sa, ikev2.INFORMATIONAL) {
		return
	}
	if n := wire.FindError(ps); n != nil {
		e.dead(sa, fmt.Sprintf("the peer gave up with %v", n.Type))
	}
}
