package trio

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/authproc"
	"github.com/trike-ipsec/trike/ikeproc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/xfrmproc"
)

var trio = [...]msg.Process{msg.AuthProc, msg.XFRMProc, msg.IKEProc} // in the order in which they commit

// gateway is the trio of one gateway. The test is its triked.
type gateway struct {
	t       testing.TB
	net     *network
	name    string
	plan    *plan.Plan
	secrets map[string]string
	dir     string
	key     []byte // for grants
	serial  uint64
	req     uint64
	procs   map[msg.Process]*process
	device  *device
	path    xfrmproc.Datapath // outlives xfrmproc, as the kernel's does; nil before the first plan
	limits  ikeproc.Limits
	// hostile: the test plays ikeproc, whose Run is not started.
	hostile bool
	// spoil names a process whose view is cut off on its way.
	spoil msg.Process

	mu  sync.Mutex
	log []status.Event
}

// process is one Run and triked's end of its control link.
type process struct {
	control *controlLink
	answers chan msg.Message
	links   chan any // for Connect
	cancel  context.CancelFunc
	ended   chan error
}

func newGateway(t testing.TB, n *network, p *plan.Plan, secrets map[string]string) *gateway {
	return &gateway{t: t, net: n, name: p.Gateway, plan: p, secrets: secrets, dir: t.TempDir(), key: []byte(strings.Repeat("k", 32)), procs: map[msg.Process]*process{}}
}

// start starts one process and waits for its Hello.
func (g *gateway) start(name msg.Process) {
	g.t.Helper()
	mine, its := newControl(name)
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{control: mine, answers: make(chan msg.Message, 256), links: make(chan any, 4), cancel: cancel, ended: make(chan error, 1)}
	g.procs[name] = p
	go g.listen(p)
	go func() { p.ended <- g.run(ctx, name, its, p.links) }()
	if h, ok := g.hear(name).(*msg.Hello); !ok || h.Process != string(name) {
		g.t.Fatalf("%s: first words of %s: %+v", g.name, name, h)
	}
}

func (g *gateway) run(ctx context.Context, name msg.Process, control *controlLink, links chan any) error {
	switch name {
	case msg.AuthProc:
		return authproc.Run(ctx, authproc.Config{Control: control, Version: "test", PID: 1,
			Connect: func(msg.Process, []*os.File) (authproc.Link, error) { return (<-links).(authproc.Link), nil }})
	case msg.XFRMProc:
		return xfrmproc.Run(ctx, xfrmproc.Config{Control: control, Datapaths: g, Version: "test", PID: 1,
			Connect: func(msg.Process, []*os.File) (xfrmproc.Link, error) { return (<-links).(xfrmproc.Link), nil }})
	}
	return ikeproc.Run(ctx, ikeproc.Config{Control: control, OpenSocket: g.net.openIKE, Limits: g.limits, Version: "test", PID: 1,
		Connect: func(msg.Process, []*os.File) (ikeproc.Link, error) { return (<-links).(ikeproc.Link), nil }})
}

// lasting is a datapath that outlives the process, as the kernel's does.
type lasting struct{ xfrmproc.Datapath }

func (lasting) Close() error { return nil }

// Open opens the built-in datapath over the simulated network (xfrmproc.Opener).
func (g *gateway) Open(_ plan.Datapath, _ xfrmproc.Descriptors) (xfrmproc.Datapath, string, error) {
	if g.path != nil {
		return lasting{g.path}, "it is there already", nil
	}
	g.device = newDevice()
	var sockets []xfrmproc.Socket
	for _, at := range g.plan.Listen {
		sockets = append(sockets, g.net.openESP(netip.AddrPortFrom(at, 0)), g.net.openESP(netip.AddrPortFrom(at, 4500)))
	}
	d, err := xfrmproc.NewUserspace(g.device, sockets...)
	g.path = d
	return lasting{d}, "a test", err
}

// Adopt takes nothing (xfrmproc.Opener).
func (g *gateway) Adopt(xfrmproc.Datapath, xfrmproc.Descriptors) error { return nil }

// listen keeps a process's log lines and hands on its answers.
func (g *gateway) listen(p *process) {
	defer close(p.answers)
	for {
		m, err := p.control.Receive()
		if err != nil {
			return
		}
		if l, ok := m.(*msg.Log); ok {
			var e status.Event
			if err := json.Unmarshal(l.JSON, &e); err != nil {
				g.t.Errorf("log line %q: %v", l.JSON, err)
			}
			g.mu.Lock()
			g.log = append(g.log, e)
			g.mu.Unlock()
			continue
		}
		p.answers <- m
	}
}

// hear is a process's next answer.
func (g *gateway) hear(name msg.Process) msg.Message {
	g.t.Helper()
	m, ok := <-g.procs[name].answers
	if !ok {
		g.t.Fatalf("%s: %s has gone\n%s", g.name, name, g.story(20))
	}
	return m
}

func (g *gateway) say(name msg.Process, m msg.Message, files ...*os.File) {
	g.t.Helper()
	if err := g.procs[name].control.SendFiles(m, files); err != nil {
		g.t.Fatalf("%s: say %v to %s: %v", g.name, m.Kind(), name, err)
	}
}

// prepare hands a process its view, and returns why it was refused, or "".
func (g *gateway) prepare(name msg.Process, p *plan.Plan) (problems []msg.Problem, refused string) {
	g.t.Helper()
	m := &msg.Prepare{Serial: g.serial, Hash: p.Hash()}
	var files []*os.File
	switch name {
	case msg.AuthProc:
		m.View, m.GrantKey = plan.EncodeView(p.Auth()), secret.Copy(g.key)
		for _, s := range p.Secrets {
			at := filepath.Join(g.dir, s.Name)
			if err := os.WriteFile(at, []byte(g.secrets[s.Name]), 0o600); err != nil {
				g.t.Fatal(err)
			}
			m.Files, files = append(m.Files, msg.File{Kind: "secret", Name: s.Name}), append(files, open(g.t, at))
		}
	case msg.XFRMProc:
		m.View, m.GrantKey = plan.EncodeView(p.XFRM()), secret.Copy(g.key)
	case msg.IKEProc:
		m.View = plan.EncodeView(p.IKE())
		for _, a := range p.Listen {
			for _, port := range []uint16{500, 4500} {
				m.Files, files = append(m.Files, msg.File{Kind: "ike", Name: netip.AddrPortFrom(a, port).String()}), append(files, open(g.t, os.DevNull))
			}
		}
	}
	if g.spoil == name {
		m.View = m.View[:len(m.View)/2]
	}
	g.say(name, m, files...)
	switch a := g.hear(name).(type) {
	case *msg.Prepared:
		return a.Problems, ""
	case *msg.NotPrepared:
		return nil, a.Reason
	default:
		g.t.Fatalf("%s: %s answers Prepare by %v", g.name, name, a.Kind())
		return nil, ""
	}
}

func open(t testing.TB, at string) *os.File {
	t.Helper()
	f, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (g *gateway) commit(name msg.Process) {
	g.t.Helper()
	g.say(name, &msg.Commit{Serial: g.serial})
	if c, ok := g.hear(name).(*msg.Committed); !ok || c.Serial != g.serial {
		g.t.Fatalf("%s: %s answers Commit by %+v", g.name, name, c)
	}
}

// boot starts the trio with the gateway's plan.
func (g *gateway) boot() {
	g.t.Helper()
	for _, p := range g.running() {
		g.start(p)
	}
	if why := g.apply(g.plan); why != "" {
		g.t.Fatalf("%s: the plan was refused: %s", g.name, why)
	}
	if !g.hostile {
		g.link(msg.AuthProc)
		g.link(msg.XFRMProc)
	}
}

func (g *gateway) running() []msg.Process {
	if g.hostile {
		return trio[:2]
	}
	return trio[:]
}

// apply reloads, and returns why the plan was refused, or "".
func (g *gateway) apply(p *plan.Plan) string {
	g.t.Helper()
	g.serial++
	for _, name := range g.running() {
		if _, why := g.prepare(name, p); why != "" {
			for _, name := range g.running() {
				g.say(name, &msg.Abort{Serial: g.serial})
			}
			return fmt.Sprintf("%s: %s", name, why)
		}
	}
	for _, name := range g.running() {
		g.commit(name)
	}
	g.plan = p
	return ""
}

// link makes a new link between ikeproc and a neighbour. With a hostile ikeproc its end is the result.
func (g *gateway) link(with msg.Process) ikeproc.Link {
	g.t.Helper()
	a, b := newLink(msg.IKEProc, with)
	g.procs[with].links <- b
	g.say(with, &msg.Link{Process: string(msg.IKEProc)})
	if !g.hostile {
		g.procs[msg.IKEProc].links <- a
		g.say(msg.IKEProc, &msg.Link{Process: string(with)})
	}
	return a
}

// kill ends a process at once.
func (g *gateway) kill(name msg.Process) {
	g.t.Helper()
	p := g.procs[name]
	p.cancel()
	if err := <-p.ended; err != nil {
		g.t.Errorf("%s: %s ended with %v", g.name, name, err)
	}
	_ = p.control.Close()
	delete(g.procs, name)
}

// restart does what triked does when a process has died.
func (g *gateway) restart(name msg.Process) {
	g.t.Helper()
	g.start(name)
	if _, why := g.prepare(name, g.plan); why != "" {
		g.t.Fatalf("%s: %s refuses the plan after a restart: %s", g.name, name, why)
	}
	g.commit(name)
	if name != msg.IKEProc {
		g.link(name)
		return
	}
	g.link(msg.AuthProc)
	g.link(msg.XFRMProc)
}

// crash takes the whole gateway away, datapath included.
func (g *gateway) crash() {
	for name := range g.procs {
		g.kill(name)
	}
	if g.path != nil {
		if err := g.path.Close(); err != nil {
			g.t.Errorf("%s: close the datapath: %v", g.name, err)
		}
		g.path = nil
	}
}

// control gives the operator's command, waits, and returns what went wrong, or "".
func (g *gateway) control(verb, connection, child string, ike bool) string {
	g.t.Helper()
	g.req++
	g.say(msg.IKEProc, &msg.Control{Req: g.req, Verb: verb, Connection: connection, Child: child, IKE: ike, Wait: true})
	c, ok := g.hear(msg.IKEProc).(*msg.Controlled)
	if !ok || c.Req != g.req {
		g.t.Fatalf("%s: control was answered by %+v", g.name, c)
	}
	return c.Error
}

// tell asks a process for its status and reads it into doc.
func (g *gateway) tell(name msg.Process, doc any) {
	g.t.Helper()
	g.req++
	g.say(name, &msg.StatusRequest{Req: g.req})
	r, ok := g.hear(name).(*msg.StatusReply)
	if !ok || r.Req != g.req {
		g.t.Fatalf("%s: status of %s: %+v", g.name, name, r)
	}
	if err := json.Unmarshal(r.JSON, doc); err != nil {
		g.t.Fatalf("%s: status of %s: %v", g.name, name, err)
	}
}

// connection is a connection's status.
func (g *gateway) connection(name string) status.Connection {
	g.t.Helper()
	var s status.IKE
	g.tell(msg.IKEProc, &s)
	for _, c := range s.Connections {
		if c.Name == name {
			return c
		}
	}
	g.t.Fatalf("%s: no connection %q in the status", g.name, name)
	return status.Connection{}
}

// carried is how many pairs of SAs the datapath carries.
func (g *gateway) carried() int {
	g.t.Helper()
	pairs, err := g.path.Dump()
	if err != nil {
		g.t.Fatal(err)
	}
	return len(pairs)
}

// story is the last log lines.
func (g *gateway) story(most int) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var b strings.Builder
	for _, e := range g.log[max(0, len(g.log)-most):] {
		fmt.Fprintf(&b, "%s %s %s %s %s/%s: %s\n", g.name, e.Time.Format("04:05.000"), e.Process, e.Event, e.Connection, e.Child, e.Text)
	}
	return b.String()
}

// sleep lets time pass, and everybody come to rest.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
