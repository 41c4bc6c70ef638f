package supervise

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// phase is how far a change has come.
type phase int

const (
	opening   phase = iota // sockets and secrets are being opened
	gathering              // all three processes must be there
	asking                 // all were told to prepare
	committed              // one after the other is told to commit
)

// change is a plan on its way to be in force. There is one at a time.
type change struct {
	next      *version
	request   *applyRequest
	phase     phase
	secrets   []*os.File
	part      map[*instance]bool // who was told to prepare; true when it has
	turn      int                // index into trio of whom Commit was said to
	asked     *instance          // who that is
	firm      bool               // authproc has committed: from here on the new plan is in force
	first     bool               // there was no plan before
	protected bool               // the host was told what to protect
	overdue   *time.Timer
	warnings  []string
}

// applyRequest asks for a plan to be put in force.
type applyRequest struct {
	v *version
	// lenient takes a plan some of whose secrets cannot be had: at start, what can work should.
	lenient bool
	// rename takes a plan of another gateway than the one in force. Without it, a plan that went to the wrong machine is refused.
	rename bool
	// seed is the hash of the plan in Config.Plan's file, where that was read for it. nil leaves it as it was.
	seed  *string
	reply chan applyReply // has room for one
}

// applied says what an apply did.
type applied struct {
	serial   uint64
	same     bool // the plan was in force already
	changes  []plan.Change
	warnings []string
}

type applyReply struct {
	applied
	err error
}

func (r *applyRequest) answer(a applied, err error) { r.reply <- applyReply{a, err} }

// maxWaiting is how many applies may wait for the one that is under way.
const maxWaiting = 8

// opened brings the descriptors of a change.
type opened struct {
	c        *change
	datapath plan.Datapath
	why      string
	open     *openings
	secrets  []*os.File
	errs     []error // of the secrets
	err      error
}

// apply begins to put a plan in force.
func (s *supervisor) apply(r *applyRequest) {
	switch {
	case s.ending:
		r.answer(applied{}, errEnding)
		return
	case s.change != nil && len(s.waiting) >= maxWaiting:
		r.answer(applied{}, errors.New("too many applies wait already"))
		return
	case s.change != nil:
		s.waiting = append(s.waiting, r)
		return
	case s.current != nil && !r.rename && r.v.plan.Gateway != s.current.plan.Gateway:
		r.answer(applied{}, fmt.Errorf("the plan is for gateway %s and this is gateway %s: apply the plan of this one, or say --rename if this machine is to be %[1]s from now on",
			r.v.plan.Gateway, s.current.plan.Gateway))
		return
	case r.v.same(s.current):
		s.lookAgain(r)
		return
	}
	s.begin(r)
}

// looked goes on with a plan that is in force already: when no file of it changed there is nothing to do.
func (s *supervisor) looked(e restamped) {
	switch {
	case s.ending, s.change != nil, !e.r.v.same(s.current):
		s.apply(e.r) // much has happened meanwhile
	case e.stamp == s.current.stamp:
		e.r.answer(applied{serial: s.current.serial, same: true}, nil)
	default:
		s.begin(e.r)
	}
}

func (s *supervisor) begin(r *applyRequest) {
	s.serial++
	r.v.serial = s.serial
	c := &change{next: r.v, request: r, first: s.current == nil, part: map[*instance]bool{}}
	s.change = c
	s.note("info", "apply", "applying plan %.12s of gateway %s", r.v.hash, r.v.plan.Gateway)
	go s.openFor(c, s.current)
}

// openFor opens what a change needs, away from the loop: a probe and files take their time.
func (s *supervisor) openFor(c *change, old *version) {
	e := opened{c: c}
	p := c.next.plan
	switch {
	case old == nil:
		e.datapath, e.why, e.err = s.host.Decide(p.Datapath)
	case p.Datapath != plan.DatapathAuto && p.Datapath != old.datapath:
		e.err = fmt.Errorf("the plan wants the %s datapath and the %s datapath is in use: a running gateway cannot change it; restart triked with this plan", p.Datapath, old.datapath)
	default:
		e.datapath, e.why = old.datapath, old.why
	}
	if e.err == nil {
		var have *openings
		if old != nil {
			have = old.open
		}
		e.open, e.err = s.host.Open(p, e.datapath, have)
	}
	if e.err == nil {
		e.secrets, e.errs = s.host.Secrets(p)
	}
	if !s.post(e) {
		closeAll(e.secrets)
	}
}

func (s *supervisor) changeOpened(e opened) {
	c := e.c
	if s.change != c {
		e.open.closeBut(s.keeps())
		closeAll(e.secrets)
		return
	}
	c.next.datapath, c.next.why, c.next.open, c.secrets = e.datapath, e.why, e.open, e.secrets
	c.next.stamp = stampOf(e.secrets)
	err := e.err
	if missing := c.next.secretErrors(e.errs); err == nil && missing != nil {
		c.warnings = append(c.warnings, missing.Error())
		if !c.request.lenient {
			err = missing
		}
	}
	if err != nil {
		s.abort(err)
		return
	}
	c.phase = gathering
	c.overdue = s.after(s.cfg.Patience.Trio, func() { s.abort(fmt.Errorf("%s: try again when `trike status` shows all three running", s.absent())) })
	if c.first {
		for _, name := range trio {
			if s.change == c && s.slots[name].now == nil {
				s.start(name)
			}
		}
	}
	if s.change == c {
		s.changeStep()
	}
}

// keeps is what must stay open: that of the plan in force.
func (s *supervisor) keeps() *openings {
	if s.current == nil {
		return nil
	}
	return s.current.open
}

// absent names the processes that are not there for a change.
func (s *supervisor) absent() string {
	var out []string
	for _, name := range trio {
		if i := s.slots[name].now; i == nil || i.stage != running {
			out = append(out, fmt.Sprintf("%s is %s", name, s.slots[name].state))
		}
	}
	return strings.Join(out, ", ")
}

// changeStep says Prepare as soon as all three are there.
func (s *supervisor) changeStep() {
	c := s.change
	if c == nil || c.phase != gathering {
		return
	}
	want := running
	if c.first {
		want = idle
	}
	for _, name := range trio {
		if i := s.slots[name].now; i == nil || i.stage != want || i.reason != nil {
			return
		}
	}
	c.overdue.Stop()
	c.phase = asking
	secrets := c.secrets
	c.secrets = nil
	for _, name := range trio {
		i := s.slots[name].now
		o, err := c.next.prepare(name, s.grantKey, secrets)
		if err != nil {
			s.abort(err)
			return
		}
		c.part[i] = false
		i.send(o)
	}
	c.overdue = s.after(s.cfg.Patience.Prepare, s.prepareOverdue)
}

// prepareOverdue ends a change whose Prepare somebody does not answer, and with it the processes that hang.
func (s *supervisor) prepareOverdue() {
	c := s.change
	if c == nil || c.phase != asking {
		return
	}
	var late []string
	for _, name := range trio {
		if i := s.slots[name].now; i != nil && !c.part[i] {
			late = append(late, string(name))
			s.kill(i, errors.New("it did not prepare the plan in time"))
		}
	}
	s.abort(fmt.Errorf("%s did not prepare the plan within %v", strings.Join(late, " and "), s.cfg.Patience.Prepare))
}

// preparedBy deals with Prepared: of the change, or of a process that was started again.
func (s *supervisor) preparedBy(i *instance, m *msg.Prepared) error {
	c := s.change
	part := false
	if c != nil {
		_, part = c.part[i]
	}
	switch {
	case part && c.phase == asking && m.Serial == c.next.serial:
		c.part[i] = true
		for _, p := range m.Problems {
			c.warnings = append(c.warnings, problemText(c.next, p))
		}
		for _, done := range c.part {
			if !done {
				return nil
			}
		}
		s.changePrepared()
	case i.stage == preparing && m.Serial == i.serial:
		for _, p := range m.Problems {
			s.note("error", "secret", "%s", problemText(s.current, p))
		}
		s.commit(i)
	case m.Serial > s.serial:
		return fmt.Errorf("it prepared plan %d, which it was not given", m.Serial)
	}
	return nil
}

func problemText(v *version, p msg.Problem) string {
	text := fmt.Sprintf("connection %q: %s", p.Connection, p.Text)
	if at := v.at(p.Pos); at != "" {
		text += " (" + at + ")"
	}
	return text
}

// notPreparedBy deals with a refusal.
func (s *supervisor) notPreparedBy(i *instance, m *msg.NotPrepared) error {
	c := s.change
	if c != nil && c.phase == asking && m.Serial == c.next.serial {
		if _, part := c.part[i]; part {
			s.abort(fmt.Errorf("%s refuses the plan: %s", i.slot.name, m.Reason))
			return nil
		}
	}
	if i.stage == preparing && m.Serial == i.serial {
		return fmt.Errorf("it refuses the plan that is in force: %s", m.Reason)
	}
	return nil
}

// changePrepared: all have prepared. The host protects what the new plan protects before anybody commits.
func (s *supervisor) changePrepared() {
	c := s.change
	c.overdue.Stop()
	c.protected = true
	notes, err := s.host.Protect(c.next.plan, c.next.datapath, true)
	c.warnings = append(c.warnings, notes...)
	if err != nil {
		s.abort(fmt.Errorf("lead the traffic into the datapath: %w", err))
		return
	}
	c.phase, c.turn = committed, -1
	s.changeCommit()
}

// changeCommit says Commit to the next process that has prepared the change.
func (s *supervisor) changeCommit() {
	c := s.change
	for c.turn++; c.turn < len(trio); c.turn++ {
		i := s.slots[trio[c.turn]].now
		if i == nil || !c.part[i] {
			continue // it ended since, and is brought to the new plan when it is started again
		}
		c.asked = i
		i.send(outgoing{m: &msg.Commit{Serial: c.next.serial}})
		c.overdue = s.after(s.cfg.Patience.Commit, func() {
			if s.change == c && c.asked == i {
				s.kill(i, errors.New("it did not commit the plan in time"))
			}
		})
		return
	}
	s.changeDone()
}

// committedBy deals with Committed: of the change, or of a process that was started again.
func (s *supervisor) committedBy(i *instance, m *msg.Committed) error {
	c := s.change
	switch {
	case c != nil && c.asked == i && m.Serial == c.next.serial:
		c.overdue.Stop()
		c.asked = nil
		if !c.firm {
			c.firm = true
			s.enforce(c)
		}
		i.serial = m.Serial
		s.isRunning(i)
		s.changeCommit()
	case i.stage == committing && m.Serial == i.serial:
		s.isRunning(i)
		s.note("info", "process-running", "%s (pid %d) runs plan %.12s", i.slot.name, i.child.PID(), s.current.hash)
		s.connect(i.slot.name)
		s.changeStep()
	case m.Serial > s.serial:
		return fmt.Errorf("it committed plan %d, which it was not given", m.Serial)
	}
	return nil
}

// enforce makes a change's plan the one in force.
func (s *supervisor) enforce(c *change) {
	old := new(plan.Plan)
	if s.current != nil {
		old = s.current.plan
		defer s.current.open.closeBut(c.next.open)
	}
	c.next.changes = plan.Diff(old, c.next.plan)
	c.next.since = time.Now()
	s.current = c.next
}

// changeDone: the plan is in force everywhere.
func (s *supervisor) changeDone() {
	c := s.change
	s.change = nil
	if _, err := s.host.Protect(c.next.plan, c.next.datapath, false); err != nil {
		s.warn(c, "what the plan before protected may still be held back: %v", err)
	}
	if c.request.seed != nil {
		s.seed = *c.request.seed
	}
	if err := s.host.Save(&saved{Hash: c.next.hash.String(), Seed: s.seed, Plan: c.next.bytes}); err != nil {
		s.warn(c, "the plan is in force but could not be saved, so the next start begins with the one before: %v", err)
	}
	if c.first {
		for _, name := range []msg.Process{msg.AuthProc, msg.XFRMProc} {
			s.connect(name)
		}
		notify(s.cfg.Notify, "READY=1\nSTATUS=plan "+c.next.hash.String()[:12])
	}
	s.note("info", "applied", "plan %.12s of gateway %s is in force, with the %s datapath: %s", c.next.hash, c.next.plan.Gateway, c.next.datapath, c.next.why)
	for _, w := range c.warnings {
		s.note("warn", "applied", "%s", w)
	}
	c.request.answer(applied{serial: c.next.serial, changes: c.next.changes, warnings: c.warnings}, nil)
	s.askHeld()
	s.nextChange()
}

func (s *supervisor) warn(c *change, format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, args...))
}

// abort ends a change that is not firm. The old plan stands: processes forget the new one, sockets that were opened for it are closed.
func (s *supervisor) abort(why error) {
	c := s.change
	if c == nil || c.firm {
		return
	}
	s.change = nil
	if c.overdue != nil {
		c.overdue.Stop()
	}
	for i := range c.part {
		if i.slot.now == i {
			i.send(outgoing{m: &msg.Abort{Serial: c.next.serial}})
		}
	}
	closeAll(c.secrets)
	if c.protected {
		if err := s.unprotect(c); err != nil {
			s.note("error", "abort", "traffic that only the refused plan protected may be held back: %v", err)
		}
	}
	c.next.open.closeBut(s.keeps())
	if s.current == nil { // nothing is left to run
		for _, name := range trio {
			if i := s.slots[name].now; i != nil {
				i.dismissed = true
				s.kill(i, errors.New("there is no plan to run"))
			}
		}
		s.note("error", "refused", "plan %.12s was refused and there is none to go back to: %v", c.next.hash, why)
	} else {
		s.note("error", "refused", "plan %.12s was refused, plan %.12s stays in force: %v", c.next.hash, s.current.hash, why)
	}
	c.request.answer(applied{}, why)
	s.askHeld()
	s.nextChange()
}

func (s *supervisor) unprotect(c *change) error {
	if s.current == nil {
		return s.host.Flush(c.next.datapath)
	}
	_, err := s.host.Protect(s.current.plan, s.current.datapath, false)
	return err
}

// changeLost tells the change under way that a process has gone. The answer is whether that was the end of everything, so that it is not started again.
func (s *supervisor) changeLost(name msg.Process, why error) bool {
	c := s.change
	switch {
	case c == nil:
		return s.current == nil
	case c.firm:
		if c.asked != nil && c.asked.slot.name == name {
			c.overdue.Stop()
			c.asked = nil
			s.changeCommit()
		}
		return false
	case c.phase == opening, c.phase == gathering && !c.first:
		return false
	}
	s.abort(fmt.Errorf("%s ended: %w", name, why))
	return s.current == nil
}

func (s *supervisor) nextChange() {
	if len(s.waiting) == 0 || s.change != nil {
		return
	}
	r := s.waiting[0]
	s.waiting = slices.Delete(s.waiting, 0, 1)
	s.apply(r)
}
