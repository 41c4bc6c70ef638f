package engine

import (
	"fmt"
	"net/netip"
	"sort"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/status"
)

// conn is one connection of the plan: what it wants, and the IKE SAs that it has.
type conn struct {
	cfg      plan.Connection
	sas      []*ikeSA
	want     map[string]bool // children that ought to be up and are not
	first    map[string]trigger
	waiting  []*operation // of the operator
	problem  *status.Problem
	retry    *timer
	again    map[string]*timer // children to ask for again
	failures int
	revived  map[string]bool // children to bring back, however many tries it takes
	parting  []parting
	held     bool   // the operator took it down: it does not start by itself
	noAuth   string // why authproc cannot authenticate it, if it cannot
}

// trigger is the packet that wants a child: the first selectors of the request (RFC 7296 section 2.9).
type trigger struct{ local, remote msg.TS }

// Retrying after a failure: the gap doubles from retryFirst to retryMost.
const (
	retryFirst = 4 * time.Second
	retryMost  = 2 * time.Minute
)

// setConnections takes the connections of the Config's view that are not known yet.
func (e *Engine) setConnections() {
	for _, cfg := range e.cfg.View.Connections {
		if e.conns[cfg.Name] == nil {
			e.conns[cfg.Name] = &conn{cfg: cfg, want: map[string]bool{}, first: map[string]trigger{}}
		}
	}
	e.order = e.order[:0]
	for _, c := range e.conns {
		e.order = append(e.order, c)
	}
	sort.Slice(e.order, func(i, j int) bool { return e.order[i].cfg.Name < e.order[j].cfg.Name })
}

func (c *conn) child(name string) *plan.Child {
	for i := range c.cfg.Children {
		if c.cfg.Children[i].Name == name {
			return &c.cfg.Children[i]
		}
	}
	return nil
}

// startIfWanted begins after a while with the children that the plan wants up at all times.
func (e *Engine) startIfWanted(c *conn, in time.Duration) {
	if c.held || e.exiting || e.conns[c.cfg.Name] != c {
		return
	}
	for i := range c.cfg.Children {
		if ch := &c.cfg.Children[i]; ch.Initiate == plan.InitiateStart || c.revived[ch.Name] {
			if !c.hasChild(ch.Name) {
				c.want[ch.Name] = true
			}
		}
	}
	if len(c.want) == 0 {
		return
	}
	c.retry.stop()
	c.retry = e.after(in, func() { e.pursue(c) })
}

// pursue does what it takes to bring up what c wants: a new IKE SA, or children of the one that it has.
func (e *Engine) pursue(c *conn) {
	if len(c.want) == 0 || e.exiting || e.conns[c.cfg.Name] != c {
		return
	}
	if sa := c.usable(); sa != nil {
		e.createWanted(sa)
		return
	}
	for _, sa := range c.sas {
		if sa.state < stateUp && !sa.doomed {
			return // one is on its way
		}
	}
	if !c.cfg.Remote.Address.IsValid() {
		e.problem(c, nil, status.Problem{Code: "no-address", Text: "the policy does not say where the peer is, so only the peer can begin",
			Hint: "give the peer an address, or wait for it"})
		e.gaveUp(c)
		return
	}
	e.initiate(c)
}

// usable is the IKE SA that new children go to: the youngest that is up.
func (c *conn) usable() *ikeSA {
	for i := len(c.sas) - 1; i >= 0; i-- {
		if c.sas[i].state == stateUp && !c.sas[i].undecided {
			return c.sas[i]
		}
	}
	return nil
}

// hasChild tells whether a child is there to stay: one that is on its way out, or whose IKE SA is, does not count.
func (c *conn) hasChild(name string) bool {
	for _, sa := range c.sas {
		if sa.state == stateDeleting {
			continue
		}
		for _, ch := range sa.children {
			if ch.cfg.Name == name && ch.state != childDeleting {
				return true
			}
		}
	}
	return false
}

func (c *conn) forget(sa *ikeSA) {
	for i, have := range c.sas {
		if have == sa {
			c.sas = append(c.sas[:i:i], c.sas[i+1:]...)
			return
		}
	}
}

// wanted lists the children that ought to be up, sorted.
func (c *conn) wanted() []string {
	var out []string
	for name := range c.want {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

// createWanted queues an exchange for each child that is wanted and missing.
func (e *Engine) createWanted(sa *ikeSA) {
	c := sa.conn
	for _, name := range c.wanted() {
		if c.hasChild(name) {
			delete(c.want, name)
			e.childUp(c, name)
			continue
		}
		e.enqueue(sa, "create "+name, func(sa *ikeSA) bool { return e.createChild(sa, name) })
	}
}

// childUp: the operator's wish for this child is fulfilled.
func (e *Engine) childUp(c *conn, name string) {
	delete(c.want, name)
	delete(c.first, name)
	delete(c.revived, name)
	e.settle(c)
}

// dead ends an IKE SA that failed: its children leave the datapath, and what the plan wants up, or what was up where the plan says so, is begun
// again. The policies stay, so nothing leaves in clear.
func (e *Engine) dead(sa *ikeSA, why string) { e.end(sa, why, true) }

// longLife is how long an IKE SA must have stood for its end to be no failure of the attempt that made it.
const longLife = time.Minute

func (e *Engine) end(sa *ikeSA, why string, again bool) {
	if sa.closed {
		return
	}
	was, c := sa.state, sa.conn
	e.dropChildren(sa)
	sa.why = why
	e.close(sa)
	if c == nil {
		return
	}
	if was >= stateUp {
		e.log(status.Event{Level: "warn", Event: "ike-down", Connection: c.cfg.Name, Peer: sa.remote.String(), Text: why})
		if e.now.Sub(sa.established) < longLife && c.usable() == nil {
			e.failed(c)
			return
		}
		c.failures = 0
		if again && c.cfg.DPD.Restart {
			for _, name := range sa.lost {
				c.revive(name)
			}
		}
		e.lost(c)
		return
	}
	e.failed(c)
}

// revive has a child come back that was up when its peer died, however many tries it takes.
func (c *conn) revive(name string) {
	if c.revived == nil {
		c.revived = map[string]bool{}
	}
	c.revived[name] = true
}

// lost begins again after an IKE SA or a child went that was up. A short wait keeps two peers from fighting.
func (e *Engine) lost(c *conn) {
	e.settle(c)
	e.startIfWanted(c, 500*time.Millisecond+e.spread(500*time.Millisecond))
}

// failed waits longer with each failure in a row, then tries again what the plan wants up at all times. What a packet or the operator wanted is
// over: the next packet asks again.
func (e *Engine) failed(c *conn) {
	if c.usable() != nil {
		return
	}
	e.gaveUp(c)
	gap := retryMost
	if c.failures < 5 {
		gap = retryFirst << c.failures
	}
	c.failures++
	e.startIfWanted(c, gap/2+e.spread(gap/2))
}

// gaveUp ends what waited for this attempt.
func (e *Engine) gaveUp(c *conn) {
	clear(c.want)
	clear(c.first)
	e.settle(c)
}

// problem keeps why a negotiation failed, for status, and logs it.
func (e *Engine) problem(c *conn, sa *ikeSA, p status.Problem) {
	p.Time = e.now
	if p.Policy == "" {
		p.Policy = e.place(c.cfg.Pos)
	}
	c.problem = &p
	ev := status.Event{Level: "warn", Event: "negotiation-failed", Connection: c.cfg.Name, Text: p.Text, Problem: &p}
	if sa != nil {
		ev.Peer = sa.remote.String()
	}
	e.log(ev)
}

// place writes a position in the policy as file:line:column.
func (e *Engine) place(p plan.Pos) string {
	if p.Line == 0 || p.File < 0 || p.File >= len(e.cfg.View.Sources) {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", e.cfg.View.Sources[p.File], p.Line, p.Column)
}

// candidates are the connections whose addresses fit, those that name the peer's address first.
func (e *Engine) candidates(local, remote netip.Addr) (out []*conn) {
	for _, exact := range []bool{true, false} {
		for _, c := range e.order {
			if c.cfg.Local.Address != local {
				continue
			}
			if exact && c.cfg.Remote.Address == remote || !exact && !c.cfg.Remote.Address.IsValid() {
				out = append(out, c)
			}
		}
	}
	return out
}

func (e *Engine) trustHints(m *msg.TrustHints) {
	e.authorities = m.Requests
	for _, c := range e.order {
		c.noAuth = ""
	}
	for _, p := range m.Problems {
		if c := e.conns[p.Connection]; c != nil {
			c.noAuth = p.Text
		}
	}
}
