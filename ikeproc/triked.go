package ikeproc

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// ports are those on which every address is served (RFC 7296 section 2.23).
var ports = [...]uint16{500, 4500}

// prepared is the next state, beside the current one.
type prepared struct {
	serial uint64
	view   plan.IKEView
	fresh  []Transport // sockets that are not in use yet
}

// fromTriked deals with one message of triked's, or the end of its link. An error ends the process: triked and it do not agree on what is going on.
func (p *process) fromTriked(r ipc.Received) error {
	if r.Err != nil {
		return fmt.Errorf("the link to triked: %w", r.Err)
	}
	switch m := r.Message.(type) {
	case *msg.Prepare:
		p.prepare(m, r.Files)
		return nil
	case *msg.Commit:
		return p.commit(m)
	case *msg.Abort:
		if p.next != nil && p.next.serial == m.Serial {
			p.forgetNext()
		}
		return nil
	case *msg.Link:
		return p.newLink(m, r.Files)
	case *msg.Control:
		if p.engine == nil {
			p.say(&msg.Controlled{Req: m.Req, Error: "no plan is in force yet"})
		}
		p.step(engine.Control{Control: *m})
		return nil
	case *msg.StatusRequest:
		return p.status(m)
	case *msg.Shutdown:
		p.shutdown()
		return nil
	}
	ipc.CloseFiles(r.Files)
	return fmt.Errorf("triked said %T, which has no place here", r.Message)
}

// prepare checks the next view and adopts its new sockets. What runs is not touched.
func (p *process) prepare(m *msg.Prepare, files []*os.File) {
	p.forgetNext()
	m.GrantKey.Close() // none of ours
	n := &prepared{serial: m.Serial}
	if err := p.tryPrepare(n, m, files); err != nil {
		n.close()
		p.say(&msg.NotPrepared{Serial: m.Serial, Reason: err.Error()})
		return
	}
	p.next = n
	p.say(&msg.Prepared{Serial: m.Serial})
}

func (p *process) tryPrepare(n *prepared, m *msg.Prepare, files []*os.File) (err error) {
	if len(m.Files) != len(files) {
		ipc.CloseFiles(files)
		return fmt.Errorf("%d descriptors came for %d names", len(files), len(m.Files))
	}
	if err := p.adopt(n, m.Files, files); err != nil {
		return err
	}
	if n.view, err = plan.DecodeIKEView(m.View); err != nil {
		return err
	}
	for _, a := range n.view.Listen {
		for _, port := range ports {
			at := netip.AddrPortFrom(a, port)
			if p.sockets.by[at] == nil && !slices.ContainsFunc(n.fresh, func(t Transport) bool { return t.Local() == at }) {
				return fmt.Errorf("no socket came for %v", at)
			}
		}
	}
	return nil
}

// adopt takes the sockets that are not in use yet. triked hands over all of them each time; those in use stay as they are.
func (p *process) adopt(n *prepared, names []msg.File, files []*os.File) (first error) {
	for i, f := range files {
		name := names[i]
		if at, err := netip.ParseAddrPort(name.Name); first != nil || name.Kind != "ike" || err == nil && p.sockets.by[at] != nil {
			_ = f.Close()
			continue
		}
		t, err := p.cfg.OpenSocket(name.Name, f)
		if err != nil {
			first = err
			continue
		}
		n.fresh = append(n.fresh, t)
	}
	return first
}

func (n *prepared) close() {
	for _, t := range n.fresh {
		_ = t.Close()
	}
}

func (p *process) forgetNext() {
	if p.next != nil {
		p.next.close()
		p.next = nil
	}
}

// commit puts the prepared view in force. Sockets of addresses that it no longer serves go last, so that farewells still leave by them.
func (p *process) commit(m *msg.Commit) error {
	n := p.next
	if n == nil || n.serial != m.Serial {
		return fmt.Errorf("triked said Commit of %d, which is not prepared", m.Serial)
	}
	p.next = nil
	p.serial, p.view = n.serial, n.view
	for _, t := range n.fresh {
		p.sockets.remove(t.Local())
		p.sockets.add(t)
	}
	if p.engine == nil {
		p.begin()
	} else {
		p.step(engine.Reload{Serial: n.serial, View: n.view})
	}
	if p.hints != nil { // authproc commits first
		p.step(engine.FromAuth{Msg: p.hints})
	}
	for at := range p.sockets.by {
		if !slices.Contains(n.view.Listen, at.Addr()) {
			p.sockets.remove(at)
		}
	}
	p.say(&msg.Committed{Serial: m.Serial})
	return nil
}

// begin makes the engine for the first plan.
func (p *process) begin() {
	p.engine = engine.New(engine.Config{View: p.view, Entropy: p.cfg.Entropy, Now: p.cfg.Now(), Limits: p.cfg.Limits})
	p.step(engine.Tick{})
	if p.carried != nil {
		p.step(engine.FromXFRM{Msg: p.carried})
		p.carried = nil
	}
}

// newLink takes a new link to a neighbour. Requests that were open on the old one will not be answered.
func (p *process) newLink(m *msg.Link, files []*os.File) error {
	n := &p.auth
	switch msg.Process(m.Process) {
	case msg.AuthProc:
	case msg.XFRMProc:
		n = &p.xfrm
	default:
		ipc.CloseFiles(files)
		return fmt.Errorf("triked brought a link to %q, which is no neighbour", m.Process)
	}
	l, err := p.cfg.Connect(n.name, files)
	if err != nil {
		return fmt.Errorf("link to %s: %w", n.name, err)
	}
	if n.up() {
		n.disconnect()
		p.resets = append(p.resets, engine.LinkReset{Process: string(n.name)})
	}
	if ev := p.reset(); ev != nil {
		p.step(ev) // what it asks again waits for the link
	}
	if err := n.connect(l); err != nil {
		p.lost(n, err)
	}
	return nil
}

func (p *process) status(m *msg.StatusRequest) error {
	var doc any = struct{}{}
	if p.engine != nil {
		doc = p.engine.Status(p.cfg.Now())
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	p.say(&msg.StatusReply{Req: m.Req, JSON: b})
	return nil
}

// shutdown lets the engine take leave of the peers, for as long as there is time.
func (p *process) shutdown() {
	if p.engine == nil {
		p.done = true
		return
	}
	p.leaving = time.After(p.cfg.Farewell)
	p.step(engine.Shutdown{})
}

// left ends the process although peers have not answered.
func (p *process) left() {
	p.log("warn", "shutdown", "not every peer has answered the farewell in time")
	p.done = true
}
