package supervise

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
)

// trio is the processes, in the order in which they are told of a Commit: who checks comes before who asks.
var trio = [...]msg.Process{msg.AuthProc, msg.XFRMProc, msg.IKEProc}

// links are the pairs that talk to each other. There is none between authproc and xfrmproc.
var links = [...][2]msg.Process{{msg.IKEProc, msg.AuthProc}, {msg.IKEProc, msg.XFRMProc}}

// supervisor is all that triked knows. Its loop owns it; others send it events.
type supervisor struct {
	cfg      Config
	host     host
	events   chan event
	done     chan struct{} // closed when the loop has ended: nobody takes events any more
	log      *journal
	grantKey secret.Bytes

	slots   map[msg.Process]*slot
	serial  uint64   // of the last change
	current *version // in force; nil before the first
	change  *change  // under way
	waiting []*applyRequest
	req     uint64
	asked   map[uint64]*question
	held    []*question // that wait for the first plan
	booting bool        // boot has not come to its end
	seed    string      // hash of the plan in Config.Plan's file when it was last put in force
	ending  bool

	plugins      map[*pluginRun]bool
	pluginStarts map[string]time.Time // when each was last started
}

// event is something that happened: what a process said or how it ended, what an operator asks, opened descriptors, a timer.
type event interface{}

// timer says that something took too long, or is due. It carries what it was set for: if that is over, nothing happens.
type timer struct{ do func() }

// booted says that the first plan is in force, or that there is none.
type booted struct{}

func newSupervisor(cfg Config, h host) (*supervisor, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make the key for grants: %w", err)
	}
	s := &supervisor{cfg: cfg, host: h, events: make(chan event), done: make(chan struct{}), grantKey: secret.New(key), slots: map[msg.Process]*slot{},
		asked: map[uint64]*question{}, plugins: map[*pluginRun]bool{}, pluginStarts: map[string]time.Time{}, booting: true, log: newJournal(cfg.Log, cfg.LogJSON)}
	for _, name := range trio {
		s.slots[name] = &slot{name: name, state: "stopped", since: time.Now()}
	}
	return s, nil
}

// run handles events until ctx ends, and then ends the processes.
func (s *supervisor) run(ctx context.Context) {
	defer close(s.done)
	for {
		select {
		case <-ctx.Done():
			s.shutdown()
			return
		case e := <-s.events:
			s.handle(e)
		}
	}
}

func (s *supervisor) handle(e event) {
	switch e := e.(type) {
	case said:
		s.fromProcess(e)
	case ended:
		s.processEnded(e)
	case restamped:
		s.looked(e)
	case opened:
		s.changeOpened(e)
	case secretsOpened:
		s.replay(e)
	case *applyRequest:
		s.apply(e)
	case *question:
		s.ask(e)
	case pluginStarted:
		s.pluginIsUp(e)
	case pluginEnded:
		s.pluginIsGone(e)
	case booted:
		s.booting = false
		s.askHeld()
	case timer:
		e.do()
	}
}

// post brings an event to the loop. It is lost when the loop has ended.
func (s *supervisor) post(e event) bool {
	select {
	case s.events <- e:
		return true
	case <-s.done:
		return false
	}
}

// after has the loop do something later. Stop the result when it is not wanted any more; do must bear being called all the same.
func (s *supervisor) after(d time.Duration, do func()) *time.Timer {
	return time.AfterFunc(d, func() { s.post(timer{do}) })
}

// note writes one event of triked's own to the log.
func (s *supervisor) note(level, event, format string, args ...any) {
	s.log.add(status.Event{Time: time.Now().UTC(), Level: level, Process: string(msg.Triked), Event: event, Text: fmt.Sprintf(format, args...)})
}

// shutdown ends the processes: ikeproc first, which says goodbye to its peers and needs the others for it.
func (s *supervisor) shutdown() {
	s.ending = true
	s.note("info", "shutdown", "ending: saying goodbye to the peers")
	if s.change != nil {
		s.abort(errors.New("the gateway is ending"))
	}
	for _, r := range s.waiting {
		r.answer(applied{}, errEnding)
	}
	s.waiting = nil
	for _, q := range s.asked {
		q.finish(errEnding)
	}
	s.askHeld()
	for _, group := range [][]msg.Process{{msg.IKEProc}, {msg.AuthProc, msg.XFRMProc}} {
		s.end(group, s.cfg.Patience.Shutdown)
	}
	s.waitForPlugins()
	if s.current == nil {
		return
	}
	if s.cfg.Flush {
		if err := s.host.Flush(s.current.datapath); err != nil {
			s.note("error", "flush", "protection could not be taken away altogether: %v", err)
		} else {
			s.note("warn", "flush", "protection is gone: what the policy protected may leave in clear now")
		}
	}
	s.current.open.closeBut(nil)
}

var errEnding = errors.New("the gateway is ending")

// end asks processes to end, and after patience ends them.
func (s *supervisor) end(group []msg.Process, patience time.Duration) {
	over := time.After(patience)
	for _, name := range group {
		if i := s.slots[name].now; i != nil {
			i.send(outgoing{m: &msg.Shutdown{}})
		}
	}
	alive := func() bool {
		for _, name := range group {
			if s.slots[name].now != nil {
				return true
			}
		}
		return false
	}
	for alive() {
		select {
		case <-over:
			over = nil
			for _, name := range group {
				if i := s.slots[name].now; i != nil {
					s.note("warn", "shutdown", "%s did not end in %v and was killed", name, patience)
					i.child.Kill()
				}
			}
		case e := <-s.events:
			s.handle(e)
		}
	}
}
