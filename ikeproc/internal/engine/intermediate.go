package engine

import (
	"fmt"

	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
)

// nextRound goes on with the next additional key exchange, or with IKE_AUTH when there is none left (RFC 9370 section 2.2.2).
func (e *Engine) nextRound(sa *ikeSA) {
	s := sa.setup
	if s.rounds == len(sa.suite.AddKE) {
		e.startAuth(sa)
		return
	}
	method := sa.suite.AddKE[s.rounds]
	e.compute(sa, suite.KEJob{Op: suite.Generate, Method: method}, func(r suite.KEResult) {
		if r.Err != nil {
			e.setupFailed(sa, status.Problem{Code: "internal", Text: fmt.Sprintf("cannot make a %v key pair: %v", method, r.Err)})
			return
		}
		s.kePrivate = r
		e.sendIntermediate(sa, method, r.Public)
	})
}

// --> IKE_INTERMEDIATE { KEi(n) }
func (e *Engine) sendIntermediate(sa *ikeSA, method ikev2.KEID, public []byte) {
	ps := []wire.Payload{&wire.KE{Method: method, Data: public}}
	if err := sa.coverSent(sa.header(ikev2.IKE_INTERMEDIATE, sa.nextOut, false), ps); err != nil {
		e.setupFailed(sa, status.Problem{Code: "internal", Text: err.Error()})
		return
	}
	e.ask(sa, ikev2.IKE_INTERMEDIATE, ps, func(r reply) { e.intermediateResponse(sa, method, r) }, nil)
}

// <-- IKE_INTERMEDIATE { KEr(n) }
func (e *Engine) intermediateResponse(sa *ikeSA, method ikev2.KEID, r reply) {
	s := sa.setup
	ke := wire.Find[*wire.KE](r.ps)
	if n := wire.FindError(r.ps); n != nil || ke == nil || ke.Method != method || len(ke.Data) != suite.PublicLen(method, true) {
		text := fmt.Sprintf("%s answered the additional key exchange %v with nonsense", sa.remote, method)
		if n != nil {
			text = fmt.Sprintf("%s refused the additional key exchange %v: %v", sa.remote, method, n.Type)
		}
		e.setupFailed(sa, status.Problem{Code: "key-exchange", Text: text})
		return
	}
	if err := sa.coverReceived(r.in); err != nil {
		e.setupFailed(sa, status.Problem{Code: "internal", Text: err.Error()})
		return
	}
	private := s.kePrivate.Private
	s.kePrivate = suite.KEResult{}
	e.compute(sa, suite.KEJob{Op: suite.Finish, Method: method, Private: private, Peer: append([]byte(nil), ke.Data...)}, func(r suite.KEResult) {
		if err := e.roundKeys(sa, r); err != nil {
			e.setupFailed(sa, status.Problem{Code: "key-exchange", Text: fmt.Sprintf("additional key exchange %v with %s failed: %v", method, sa.remote, err)})
			return
		}
		e.nextRound(sa)
	})
}

// maxIdleRounds is how many IKE_INTERMEDIATEs without a key exchange a peer may send (IM-08): we negotiate nothing that has a use for them.
const maxIdleRounds = 8

// intermediateRequest answers a round. One without a key exchange is legal and changes no keys; AUTH covers it all the same.
func (e *Engine) intermediateRequest(sa *ikeSA, ps []wire.Payload, in wire.Inner) {
	s := sa.setup
	ke := wire.Find[*wire.KE](ps)
	wanted := s.rounds < len(sa.suite.AddKE)
	if ke == nil {
		s.idle++
	}
	if s.idle > maxIdleRounds || ke != nil && (!wanted || ke.Method != sa.suite.AddKE[s.rounds] || len(ke.Data) != suite.PublicLen(ke.Method, false)) {
		e.answer(sa, ikev2.IKE_INTERMEDIATE, wire.NotifyStatus(ikev2.INVALID_SYNTAX, nil))
		e.dead(sa, "the peer sent an IKE_INTERMEDIATE that was not negotiated")
		return
	}
	if err := sa.coverReceived(in); err != nil {
		e.dead(sa, err.Error())
		return
	}
	if ke == nil {
		e.answerIntermediate(sa, nil)
		return
	}
	e.compute(sa, suite.KEJob{Op: suite.Respond, Method: ke.Method, Peer: append([]byte(nil), ke.Data...)}, func(r suite.KEResult) {
		if r.Err != nil {
			e.answer(sa, ikev2.IKE_INTERMEDIATE, wire.NotifyStatus(ikev2.INVALID_SYNTAX, nil))
			e.dead(sa, fmt.Sprintf("additional key exchange: %v", r.Err))
			return
		}
		if !e.answerIntermediate(sa, []wire.Payload{&wire.KE{Method: ke.Method, Data: r.Public}}) {
			closeResult(r)
			return
		}
		if err := e.roundKeys(sa, r); err != nil {
			e.dead(sa, err.Error())
		}
	})
}

func (e *Engine) answerIntermediate(sa *ikeSA, ps []wire.Payload) bool {
	if err := sa.coverSent(sa.header(ikev2.IKE_INTERMEDIATE, sa.nextIn, true), ps); err != nil {
		e.dead(sa, err.Error())
		return false
	}
	return e.answer(sa, ikev2.IKE_INTERMEDIATE, ps...)
}

// roundKeys mixes one more shared secret into the keys (RFC 9370 section 2.2.2). The old inbound key stays for the sake of a repeated request.
func (e *Engine) roundKeys(sa *ikeSA, r suite.KEResult) error {
	defer closeResult(r)
	if r.Err != nil {
		return r.Err
	}
	s := sa.setup
	seed, err := suite.IntermediateSKEYSEED(sa.suite.PRF, sa.keys.SKd, r.Shared, s.nonceI, s.nonceR)
	if err != nil {
		return err
	}
	defer seed.Close()
	keys, err := suite.DeriveIKEKeys(sa.suite, seed, s.nonceI, s.nonceR, sa.spiI, sa.spiR)
	if err != nil {
		return err
	}
	s.rounds++
	before := sa.in
	sa.in = nil
	err = sa.setKeys(e, keys)
	if sa.before != nil {
		sa.before.Close()
	}
	sa.before = before
	return err
}

// coverSent and coverReceived add an IKE_INTERMEDIATE message to what AUTH covers, with the keys that protect it (RFC 9242 section 3.3.2).
func (sa *ikeSA) coverSent(h wire.Header, ps []wire.Payload) error {
	octets, err := wire.AppendIntAuth(nil, h, ps)
	if err != nil {
		return err
	}
	return sa.cover(sa.initiator, octets)
}

func (sa *ikeSA) coverReceived(in wire.Inner) error {
	return sa.cover(!sa.initiator, in.AppendIntAuth(nil))
}

func (sa *ikeSA) cover(byInitiator bool, octets []byte) (err error) {
	s := sa.setup
	s.usedInter = true
	into, skp := &s.intAuthR, sa.keys.SKpr
	if byInitiator {
		into, skp = &s.intAuthI, sa.keys.SKpi
	}
	*into, err = suite.IntAuth(sa.suite.PRF, skp, *into, octets, nil)
	return err
}

// octets are the inputs of one side's AUTH (RFC 7296 section 2.15).
func (sa *ikeSA) signed(byInitiator bool, authID uint32) (prf ikev2.PRFID, message, nonce []byte, skp secret.Bytes, intAuth []byte) {
	s := sa.setup
	if s.usedInter {
		intAuth = suite.IntAuthOctets(s.intAuthI, s.intAuthR, authID)
	}
	if byInitiator {
		return sa.suite.PRF, s.initI, s.nonceR, secret.Copy(sa.keys.SKpi.Reveal()), intAuth
	}
	return sa.suite.PRF, s.initR, s.nonceI, secret.Copy(sa.keys.SKpr.Reveal()), intAuth
}
