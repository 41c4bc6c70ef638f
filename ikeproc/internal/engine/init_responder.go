package engine

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/status"
)

// halfOpenLife is how long an initiator may take from IKE_SA_INIT to IKE_AUTH.
const halfOpenLife = 30 * time.Second

// initKey recognises a repeated IKE_SA_INIT request: SPI, source and the whole message (TR-13).
type initKey struct {
	spiI   uint64
	remote netip.AddrPort
	hash   [32]byte
}

// initRequest answers a stranger's first request.
//
//	--> IKE_SA_INIT { [N(COOKIE),] SAi1, KEi, Ni, … }
func (e *Engine) initRequest(d Datagram, h wire.Header) {
	if h.SPIr != 0 || h.MessageID != 0 || !h.Initiator || e.exiting {
		return
	}
	key := initKey{h.SPIi, d.Remote, sha256.Sum256(d.Data)}
	if sa := e.inits[key]; sa != nil {
		if sa.setup != nil && sa.setup.initR != nil { // else: the answer is being made
			e.emit(Send{Local: sa.local, Remote: sa.remote, Data: sa.setup.initR})
		}
		return
	}
	if e.half >= e.cfg.Limits.MaxHalfOpen || len(e.sas) >= e.cfg.Limits.MaxSAs {
		return
	}
	m, err := wire.ParseMessage(d.Data)
	if err == nil {
		_, err = wire.Classify(h.Exchange, false, m.Payloads)
	}
	if err != nil {
		var fault *wire.Error
		if errors.As(err, &fault) && fault.Reply() != nil && e.strange.allow(e.now, 10, 20) {
			e.sendUnprotected(d, h.Answer(), fault.Reply())
		}
		return
	}
	if e.cookieRequired(d, h, wire.Find[*wire.Nonce](m.Payloads), m.Payloads) {
		return
	}
	e.initChoose(d, h, m.Payloads, key)
}

// initChoose picks a proposal among those of the connections that the addresses leave possible.
func (e *Engine) initChoose(d Datagram, h wire.Header, ps []wire.Payload, key initKey) {
	candidates := e.candidates(d.Local.Addr(), d.Remote.Addr())
	offered := wire.Find[*wire.SA](ps).Proposals
	inter := wire.FindNotify(ps, ikev2.INTERMEDIATE_EXCHANGE_SUPPORTED) != nil
	var chosen pick
	var fits []*conn
	for _, c := range candidates {
		p, _, ok := choose(ikeOffers(c.cfg.Proposals), offered, ikev2.ProtocolIKE, 0, inter)
		switch {
		case !ok:
		case len(fits) == 0:
			chosen, fits = p, []*conn{c}
		case p == chosen:
			fits = append(fits, c)
		}
	}
	if len(fits) == 0 {
		e.noProposal(d, candidates, offered)
		e.sendUnprotected(d, h.Answer(), wire.NotifyStatus(ikev2.NO_PROPOSAL_CHOSEN, nil))
		return
	}
	ke := wire.Find[*wire.KE](ps)
	if ke.Method != chosen.ke {
		e.sendUnprotected(d, h.Answer(), wire.NotifyInvalidKE(chosen.ke)) // KE-01
		return
	}
	if len(ke.Data) != suite.PublicLen(ke.Method, false) {
		if e.strange.allow(e.now, 10, 20) {
			e.sendUnprotected(d, h.Answer(), wire.NotifyStatus(ikev2.INVALID_SYNTAX, nil))
		}
		return
	}
	e.initAccept(d, h, ps, key, chosen, fits)
}

// noProposal tells the operator both lists. A stranger whose address no connection has is one line in the log.
func (e *Engine) noProposal(d Datagram, candidates []*conn, offered []wire.Proposal) {
	if len(candidates) == 0 {
		if e.strange.allow(e.now, 10, 20) {
			e.log(status.Event{Level: "info", Event: "unknown-peer", Peer: d.Remote.String(),
				Text: fmt.Sprintf("IKE_SA_INIT from %s to %s: no connection of the policy has these addresses", d.Remote, d.Local)})
		}
		return
	}
	for _, c := range candidates[:min(len(candidates), 4)] {
		e.problem(c, nil, status.Problem{Code: "no-proposal-chosen",
			Text: fmt.Sprintf("NO_PROPOSAL_CHOSEN: nothing that %s proposes for the IKE SA is in the policy", d.Remote),
			Ours: describeOffers(ikeOffers(c.cfg.Proposals)), Theirs: describeProposals(offered),
			Hint: "add one of the peer's proposals to the connection, or one of ours to the peer"})
	}
}

// initAccept makes the half-open SA and answers once the key exchange is computed.
//
//	<-- IKE_SA_INIT { SAr1, KEr, Nr, N(NAT_DETECTION_*), N(…) }
func (e *Engine) initAccept(d Datagram, h wire.Header, ps []wire.Payload, key initKey, chosen pick, fits []*conn) {
	sa := &ikeSA{
		spiI: h.SPIi, spiR: e.newSPI(), local: d.Local, remote: d.Remote, lastIn: e.now, half: true, key: key, suite: chosen.suite(), nextIn: 1,
		setup: &setup{candidates: fits, initI: append([]byte(nil), d.Data...), nonceI: append([]byte(nil), wire.Find[*wire.Nonce](ps).Data...), nonceR: e.random(nonceLen)},
	}
	e.sas[sa.spiR], e.inits[key] = sa, sa
	e.half++
	sa.timers.half = e.after(halfOpenLife, func() { e.dead(sa, "the peer did not go on to IKE_AUTH") })
	first := fits[0].cfg
	sa.detectNAT(ps, 0, first.ForceEncap)
	s := sa.setup
	s.learnSignatures(ps)
	s.inter = len(chosen.rounds()) > 0
	sa.fragments = first.FragmentSize > 0 && wire.FindNotify(ps, ikev2.IKEV2_FRAGMENTATION_SUPPORTED) != nil
	ke := wire.Find[*wire.KE](ps)
	e.compute(sa, suite.KEJob{Op: suite.Respond, Method: ke.Method, Peer: append([]byte(nil), ke.Data...)}, func(r suite.KEResult) {
		if errors.Is(r.Err, suite.ErrPublicValue) && e.strange.allow(e.now, 10, 20) {
			e.sendUnprotected(d, h.Answer(), wire.NotifyStatus(ikev2.INVALID_SYNTAX, nil))
		}
		public := r.Public
		if err := e.firstKeys(sa, r); err != nil {
			e.dead(sa, err.Error())
			return
		}
		out := []wire.Payload{&wire.SA{Proposals: []wire.Proposal{chosen.proposal(ikev2.ProtocolIKE, nil)}},
			&wire.KE{Method: ke.Method, Data: public}, &wire.Nonce{Data: s.nonceR}}
		out = append(out, e.natNotifies(sa, first.ForceEncap)...)
		if sa.fragments {
			out = append(out, wire.NotifyStatus(ikev2.IKEV2_FRAGMENTATION_SUPPORTED, nil))
		}
		if s.inter {
			out = append(out, wire.NotifyStatus(ikev2.INTERMEDIATE_EXCHANGE_SUPPORTED, nil))
		}
		out = append(out, e.signatureOffer(fits)...)
		b, err := wire.AppendMessage(nil, sa.header(ikev2.IKE_SA_INIT, 0, true), out)
		if err != nil {
			e.dead(sa, err.Error())
			return
		}
		s.initR = b
		e.send(sa, [][]byte{b})
	})
}

// signatureOffer says to whoever may have to sign by which hashes, and for certificates of which authorities.
func (e *Engine) signatureOffer(fits []*conn) (out []wire.Payload) {
	hashes, names := false, false
	for _, c := range fits {
		hashes, names = hashes || signatures(&c.cfg), names || certified(&c.cfg)
	}
	if names {
		out = append(out, requestPayloads(e.authorities)...)
	}
	if hashes {
		out = append(out, ourHashes())
	}
	return out
}
