package engine

import (
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
)

// createChild begins a CREATE_CHILD_SA exchange for a child of the plan.
func (e *Engine) createChild(sa *ikeSA, name string) bool {
	c := sa.conn
	cfg := c.child(name)
	if cfg == nil || c.hasChild(name) || !c.want[name] || sa.state != stateUp {
		return false
	}
	if sa.peerRekey != nil { // RK-14
		e.createChildIn(c, name, time.Second)
		return false
	}
	e.beginChild(sa, &childNegotiation{conn: c, cfg: *cfg, initiator: true})
	return true
}

// rekeyChild queues the replacement of a pair (RFC 7296 section 1.3.3).
func (e *Engine) rekeyChild(ch *childSA) {
	e.enqueue(ch.sa, fmt.Sprintf("rekey %08x", ch.spiIn), func(sa *ikeSA) bool {
		if ch.state != childUp || ch.peerLowest != nil || sa.state != stateUp || sa.childOut(ch.spiOut) != ch {
			return false
		}
		if sa.peerRekey != nil { // no CREATE_CHILD_SA on an IKE SA that is being replaced (RK-14)
			e.rekeyChildIn(ch, time.Second)
			return false
		}
		cfg := ch.cfg
		if now := sa.conn.child(ch.cfg.Name); now != nil {
			cfg = *now
		}
		ch.state = childRekeying
		e.beginChild(sa, &childNegotiation{conn: sa.conn, cfg: cfg, initiator: true, old: ch})
		return true
	})
}

// rekeyChildIn rekeys a pair in a while. There is one alarm a pair, so that tries do not multiply.
func (e *Engine) rekeyChildIn(ch *childSA, in time.Duration) {
	ch.rekey.stop()
	ch.rekey = e.after(in, func() {
		if !ch.sa.closed {
			e.rekeyChild(ch)
		}
	})
}

// createChildIn asks for a child again in a while, if it is still missing.
func (e *Engine) createChildIn(c *conn, name string, in time.Duration) {
	if c.again == nil {
		c.again = map[string]*timer{}
	}
	c.again[name].stop()
	c.again[name] = e.after(in, func() {
		delete(c.again, name)
		if e.conns[c.cfg.Name] == c && !c.held && c.child(name) != nil && !c.hasChild(name) {
			c.want[name] = true
			e.pursue(c)
		}
	})
}

// beginChild reserves an SPI, makes a key pair if there is PFS, and sends the request.
func (e *Engine) beginChild(sa *ikeSA, n *childNegotiation) {
	sa.making = n
	n.offers = espOffers(n.cfg.Proposals, true)
	n.ni = e.random(nonceLen)
	n.tried = map[ikev2.KEID]bool{}
	e.reserveSPI(sa, n, func(problem string) {
		if problem != "" {
			e.childFailed(sa, n, status.Problem{Code: "internal", Text: "no SPI for the child: " + problem})
			return
		}
		method := ikev2.KE_NONE
		if len(n.offers[0].ke) > 0 {
			method = n.offers[0].ke[0]
		}
		e.childKE(sa, n, method)
	})
}

func (e *Engine) childKE(sa *ikeSA, n *childNegotiation, method ikev2.KEID) {
	n.method = method
	n.tried[method] = true
	if method == ikev2.KE_NONE {
		e.sendChild(sa, n, nil)
		return
	}
	e.compute(sa, suite.KEJob{Op: suite.Generate, Method: method}, func(r suite.KEResult) {
		if n.done {
			closeResult(r)
			return
		}
		if r.Err != nil {
			e.childFailed(sa, n, status.Problem{Code: "internal", Text: r.Err.Error()})
			return
		}
		closeResult(n.private)
		n.private = r
		e.sendChild(sa, n, &wire.KE{Method: method, Data: r.Public})
	})
}

// --> CREATE_CHILD_SA { [N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr }
func (e *Engine) sendChild(sa *ikeSA, n *childNegotiation, ke *wire.KE) {
	var ps []wire.Payload
	if n.old != nil {
		ps = append(ps, wire.NotifyChild(ikev2.REKEY_SA, ikev2.ProtocolESP, n.old.spiIn))
	}
	offer := e.childOffer(sa, n)
	if offer[0].PayloadType() == ikev2.PayloadNotify {
		ps, offer = append(ps, offer[0]), offer[1:]
	}
	ps = append(ps, offer[0], &wire.Nonce{Data: n.ni})
	if ke != nil {
		ps = append(ps, ke)
	}
	ps = append(ps, offer[1:]...)
	e.ask(sa, ikev2.CREATE_CHILD_SA, ps, func(r reply) { e.childResponse(sa, n, r) }, nil)
}

// childOffer is what every request for a child holds: [N(USE_TRANSPORT_MODE),] SA, TSi, TSr.
func (e *Engine) childOffer(sa *ikeSA, n *childNegotiation) (ps []wire.Payload) {
	if n.transport = n.cfg.Mode == plan.ModeTransport; n.transport {
		ps = append(ps, wire.NotifyStatus(ikev2.USE_TRANSPORT_MODE, nil))
	}
	local, remote := n.ownSelectors(sa)
	if t, ok := n.conn.first[n.cfg.Name]; ok && n.old == nil {
		// The packet's own selectors come first, so that the peer narrows to what is needed (RFC 7296 section 2.9).
		if covered(t.local, local) && covered(t.remote, remote) {
			local, remote = append([]msg.TS{t.local}, local...), append([]msg.TS{t.remote}, remote...)
		}
	}
	return append(ps, &wire.SA{Proposals: proposals(n.offers, ikev2.ProtocolESP, spiBytes(n.spiIn))}, toWire(false, local), toWire(true, remote))
}

// <-- CREATE_CHILD_SA { SA, Nr, [KEr,] TSi, TSr, [N(ADDITIONAL_KEY_EXCHANGE)] }  or  { N(error) }
func (e *Engine) childResponse(sa *ikeSA, n *childNegotiation, r reply) {
	if n.done {
		return // given up meanwhile
	}
	if r.shape != wire.ChildCreate {
		e.childRefused(sa, n, wire.FindError(r.ps))
		return
	}
	n.nr = append([]byte(nil), wire.Find[*wire.Nonce](r.ps).Data...)
	e.childAnswer(sa, n, r.ps, func() {
		sa.making = nil
		e.next(sa)
	})
}

// childAnswer checks the responder's choice, finishes the key exchanges and installs. then is called at the end, however it ends.
func (e *Engine) childAnswer(sa *ikeSA, n *childNegotiation, ps []wire.Payload, then func()) {
	fail := func(text string) {
		e.disown(sa, n)
		e.childFailed(sa, n, status.Problem{Code: "bad-answer", Text: fmt.Sprintf("%s answered child %s with nonsense: %s", sa.remote, n.cfg.Name, text)})
	}
	answer := wire.Find[*wire.SA](ps)
	chosen, err := accept(n.offers, answer.Proposals, ikev2.ProtocolESP, 4)
	if err != nil {
		fail(err.Error())
		return
	}
	n.chosen = chosen
	n.spiOut = uint32(answer.Proposals[0].SPI[0])<<24 | uint32(answer.Proposals[0].SPI[1])<<16 | uint32(answer.Proposals[0].SPI[2])<<8 | uint32(answer.Proposals[0].SPI[3])
	n.transport = n.transport && wire.FindNotify(ps, ikev2.USE_TRANSPORT_MODE) != nil
	if n.cfg.Mode == plan.ModeTransport && !n.transport {
		fail("it wants tunnel mode where the policy says transport mode")
		return
	}
	local, remote := n.ownSelectors(sa)
	n.local, n.remote = fromWire(wire.FindTS(ps, false)), fromWire(wire.FindTS(ps, true))
	if n.transport {
		sa.natTransport(n.local, n.remote)
	}
	if n.spiOut < 256 || len(n.local) == 0 || len(n.remote) == 0 || !allCovered(n.local, local) || !allCovered(n.remote, remote) {
		fail(fmt.Sprintf("selectors %v to %v are not within what was asked", describeTS(n.local), describeTS(n.remote)))
		return
	}
	finish := func() {
		e.install(sa, n, n.loses(), func(ch *childSA, problem string) {
			if problem != "" {
				e.disown(sa, n)
				e.childFailed(sa, n, status.Problem{Code: "install", Text: fmt.Sprintf("child %s was not installed: %s", n.cfg.Name, problem)})
				return
			}
			if n.old != nil {
				e.afterRekey(ch)
			}
			then()
		})
	}
	ke := wire.Find[*wire.KE](ps)
	if !chosen.hasKE || chosen.ke == ikev2.KE_NONE || len(n.offers) > 0 && n.method == ikev2.KE_NONE {
		finish()
		return
	}
	if ke == nil || ke.Method != n.method || chosen.ke != n.method || len(ke.Data) != suite.PublicLen(ke.Method, true) {
		fail("its key exchange is not the one that was sent")
		return
	}
	rounds, link := chosen.rounds(), linkOf(ps)
	if len(rounds) > 0 && n.loses() {
		// RFC 9370 section 2.2.4: the exchange with the lowest nonce stops; there is nothing to delete yet.
		e.releaseChild(n)
		e.rekeyChildIn(n.old, time.Minute) // unless the peer's has come to something
		then()
		return
	}
	live := func() bool { return !n.done }
	e.finishKE(sa, n.method, &n.private, ke.Data, &n.shared, live, fail, func() { e.followRounds(sa, rounds, link, &n.shared, live, fail, finish) })
}

// finishKE computes the initiator's shared secret and appends it to shared.
func (e *Engine) finishKE(sa *ikeSA, method ikev2.KEID, private *suite.KEResult, peer []byte, shared *[]secret.Bytes, live func() bool, fail func(string), then func()) {
	job := suite.KEJob{Op: suite.Finish, Method: method, Private: private.Private, Peer: append([]byte(nil), peer...)}
	*private = suite.KEResult{}
	e.compute(sa, job, func(r suite.KEResult) {
		switch {
		case !live():
			closeResult(r)
			return
		case r.Err != nil:
			fail(r.Err.Error())
			return
		}
		*shared = append(*shared, r.Shared)
		then()
	})
}

// afterRekey ends what the new pair replaces. When the peer rekeyed the same pair at the same time there are two new ones: the one whose
// exchange has the lowest of the four nonces is closed by who made it (RFC 7296 section 2.8.1).
func (e *Engine) afterRekey(ch *childSA) {
	old := ch.old
	if old.peerLowest != nil && string(ch.lowest) < string(old.peerLowest) {
		ch.old, ch.later = nil, false
		e.deleteChild(ch)
		return // the peer, whose pair stays, deletes the old one
	}
	if old.theirs != nil {
		old.theirs.old = nil // the peer will delete it: never send on it
	}
	e.deleteChild(old)
}

// loses: the peer has rekeyed the same pair in an exchange without the lowest nonce, so that what this one makes does not stay.
func (n *childNegotiation) loses() bool {
	return n.old != nil && n.old.peerLowest != nil && string(lower(n.ni, n.nr)) < string(n.old.peerLowest)
}

// childRefused: what it means that the peer does not want this child.
func (e *Engine) childRefused(sa *ikeSA, n *childNegotiation, refusal *wire.Notify) {
	if refusal == nil {
		e.childFailed(sa, n, status.Problem{Code: "bad-answer", Text: fmt.Sprintf("%s answered child %s without a child and without a reason", sa.remote, n.cfg.Name)})
		return
	}
	p := status.Problem{Code: "refused", Text: fmt.Sprintf("%s refused child %s with %v", sa.remote, n.cfg.Name, refusal.Type), Policy: e.place(n.cfg.Pos)}
	local, remote := n.ownSelectors(sa)
	switch refusal.Type {
	case ikev2.INVALID_KE_PAYLOAD:
		v, ok := refusal.Uint16()
		if method := ikev2.KEID(v); ok && n.tried != nil && !n.tried[method] && e.offersKE(n, method) {
			n.ni = e.random(nonceLen) // KE-05: a new exchange, new nonces
			e.childKE(sa, n, method)
			return
		}
	case ikev2.NO_PROPOSAL_CHOSEN:
		p.Code = "no-proposal-chosen"
		p.Ours, p.Theirs = describeOffers(n.offers), []string{"not told; the peer's own log has them"}
		p.Hint = "add an ESP proposal that the peer accepts to the child, or one of ours to the peer"
	case ikev2.TS_UNACCEPTABLE, ikev2.SINGLE_PAIR_REQUIRED:
		p.Code = "ts-unacceptable"
		p.Ours = append(append(describeTS(local), "to"), describeTS(remote)...)
		p.Theirs, p.Hint = []string{"not told; the peer's own log has them"}, "compare the networks of both sides"
	case ikev2.TEMPORARY_FAILURE:
		if sa.patience() {
			e.again(sa, n, sa.busyFor())
			return
		}
		e.releaseChild(n)
		sa.making = nil
		e.deleteIKE(sa, "the peer has been busy for minutes: the two ends no longer agree on what there is", true)
		return
	case ikev2.NO_ADDITIONAL_SAS:
		p.Hint = "the peer takes no more children on this IKE SA"
		if n.old != nil && !sa.patience() {
			// CC-07: a peer without CREATE_CHILD_SA: everything anew before the old pair's time is over.
			e.childFailed(sa, n, p)
			e.deleteIKE(sa, "the peer does not rekey children", true)
			return
		}
	case ikev2.CHILD_SA_NOT_FOUND:
		if n.old != nil && e.unseen(n.old) {
			e.again(sa, n, 2*time.Second)
			return
		}
		if n.old != nil { // the peer has lost it: begin afresh (RFC 7296 section 2.25)
			old, name := n.old, n.cfg.Name
			e.releaseChild(n)
			sa.making = nil
			e.dropChild(old)
			sa.conn.want[name] = true
			e.createWanted(sa)
			e.next(sa)
			return
		}
	}
	e.childFailed(sa, n, p)
}

func (e *Engine) offersKE(n *childNegotiation, method ikev2.KEID) bool {
	for _, o := range n.offers {
		if contains(o.ke, method) {
			return true
		}
	}
	return false
}

// disown tells the peer to drop what it made for an exchange that failed on our side after its answer (ER-07). The inbound SPI names it.
func (e *Engine) disown(sa *ikeSA, n *childNegotiation) {
	spi := n.offered
	if spi == 0 {
		return
	}
	e.enqueue(sa, "", func(sa *ikeSA) bool {
		return e.ask(sa, ikev2.INFORMATIONAL, []wire.Payload{&wire.Delete{Protocol: ikev2.ProtocolESP, SPIs: []uint32{spi}}}, func(reply) {}, nil)
	})
}

// again tries later what the peer could not do just now.
func (e *Engine) again(sa *ikeSA, n *childNegotiation, in time.Duration) {
	old, name := n.old, n.cfg.Name
	e.releaseChild(n)
	sa.making = nil
	if in += e.spread(in); old != nil {
		e.rekeyChildIn(old, in)
	} else {
		e.createChildIn(sa.conn, name, in)
	}
	e.next(sa)
}

// childFailed ends a child in the making that we began. A rekey that failed is tried again until the old pair's lifetime is over.
func (e *Engine) childFailed(sa *ikeSA, n *childNegotiation, p status.Problem) {
	if p.Policy == "" {
		p.Policy = e.place(n.cfg.Pos)
	}
	e.releaseChild(n)
	sa.making = nil
	e.problem(sa.conn, sa, p)
	if old := n.old; old != nil {
		e.rekeyChildIn(old, 30*time.Second+e.spread(10*time.Second))
	} else {
		delete(sa.conn.want, n.cfg.Name)
		delete(sa.conn.first, n.cfg.Name)
		e.settle(sa.conn)
		if n.cfg.Initiate == plan.InitiateStart {
			e.createChildIn(n.conn, n.cfg.Name, retryMost/2+e.spread(retryMost/2))
		}
	}
	e.next(sa)
}
