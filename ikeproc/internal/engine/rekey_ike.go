package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
)

// rekeying is our replacement of an IKE SA in the making (RFC 7296 section 1.3.2).
type rekeying struct {
	spi     uint64
	ni, nr  []byte
	offers  []offer
	chosen  pick
	method  ikev2.KEID
	tried   map[ikev2.KEID]bool
	private suite.KEResult
	shared  []secret.Bytes
}

// peerRekeying is the peer's replacement of an IKE SA: answered, and complete when next stands.
type peerRekeying struct {
	lowest []byte // nonce of that exchange
	next   *ikeSA
}

// dropRekey forgets our rekey, if there is one.
func (sa *ikeSA) dropRekey() {
	if sa.rekey != nil {
		sa.rekey.close()
		sa.rekey = nil
	}
}

// peerSuccessor is what the peer's rekey has made, nil while there is none.
func (sa *ikeSA) peerSuccessor() *ikeSA {
	if p := sa.peerRekey; p != nil && p.next != nil && !p.next.closed {
		return p.next
	}
	return nil
}

func (r *rekeying) close() {
	closeResult(r.private)
	closeAll(r.shared)
	r.shared = nil
}

// rekeyIKE queues our rekey.
func (e *Engine) rekeyIKE(sa *ikeSA) {
	e.enqueue(sa, "rekey IKE", func(sa *ikeSA) bool {
		if sa.state != stateUp || sa.rekey != nil || sa.peerRekey != nil {
			return false
		}
		if sa.answeringChild != nil || len(sa.followups) > 0 {
			// A child that the peer is making belongs to this SA until it stands.
			e.rekeyIKEIn(sa, time.Second)
			return false
		}
		sa.rekey = &rekeying{spi: e.newSPI(), ni: e.random(nonceLen), offers: ikeOffers(sa.conn.cfg.Proposals), tried: map[ikev2.KEID]bool{}}
		method := sa.conn.cfg.Proposals[0].KE[0]
		for _, p := range sa.conn.cfg.Proposals {
			if contains(p.KE, sa.suite.KE) {
				method = sa.suite.KE // the peer takes it
			}
		}
		e.rekeyKE(sa, method)
		return true
	})
}

// rekeyIKEIn rekeys in a while. There is one alarm an SA, so that tries do not multiply.
func (e *Engine) rekeyIKEIn(sa *ikeSA, in time.Duration) {
	sa.timers.rekey.stop()
	sa.timers.rekey = e.after(in, func() { e.rekeyIKE(sa) })
}

func (e *Engine) rekeyKE(sa *ikeSA, method ikev2.KEID) {
	r := sa.rekey
	r.method = method
	r.tried[method] = true
	e.compute(sa, suite.KEJob{Op: suite.Generate, Method: method}, func(res suite.KEResult) {
		if sa.rekey != r {
			closeResult(res)
			return
		}
		if res.Err != nil {
			e.rekeyFailed(sa, res.Err.Error(), time.Minute)
			return
		}
		closeResult(r.private)
		r.private = res
		e.sendRekey(sa, res.Public)
	})
}

// --> CREATE_CHILD_SA { SA, Ni, KEi }
func (e *Engine) sendRekey(sa *ikeSA, public []byte) {
	r := sa.rekey
	spi := binary.BigEndian.AppendUint64(nil, r.spi)
	e.ask(sa, ikev2.CREATE_CHILD_SA, []wire.Payload{&wire.SA{Proposals: proposals(r.offers, ikev2.ProtocolIKE, spi)},
		&wire.Nonce{Data: r.ni}, &wire.KE{Method: r.method, Data: public}}, func(rep reply) {
		if sa.rekey == r {
			e.rekeyResponse(sa, rep)
		}
	}, nil)
}

// <-- CREATE_CHILD_SA { SA, Nr, KEr, [N(ADDITIONAL_KEY_EXCHANGE)] }  or  { N(error) }
func (e *Engine) rekeyResponse(sa *ikeSA, rep reply) {
	r := sa.rekey
	if rep.shape != wire.IKERekey {
		e.rekeyRefused(sa, wire.FindError(rep.ps))
		return
	}
	answer, ke := wire.Find[*wire.SA](rep.ps), wire.Find[*wire.KE](rep.ps)
	chosen, err := accept(r.offers, answer.Proposals, ikev2.ProtocolIKE, 8)
	if err == nil && (chosen.ke != r.method || ke.Method != r.method || len(ke.Data) != suite.PublicLen(r.method, true)) {
		err = errors.New("its key exchange is not the one that was sent")
	}
	var spiR uint64
	if err == nil {
		if spiR = binary.BigEndian.Uint64(answer.Proposals[0].SPI); spiR == 0 {
			err = errors.New("it has no SPI")
		}
	}
	if err != nil {
		e.rekeyFailed(sa, err.Error(), time.Minute)
		return
	}
	r.chosen, r.nr = chosen, append([]byte(nil), wire.Find[*wire.Nonce](rep.ps).Data...)
	if p := sa.peerRekey; p != nil && len(chosen.rounds()) > 0 && string(lower(r.ni, r.nr)) < string(p.lowest) {
		// RFC 9370 section 2.2.4: the exchange with the lowest nonce stops; there is nothing to delete yet.
		sa.dropRekey()
		if next := sa.peerSuccessor(); next != nil {
			e.finishRekey(sa, next)
		}
		return
	}
	live := func() bool { return !sa.closed && sa.rekey == r }
	fail := func(why string) { e.rekeyFailed(sa, why, time.Minute) }
	link := linkOf(rep.ps)
	e.finishKE(sa, r.method, &r.private, ke.Data, &r.shared, live, fail, func() {
		e.followRounds(sa, chosen.rounds(), link, &r.shared, live, fail, func() {
			next, err := e.successor(sa, true, r.spi, spiR, chosen, r.shared, r.ni, r.nr)
			if err != nil {
				fail(err.Error())
				return
			}
			e.rekeyed(sa, next)
		})
	})
}

// successor makes the IKE SA that replaces sa (RFC 7296 section 2.18): its message IDs begin at 0, its original initiator is who began
// this exchange. It has no children yet.
func (e *Engine) successor(sa *ikeSA, initiator bool, spiI, spiR uint64, chosen pick, shared []secret.Bytes, ni, nr []byte) (*ikeSA, error) {
	seed, err := suite.RekeySKEYSEED(sa.suite.PRF, sa.keys.SKd, shared, ni, nr)
	if err != nil {
		return nil, err
	}
	defer seed.Close()
	next := &ikeSA{
		initiator: initiator, state: stateUp, spiI: spiI, spiR: spiR, local: sa.local, remote: sa.remote, conn: sa.conn, suite: chosen.suite(),
		fragments: sa.fragments, natLocal: sa.natLocal, natRemote: sa.natRemote, encap: sa.encap, peerID: sa.peerID, grant: sa.grant, reauthAt: sa.reauthAt, tally: sa.tally,
		established: e.now, lastIn: e.now, lastOut: e.now,
	}
	keys, err := suite.DeriveIKEKeys(next.suite, seed, ni, nr, spiI, spiR)
	if err != nil {
		return nil, err
	}
	if err := next.setKeys(e, keys); err != nil {
		return nil, err
	}
	sa.refusals = 0
	e.sas[next.ownSPI()] = next
	sa.conn.sas = append(sa.conn.sas, next)
	e.live1(next)
	return next, nil
}

// rekeyed: our rekey is through. If the peer's of the same SA is too, the lowest nonce decides which new SA is closed by who made it
// (RFC 7296 section 2.8.2).
func (e *Engine) rekeyed(sa, next *ikeSA) {
	r := sa.rekey
	if p := sa.peerRekey; p != nil && string(lower(r.ni, r.nr)) < string(p.lowest) {
		sa.dropRekey()
		if theirs := sa.peerSuccessor(); theirs != nil {
			e.finishRekey(sa, theirs)
		}
		next.state = stateRekeyed
		e.deleteIKE(next, "the peer's rekey of the same SA stays", false)
		return
	}
	e.finishRekey(sa, next)
	e.deleteIKE(sa, "rekeyed", false)
}

// finishRekey moves the children to the successor; what is left of sa waits for its Delete.
func (e *Engine) finishRekey(sa, next *ikeSA) {
	sa.dropRekey()
	next.undecided = false
	sa.state = stateRekeyed
	sa.timers.rekey.stop()
	sa.timers.renew.stop()
	sa.timers.dpd.stop()
	sa.timers.keepalive.stop()
	for _, ch := range sa.children {
		ch.sa = next
	}
	next.children = append(next.children, sa.children...)
	sa.children = nil
	for _, t := range sa.queue {
		if t.what != "rekey IKE" && t.what != "liveness" {
			next.queue = append(next.queue, t)
		}
	}
	sa.queue = nil
	e.log(status.Event{Level: "info", Event: "ike-rekeyed", Connection: sa.conn.cfg.Name, Peer: sa.remote.String(), Text: "IKE SA replaced, " + next.suite.String()})
	e.createWanted(next)
	e.next(next)
	e.settle(sa.conn)
	// The peer may never delete it.
	sa.timers.hard.stop()
	sa.timers.hard = e.after(time.Minute, func() { e.deleteIKE(sa, "rekeyed", false) })
}

func (e *Engine) rekeyRefused(sa *ikeSA, n *wire.Notify) {
	r := sa.rekey
	if n == nil {
		e.rekeyFailed(sa, "the answer has neither an SA nor a reason", time.Minute)
		return
	}
	if n.Type == ikev2.INVALID_KE_PAYLOAD {
		v, ok := n.Uint16()
		method := ikev2.KEID(v)
		for _, o := range r.offers {
			if ok && !r.tried[method] && contains(o.ke, method) {
				r.ni = e.random(nonceLen)
				e.rekeyKE(sa, method)
				return
			}
		}
	}
	if sa.peerRekey == nil {
		// CC-07: a peer without CREATE_CHILD_SA, or one that has been busy for too long, gets a new IKE SA from scratch.
		if !sa.patience() {
			e.deleteIKE(sa, fmt.Sprintf("the peer does not rekey the IKE SA: %v", n.Type), true)
			return
		}
	}
	e.rekeyFailed(sa, n.Type.String(), sa.busyFor())
}

// rekeyFailed lets the old SA go on, or the peer's successor if there is one, and tries again later.
func (e *Engine) rekeyFailed(sa *ikeSA, why string, gap time.Duration) {
	sa.dropRekey()
	if theirs := sa.peerSuccessor(); theirs != nil {
		e.finishRekey(sa, theirs)
		return
	}
	if why != ikev2.TEMPORARY_FAILURE.String() {
		e.problem(sa.conn, sa, status.Problem{Code: "rekey", Text: fmt.Sprintf("%s did not rekey the IKE SA: %s", sa.remote, why), Ours: describeOffers(ikeOffers(sa.conn.cfg.Proposals))})
	}
	e.rekeyIKEIn(sa, gap+e.spread(gap))
	e.next(sa)
}

// rekeyIKERequest answers the peer's rekey.
func (e *Engine) rekeyIKERequest(sa *ikeSA, ps []wire.Payload) {
	refuse := func(n *wire.Notify) { e.answer(sa, ikev2.CREATE_CHILD_SA, n) }
	// RFC 7296 section 2.25.2; and our own rekey whose first answer is in has priority (RFC 9370 section 2.2.4).
	if sa.state != stateUp || sa.making != nil || len(sa.followups) > 0 || sa.peerRekey != nil || sa.deletingChild() || sa.rekey != nil && sa.rekey.nr != nil {
		refuse(wire.NotifyStatus(ikev2.TEMPORARY_FAILURE, nil))
		return
	}
	offered := wire.Find[*wire.SA](ps).Proposals
	chosen, proposal, ok := choose(ikeOffers(sa.conn.cfg.Proposals), offered, ikev2.ProtocolIKE, 8, true)
	if !ok || binary.BigEndian.Uint64(proposal.SPI) == 0 {
		e.problem(sa.conn, sa, status.Problem{Code: "no-proposal-chosen", Text: fmt.Sprintf("NO_PROPOSAL_CHOSEN: nothing that %s proposes for the rekey of the IKE SA is in the policy", sa.remote),
			Ours: describeOffers(ikeOffers(sa.conn.cfg.Proposals)), Theirs: describeProposals(offered)})
		refuse(wire.NotifyStatus(ikev2.NO_PROPOSAL_CHOSEN, nil))
		return
	}
	ke := wire.Find[*wire.KE](ps)
	if ke.Method != chosen.ke {
		refuse(wire.NotifyInvalidKE(chosen.ke))
		return
	}
	ni, nr := append([]byte(nil), wire.Find[*wire.Nonce](ps).Data...), e.random(nonceLen)
	spiI, spiR := binary.BigEndian.Uint64(proposal.SPI), e.newSPI()
	p := &peerRekeying{lowest: lower(ni, nr)}
	sa.peerRekey = p
	forget := func() {
		if sa.peerRekey == p {
			sa.peerRekey = nil
			e.next(sa)
		}
	}
	e.compute(sa, suite.KEJob{Op: suite.Respond, Method: ke.Method, Peer: append([]byte(nil), ke.Data...)}, func(r suite.KEResult) {
		if r.Err != nil {
			forget()
			refuse(wire.NotifyStatus(ikev2.INVALID_SYNTAX, nil))
			return
		}
		shared := &[]secret.Bytes{r.Shared}
		out := []wire.Payload{&wire.SA{Proposals: []wire.Proposal{chosen.proposal(ikev2.ProtocolIKE, binary.BigEndian.AppendUint64(nil, spiR))}},
			&wire.Nonce{Data: nr}, &wire.KE{Method: ke.Method, Data: r.Public}}
		finish := func(done func(*wire.Notify)) {
			next, err := e.successor(sa, false, spiI, spiR, chosen, *shared, ni, nr)
			closeAll(*shared)
			if err != nil {
				forget()
				done(wire.NotifyStatus(ikev2.TEMPORARY_FAILURE, nil))
				return
			}
			done(nil)
			p.next = next
			e.peerRekeyed(sa, next)
		}
		if rounds := chosen.rounds(); len(rounds) > 0 {
			link := e.awaitRounds(sa, rounds, shared, func() {
				closeAll(*shared)
				forget()
			}, finish)
			e.answer(sa, ikev2.CREATE_CHILD_SA, append(out, wire.NotifyStatus(ikev2.ADDITIONAL_KEY_EXCHANGE, link))...)
			return
		}
		finish(func(failure *wire.Notify) {
			if failure != nil {
				out = []wire.Payload{failure}
			}
			e.answer(sa, ikev2.CREATE_CHILD_SA, out...)
		})
	})
}

// peerRekeyed: the peer's successor stands. While our own rekey of the same SA is out, which one stays is open.
func (e *Engine) peerRekeyed(sa, next *ikeSA) {
	switch {
	case sa.closed:
		e.close(next)
	case sa.rekey != nil:
		next.undecided = true
	case sa.state == stateUp:
		e.finishRekey(sa, next)
	}
}

func (sa *ikeSA) deletingChild() bool {
	for _, ch := range sa.children {
		if ch.state == childDeleting {
			return true
		}
	}
	return false
}
