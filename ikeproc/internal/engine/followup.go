package engine

import (
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/secret"
)

// followupLife is how long the responder waits for the next IKE_FOLLOWUP_KE (RFC 9370 section 2.2.4 says 5 to 20 seconds; retransmissions
// of a slow link need a little more).
const followupLife = 20 * time.Second

// followup is a CREATE_CHILD_SA that we answer and that is not complete before its additional key exchanges.
type followup struct {
	rounds []ikev2.KEID
	shared *[]secret.Bytes
	cancel func()
	finish func(done func(failure *wire.Notify))
	timer  *timer
}

func (f *followup) drop(e *Engine) {
	f.timer.stop()
	if f.cancel != nil {
		f.cancel()
	}
}

// linkOf reads the data that ties an exchange's messages together.
func linkOf(ps []wire.Payload) []byte {
	if n := wire.FindNotify(ps, ikev2.ADDITIONAL_KEY_EXCHANGE); n != nil {
		return append([]byte(nil), n.Data...)
	}
	return nil
}

// awaitRounds keeps an exchange until its rounds are through and returns its link.
func (e *Engine) awaitRounds(sa *ikeSA, rounds []ikev2.KEID, shared *[]secret.Bytes, cancel func(), finish func(done func(*wire.Notify))) []byte {
	link := e.random(8)
	f := &followup{rounds: rounds, shared: shared, cancel: cancel, finish: finish}
	e.arm(sa, string(link), f)
	return link
}

func (e *Engine) arm(sa *ikeSA, link string, f *followup) {
	if sa.followups == nil {
		sa.followups = map[string]*followup{}
	}
	sa.followups[link] = f
	f.timer.stop()
	f.timer = e.after(followupLife, func() {
		delete(sa.followups, link)
		f.drop(e)
	})
}

// followRounds runs the initiator's additional key exchanges one after the other (RFC 9370 section 2.2.4).
//
//	--> IKE_FOLLOWUP_KE { KEi(n), N(ADDITIONAL_KEY_EXCHANGE) }
//	<-- IKE_FOLLOWUP_KE { KEr(n), [N(ADDITIONAL_KEY_EXCHANGE)] }
func (e *Engine) followRounds(sa *ikeSA, rounds []ikev2.KEID, link []byte, shared *[]secret.Bytes, live func() bool, fail func(string), then func()) {
	if len(rounds) == 0 {
		then()
		return
	}
	if link == nil {
		fail("it left the link to the additional key exchanges out")
		return
	}
	method := rounds[0]
	e.compute(sa, suite.KEJob{Op: suite.Generate, Method: method}, func(r suite.KEResult) {
		switch {
		case !live():
			closeResult(r)
			return
		case r.Err != nil:
			fail(r.Err.Error())
			return
		}
		private := r
		ps := []wire.Payload{&wire.KE{Method: method, Data: r.Public}, wire.NotifyStatus(ikev2.ADDITIONAL_KEY_EXCHANGE, link)}
		e.ask(sa, ikev2.IKE_FOLLOWUP_KE, ps, func(r reply) {
			if !live() {
				closeResult(private)
				return
			}
			ke := wire.Find[*wire.KE](r.ps)
			if n := wire.FindError(r.ps); n != nil || ke == nil || ke.Method != method || len(ke.Data) != suite.PublicLen(method, true) {
				closeResult(private)
				text := fmt.Sprintf("its additional key exchange %v makes no sense", method)
				if n != nil {
					text = fmt.Sprintf("it refused the additional key exchange %v with %v", method, n.Type)
				}
				fail(text)
				return
			}
			e.finishKE(sa, method, &private, ke.Data, shared, live, fail, func() { e.followRounds(sa, rounds[1:], linkOf(r.ps), shared, live, fail, then) })
		}, nil)
	})
}

// followupRequest answers one additional key exchange; with the last, the exchange that it belongs to is complete.
func (e *Engine) followupRequest(sa *ikeSA, ps []wire.Payload) {
	link, ke := string(linkOf(ps)), wire.Find[*wire.KE](ps)
	f := sa.followups[link]
	if f == nil || ke == nil {
		e.answer(sa, ikev2.IKE_FOLLOWUP_KE, wire.NotifyStatus(ikev2.STATE_NOT_FOUND, nil))
		return
	}
	delete(sa.followups, link)
	f.timer.stop()
	refuse := func(t ikev2.NotifyType) {
		f.drop(e)
		e.answer(sa, ikev2.IKE_FOLLOWUP_KE, wire.NotifyStatus(t, nil))
	}
	if ke.Method != f.rounds[0] || len(ke.Data) != suite.PublicLen(ke.Method, false) {
		refuse(ikev2.INVALID_SYNTAX)
		return
	}
	e.compute(sa, suite.KEJob{Op: suite.Respond, Method: ke.Method, Peer: append([]byte(nil), ke.Data...)}, func(r suite.KEResult) {
		if r.Err != nil {
			refuse(ikev2.INVALID_SYNTAX)
			return
		}
		*f.shared = append(*f.shared, r.Shared)
		out := []wire.Payload{&wire.KE{Method: ke.Method, Data: r.Public}}
		if f.rounds = f.rounds[1:]; len(f.rounds) > 0 {
			next := e.random(8)
			e.arm(sa, string(next), f)
			e.answer(sa, ikev2.IKE_FOLLOWUP_KE, append(out, wire.NotifyStatus(ikev2.ADDITIONAL_KEY_EXCHANGE, next))...)
			return
		}
		f.finish(func(failure *wire.Notify) {
			if failure != nil {
				out = []wire.Payload{failure}
			}
			e.answer(sa, ikev2.IKE_FOLLOWUP_KE, out...)
		})
	})
}
