package engine

import (
	"encoding/binary"
	"io"
	"slices"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/secret"
)

// wait is a question that is out, with what its answer is for. sa is nil when it belongs to none.
type wait struct {
	sa       *ikeSA
	process  msg.Process // whom it was asked; empty for a job
	computed func(suite.KEResult)
	answer   func(msg.Message) // nil message: there will be no answer
}

// answered takes the question with this number off the books. ok is false when nobody waits for the answer any more.
func (e *Engine) answered(req uint64) (w wait, ok bool) {
	w, ok = e.waits[req]
	delete(e.waits, req)
	return w, ok && (w.sa == nil || !w.sa.closed)
}

// compute has public-key work done for sa.
func (e *Engine) compute(sa *ikeSA, job suite.KEJob, then func(suite.KEResult)) {
	e.seq++
	job.ID = e.seq
	if job.Op != suite.Finish {
		job.Seed = secret.New(e.random(suite.SeedLen))
	}
	e.waits[job.ID] = wait{sa: sa, computed: then}
	e.emit(Compute{job})
}

func (e *Engine) computed(r suite.KEResult) {
	if w, ok := e.answered(r.ID); ok && w.computed != nil {
		w.computed(r)
		return
	}
	closeResult(r)
}

func closeResult(r suite.KEResult) {
	r.Private.Close()
	r.Shared.Close()
}

// askAuth puts a question to authproc; its number goes to *req.
func (e *Engine) askAuth(sa *ikeSA, m msg.Message, req *uint64, then func(msg.Message)) {
	e.seq++
	*req = e.seq
	e.waits[e.seq] = wait{sa: sa, process: msg.AuthProc, answer: then}
	e.emit(ToAuth{m})
}

// askXFRM puts a question to xfrmproc.
func (e *Engine) askXFRM(sa *ikeSA, m msg.Message, req *uint64, then func(msg.Message)) {
	e.seq++
	*req = e.seq
	e.waits[e.seq] = wait{sa: sa, process: msg.XFRMProc, answer: then}
	e.emit(ToXFRM{m})
}

func (e *Engine) fromAuth(m msg.Message) {
	var req uint64
	switch m := m.(type) {
	case *msg.Signed:
		req = m.Req
	case *msg.Verified:
		req = m.Req
	case *msg.Renewed:
		req = m.Req
	case *msg.EAPReply:
		req = m.Req
	case *msg.TrustHints:
		e.trustHints(m)
		return
	case *msg.Terminate:
		e.terminate(m)
		return
	}
	if w, ok := e.answered(req); ok && w.process == msg.AuthProc {
		w.answer(m)
	}
}

func (e *Engine) fromXFRM(m msg.Message) {
	var req uint64
	switch m := m.(type) {
	case *msg.SPI:
		req = m.Req
	case *msg.Installed:
		req = m.Req
	case *msg.Refused:
		req = m.Req
	case *msg.Counters:
		req = m.Req
	case *msg.Acquire:
		e.acquire(m)
		return
	case *msg.Expire:
		e.expire(m)
		return
	case *msg.Mapping:
		e.mapping(m)
		return
	case *msg.Inventory:
		e.inventory(m)
		return
	}
	known := e.waits[req].process == msg.XFRMProc
	if w, ok := e.answered(req); ok && known {
		w.answer(m)
	} else if spi, isSPI := m.(*msg.SPI); isSPI && spi.SPI != 0 {
		e.removeFromDatapath(spi.SPI) // whom it was for is gone: the SPI goes back
	}
}

// linkReset fails every question that the neighbour will not answer, oldest first.
func (e *Engine) linkReset(p msg.Process) {
	var open []uint64
	for req, w := range e.waits {
		if w.process == p {
			open = append(open, req)
		}
	}
	slices.Sort(open)
	for _, req := range open {
		if w, ok := e.answered(req); ok {
			w.answer(nil)
		}
	}
}

// random reads n octets of entropy.
func (e *Engine) random(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(e.cfg.Entropy, b); err != nil {
		panic("engine: no entropy: " + err.Error()) // Config promises that it never fails; going on would be worse
	}
	return b
}

// newSPI picks an SPI that is not zero and that no IKE SA of ours has (RFC 7296 section 2.6).
func (e *Engine) newSPI() uint64 {
	for {
		spi := binary.BigEndian.Uint64(e.random(8))
		if _, taken := e.sas[spi]; spi != 0 && !taken {
			return spi
		}
	}
}

// spread is a random duration below d: jitter keeps peers and SAs from acting in step.
func (e *Engine) spread(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(binary.BigEndian.Uint64(e.random(8)) % uint64(d))
}

// rateLimit allows a burst and then a steady trickle.
type rateLimit struct {
	tokens float64
	last   time.Time
}

func (r *rateLimit) allow(now time.Time, perSecond, burst float64) bool {
	if r.last.IsZero() {
		r.tokens = burst
	} else {
		r.tokens = min(burst, r.tokens+now.Sub(r.last).Seconds()*perSecond)
	}
	r.last = now
	if r.tokens < 1 {
		return false
	}
	r.tokens--
	return true
}
