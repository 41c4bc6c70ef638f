package authproc

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
)

var (
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	grantKey = []byte("0123456789abcdef0123456789abcdef")
)

// bench is authproc under test, over a real socketpair and real pipes, with triked and ikeproc played by the test.
type bench struct {
	t      *testing.T
	dir    string
	triked *ipc.FileConn
	ike    *ipc.Conn
	raw    *os.File // what ikeproc writes to, for frames that no Conn would send
	ended  chan error
	serial uint64
	logs   []status.Event
}

func start(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	mine, its, err := ipc.Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: t.TempDir(), ended: make(chan error, 1)}
	control, err := ipc.NewFileConn(its, msg.AuthProc, msg.Triked)
	if err != nil {
		t.Fatal(err)
	}
	if b.triked, err = ipc.NewFileConn(mine, msg.Triked, msg.AuthProc); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		cfg := Config{Control: control, Version: "test", PID: 7, Now: func() time.Time { return noon }}
		for _, f := range change {
			f(&cfg)
		}
		b.ended <- Run(ctx, cfg)
	}()
	t.Cleanup(func() {
		cancel()
		_ = b.triked.Close()
	})
	if h, ok := b.hear().(*msg.Hello); !ok || *h != (msg.Hello{Process: "authproc", PID: 7, Version: "test"}) {
		t.Fatalf("first words: %+v", h)
	}
	return b
}

// hear is the next message to triked that is no log line.
func (b *bench) hear() msg.Message {
	b.t.Helper()
	for {
		m, err := b.triked.Receive()
		if err != nil {
			b.t.Fatalf("triked hears nothing more: %v", err)
		}
		l, ok := m.(*msg.Log)
		if !ok {
			return m
		}
		var e status.Event
		if err := json.Unmarshal(l.JSON, &e); err != nil {
			b.t.Fatal(err)
		}
		b.logs = append(b.logs, e)
	}
}

func (b *bench) say(m msg.Message, files ...*os.File) {
	b.t.Helper()
	if err := b.triked.SendFiles(m, files); err != nil {
		b.t.Fatal(err)
	}
	for _, f := range files {
		_ = f.Close()
	}
}

// file makes a secret file and opens it, as triked does.
func (b *bench) file(name, content string, mode os.FileMode) *os.File {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		b.t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

// keys are secrets' names with their open files.
type keys []struct {
	name string
	f    *os.File
}

// prepare sends a plan and returns the answer.
func (b *bench) prepare(v plan.AuthView, ks keys) msg.Message {
	b.t.Helper()
	b.serial++
	m := &msg.Prepare{Serial: b.serial, View: plan.EncodeView(v), GrantKey: secret.Copy(grantKey)}
	var files []*os.File
	for _, k := range ks {
		m.Files = append(m.Files, msg.File{Kind: "secret", Name: k.name})
		files = append(files, k.f)
	}
	b.say(m, files...)
	return b.hear()
}

func (b *bench) apply(v plan.AuthView, ks keys) []msg.Problem {
	b.t.Helper()
	p, ok := b.prepare(v, ks).(*msg.Prepared)
	if !ok || p.Serial != b.serial {
		b.t.Fatalf("not prepared: %+v", p)
	}
	b.say(&msg.Commit{Serial: b.serial})
	if c, ok := b.hear().(*msg.Committed); !ok || c.Serial != b.serial {
		b.t.Fatalf("not committed: %+v", c)
	}
	return p.Problems
}

// link gives authproc a new ikeproc.
func (b *bench) link() {
	b.t.Helper()
	toAuth, fromIKE, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	toIKE, fromAuth, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if b.ike != nil {
		old := b.ike
		b.t.Cleanup(func() { _ = old.Close() })
	}
	b.raw = fromIKE
	b.ike = ipc.Pipe(toIKE, fromIKE, msg.IKEProc, msg.AuthProc)
	b.t.Cleanup(func() { _ = b.ike.Close() })
	b.say(&msg.Link{Process: "ikeproc"}, toAuth, fromAuth)
}

func (b *bench) fromAuth() msg.Message {
	b.t.Helper()
	m, err := b.ike.Receive()
	if err != nil {
		b.t.Fatalf("ikeproc hears nothing more: %v", err)
	}
	return m
}

func (b *bench) hints() []msg.Problem {
	b.t.Helper()
	h, ok := b.fromAuth().(*msg.TrustHints)
	if !ok {
		b.t.Fatal("no hints")
	}
	return h.Problems
}

func (b *bench) ask(m msg.Message) msg.Message {
	b.t.Helper()
	if err := b.ike.Send(m); err != nil {
		b.t.Fatal(err)
	}
	return b.fromAuth()
}

func (b *bench) sign(connection string) *msg.Signed {
	b.t.Helper()
	s, ok := b.ask(&msg.Sign{Req: 1, Connection: connection, Octets: octets(false)}).(*msg.Signed)
	if !ok {
		b.t.Fatal("Sign is not answered by Signed")
	}
	return s
}

// end waits for Run and returns what it said.
func (b *bench) end() error { return <-b.ended }

func octets(initiator bool) msg.Octets {
	m := make([]byte, 28)
	m[0], m[8], m[17], m[18], m[19], m[27] = 1, 1, 0x20, 34, 0x20, 28
	if initiator {
		m[8], m[19] = 0, 8
	}
	return msg.Octets{PRF: ikev2.PRF_HMAC_SHA2_256, Message: m, Nonce: make([]byte, 32), SKp: secret.New(make([]byte, 32))}
}

// office is a view with one connection for each name, each with a secret of its own name.
func office(names ...string) plan.AuthView {
	v := plan.AuthView{Gateway: "hub", Sources: []string{"office.cue"}}
	for i, n := range names {
		v.Secrets = append(v.Secrets, plan.Secret{Name: n, File: "/etc/" + n})
		a := plan.Auth{Method: plan.AuthPSK, Secret: n}
		v.Connections = append(v.Connections, plan.AuthConnection{Name: n, LocalAuth: a, RemoteAuth: a, Pos: plan.Pos{Line: i + 1, Column: 3},
			Local: plan.Endpoint{ID: plan.Identity{Type: ikev2.ID_FQDN, Data: "hub.example"}}, Remote: plan.Endpoint{ID: plan.Identity{Type: ikev2.ID_FQDN, Data: n + ".example"}}})
	}
	return v
}

func contains(t *testing.T, what, text string) {
	t.Helper()
	if !strings.Contains(text, what) {
		t.Errorf("%q does not say %q", text, what)
	}
}
