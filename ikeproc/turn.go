package ikeproc

import (
	"context"
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/internal/ipc"
)

// How much of what is taken in one turn before the next is looked at: neighbours first, strangers last, and nobody starves.
const (
	turnLink      = 64
	turnResults   = 64
	turnDatagrams = 32
	turnInits     = 4
)

// turn deals with what has happened, in order of precedence, and waits when nothing has. An error ends the process.
func (p *process) turn(ctx context.Context) error {
	if ev := p.reset(); ev != nil {
		p.step(ev)
	}
	busy, err := p.serveLinks()
	if err != nil || p.done {
		return err
	}
	busy = p.serveResults() || busy
	busy = p.serveClock() || busy
	busy = p.serveDatagrams() || busy
	p.work.feed()
	p.setAlarm()
	if busy || len(p.resets) > 0 {
		select {
		case <-ctx.Done():
			p.done = true
		case <-p.leaving:
			p.left()
		default:
		}
		return nil
	}
	return p.wait(ctx)
}

// serveLinks takes what triked and the neighbours said.
func (p *process) serveLinks() (busy bool, err error) {
	for range turnLink {
		select {
		case r := <-p.control.In:
			busy = true
			if err := p.fromTriked(r); err != nil || p.done {
				return true, err
			}
			continue
		default:
		}
		break
	}
	for _, n := range []*neighbour{&p.auth, &p.xfrm} {
		for range turnLink {
			select {
			case r := <-n.incoming():
				busy = true
				p.fromNeighbour(n, r)
				continue
			default:
			}
			break
		}
	}
	return busy, nil
}

// fromNeighbour takes one message, or the end, of a link.
func (p *process) fromNeighbour(n *neighbour, r ipc.Received) {
	err := r.Err
	if err == nil && n == &p.auth {
		err = p.fromAuthProc(r.Message)
	} else if err == nil {
		err = p.fromXFRMProc(r.Message)
	}
	if err != nil {
		p.lost(n, err)
	}
}

func (p *process) serveResults() (busy bool) {
	for range turnResults {
		select {
		case r := <-p.work.results:
			busy = true
			p.work.finished()
			p.step(engine.Computed{KEResult: r})
			continue
		default:
		}
		break
	}
	return busy
}

// serveClock lets the engine do what is due.
func (p *process) serveClock() bool {
	if p.engine == nil {
		return false
	}
	at, ok := p.engine.Deadline()
	if !ok || at.After(p.cfg.Now()) {
		return false
	}
	p.step(engine.Tick{})
	return true
}

// serveDatagrams takes what peers sent, unless the neighbours or the workers have more than they can do: then peers wait, and strangers longer.
func (p *process) serveDatagrams() (busy bool) {
	if p.engine == nil || p.auth.pressed() || p.xfrm.pressed() {
		return false
	}
	for range turnDatagrams {
		select {
		case d := <-p.sockets.known:
			busy = true
			p.step(d)
			continue
		default:
		}
		break
	}
	if p.work.pressed() {
		return busy
	}
	for range turnInits {
		select {
		case d := <-p.sockets.inits:
			busy = true
			p.step(d)
			continue
		default:
		}
		break
	}
	return busy
}

// wait waits for one thing to happen and deals with it.
func (p *process) wait(ctx context.Context) error {
	known, inits := p.sockets.known, p.sockets.inits
	if p.engine == nil || p.auth.pressed() || p.xfrm.pressed() {
		known, inits = nil, nil
	} else if p.work.pressed() {
		inits = nil
	}
	select {
	case <-ctx.Done():
		p.done = true
	case r := <-p.control.In:
		return p.fromTriked(r)
	case r := <-p.auth.incoming():
		p.fromNeighbour(&p.auth, r)
	case r := <-p.xfrm.incoming():
		p.fromNeighbour(&p.xfrm, r)
	case r := <-p.work.results:
		p.work.finished()
		p.step(engine.Computed{KEResult: r})
	case <-p.alarm.C:
		p.alarmed = time.Time{}
		p.step(engine.Tick{})
	case d := <-known:
		p.step(d)
	case d := <-inits:
		p.step(d)
	case f := <-p.sockets.faults:
		p.log("warn", "socket", fmt.Sprintf("%v", f))
	case <-p.leaving:
		p.left()
	}
	return nil
}
