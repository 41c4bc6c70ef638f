package engine

import (
	"slices"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// tally is what a session has carried. A session lasts over the rekeys of its IKE SA, which share it.
type tally struct {
	gone  msg.Usage // counters of pairs that are no more
	asked int       // pairs on their way out whose last counters have not come yet
	end   *msg.Usage
	due   *timer // of the next interim record
}

// accounted tells whether authproc is told of a connection's sessions: it frees their addresses, or has them accounted.
func accounted(c *plan.Connection) bool { return gives(c) || c.Accounting.Plugin != "" }

// usage tells authproc what became of a session. The end of one waits for the counters of its last pairs.
func (e *Engine) usage(sa *ikeSA, what msg.UsageKind, cause string) {
	c := sa.conn
	if c == nil || sa.grant.Session == 0 || sa.tally == nil && !accounted(&c.cfg) {
		return
	}
	if slices.ContainsFunc(c.sas, func(o *ikeSA) bool { return o != sa && !o.closed && o.grant.Session == sa.grant.Session }) {
		return // it goes on
	}
	m := &msg.Usage{Grant: sa.grant, What: what, PeerAddr: sa.remote.Addr(), Cause: cause}
	if what == msg.UsageStart {
		sa.tally = &tally{}
		e.interimLater(sa)
		e.emit(ToAuth{m})
		return
	}
	t := sa.tally
	if t == nil {
		return // it has not begun
	}
	t.due.stop()
	t.end = m
	e.endTally(t)
}

// endTally says the end of a session when nothing more is to come of it.
func (e *Engine) endTally(t *tally) {
	if t.end != nil && t.asked == 0 {
		m := t.end
		t.end = nil
		t.put(m)
		e.emit(ToAuth{m})
	}
}

func (t *tally) put(m *msg.Usage) {
	m.BytesIn, m.BytesOut, m.PacketsIn, m.PacketsOut = m.BytesIn+t.gone.BytesIn, m.BytesOut+t.gone.BytesOut, m.PacketsIn+t.gone.PacketsIn, m.PacketsOut+t.gone.PacketsOut
}

func add(m *msg.Usage, c *msg.Counters) {
	m.BytesIn, m.BytesOut, m.PacketsIn, m.PacketsOut = m.BytesIn+c.BytesIn, m.BytesOut+c.BytesOut, m.PacketsIn+c.PacketsIn, m.PacketsOut+c.PacketsOut
}

// countOut asks for the last counters of a pair that is about to be removed.
func (e *Engine) countOut(ch *childSA) {
	t := ch.sa.tally
	if t == nil || ch.sa.conn == nil || ch.sa.conn.cfg.Accounting.Plugin == "" {
		return
	}
	t.asked++
	m := &msg.QueryChild{SPIIn: ch.spiIn}
	e.askXFRM(nil, m, &m.Req, func(answer msg.Message) { // of no SA: it may be closed before the answer comes
		t.asked--
		if c, ok := answer.(*msg.Counters); ok && !c.Missing {
			add(&t.gone, c)
		}
		e.endTally(t)
	})
}

// interimLater sets the alarm of the next interim record. The youngest SA of a session has it.
func (e *Engine) interimLater(sa *ikeSA) {
	every := sa.conn.cfg.Accounting.Interim
	if sa.tally == nil || every <= 0 {
		return
	}
	sa.tally.due.stop()
	sa.tally.due = e.after(time.Duration(every)*time.Second, func() {
		if !sa.closed {
			e.interim(sa)
			e.interimLater(sa)
		}
	})
}

// interim tells what a session has carried so far.
func (e *Engine) interim(sa *ikeSA) {
	t, left := sa.tally, len(sa.children)
	m := &msg.Usage{Grant: sa.grant, What: msg.UsageInterim, PeerAddr: sa.remote.Addr()}
	say := func() {
		if left == 0 && t.end == nil {
			t.put(m)
			e.emit(ToAuth{m})
		}
	}
	for _, ch := range sa.children {
		q := &msg.QueryChild{SPIIn: ch.spiIn}
		e.askXFRM(sa, q, &q.Req, func(answer msg.Message) {
			if c, ok := answer.(*msg.Counters); ok && !c.Missing {
				add(m, c)
			}
			left--
			say()
		})
	}
	if left == 0 {
		say()
	}
}
