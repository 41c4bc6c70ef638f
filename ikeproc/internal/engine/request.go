package engine

import (
	"fmt"
	"math"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/status"
)

// request is ours that is out. The window is 1: there is one at a time (RFC 7296 section 2.3).
type request struct {
	exchange  ikev2.ExchangeType
	id        uint32
	datagrams [][]byte
	tries     int
	timer     *timer
	done      func(reply)
	failed    func() // nobody answered; nil: the peer is dead
}

// reply is what a response holds, its form checked.
type reply struct {
	shape wire.Shape
	ps    []wire.Payload
	in    wire.Inner
}

// task is an exchange of ours that waits for its turn. run tells false when there is nothing to do any more.
type task struct {
	what string
	run  func(sa *ikeSA) bool
}

// enqueue puts an exchange into the SA's queue. what, if not empty, keeps a second of the same name out.
func (e *Engine) enqueue(sa *ikeSA, what string, run func(sa *ikeSA) bool) {
	for _, t := range sa.queue {
		if what != "" && t.what == what {
			return
		}
	}
	sa.queue = append(sa.queue, task{what, run})
	e.next(sa)
}

// next starts the next exchange when none is out.
func (e *Engine) next(sa *ikeSA) {
	for !sa.closed && sa.request == nil && !sa.busy() && sa.state >= stateUp && len(sa.queue) > 0 {
		t := sa.queue[0]
		sa.queue = sa.queue[1:]
		if t.run(sa) {
			return
		}
	}
}

// busy: an exchange of ours is being prepared (a job, an SPI) or goes on over several messages, and no other may begin.
func (sa *ikeSA) busy() bool {
	return sa.setup != nil && sa.state < stateUp || sa.rekey != nil || sa.making != nil
}

// ask sends a protected request. done gets the response; failed, when nobody answers.
func (e *Engine) ask(sa *ikeSA, x ikev2.ExchangeType, ps []wire.Payload, done func(reply), failed func()) bool {
	if sa.nextOut == math.MaxUint32 { // MI-03: message IDs never wrap
		e.dead(sa, "message IDs are used up")
		return false
	}
	b, err := sa.seal(sa.header(x, sa.nextOut, false), ps)
	if err != nil {
		e.log(status.Event{Level: "error", Event: "internal", Connection: sa.name(), Text: fmt.Sprintf("cannot seal a request: %v", err)})
		e.dead(sa, "a request could not be sealed")
		return false
	}
	e.transmit(sa, &request{exchange: x, id: sa.nextOut, datagrams: b, done: done, failed: failed})
	sa.nextOut++
	return true
}

// transmit sends a request for the first time and sets its alarm.
func (e *Engine) transmit(sa *ikeSA, r *request) {
	sa.request = r
	e.send(sa, r.datagrams)
	e.armRetransmit(sa, r)
}

// armRetransmit: gaps grow exponentially (TR-08), and after so many the exchange has failed (TR-09).
func (e *Engine) armRetransmit(sa *ikeSA, r *request) {
	p := sa.retransmit()
	gap := time.Duration(float64(p.InitialMS)*math.Pow(float64(p.BaseX10)/10, float64(r.tries))) * time.Millisecond
	r.timer = e.after(gap, func() {
		if r.tries >= p.Tries {
			e.unanswered(sa, r)
			return
		}
		r.tries++
		e.send(sa, r.datagrams) // byte-identical (TR-07)
		e.armRetransmit(sa, r)
	})
}

// defaultRetransmit serves until the connection is known.
var defaultRetransmit = plan.Retransmit{InitialMS: 2000, BaseX10: 18, Tries: 5}

func (sa *ikeSA) retransmit() plan.Retransmit {
	if sa.conn == nil || sa.conn.cfg.Retransmit.InitialMS == 0 {
		return defaultRetransmit
	}
	return sa.conn.cfg.Retransmit
}

func (e *Engine) unanswered(sa *ikeSA, r *request) {
	sa.request = nil
	if r.failed != nil {
		r.failed()
		if !sa.closed {
			e.next(sa)
		}
		return
	}
	e.noAnswer(sa, r)
}

// noAnswer: the peer is dead (RFC 7296 section 2.4).
func (e *Engine) noAnswer(sa *ikeSA, r *request) {
	why := fmt.Sprintf("%s did not answer %s after %d retransmissions", sa.remote, r.exchange, r.tries)
	if c := sa.conn; c != nil && (sa.state >= stateUp || c.usable() == nil) {
		e.problem(c, sa, status.Problem{Code: "no-answer", Text: why,
			Hint: "is the peer up, is UDP 500 and 4500 let through both ways, and does it know this gateway's address?"})
	}
	e.dead(sa, why)
}
