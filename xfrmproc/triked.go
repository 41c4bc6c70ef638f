package xfrmproc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/guard"
)

// prepared is the next state, beside the current one.
type prepared struct {
	serial   uint64
	view     plan.XFRMView
	policies backend.Policies
	key      secret.Bytes
	files    Descriptors
}

func (n *prepared) close() {
	for _, f := range n.files.Files {
		_ = f.Close()
	}
	n.key.Close()
}

// fromTriked deals with one message of triked's. An error ends the process: triked and it do not agree on what is going on.
func (p *process) fromTriked(r ipc.Received) error {
	switch m := r.Message.(type) {
	case *msg.Prepare:
		return p.prepare(m, r.Files)
	case *msg.Commit:
		return p.commit(m)
	case *msg.Abort:
		p.abort(m.Serial)
		return nil
	case *msg.Link:
		return p.newLink(m, r)
	case *msg.StatusRequest:
		return p.status(m)
	case *msg.Shutdown:
		p.shutdown()
		return nil
	}
	ipc.CloseFiles(r.Files)
	return fmt.Errorf("triked said %T, which has no place here", r.Message)
}

// prepare checks the next view, and opens the datapath for the first one. Nothing that carries traffic changes.
func (p *process) prepare(m *msg.Prepare, files []*os.File) error {
	if p.next != nil {
		p.abort(p.next.serial)
	}
	n := &prepared{serial: m.Serial, key: m.GrantKey, files: Descriptors{m.Files, files}}
	if err := p.tryPrepare(n, m.View); err != nil {
		n.close()
		return p.triked.Say(&msg.NotPrepared{Serial: m.Serial, Reason: err.Error()})
	}
	p.next = n
	return p.triked.Say(&msg.Prepared{Serial: m.Serial})
}

func (p *process) tryPrepare(n *prepared, view []byte) error {
	if len(n.files.Names) != len(n.files.Files) {
		return fmt.Errorf("%d descriptors came for %d names", len(n.files.Files), len(n.files.Names))
	}
	if n.key.Len() < 32 {
		return errors.New("no key for grants came with the plan")
	}
	d := json.NewDecoder(bytes.NewReader(view))
	d.DisallowUnknownFields()
	if err := d.Decode(&n.view); err != nil {
		return fmt.Errorf("the view of the plan: %w", err)
	}
	if err := guard.CheckView(&n.view); err != nil {
		return fmt.Errorf("the view of the plan: %w", err)
	}
	n.policies = backend.PoliciesOf(n.view)
	if p.datapath == nil {
		if err := p.open(n); err != nil {
			return err
		}
	} else if want := n.view.Datapath; want != plan.DatapathAuto && want != p.datapath.Name() {
		return fmt.Errorf("the plan wants the %s datapath and the %s one is in use: restart the gateway to change it", want, p.datapath.Name())
	}
	return p.datapath.Check(n.policies)
}

// open opens the datapath. It stays open if the plan is then refused: a later one needs it.
func (p *process) open(n *prepared) error {
	b, why, err := p.cfg.Datapaths.Open(n.view.Datapath, n.files)
	n.files = Descriptors{}
	if err != nil {
		return err
	}
	p.datapath, p.why, p.events = b, why, b.Events()
	p.log("info", "datapath", "", "", fmt.Sprintf("the %s datapath carries ESP: %s", b.Name(), why))
	return nil
}

func (p *process) abort(serial uint64) {
	if p.next != nil && p.next.serial == serial {
		p.next.close()
		p.next = nil
	}
}

// commit puts the prepared view in force: new policies stand before Committed is said, and what is no longer in the plan stays until
// ReloadDone.
func (p *process) commit(m *msg.Commit) error {
	n := p.next
	if n == nil || n.serial != m.Serial {
		return fmt.Errorf("triked said Commit of %d, which is not prepared", m.Serial)
	}
	p.next = nil
	first := p.serial == 0
	if err := p.cfg.Datapaths.Adopt(p.datapath, n.files); err != nil {
		p.log("error", "datapath", "", "", "descriptors of the new plan: "+err.Error())
	}
	p.grantKey.Close()
	p.serial, p.view, p.policies, p.grantKey = n.serial, n.view, n.policies, n.key
	p.applyPolicies(!first)
	p.stale = !first
	if err := p.reconcile(first); err != nil {
		p.log("error", "reconcile", "", "", err.Error())
	}
	if err := p.triked.Say(&msg.Committed{Serial: m.Serial}); err != nil {
		return err
	}
	p.inventory()
	return nil
}

// newLink takes a new link to ikeproc, which knows nothing that was said on the old one.
func (p *process) newLink(m *msg.Link, r ipc.Received) error {
	if m.Process != string(msg.IKEProc) {
		ipc.CloseFiles(r.Files)
		return fmt.Errorf("triked brought a link to %q, which is no neighbour", m.Process)
	}
	l, err := p.cfg.Connect(msg.IKEProc, r.Files)
	if err != nil {
		return fmt.Errorf("link to ikeproc: %w", err)
	}
	if p.ike != nil {
		p.ike.Cut()
	}
	p.ike = ipc.Queue(0, l)
	p.releasePending()
	p.state.Forgotten()
	// A new ikeproc has nothing of the plan before, so nothing of that is worth waiting for. One that lives on says ReloadDone again.
	p.finishReload()
	p.inventory()
	return nil
}

func (p *process) status(m *msg.StatusRequest) error {
	x := status.XFRM{Why: p.why, Refused: p.refused}
	if p.datapath != nil {
		x.Datapath = string(p.datapath.Name())
		st, err := p.datapath.Stats()
		if err != nil {
			return fmt.Errorf("count what the datapath holds: %w", err)
		}
		x.SAs, x.Policies, x.Dropped = st.SAs, st.Policies, st.Dropped
		for _, spi := range p.state.SAs() {
			if c, err := p.datapath.Query(spi); err == nil { // one that has just gone has carried nothing
				x.Traffic = append(x.Traffic, status.Traffic{SPIIn: fmt.Sprintf("%08x", spi),
					BytesIn: c.BytesIn, BytesOut: c.BytesOut, PacketsIn: c.PacketsIn, PacketsOut: c.PacketsOut})
			}
		}
	}
	b, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	return p.triked.Say(&msg.StatusReply{Req: m.Req, JSON: b})
}

// shutdown takes away the SAs that are left, which nobody would look after. Policies stay: a restart must not let anything out in clear.
func (p *process) shutdown() {
	p.done = true
	if p.datapath == nil {
		return
	}
	for _, spi := range p.state.SAs() {
		p.remove(spi)
	}
	p.releasePending()
}
