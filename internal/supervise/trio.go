package supervise

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// slot is the place of one process of the trio.
type slot struct {
	name     msg.Process
	now      *instance // nil while it is down
	state    string    // for the status: stopped, starting, running, backoff
	since    time.Time
	restarts int
	wait     time.Duration // the last back-off
}

func (s *slot) is(state string) { s.state, s.since = state, time.Now() }

// stage is how far a process has come.
type stage int

const (
	starting   stage = iota // Hello is awaited
	idle                    // it waits for its first plan
	preparing               // it was sent a plan to prepare
	prepared                // it has prepared it
	committing              // it was told to commit
	running                 // it has a plan in force
)

// instance is one run of a process.
type instance struct {
	slot    *slot
	child   child
	stage   stage
	serial  uint64 // of the plan that it prepares or runs
	began   time.Time
	out     chan outgoing
	limit   limiter
	overdue *time.Timer
	reason  error // why triked killed it
	// dismissed: it was killed because there was no plan for it, and is not started again by itself.
	dismissed bool
}

// outgoing is a message on its way, and what to do when it has left.
type outgoing struct {
	m     msg.Message
	files []*os.File
	after func()
}

// What processes tell the loop.
type (
	said struct {
		from *instance
		m    msg.Message
	}
	ended struct {
		who  *instance
		link error // how its link ended
		exit error // how the process ended
	}
)

// queue is how many messages may wait for a process to read them.
const queue = 1024

// start starts one process. When that fails it is tried again later.
func (s *supervisor) start(name msg.Process) {
	sl := s.slots[name]
	i := &instance{slot: sl, began: time.Now(), out: make(chan outgoing, queue)}
	var args []string
	if name == msg.XFRMProc {
		datapath, why := s.datapath()
		args = []string{"--datapath", string(datapath), "--why", why}
	}
	c, err := s.host.Start(name, args, func(line string) { s.log.line(name, line) })
	if err != nil {
		s.note("error", "start", "%s does not start: %v", name, err)
		s.lost(sl, err)
		return
	}
	i.child, sl.now = c, i
	sl.is("starting")
	i.overdue = s.after(s.cfg.Patience.Hello, func() { s.kill(i, errors.New("it said nothing after its start")) })
	go s.read(i)
	go i.write()
}

// datapath is the one of the plan in force, or of the first plan that is on its way.
func (s *supervisor) datapath() (plan.Datapath, string) {
	v := s.current
	if v == nil && s.change != nil {
		v = s.change.next
	}
	if v == nil {
		return plan.DatapathKernel, ""
	}
	return v.datapath, v.why
}

// read brings what a process says to the loop, and at last its end.
func (s *supervisor) read(i *instance) {
	for {
		m, err := i.child.Receive()
		if err != nil {
			patience := time.Duration(0) // what is illegal ends it at once
			if errors.Is(err, io.EOF) {
				patience = time.Second // most likely it is ending by itself: then its exit says more
			}
			t := time.AfterFunc(patience, i.child.Kill)
			exit := i.child.Wait()
			t.Stop()
			s.post(ended{i, err, exit})
			return
		}
		if !s.post(said{i, m}) {
			i.child.Kill()
			_ = i.child.Wait()
			return
		}
	}
}

// write says what is queued. An error shows at the reader as well.
func (i *instance) write() {
	var failed error
	for o := range i.out {
		if failed == nil {
			failed = i.child.Send(o.m, o.files)
		}
		if o.after != nil {
			o.after()
		}
	}
}

// send queues a message. A process that does not read so many is as good as dead.
func (i *instance) send(o outgoing) {
	select {
	case i.out <- o:
	default:
		if o.after != nil {
			o.after()
		}
		i.reason = fmt.Errorf("it does not read: %d messages wait", queue)
		i.child.Kill()
	}
}

// kill ends a process that does not do what it should. It is started again.
func (s *supervisor) kill(i *instance, why error) {
	if s.slots[i.slot.name].now == i && i.reason == nil {
		i.reason = why
		i.child.Kill()
	}
}

// processEnded deals with the end of a process: what waited for it fails, its neighbours go on, and it is started again.
func (s *supervisor) processEnded(e ended) {
	i := e.who
	sl := i.slot
	close(i.out)
	if i.overdue != nil {
		i.overdue.Stop()
	}
	sl.now = nil
	s.endPlugins(i)
	why := i.why(e)
	if s.ending {
		sl.is("stopped")
		return
	}
	if i.dismissed {
		sl.is("stopped")
		if c := s.change; c != nil && c.first && c.phase == gathering {
			s.start(sl.name)
		}
		return
	}
	s.note("error", "process-ended", "%s (pid %d) ended: %v", sl.name, i.child.PID(), why)
	s.forget(sl.name, fmt.Errorf("%s ended before it had answered: %w", sl.name, why))
	if time.Since(i.began) >= s.cfg.Patience.Stable {
		sl.wait = 0
	}
	s.lost(sl, why)
}

// lost plans the next start of a process that is down, and tells a change that is under way.
func (s *supervisor) lost(sl *slot, why error) {
	if s.changeLost(sl.name, why) {
		sl.is("stopped")
		return
	}
	sl.restarts++
	sl.wait = min(max(2*sl.wait, s.cfg.Patience.Backoff), s.cfg.Patience.MaxWait)
	sl.is("backoff")
	s.note("info", "restart", "%s is started again in %v", sl.name, sl.wait)
	s.after(sl.wait, func() {
		if sl.now == nil && sl.state == "backoff" && !s.ending {
			s.start(sl.name)
		}
	})
}

// why says how a process came to its end.
func (i *instance) why(e ended) error {
	switch {
	case i.reason != nil:
		return i.reason
	case e.link != nil && !errors.Is(e.link, io.EOF):
		return e.link
	case e.exit != nil:
		return e.exit
	}
	return errors.New("it went by itself")
}

// fromProcess deals with what a process said. What it says out of turn ends it.
func (s *supervisor) fromProcess(e said) {
	i := e.from
	if i.slot.now != i {
		return
	}
	var err error
	switch m := e.m.(type) {
	case *msg.Hello:
		err = s.hello(i, m)
	case *msg.Prepared:
		err = s.preparedBy(i, m)
	case *msg.NotPrepared:
		err = s.notPreparedBy(i, m)
	case *msg.Committed:
		err = s.committedBy(i, m)
	case *msg.StatusReply:
		s.statusFrom(i, m)
	case *msg.Controlled:
		s.controlled(m)
	case *msg.Log:
		s.log.from(i, m.JSON)
	case *msg.PluginExec:
		s.pluginExec(i, m)
	case *msg.PluginDial:
		s.pluginDial(i, m)
	case *msg.PluginEnd:
		s.pluginEnd(i, m)
	default:
		err = fmt.Errorf("it said %s, which has no place here", m.Kind())
	}
	if err != nil {
		s.kill(i, err)
	}
}

func (s *supervisor) hello(i *instance, m *msg.Hello) error {
	switch {
	case i.stage != starting:
		return errors.New("it said Hello twice")
	case m.Process != string(i.slot.name) || m.PID != i.child.PID():
		return fmt.Errorf("it says that it is %s with pid %d", m.Process, m.PID)
	case m.Version != s.cfg.Version:
		return fmt.Errorf("it is of version %q and triked of %q: install programs of one version", m.Version, s.cfg.Version)
	}
	i.overdue.Stop()
	i.stage = idle
	if s.current != nil {
		s.openSecrets(i)
		return nil
	}
	s.changeStep()
	return nil
}

// secretsOpened brings the secrets' descriptors for a process that was started again, and the version that they belong to.
type secretsOpened struct {
	who   *instance
	v     *version
	files []*os.File
	errs  []error
}

// openSecrets opens what a process that was started again needs besides what is open: for authproc the secrets, away from the loop because a file may be
// on a server that sleeps.
func (s *supervisor) openSecrets(i *instance) {
	v := s.current
	if i.slot.name != msg.AuthProc {
		s.replay(secretsOpened{who: i, v: v})
		return
	}
	go func() {
		files, errs := s.host.Secrets(v.plan)
		if !s.post(secretsOpened{i, v, files, errs}) {
			closeAll(files)
		}
	}()
}

// replay brings a process that was started again to the plan in force.
func (s *supervisor) replay(e secretsOpened) {
	i := e.who
	switch {
	case i.slot.now != i || i.stage != idle:
		closeAll(e.files)
		return
	case e.v != s.current: // another plan came in between
		closeAll(e.files)
		s.openSecrets(i)
		return
	}
	if err := e.v.secretErrors(e.errs); err != nil {
		s.note("error", "secret", "connections that need it cannot authenticate: %v", err)
	}
	o, err := e.v.prepare(i.slot.name, s.grantKey, e.files)
	if err != nil {
		s.kill(i, err)
		return
	}
	i.stage, i.serial = preparing, e.v.serial
	i.send(o)
	s.expect(i, s.cfg.Patience.Prepare, "it did not prepare the plan in time")
}

// expect kills a process that does not answer in time.
func (s *supervisor) expect(i *instance, d time.Duration, what string) {
	stage := i.stage
	if i.overdue != nil {
		i.overdue.Stop()
	}
	i.overdue = s.after(d, func() {
		if i.stage == stage {
			s.kill(i, errors.New(what))
		}
	})
}

// commit tells a process to put in force what it has prepared.
func (s *supervisor) commit(i *instance) {
	i.stage = committing
	i.send(outgoing{m: &msg.Commit{Serial: i.serial}})
	s.expect(i, s.cfg.Patience.Commit, "it did not commit the plan in time")
}

// isRunning: a process has a plan in force.
func (s *supervisor) isRunning(i *instance) {
	i.stage = running
	i.overdue.Stop()
	if i.slot.state != "running" {
		i.slot.is("running")
	}
}

// connect makes the links of a process that has just come up, to those neighbours that are up.
func (s *supervisor) connect(name msg.Process) {
	for _, pair := range links {
		if pair[0] != name && pair[1] != name {
			continue
		}
		a, b := s.slots[pair[0]].now, s.slots[pair[1]].now
		if a == nil || b == nil || a.stage != running || b.stage != running {
			continue
		}
		if err := s.link(a, b); err != nil {
			s.note("error", "link", "no link between %s and %s: %v", pair[0], pair[1], err)
			s.kill(a, err)
		}
	}
}

func (s *supervisor) link(a, b *instance) error {
	x, y, err := s.host.Pipes()
	if err != nil {
		return err
	}
	for _, end := range []struct {
		of   *instance
		to   msg.Process
		ends [2]*os.File
	}{{a, b.slot.name, x}, {b, a.slot.name, y}} {
		files := end.ends[:]
		end.of.send(outgoing{m: &msg.Link{Process: string(end.to)}, files: files, after: func() { closeAll(files) }})
	}
	return nil
}
