package xfrmproc

import (
	"errors"
	"fmt"

	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/guard"
)

// errNoPlan answers requests that come before there is a plan.
var errNoPlan = errors.New("no plan is in force yet: ask again after the reload")

// fromIKEProc deals with one request of ikeproc's. An error ends the link.
func (p *process) fromIKEProc(r ipc.Received) error {
	switch m := r.Message.(type) {
	case *msg.AllocSPI:
		return p.allocSPI(m)
	case *msg.InstallChild:
		return p.installChild(m)
	case *msg.UpdateChild:
		return p.updateChild(m)
	case *msg.RemoveChild:
		return p.removeChild(m)
	case *msg.QueryChild:
		return p.queryChild(m)
	case *msg.ReloadDone:
		if m.Serial == p.serial {
			p.finishReload()
		}
		return nil
	}
	return fmt.Errorf("ikeproc said %T, which has no place here", r.Message)
}

// allow asks the guard, after making sure that there is a plan.
func (p *process) allow(m msg.Message) error {
	if p.datapath == nil || p.serial == 0 {
		return errNoPlan
	}
	return guard.Allow(&p.view, p.grantKey, p.cfg.Now(), p.state, m)
}

func (p *process) allocSPI(m *msg.AllocSPI) error {
	var spi uint32
	err := p.allow(m)
	if err == nil {
		spi, err = p.datapath.AllocSPI(m.Local, m.Remote)
	}
	if err != nil {
		p.note(err)
		return p.ike.Say(&msg.SPI{Req: m.Req, Error: err.Error()})
	}
	p.state.Allocated(spi, m)
	return p.ike.Say(&msg.SPI{Req: m.Req, SPI: spi})
}

func (p *process) installChild(m *msg.InstallChild) error {
	defer wipe(m)
	p.state.Named(m.Replaces)
	if err := p.allow(m); err != nil {
		return p.refuse(m.Req, err)
	}
	if err := p.datapath.Install(p.pairOf(m)); err != nil {
		p.state.Removed(m.SPIIn) // the datapath has given the SPI up
		return p.refuse(m.Req, err)
	}
	p.state.Installed(m)
	if err := p.ike.Say(&msg.Installed{Req: m.Req}); err != nil {
		return err
	}
	if !m.OutboundLater {
		p.removeOrphans(m.SPIIn)
	}
	return nil
}

// pairOf is an allowed request in the datapath's terms. What the plan fixes comes from the plan, not from the request.
func (p *process) pairOf(m *msg.InstallChild) backend.Pair {
	_, child := guard.Find(&p.view, m.Connection, m.Child)
	return backend.Pair{Connection: m.Connection, Child: m.Child, Reqid: child.Reqid, Mode: child.Mode, Local: m.Local, Remote: m.Remote, Encap: m.Encap,
		SPIIn: m.SPIIn, SPIOut: m.SPIOut, Transform: m.Transform, EncrIn: m.EncrIn, IntegIn: m.IntegIn, EncrOut: m.EncrOut, IntegOut: m.IntegOut,
		TSLocal: m.TSLocal, TSRemote: m.TSRemote, ReplayWindow: max(child.ReplayWindow, 32), Lifetime: child.Lifetime,
		OutboundLater: m.OutboundLater, Replaces: m.Replaces}
}

func wipe(m *msg.InstallChild) {
	m.EncrIn.Close()
	m.IntegIn.Close()
	m.EncrOut.Close()
	m.IntegOut.Close()
}

func (p *process) updateChild(m *msg.UpdateChild) error {
	p.state.Named(m.SPIIn)
	if err := p.allow(m); err != nil {
		return p.refuse(m.Req, err)
	}
	if m.Local.IsValid() {
		if err := p.datapath.Move(m.SPIIn, m.Local, m.Remote); err != nil {
			answer := p.refuse(m.Req, err)
			if err := p.reconcile(false); err != nil { // a move that failed half way leaves nothing
				p.log("error", "reconcile", "", "", err.Error())
			}
			return answer
		}
	}
	if m.Activate {
		if err := p.datapath.Activate(m.SPIIn); err != nil {
			return p.refuse(m.Req, err)
		}
	}
	p.state.Updated(m)
	if err := p.ike.Say(&msg.Installed{Req: m.Req}); err != nil {
		return err
	}
	if m.Activate {
		p.removeOrphans(m.SPIIn)
	}
	return nil
}

func (p *process) removeChild(m *msg.RemoveChild) error {
	if !p.state.Holds(m.SPIIn) { // it expired meanwhile: that is what was wanted
		return p.ike.Say(&msg.Installed{Req: m.Req})
	}
	if err := p.allow(m); err != nil {
		return p.refuse(m.Req, err)
	}
	err := p.datapath.Remove(m.SPIIn)
	if err != nil && !errors.Is(err, backend.ErrNoSuchSA) {
		return p.refuse(m.Req, err)
	}
	p.state.Removed(m.SPIIn)
	return p.ike.Say(&msg.Installed{Req: m.Req})
}

func (p *process) queryChild(m *msg.QueryChild) error {
	p.state.Named(m.SPIIn)
	answer := &msg.Counters{Req: m.Req, SPIIn: m.SPIIn, Missing: true}
	if p.datapath != nil && p.state.SA(m.SPIIn) != nil {
		c, err := p.datapath.Query(m.SPIIn)
		switch {
		case err == nil:
			answer = &msg.Counters{Req: m.Req, SPIIn: m.SPIIn, BytesIn: c.BytesIn, BytesOut: c.BytesOut, PacketsIn: c.PacketsIn, PacketsOut: c.PacketsOut,
				LastIn: c.LastIn, Errors: c.Errors}
		case !errors.Is(err, backend.ErrNoSuchSA):
			p.log("error", "datapath", "", "", err.Error())
		}
	}
	return p.ike.Say(answer)
}

// refuse answers a request that was not done: by the guard, which names the line of policy, or by the datapath.
func (p *process) refuse(req uint64, err error) error {
	p.note(err)
	var at plan.Pos
	if r := (*guard.Refusal)(nil); errors.As(err, &r) {
		at = r.Pos
	}
	return p.ike.Say(&msg.Refused{Req: req, Reason: err.Error(), Pos: at})
}

// note counts and logs a refusal. What a hostile ikeproc can make of the log is bounded: the first refusals each, then every 1024th.
func (p *process) note(err error) {
	r := (*guard.Refusal)(nil)
	if !errors.As(err, &r) {
		p.log("error", "datapath", "", "", err.Error())
		return
	}
	p.refused++
	if p.refused <= 100 || p.refused%1024 == 0 {
		p.log("warn", "refused", r.Connection, r.Child, fmt.Sprintf("refused what ikeproc asked for: %v", r))
	}
}
