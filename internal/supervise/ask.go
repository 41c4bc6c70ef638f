package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/status"
)

// question is something that an operator asks and processes answer: the status, or a wish about a connection.
type question struct {
	control *msg.Control // nil: the status
	wait    map[msg.Process]bool
	status  status.Gateway
	reply   chan answer // has room for one
	done    bool
}

type answer struct {
	status status.Gateway
	err    error
}

// maxHeld is how many questions may wait for the first plan.
const maxHeld = 64

// askHeld passes on what waited for the first plan.
func (s *supervisor) askHeld() {
	held := s.held
	s.held = nil
	for _, q := range held {
		s.ask(q)
	}
}

func (q *question) finish(err error) {
	if !q.done {
		q.done = true
		q.status.Join()
		q.reply <- answer{q.status, err}
	}
}

// ask passes a question on.
func (s *supervisor) ask(q *question) {
	if s.current == nil && (s.change != nil || s.booting) && !s.ending && len(s.held) < maxHeld {
		s.held = append(s.held, q) // until the first plan is in force, or refused
		return
	}
	s.req++
	if q.control == nil {
		s.askStatus(q)
		return
	}
	i := s.slots[msg.IKEProc].now
	switch {
	case s.ending:
		q.finish(errEnding)
	case s.current == nil:
		q.finish(errors.New("no plan is in force: give the gateway one with `trike apply`"))
	case i == nil || i.stage != running:
		q.finish(errors.New("ikeproc is being started again: try again in a moment"))
	default:
		m := *q.control
		m.Req = s.req
		s.asked[s.req] = q
		q.wait = map[msg.Process]bool{msg.IKEProc: true}
		i.send(outgoing{m: &m})
	}
}

// controlled brings ikeproc's answer.
func (s *supervisor) controlled(m *msg.Controlled) {
	q := s.asked[m.Req]
	if q == nil || q.control == nil {
		return
	}
	delete(s.asked, m.Req)
	if m.Error != "" {
		q.finish(errors.New(clean(m.Error)))
		return
	}
	q.finish(nil)
}

// askStatus asks every process for its part. What does not come in time is left out.
func (s *supervisor) askStatus(q *question) {
	g := &q.status
	g.Version = s.cfg.Version
	if v := s.current; v != nil {
		g.Gateway, g.PlanHash, g.Serial, g.Since = v.plan.Gateway, v.hash.String(), v.serial, v.since.UTC()
		g.XFRM.Datapath, g.XFRM.Why = string(v.datapath), v.why
	}
	q.wait = map[msg.Process]bool{}
	for _, name := range []msg.Process{msg.IKEProc, msg.AuthProc, msg.XFRMProc} {
		sl := s.slots[name]
		p := status.Process{Name: string(name), State: sl.state, Since: sl.since.UTC(), Restarts: sl.restarts}
		if i := sl.now; i != nil {
			p.PID = i.child.PID()
			if i.stage == running {
				q.wait[name] = true
				i.send(outgoing{m: &msg.StatusRequest{Req: s.req}})
			}
		}
		g.Processes = append(g.Processes, p)
	}
	if len(q.wait) == 0 {
		q.finish(nil)
		return
	}
	req := s.req
	s.asked[req] = q
	s.after(s.cfg.Patience.Status, func() {
		if s.asked[req] == q {
			delete(s.asked, req)
			for name := range q.wait {
				s.note("warn", "status", "%s did not tell its status in time", name)
			}
			q.finish(nil)
		}
	})
}

// statusFrom brings a process's part.
func (s *supervisor) statusFrom(i *instance, m *msg.StatusReply) {
	q := s.asked[m.Req]
	name := i.slot.name
	if q == nil || q.control != nil || !q.wait[name] {
		return
	}
	delete(q.wait, name)
	var into any
	switch name {
	case msg.IKEProc:
		into = &q.status.IKE
	case msg.AuthProc:
		into = &q.status.Auth
	default:
		into = &q.status.XFRM
	}
	if err := json.Unmarshal(m.JSON, into); err != nil {
		s.note("warn", "status", "%s tells a status that makes no sense: %v", name, err)
	}
	if len(q.wait) == 0 {
		delete(s.asked, m.Req)
		q.finish(nil)
	}
}

// forget ends what waits for a process that has gone.
func (s *supervisor) forget(name msg.Process, why error) {
	var reqs []uint64
	for req, q := range s.asked {
		if q.wait[name] {
			reqs = append(reqs, req)
		}
	}
	slices.Sort(reqs)
	for _, req := range reqs {
		q := s.asked[req]
		if q.control != nil {
			delete(s.asked, req)
			q.finish(fmt.Errorf("%w; it is started again, and connections that start by themselves come back", why))
			continue
		}
		if delete(q.wait, name); len(q.wait) == 0 {
			delete(s.asked, req)
			q.finish(nil)
		}
	}
}
