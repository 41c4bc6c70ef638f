package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// operation is an operator's wish that waits for its end.
type operation struct {
	req   uint64
	verb  string
	names []string // children that are to be up
	sa    *ikeSA   // that is to be replaced
	gone  []*ikeSA // that are to be gone
	old   []*childSA
}

// control does what the operator wants.
func (e *Engine) control(m msg.Control) {
	c := e.conns[m.Connection]
	if c == nil {
		e.controlDone(m.Req, fmt.Sprintf("no connection %q in the plan in force", m.Connection))
		return
	}
	if m.Child != "" && c.child(m.Child) == nil {
		e.controlDone(m.Req, fmt.Sprintf("connection %s has no child %q", m.Connection, m.Child))
		return
	}
	op := &operation{req: m.Req, verb: m.Verb}
	switch m.Verb {
	case "up":
		e.up(c, op, m.Child)
	case "down":
		e.down(c, op, m.Child)
	case "rekey":
		if !e.rekeyNow(c, op, m.Child, m.IKE) {
			e.controlDone(m.Req, fmt.Sprintf("nothing of connection %s is up to be rekeyed", m.Connection))
			return
		}
	default:
		e.controlDone(m.Req, fmt.Sprintf("unknown wish %q", m.Verb))
		return
	}
	if !m.Wait {
		e.controlDone(m.Req, "")
		return
	}
	c.waiting = append(c.waiting, op)
	e.settle(c)
	// Whatever happens, the operator gets an answer.
	e.after(3*time.Minute, func() { e.endOperation(c, op, "still not done after 3 minutes; `trike status` shows where it stands") })
}

func (e *Engine) controlDone(req uint64, failure string) {
	e.emit(ControlDone{msg.Controlled{Req: req, Error: failure}})
}

func (e *Engine) up(c *conn, op *operation, child string) {
	c.held, c.failures = false, 0
	for i := range c.cfg.Children {
		if name := c.cfg.Children[i].Name; child == "" || child == name {
			op.names = append(op.names, name)
			if !c.hasChild(name) {
				c.want[name] = true
			}
		}
	}
	c.retry.stop()
	e.pursue(c)
}

func (e *Engine) down(c *conn, op *operation, child string) {
	if child == "" {
		c.held = true
		clear(c.want)
		clear(c.revived)
		c.retry.stop()
	}
	delete(c.want, child)
	delete(c.revived, child)
	for _, sa := range append([]*ikeSA(nil), c.sas...) {
		if child == "" {
			op.gone = append(op.gone, sa)
			sa.cause = "admin-reset"
			e.deleteIKE(sa, "the operator took it down", false)
			continue
		}
		for _, ch := range append([]*childSA(nil), sa.children...) {
			if ch.cfg.Name == child {
				op.old = append(op.old, ch)
				e.deleteChild(ch)
			}
		}
	}
	// An attempt that never came up is over at once; those who waited for it learn so.
	for _, other := range c.waiting {
		if other.verb == "up" && child == "" {
			e.endOperation(c, other, "the operator took it down")
		}
	}
}

func (e *Engine) rekeyNow(c *conn, op *operation, child string, ike bool) bool {
	sa := c.usable()
	if sa == nil {
		return false
	}
	if ike {
		op.sa = sa
		e.rekeyIKE(sa)
		return true
	}
	for _, ch := range sa.children {
		if (child == "" || ch.cfg.Name == child) && ch.state == childUp {
			op.old = append(op.old, ch)
			e.rekeyChild(ch)
		}
	}
	return len(op.old) > 0
}

// settle answers the operators whose wishes have come to an end: fulfilled, or given up.
func (e *Engine) settle(c *conn) {
	for _, op := range append([]*operation(nil), c.waiting...) {
		if done, failure := e.outcome(c, op); done {
			e.endOperation(c, op, failure)
		}
	}
}

func (e *Engine) outcome(c *conn, op *operation) (done bool, failure string) {
	switch op.verb {
	case "up":
		pending, missing := false, false
		for _, name := range op.names {
			pending = pending || c.want[name]
			missing = missing || !c.hasChild(name)
		}
		switch {
		case !missing:
			return true, ""
		case !pending:
			return true, e.problemText(c, "it did not come up")
		}
		return false, ""
	case "down":
		for _, ch := range op.old {
			if !ch.sa.closed && ch.sa.childOut(ch.spiOut) == ch {
				return false, ""
			}
		}
		return !slices.ContainsFunc(op.gone, func(sa *ikeSA) bool { return !sa.closed }), ""
	}
	// rekey: what was to be replaced is gone, or the attempt failed.
	if op.sa != nil {
		return op.sa.closed, e.goneText(c)
	}
	for _, ch := range op.old {
		if !ch.sa.closed && ch.sa.childOut(ch.spiOut) == ch {
			return ch.state == childUp && !ch.sa.queued(ch) && c.problem != nil, e.problemText(c, "the rekey failed")
		}
	}
	return true, e.goneText(c)
}

// goneText: the old SA is gone; if nothing came in its place, that is a failure.
func (e *Engine) goneText(c *conn) string {
	if c.usable() == nil {
		return e.problemText(c, "it went down instead")
	}
	return ""
}

func (sa *ikeSA) queued(ch *childSA) bool {
	what := fmt.Sprintf("rekey %08x", ch.spiIn)
	for _, t := range sa.queue {
		if t.what == what {
			return true
		}
	}
	return false
}

func (e *Engine) endOperation(c *conn, op *operation, failure string) {
	for i, o := range c.waiting {
		if o == op {
			c.waiting = append(c.waiting[:i:i], c.waiting[i+1:]...)
			e.controlDone(op.req, failure)
			return
		}
	}
}

// problemText is the whole story for the operator.
func (e *Engine) problemText(c *conn, otherwise string) string {
	if c.problem == nil {
		return otherwise
	}
	return c.problem.Story()
}

// acquire: a packet wants a child that has no SA (RFC 4301 section 4.4.1).
func (e *Engine) acquire(m *msg.Acquire) {
	c := e.conns[m.Connection]
	if c == nil || e.exiting {
		return
	}
	ch := c.child(m.Child)
	if ch == nil || ch.Initiate == plan.InitiateNever || c.held || c.hasChild(m.Child) || c.want[m.Child] {
		return
	}
	c.want[m.Child] = true
	if m.TSLocal.First.IsValid() && m.TSRemote.First.IsValid() {
		c.first[m.Child] = trigger{m.TSLocal, m.TSRemote}
	}
	e.pursue(c)
}

// expire: an SA reached a limit in octets or packets.
func (e *Engine) expire(m *msg.Expire) {
	ch := e.childIn(m.SPIIn)
	switch {
	case ch == nil:
	case m.Hard:
		e.childExpired(ch)
	default:
		e.rekeyChild(ch)
	}
}

// shutdownGrace is how long peers may take to answer our last Deletes.
const shutdownGrace = 5 * time.Second

// shutdown says goodbye to every peer.
func (e *Engine) shutdown() {
	e.exiting = true
	for _, c := range e.order {
		c.retry.stop()
		for _, sa := range append([]*ikeSA(nil), c.sas...) {
			e.deleteIKE(sa, "this gateway shuts down", false)
		}
	}
	for _, sa := range e.all() {
		if sa.conn == nil && !sa.gone {
			e.close(sa)
		}
	}
	e.after(shutdownGrace, func() {
		for _, sa := range e.all() {
			if !sa.gone {
				e.dropChildren(sa)
				e.close(sa)
			}
		}
	})
}
