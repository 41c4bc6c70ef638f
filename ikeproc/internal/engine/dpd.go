package engine

import (
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
)

// watch checks, whenever nothing authentic came in for Delay seconds, whether the peer lives (RFC 7296 section 2.4). ESP that came in is
// proof enough; only without it a liveness check goes out.
func (e *Engine) watch(sa *ikeSA) {
	sa.timers.dpd.stop()
	delay := time.Duration(sa.conn.cfg.DPD.Delay) * time.Second
	if delay == 0 {
		return
	}
	in := max(delay-e.now.Sub(sa.lastIn), time.Second)
	sa.timers.dpd = e.after(in, func() {
		if sa.closed || sa.state != stateUp {
			return
		}
		if e.now.Sub(sa.lastIn) < delay || sa.request != nil {
			e.watch(sa) // life, or a request is out already, which shows the same
			return
		}
		e.askLife(sa, delay, 0)
	})
}

// askLife asks one child after the other for the last packet that came in.
func (e *Engine) askLife(sa *ikeSA, delay time.Duration, i int) {
	if i >= len(sa.children) {
		e.probe(sa)
		return
	}
	m := &msg.QueryChild{SPIIn: sa.children[i].spiIn}
	e.askXFRM(sa, m, &m.Req, func(answer msg.Message) {
		if c, ok := answer.(*msg.Counters); ok && c.LastIn > 0 {
			if last := time.Unix(c.LastIn, 0); e.now.Sub(last) < delay {
				if last.After(sa.lastIn) {
					sa.lastIn = last
				}
				e.watch(sa)
				return
			}
		}
		e.askLife(sa, delay, i+1)
	})
}

// --> INFORMATIONAL { }
func (e *Engine) probe(sa *ikeSA) {
	e.watch(sa)
	if sa.state != stateUp {
		return
	}
	e.enqueue(sa, "liveness", func(sa *ikeSA) bool {
		return e.ask(sa, ikev2.INFORMATIONAL, nil, func(reply) {
			if !sa.closed {
				e.watch(sa)
			}
		}, nil)
	})
}
