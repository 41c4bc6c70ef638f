package ikeproc

import (
	"context"
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// process is all that ikeproc knows. One goroutine, Run's, owns it.
type process struct {
	cfg     Config
	control *ipc.Reader
	triked  *ipc.Writer
	auth    neighbour
	xfrm    neighbour
	sockets sockets
	work    *workers
	alarm   *time.Timer
	alarmed time.Time // when the alarm goes off; zero when it is not set

	serial  uint64 // of the plan in force
	view    plan.IKEView
	engine  *engine.Engine // nil before the first plan
	next    *prepared      // between Prepare and Commit or Abort
	resets  []engine.Event // for the engine, before anything else
	lines   lineLimit
	hints   *msg.TrustHints  // the last that came
	carried *msg.Inventory   // likewise, until there is an engine
	leaving <-chan time.Time // set from Shutdown on
	done    bool
	err     error // why, if it is no good end
}

// Run serves the peers and triked until triked says Shutdown, its link ends, or ctx does. After a Shutdown, and when ctx ends, the error is nil.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	p := &process{cfg: cfg, auth: neighbour{name: msg.AuthProc}, xfrm: neighbour{name: msg.XFRMProc}, work: newWorkers(cfg.Workers), alarm: time.NewTimer(time.Hour)}
	p.alarm.Stop()
	p.sockets.init()
	defer p.close()
	p.control, p.triked = ipc.Read(inLength, cfg.Control.ReceiveFiles), ipc.Write(cfg.Control.Send, cfg.Control.Close)
	if err := p.triked.Say(&msg.Hello{Process: string(msg.IKEProc), PID: cfg.PID, Version: cfg.Version}); err != nil {
		return fmt.Errorf("say hello to triked: %w", err)
	}
	for !p.done {
		if err := p.turn(ctx); err != nil {
			return err
		}
	}
	return p.err
}

// step gives the engine one event and does what it says. Links that were lost on the way come first the next time.
func (p *process) step(ev engine.Event) {
	if p.engine == nil {
		return
	}
	for ev != nil {
		for _, eff := range p.engine.Step(p.cfg.Now(), ev) {
			p.do(eff)
		}
		ev = p.reset()
	}
}

// reset takes the next lost link that the engine has not been told of.
func (p *process) reset() engine.Event {
	if p.engine == nil || len(p.resets) == 0 {
		p.resets = nil // an engine that is made later has asked nobody
		return nil
	}
	ev := p.resets[0]
	p.resets = p.resets[1:]
	return ev
}

// do does one thing that the engine wants done.
func (p *process) do(eff engine.Effect) {
	switch eff := eff.(type) {
	case engine.Send:
		p.sockets.send(eff)
	case engine.ToAuth:
		p.tell(&p.auth, eff.Msg)
	case engine.ToXFRM:
		p.tell(&p.xfrm, eff.Msg)
	case engine.Compute:
		p.work.add(eff.Job)
	case engine.Log:
		p.logEvent(eff.Event)
	case engine.ControlDone:
		p.say(&eff.Controlled)
	case engine.Exit:
		p.done = true
	}
}

// say says m to triked. Without a triked that reads there is nobody to serve.
func (p *process) say(m msg.Message) {
	if err := p.triked.Say(m); err != nil {
		p.done, p.err = true, fmt.Errorf("the link to triked: %w", err)
	}
}

// setAlarm arms the clock for the engine's next deadline.
func (p *process) setAlarm() {
	if p.engine == nil {
		return
	}
	at, ok := p.engine.Deadline()
	if !ok {
		at = time.Time{}
	}
	if at.Equal(p.alarmed) {
		return
	}
	if p.alarmed = at; !ok {
		p.alarm.Stop()
		return
	}
	p.alarm.Reset(max(at.Sub(p.cfg.Now()), 0))
}

func (p *process) close() {
	for _, n := range []*neighbour{&p.auth, &p.xfrm} {
		if n.up() {
			n.disconnect()
		}
	}
	p.alarm.Stop()
	p.work.close()
	p.forgetNext()
	p.sockets.close()
	p.control.Ignore()
	p.triked.Drain()
	_ = p.cfg.Control.Close()
}
