package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/status"
)

// createRequest answers a request for a new child or the rekey of one.
//
//	--> CREATE_CHILD_SA { [N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr }
func (e *Engine) createRequest(sa *ikeSA, ps []wire.Payload) {
	refuse := func(n *wire.Notify) { e.answer(sa, ikev2.CREATE_CHILD_SA, n) }
	if sa.state != stateUp || sa.rekey != nil || sa.peerRekey != nil {
		refuse(wire.NotifyStatus(ikev2.TEMPORARY_FAILURE, nil)) // RFC 7296 section 2.25.2
		return
	}
	if len(sa.children) >= e.cfg.Limits.MaxChildren {
		refuse(wire.NotifyStatus(ikev2.NO_ADDITIONAL_SAS, nil))
		return
	}
	var old *childSA
	if r := wire.FindNotify(ps, ikev2.REKEY_SA); r != nil {
		spi, _ := r.ChildSPI()
		old = sa.childOut(spi)
		switch {
		case old == nil:
			refuse(wire.NotifyChild(ikev2.CHILD_SA_NOT_FOUND, ikev2.ProtocolESP, spi))
			return
		case old.state == childDeleting || old.peerLowest != nil || sa.making != nil && sa.making.old == old && sa.making.nr != nil:
			// We are closing it, or our own rekey of it is through or nearly so (RFC 7296 section 2.25.1, RFC 9370 section 2.2.4).
			refuse(wire.NotifyStatus(ikev2.TEMPORARY_FAILURE, nil))
			return
		}
	}
	n := &childNegotiation{conn: sa.conn, old: old, ni: append([]byte(nil), wire.Find[*wire.Nonce](ps).Data...), nr: e.random(nonceLen)}
	if old != nil {
		old.peerLowest = lower(n.ni, n.nr)
	}
	sa.answeringChild = n
	e.childRequest(sa, n, keep(ps), wire.Find[*wire.KE](ps), func(out []wire.Payload) {
		sa.answeringChild = nil
		e.answer(sa, ikev2.CREATE_CHILD_SA, out...)
	})
}

// childRequest negotiates a child as the responder, in IKE_AUTH or CREATE_CHILD_SA. respond gets the payloads for the response: the child, which
// then stands in the datapath (or waits for follow-up exchanges), or a notify that says why there is none.
func (e *Engine) childRequest(sa *ikeSA, n *childNegotiation, ps []wire.Payload, ke *wire.KE, respond func([]wire.Payload)) {
	refuse := func(t ikev2.NotifyType, p status.Problem) {
		p.Text = fmt.Sprintf("%v: child from %s refused: %s", t, sa.remote, p.Text)
		e.problem(sa.conn, sa, p)
		e.releaseChild(n)
		respond([]wire.Payload{wire.NotifyStatus(t, nil)})
	}
	inAuth := sa.setup != nil
	if inAuth {
		n.ni, n.nr = sa.setup.nonceI, sa.setup.nonceR
	}
	offered := wire.Find[*wire.SA](ps).Proposals
	if t, p, ok := e.chooseChild(sa, n, ps, offered, !inAuth); !ok {
		refuse(t, p)
		return
	}
	n.relieves = n.old == nil && sa.relieves(n.cfg.Name, inAuth && wire.FindNotify(ps, ikev2.INITIAL_CONTACT) != nil)
	pfs := n.chosen.hasKE && n.chosen.ke != ikev2.KE_NONE
	if pfs && (ke == nil || ke.Method != n.chosen.ke) {
		e.releaseChild(n)
		respond([]wire.Payload{wire.NotifyInvalidKE(n.chosen.ke)})
		return
	}
	finish := func(kePayload []wire.Payload) {
		e.reserveSPI(sa, n, func(problem string) {
			if problem != "" {
				refuse(ikev2.TEMPORARY_FAILURE, status.Problem{Code: "internal", Text: "no SPI: " + problem})
				return
			}
			e.childRespond(sa, n, inAuth, kePayload, respond, refuse)
		})
	}
	if !pfs {
		finish(nil)
		return
	}
	e.compute(sa, suite.KEJob{Op: suite.Respond, Method: ke.Method, Peer: append([]byte(nil), ke.Data...)}, func(r suite.KEResult) {
		if r.Err != nil {
			t := ikev2.TEMPORARY_FAILURE
			if errors.Is(r.Err, suite.ErrPublicValue) {
				t = ikev2.INVALID_SYNTAX
			}
			refuse(t, status.Problem{Code: "key-exchange", Text: r.Err.Error()})
			return
		}
		n.shared = append(n.shared, r.Shared)
		finish([]wire.Payload{&wire.KE{Method: ke.Method, Data: r.Public}})
	})
}

// chooseChild finds the child of the plan that the peer means, its selectors and its proposal.
func (e *Engine) chooseChild(sa *ikeSA, n *childNegotiation, ps []wire.Payload, offered []wire.Proposal, pfs bool) (ikev2.NotifyType, status.Problem, bool) {
	c := sa.conn
	theirRemote, theirLocal := fromWire(wire.FindTS(ps, false)), fromWire(wire.FindTS(ps, true))
	transport := wire.FindNotify(ps, ikev2.USE_TRANSPORT_MODE) != nil
	if transport {
		sa.natTransport(theirLocal, theirRemote)
	}
	best := -1
	for i := range c.cfg.Children {
		cfg := &c.cfg.Children[i]
		if n.old != nil && cfg.Name != n.old.cfg.Name {
			continue
		}
		if cfg.Mode == plan.ModeTransport && !transport {
			continue
		}
		try := childNegotiation{cfg: *cfg}
		local, remote := try.ownSelectors(sa)
		l, r := narrow(local, theirLocal), narrow(remote, theirRemote)
		if len(l) == 0 || len(r) == 0 {
			continue
		}
		// A child that takes all that was asked for is meant before one that takes a part; one that is not up before one that is.
		score := 1
		if allCovered(theirLocal, local) && allCovered(theirRemote, remote) {
			score += 2
		}
		if !c.hasChild(cfg.Name) {
			score++
		}
		if score > best {
			best = score
			n.cfg, n.local, n.remote, n.transport = *cfg, l, r, transport && cfg.Mode == plan.ModeTransport
		}
	}
	if best < 0 {
		p := status.Problem{Code: "ts-unacceptable", Text: "no child of the connection has selectors in common with what the peer wants",
			Theirs: append(append(describeTS(theirLocal), "to"), describeTS(theirRemote)...), Hint: "compare the networks and the mode of both sides"}
		if len(c.cfg.Children) == 1 {
			p.Policy = e.place(c.cfg.Children[0].Pos)
		}
		for i := range c.cfg.Children {
			try := childNegotiation{cfg: c.cfg.Children[i]}
			l, r := try.ownSelectors(sa)
			p.Ours = append(p.Ours, fmt.Sprintf("%s (%s): %v to %v", try.cfg.Name, try.cfg.Mode, describeTS(l), describeTS(r)))
		}
		return ikev2.TS_UNACCEPTABLE, p, false
	}
	n.offers = espOffers(n.cfg.Proposals, pfs)
	chosen, proposal, ok := choose(n.offers, offered, ikev2.ProtocolESP, 4, pfs)
	if ok {
		n.chosen, n.spiOut = chosen, binary.BigEndian.Uint32(proposal.SPI)
		ok = n.spiOut >= 256
	}
	if !ok {
		return ikev2.NO_PROPOSAL_CHOSEN, status.Problem{Code: "no-proposal-chosen", Text: "none of its ESP proposals is in the policy of child " + n.cfg.Name,
			Ours: describeOffers(n.offers), Theirs: describeProposals(offered), Policy: e.place(n.cfg.Pos),
			Hint: "add one of the peer's proposals to the child, or one of ours to the peer"}, false
	}
	return 0, status.Problem{}, true
}

// childRespond installs the pair and responds, or responds and lets the additional key exchanges come first.
func (e *Engine) childRespond(sa *ikeSA, n *childNegotiation, inAuth bool, ke []wire.Payload, respond func([]wire.Payload), refuse func(ikev2.NotifyType, status.Problem)) {
	var out []wire.Payload
	if n.transport {
		out = append(out, wire.NotifyStatus(ikev2.USE_TRANSPORT_MODE, nil))
	}
	out = append(out, &wire.SA{Proposals: []wire.Proposal{n.chosen.proposal(ikev2.ProtocolESP, spiBytes(n.spiIn))}})
	if !inAuth {
		out = append(out, &wire.Nonce{Data: n.nr})
	}
	out = append(append(out, ke...), toWire(false, n.remote), toWire(true, n.local))
	install := func(then func(problem string)) {
		// The rekey's responder does not send on the new pair before its peer can receive there.
		e.install(sa, n, n.old != nil || n.relieves, func(ch *childSA, problem string) {
			if problem == "" {
				ch.madeOn, ch.seenFrom = sa, sa.nextIn+2
			}
			if problem == "" && n.old != nil {
				n.old.theirs = ch
				e.activateSoon(ch)
			}
			if problem == "" && n.relieves {
				e.relieve(ch)
			}
			then(problem)
		})
	}
	if rounds := n.chosen.rounds(); !inAuth && len(rounds) > 0 {
		link := e.awaitRounds(sa, rounds, &n.shared, func() { e.releaseChild(n) }, func(done func(*wire.Notify)) {
			install(func(problem string) {
				if problem != "" {
					e.problem(sa.conn, sa, status.Problem{Code: "install", Text: fmt.Sprintf("child %s was not installed: %s", n.cfg.Name, problem), Policy: e.place(n.cfg.Pos)})
					done(wire.NotifyStatus(ikev2.TEMPORARY_FAILURE, nil))
					return
				}
				done(nil)
			})
		})
		respond(append(out, wire.NotifyStatus(ikev2.ADDITIONAL_KEY_EXCHANGE, link)))
		return
	}
	install(func(problem string) {
		if problem != "" {
			refuse(ikev2.NO_ADDITIONAL_SAS, status.Problem{Code: "install", Text: fmt.Sprintf("child %s was not installed: %s", n.cfg.Name, problem), Policy: e.place(n.cfg.Pos)})
			return
		}
		respond(out)
	})
}
