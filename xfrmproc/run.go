package xfrmproc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/guard"
)

// retryPolicies is how soon policies that the datapath refused are tried again.
const retryPolicies = 10 * time.Second

// process is all that xfrmproc knows. One goroutine, Run's, owns it.
type process struct {
	cfg     Config
	control *ipc.Reader
	triked  *ipc.Writer
	ike     *ipc.Queued // nil while there is no link

	datapath Datapath // nil before the first plan
	why      string
	events   <-chan backend.Event

	serial   uint64 // of the plan in force, 0 before the first
	view     plan.XFRMView
	policies backend.Policies
	grantKey secret.Bytes
	next     *prepared // between Prepare and Commit or Abort

	state *guard.State
	stale bool             // what the last Commit dropped still stands
	retry <-chan time.Time // set while the datapath has not taken all policies
	// orphans are pairs that have a successor, and when they go.
	orphans     map[uint32]time.Time
	orphanAlarm <-chan time.Time
	refused     uint64
	done        bool
}

// Run serves triked and ikeproc until triked says Shutdown, its link ends, or ctx does. After a Shutdown, and when ctx ends, the error is nil.
// Policies stand when Run returns.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	p := &process{cfg: cfg, state: guard.NewState(), orphans: map[uint32]time.Time{}}
	defer p.close()
	p.control, p.triked = ipc.Read(0, cfg.Control.ReceiveFiles), ipc.Write(cfg.Control.Send, cfg.Control.Close)
	if err := p.triked.Say(&msg.Hello{Process: string(msg.XFRMProc), PID: cfg.PID, Version: cfg.Version}); err != nil {
		return fmt.Errorf("say hello to triked: %w", err)
	}
	for !p.done {
		if err := p.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step waits for one thing to happen and deals with it. An error ends the process.
func (p *process) step(ctx context.Context) error {
	var fromIKE <-chan ipc.Received
	if p.ike != nil {
		fromIKE = p.ike.In
	}
	select {
	case <-ctx.Done():
		p.done = true
	case r := <-p.control.In:
		if r.Err != nil {
			return fmt.Errorf("the link to triked: %w", r.Err)
		}
		return p.fromTriked(r)
	case r := <-fromIKE:
		err := r.Err
		if err == nil {
			err = p.fromIKEProc(r)
		}
		if err != nil {
			p.dropIKE(err)
		}
	case e, ok := <-p.events:
		if !ok {
			return errors.New("the datapath ended by itself")
		}
		p.event(e)
	case <-p.retry:
		p.retry = nil
		p.applyPolicies(!p.stale)
	case <-p.orphanAlarm:
		p.endOrphans()
	}
	return nil
}

func (p *process) close() {
	if p.ike != nil {
		p.ike.Cut()
	}
	if p.control != nil {
		p.control.Ignore()
		p.triked.Drain()
	}
	_ = p.cfg.Control.Close()
	if p.next != nil {
		p.next.close()
	}
	if p.datapath != nil {
		_ = p.datapath.Close()
	}
	p.grantKey.Close()
}

// tellIKE says m to ikeproc if there is one.
func (p *process) tellIKE(m msg.Message) {
	if p.ike == nil {
		return
	}
	if err := p.ike.Say(m); err != nil {
		p.dropIKE(err)
	}
}

// dropIKE ends a link that is dead or on which something illegal was said. triked sees the process die, or brings a new link.
func (p *process) dropIKE(err error) {
	if p.ike == nil {
		return
	}
	p.ike.Cut()
	p.ike = nil
	if errors.Is(err, io.EOF) {
		p.log("warn", "link-down", "", "", "ikeproc has gone; what is installed goes on carrying traffic")
		return
	}
	p.log("error", "link-down", "", "", "the link to ikeproc was ended: "+err.Error())
}

// log says one event to triked. It is lost where triked does not read.
func (p *process) log(level, event, connection, child, text string) {
	b, err := json.Marshal(status.Event{Time: p.cfg.Now().UTC(), Level: level, Process: string(msg.XFRMProc), Event: event,
		Connection: connection, Child: child, Text: text})
	if err == nil {
		p.triked.SayIfRoom(&msg.Log{JSON: b})
	}
}
