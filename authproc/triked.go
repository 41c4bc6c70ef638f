package authproc

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/trike-ipsec/trike/authproc/internal/authn"
	"github.com/trike-ipsec/trike/authproc/internal/pool"
	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
)

// minGrantKey is the least length of the key for grants, in octets.
const minGrantKey = 32

// prepared is the next state, beside the current one.
type prepared struct {
	serial uint64
	view   plan.AuthView
	state  *authn.State
	key    secret.Bytes
}

// fromTriked deals with one message of triked's. An error ends the process: triked and it do not agree on what is going on.
func (p *process) fromTriked(r ipc.Received) error {
	switch m := r.Message.(type) {
	case *msg.Prepare:
		return p.prepare(m, r.Files)
	case *msg.Commit:
		return p.commit(m)
	case *msg.Abort:
		if p.next != nil && p.next.serial == m.Serial {
			p.forgetNext()
		}
		return nil
	case *msg.Link:
		return p.newLink(m, r.Files)
	case *msg.PluginStarted:
		p.cfg.Plugins.Started(m, r.Files)
		return nil
	case *msg.PluginDialed:
		p.cfg.Plugins.Dialed(m, r.Files)
		return nil
	case *msg.PluginExited:
		p.cfg.Plugins.Exited(m)
		return nil
	case *msg.StatusRequest:
		return p.status(m)
	case *msg.Shutdown:
		p.done = true
		return nil
	}
	ipc.CloseFiles(r.Files)
	return fmt.Errorf("triked said %T, which has no place here", r.Message)
}

// prepare builds the next credentials. The current ones are not touched.
func (p *process) prepare(m *msg.Prepare, files []*os.File) error {
	p.forgetNext()
	p.openBook(m.Files, files)
	n, err := newPrepared(m, files, p.cfg.Now())
	if err != nil {
		m.GrantKey.Close()
		return p.triked.Say(&msg.NotPrepared{Serial: m.Serial, Reason: err.Error()})
	}
	p.next = n
	return p.triked.Say(&msg.Prepared{Serial: m.Serial, Problems: n.state.Problems()})
}

// openBook takes the file of leases, once. Leases that were given before it came are in no file, so they are the ones that are forgotten.
func (p *process) openBook(names []msg.File, files []*os.File) {
	for i, n := range names {
		if n.Kind != "leases" || p.leaseFile != nil || i >= len(files) {
			continue
		}
		book, err := pool.Open(files[i])
		if err != nil {
			p.log("error", "leases", "", "the leases of before are lost: "+err.Error())
			return
		}
		p.book, p.leaseFile = book, files[i]
		files[i] = nil
	}
}

// newPrepared reads the secrets and closes their descriptors, whatever comes of it.
func newPrepared(m *msg.Prepare, files []*os.File, now time.Time) (*prepared, error) {
	defer ipc.CloseFiles(files)
	if len(m.Files) != len(files) {
		return nil, fmt.Errorf("%d descriptors came for %d names", len(files), len(m.Files))
	}
	if m.GrantKey.Len() < minGrantKey {
		return nil, errors.New("no key for grants came with the plan")
	}
	view, err := plan.DecodeAuthView(m.View)
	if err != nil {
		return nil, err
	}
	n := &prepared{serial: m.Serial, view: view, key: m.GrantKey}
	n.state, _ = authn.New(view, readSecrets(m.Files, files), readFiles(m.Files, files), now)
	return n, nil
}

func (p *process) forgetNext() {
	if p.next != nil {
		p.next.state.Close()
		p.next.key.Close()
		p.next = nil
	}
}

// commit puts the prepared credentials in force and wipes the old ones.
func (p *process) commit(m *msg.Commit) error {
	n := p.next
	if n == nil || n.serial != m.Serial {
		return fmt.Errorf("triked said Commit of %d, which is not prepared", m.Serial)
	}
	p.next = nil
	if p.state != nil {
		p.state.Close()
	}
	p.serial, p.view, p.state = n.serial, n.view, n.state
	p.issuer.SetKey(n.key)
	p.book.Use(n.view.Pools)
	p.cfg.Plugins.Use(n.view.Plugins, p.state.Secret)
	for _, x := range p.state.Problems() {
		p.log("error", "no-credentials", x.Connection, fmt.Sprintf("connection %q cannot authenticate: %s", x.Connection, x.Text))
	}
	for _, w := range p.state.Warnings() {
		p.log("warn", "credentials", "", w)
	}
	for _, c := range p.state.Certificates(p.cfg.Now()) {
		if c.Problem != "" {
			p.log("warn", "certificate", "", fmt.Sprintf("certificate %q %s: %s", c.Name, c.Subject, c.Problem))
		}
	}
	if err := p.triked.Say(&msg.Committed{Serial: m.Serial}); err != nil {
		return err
	}
	p.hint()
	return nil
}

// newLink takes a new link to ikeproc.
func (p *process) newLink(m *msg.Link, files []*os.File) error {
	if m.Process != string(msg.IKEProc) {
		ipc.CloseFiles(files)
		return fmt.Errorf("triked brought a link to %q, which is no neighbour", m.Process)
	}
	l, err := p.cfg.Connect(msg.IKEProc, files)
	if err != nil {
		return fmt.Errorf("link to ikeproc: %w", err)
	}
	if p.ike != nil {
		p.ike.Cut()
	}
	p.ike = ipc.Queue(0, l)
	p.hint()
	return nil
}

func (p *process) status(m *msg.StatusRequest) error {
	a := status.Auth{Problems: []status.AuthProblem{}}
	if p.state != nil {
		for _, x := range p.state.Problems() {
			a.Problems = append(a.Problems, status.AuthProblem{Connection: x.Connection, Text: x.Text, Policy: place(p.view.Sources, x.Pos)})
		}
	}
	if p.state != nil {
		for _, c := range p.state.Certificates(p.cfg.Now()) {
			a.Certificates = append(a.Certificates, status.Certificate{Name: c.Name, Subject: c.Subject, NotAfter: c.NotAfter, Problem: c.Problem})
		}
	}
	for _, x := range p.view.Pools {
		size, held := p.book.Count(x.Name)
		a.Pools = append(a.Pools, status.Pool{Name: x.Name, Size: size, Held: held, Policy: place(p.view.Sources, x.Pos)})
	}
	a.Plugins = p.cfg.Plugins.Status()
	b, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	return p.triked.Say(&msg.StatusReply{Req: m.Req, JSON: b})
}

// place is a position as file:line:column, or "".
func place(sources []string, at plan.Pos) string {
	if at.Line == 0 || at.File < 0 || at.File >= len(sources) {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", sources[at.File], at.Line, at.Column)
}
