package engine

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/status"
)

const (
	nonceLen       = 32 // half of the largest PRF key, and enough for every PRF (IN-03)
	maxInitRetries = 8  // COOKIE and INVALID_KE_PAYLOAD in one attempt (KE-04)
	// errorGrace is how long a real answer may still come after an error that anybody could have forged (IN-17).
	errorGrace = 2 * time.Second
)

// initiate begins a new IKE SA for c.
func (e *Engine) initiate(c *conn) {
	sa := &ikeSA{
		initiator: true, conn: c, spiI: e.newSPI(), lastIn: e.now,
		local: netip.AddrPortFrom(c.cfg.Local.Address, portIKE), remote: netip.AddrPortFrom(c.cfg.Remote.Address, portIKE),
		setup: &setup{nonceI: e.random(nonceLen), tried: map[ikev2.KEID]bool{}},
	}
	sa.setup.proposals = proposals(ikeOffers(c.cfg.Proposals), ikev2.ProtocolIKE, nil)
	e.sas[sa.spiI] = sa
	c.sas = append(c.sas, sa)
	e.log(status.Event{Level: "info", Event: "ike-connecting", Connection: c.cfg.Name, Peer: sa.remote.String(), Text: "begins to negotiate"})
	e.initKE(sa, c.cfg.Proposals[0].KE[0])
}

// initKE makes a key pair of this method and sends IKE_SA_INIT with it.
func (e *Engine) initKE(sa *ikeSA, method ikev2.KEID) {
	s := sa.setup
	s.tried[method] = true
	e.compute(sa, suite.KEJob{Op: suite.Generate, Method: method}, func(r suite.KEResult) {
		if r.Err != nil {
			e.setupFailed(sa, status.Problem{Code: "internal", Text: fmt.Sprintf("cannot make a key pair: %v", r.Err)})
			return
		}
		closeResult(s.kePrivate)
		s.kePrivate, s.kePublic, s.keMethod = r, r.Public, method
		e.sendInit(sa)
	})
}

// sendInit sends, or sends again with a cookie or another key exchange, the first request: all else stays as it was (CK-03, KE-03).
//
//	--> IKE_SA_INIT { [N(COOKIE),] SAi1, KEi, Ni, N(NAT_DETECTION_*), N(…) }
func (e *Engine) sendInit(sa *ikeSA) {
	s, cfg := sa.setup, sa.conn.cfg
	var ps []wire.Payload
	if s.cookie != nil {
		ps = append(ps, wire.NotifyStatus(ikev2.COOKIE, s.cookie))
	}
	ps = append(ps, &wire.SA{Proposals: s.proposals}, &wire.KE{Method: s.keMethod, Data: s.kePublic}, &wire.Nonce{Data: s.nonceI})
	if s.natPayloads == nil {
		s.natPayloads = e.natNotifies(sa, cfg.ForceEncap)
	}
	ps = append(ps, s.natPayloads...)
	if cfg.FragmentSize > 0 {
		ps = append(ps, wire.NotifyStatus(ikev2.IKEV2_FRAGMENTATION_SUPPORTED, nil))
	}
	for _, p := range cfg.Proposals {
		if len(p.AddKE) > 0 {
			ps = append(ps, wire.NotifyStatus(ikev2.INTERMEDIATE_EXCHANGE_SUPPORTED, nil))
			break
		}
	}
	if signatures(&cfg) {
		ps = append(ps, ourHashes())
	}
	b, err := wire.AppendMessage(nil, sa.header(ikev2.IKE_SA_INIT, 0, false), ps)
	if err != nil {
		e.setupFailed(sa, status.Problem{Code: "internal", Text: fmt.Sprintf("cannot write IKE_SA_INIT: %v", err)})
		return
	}
	if sa.request != nil {
		sa.request.timer.stop()
	}
	s.initI = b
	e.transmit(sa, &request{exchange: ikev2.IKE_SA_INIT, datagrams: [][]byte{b}})
}

// initResponse takes an answer to IKE_SA_INIT. Nothing of it is authentic yet, so what makes no sense is dropped and the real answer
// awaited.
func (e *Engine) initResponse(d Datagram, h wire.Header) {
	sa := e.sas[h.SPIi]
	if sa == nil || !sa.initiator || sa.state != stateInit || sa.request == nil || sa.request.exchange != ikev2.IKE_SA_INIT ||
		d.Remote.Addr() != sa.remote.Addr() {
		return
	}
	m, err := wire.ParseMessage(d.Data)
	if err != nil {
		return
	}
	shape, err := wire.Classify(h.Exchange, true, m.Payloads)
	if err != nil {
		return
	}
	if shape == wire.InitChoice {
		e.initChoice(sa, d, h, m.Payloads)
		return
	}
	s := sa.setup
	if n := wire.FindNotify(m.Payloads, ikev2.COOKIE); n != nil {
		if c, ok := n.Cookie(); ok && s.retries < maxInitRetries {
			s.retries++
			s.cookie = append([]byte(nil), c...)
			e.sendInit(sa)
		}
		return
	}
	if n := wire.FindNotify(m.Payloads, ikev2.INVALID_KE_PAYLOAD); n != nil {
		e.otherKE(sa, n)
		return
	}
	if n := wire.FindError(m.Payloads); n != nil && s.refused == nil {
		s.refused = &wire.Notify{Type: n.Type}
		sa.request.timer.stop()
		e.after(errorGrace, func() {
			if !sa.closed && sa.setup == s && sa.request != nil && sa.request.exchange == ikev2.IKE_SA_INIT {
				e.initRefused(sa, s.refused.Type)
			}
		})
	}
}

// otherKE tries the key exchange that the responder wants, if we offered it and did not just use it (KE-02).
func (e *Engine) otherKE(sa *ikeSA, n *wire.Notify) {
	s := sa.setup
	v, ok := n.Uint16()
	method := ikev2.KEID(v)
	if !ok || s.tried[method] || s.retries >= maxInitRetries {
		return
	}
	for _, p := range sa.conn.cfg.Proposals {
		if contains(p.KE, method) {
			s.retries++
			sa.request.timer.stop()
			e.initKE(sa, method)
			return
		}
	}
}

func (e *Engine) initRefused(sa *ikeSA, t ikev2.NotifyType) {
	p := status.Problem{Code: "refused", Text: fmt.Sprintf("%s refused IKE_SA_INIT with %v", sa.remote, t)}
	if t == ikev2.NO_PROPOSAL_CHOSEN {
		p = status.Problem{Code: "no-proposal-chosen", Text: fmt.Sprintf("%s answered NO_PROPOSAL_CHOSEN: it accepts none of our IKE proposals", sa.remote),
			Ours: describeOffers(ikeOffers(sa.conn.cfg.Proposals)), Theirs: []string{"not told; the peer's own log has them"},
			Hint: "add a proposal that the peer accepts to the connection, or one of ours to the peer"}
	}
	e.setupFailed(sa, p)
}

// setupFailed ends an attempt with a reason for the operator.
func (e *Engine) setupFailed(sa *ikeSA, p status.Problem) {
	if sa.conn != nil {
		e.problem(sa.conn, sa, p)
	}
	e.dead(sa, p.Text)
}

// initChoice takes the responder's choice and derives the first keys.
//
//	<-- IKE_SA_INIT { SAr1, KEr, Nr, N(NAT_DETECTION_*), N(…) }
func (e *Engine) initChoice(sa *ikeSA, d Datagram, h wire.Header, ps []wire.Payload) {
	s, cfg := sa.setup, sa.conn.cfg
	chosen, err := accept(ikeOffers(cfg.Proposals), wire.Find[*wire.SA](ps).Proposals, ikev2.ProtocolIKE, 0)
	ke := wire.Find[*wire.KE](ps)
	switch {
	case err != nil:
	case chosen.ke != s.keMethod || ke.Method != s.keMethod:
		err = fmt.Errorf("the answer's key exchange is %v, sent was %v", ke.Method, s.keMethod)
	case len(ke.Data) != suite.PublicLen(ke.Method, true):
		err = fmt.Errorf("%v data of %d octets", ke.Method, len(ke.Data))
	}
	s.inter = wire.FindNotify(ps, ikev2.INTERMEDIATE_EXCHANGE_SUPPORTED) != nil
	if err == nil && len(chosen.rounds()) > 0 && !s.inter {
		err = fmt.Errorf("the peer chose additional key exchanges and does not speak IKE_INTERMEDIATE")
	}
	if err != nil {
		e.log(status.Event{Level: "warn", Event: "bad-response", Connection: cfg.Name, Peer: sa.remote.String(), Text: fmt.Sprintf("IKE_SA_INIT response dropped: %v", err)})
		return
	}
	sa.request.timer.stop()
	sa.request = nil
	sa.suite = chosen.suite()
	sa.spiR = h.SPIr
	s.nonceR = append([]byte(nil), wire.Find[*wire.Nonce](ps).Data...)
	s.initR = append([]byte(nil), d.Data...)
	s.learnSignatures(ps)
	sa.fragments = cfg.FragmentSize > 0 && wire.FindNotify(ps, ikev2.IKEV2_FRAGMENTATION_SUPPORTED) != nil
	sa.detectNAT(ps, h.SPIr, cfg.ForceEncap)
	private := s.kePrivate.Private
	s.kePrivate = suite.KEResult{}
	e.compute(sa, suite.KEJob{Op: suite.Finish, Method: s.keMethod, Private: private, Peer: append([]byte(nil), ke.Data...)}, func(r suite.KEResult) {
		if err := e.firstKeys(sa, r); err != nil {
			e.setupFailed(sa, status.Problem{Code: "key-exchange", Text: fmt.Sprintf("key exchange with %s failed: %v", sa.remote, err)})
			return
		}
		sa.nextOut = 1
		sa.float()
		e.nextRound(sa)
	})
}

// firstKeys derives the keys that IKE_SA_INIT makes (RFC 7296 section 2.14).
func (e *Engine) firstKeys(sa *ikeSA, r suite.KEResult) error {
	defer closeResult(r)
	if r.Err != nil {
		return r.Err
	}
	s := sa.setup
	seed, err := suite.InitialSKEYSEED(sa.suite.PRF, r.Shared, s.nonceI, s.nonceR)
	if err != nil {
		return err
	}
	defer seed.Close()
	keys, err := suite.DeriveIKEKeys(sa.suite, seed, s.nonceI, s.nonceR, sa.spiI, sa.spiR)
	if err != nil {
		return err
	}
	return sa.setKeys(e, keys)
}
