package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// TestMain lets the test's binary be a plugin, of the kind that its name says.
func TestMain(m *testing.M) {
	if os.Getenv(eapsdk.Cookie) == "" {
		os.Exit(m.Run())
	}
	switch kind := filepath.Base(os.Args[0]); kind {
	case "silent":
		time.Sleep(time.Hour)
	case "garbage":
		fmt.Println("Hello, world!")
		time.Sleep(time.Hour)
	case "gone":
		os.Exit(3)
	case "foreign":
		fmt.Println("1|1|unix|/run/other.sock|grpc|")
		time.Sleep(time.Hour)
	case "flood":
		go func() {
			for {
				fmt.Fprintln(os.Stderr, strings.Repeat("flood ", 300))
			}
		}()
		eapsdk.Serve(script{})
	case "talks":
		go func() {
			time.Sleep(300 * time.Millisecond)
			for {
				fmt.Println(strings.Repeat("after the start ", 300)) // go-plugin's standard output by then
				time.Sleep(time.Millisecond)
			}
		}()
		eapsdk.Serve(script{})
	case "keeper":
		eapsdk.Serve(&book{ended: make(chan string, 16)})
	default:
		eapsdk.Serve(script{})
	}
}

// script does what the identity says.
type script struct{}

func (script) Describe() eapsdk.Description {
	return eapsdk.Description{Name: "script", Version: "1", Type: 200, Roles: []eapsdk.Role{eapsdk.Server}, MakesKeys: true,
		Settings: []eapsdk.Setting{{Name: "word"}, {Name: "key", Secret: true, Required: true, Help: "the key"}}}
}

func (script) Configure(_ context.Context, c eapsdk.Config, _ *slog.Logger) error {
	if c.Values["word"] == "bad" {
		return errors.New("the word is bad")
	}
	return nil
}

func (script) Begin(_ context.Context, b eapsdk.Begin) (eapsdk.Session, eapsdk.Step, error) {
	if b.Identity == "hang at once" {
		time.Sleep(time.Hour)
	}
	return talk{b.Identity}, eapsdk.Step{Outcome: eapsdk.Continue, Packet: []byte{1, b.Identifier, 0, 5, 200}}, nil
}

type talk struct{ who string }

func (t talk) Next(ctx context.Context, _ []byte) (eapsdk.Step, error) {
	switch t.who {
	case "crash":
		os.Exit(1)
	case "panic":
		panic("here")
	case "hang":
		time.Sleep(time.Hour)
	case "huge":
		return eapsdk.Step{Outcome: eapsdk.Continue, Packet: make([]byte, 2<<20)}, nil
	}
	return eapsdk.Step{Outcome: eapsdk.Success, MSK: make([]byte, eapsdk.MaxMSK)}, nil
}
func (talk) Abort(string) {}

// gateway is triked for a Host: it starts the processes, without the sandbox.
type gateway struct {
	t    *testing.T
	h    *Host
	dir  string
	mu   sync.Mutex
	runs map[int]*exec.Cmd
	log  []string
	n    int
}

func begin(t *testing.T, cfg Config) *gateway {
	dir, err := os.MkdirTemp("", "ph") // short: a socket's path has 108 octets
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, dir: dir, runs: map[int]*exec.Cmd{}}
	cfg.Say = g.say
	cfg.Log = func(level, text string) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.log = append(g.log, level+" "+text)
	}
	if cfg.Wait == 0 {
		cfg.Wait = 10 * time.Millisecond
	}
	g.h = New(cfg)
	t.Cleanup(func() {
		g.h.Close()
		g.mu.Lock()
		for _, c := range g.runs {
			_ = c.Process.Kill()
		}
		g.mu.Unlock()
		for range 1000 {
			g.mu.Lock()
			n := len(g.runs)
			g.mu.Unlock()
			if n == 0 {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		_ = os.RemoveAll(dir)
	})
	return g
}

func (g *gateway) say(m msg.Message) error {
	switch m := m.(type) {
	case *msg.PluginExec:
		go g.exec(*m)
	case *msg.PluginDial:
		go func() {
			c, err := net.Dial("unix", m.Socket)
			if err != nil {
				g.h.Dialed(&msg.PluginDialed{Req: m.Req, Error: err.Error()}, nil)
				return
			}
			defer c.Close()
			f, err := c.(*net.UnixConn).File()
			if err != nil {
				panic(err)
			}
			g.h.Dialed(&msg.PluginDialed{Req: m.Req}, []*os.File{f})
		}()
	case *msg.PluginEnd:
		g.kill(m.PID)
	}
	return nil
}

func (g *gateway) kill(pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.runs[pid]; c != nil {
		_ = c.Process.Kill()
	}
}

func (g *gateway) exec(m msg.PluginExec) {
	kind, _, _ := strings.Cut(m.Name, "-")
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	g.mu.Lock()
	g.n++
	dir := filepath.Join(g.dir, fmt.Sprint(g.n))
	g.mu.Unlock()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return
	}
	stdout, out, err1 := os.Pipe()
	stderr, words, err2 := os.Pipe()
	if err := errors.Join(err1, err2); err != nil {
		panic(err)
	}
	cmd := &exec.Cmd{Path: self, Args: []string{kind}, Env: append([]string{"TMPDIR=" + dir}, m.Env...), Stdout: out, Stderr: words}
	err = cmd.Start()
	out.Close()
	words.Close()
	if err != nil {
		g.h.Started(&msg.PluginStarted{Req: m.Req, Error: err.Error()}, nil)
		return
	}
	pid := cmd.Process.Pid
	g.mu.Lock()
	g.runs[pid] = cmd
	g.mu.Unlock()
	g.h.Started(&msg.PluginStarted{Req: m.Req, PID: pid, Dir: dir}, []*os.File{stdout, stderr})
	err = cmd.Wait()
	g.mu.Lock()
	delete(g.runs, pid)
	g.mu.Unlock()
	g.h.Exited(&msg.PluginExited{Name: m.Name, PID: pid, Text: fmt.Sprint(err)})
}

func pluginNamed(name string) plan.Plugin {
	return plan.Plugin{Name: name, File: "/" + name, Secrets: []plan.PluginSecret{{Name: "key", Secret: "k"}}}
}

func theSecret(string) secret.Bytes { return secret.New([]byte("s3cr3t")) }

// until waits for what a plugin comes to.
func (g *gateway) until(what string, ok func(status.Plugin) bool) {
	g.t.Helper()
	for range 4000 {
		if s := g.h.Status(); len(s) > 0 && ok(s[0]) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	g.t.Fatalf("not %s: %+v\n%s", what, g.h.Status(), g.said())
}

func (g *gateway) said() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.log, "\n")
}

func running(s status.Plugin) bool { return s.State == "running" }
func failed(s status.Plugin) bool  { return s.State == "failed" }

// event is the next one.
func (g *gateway) event() Event {
	g.t.Helper()
	select {
	case e := <-g.h.Events():
		return e
	case <-time.After(time.Minute):
		g.t.Fatalf("no event\n%s", g.said())
		return Event{}
	}
}

// login is one whole session.
func (g *gateway) login(plugin string, session uint64, who string) Event {
	g.t.Helper()
	g.h.Begin(plugin, session, eapsdk.Begin{Role: eapsdk.Server, Identity: who})
	if e := g.event(); e.Err != nil || e.Session != session {
		return e
	}
	g.h.Next(session, []byte{2, 0, 0, 4})
	return g.event()
}

// A plugin is started, described, configured, and carries sessions.
func TestRuns(t *testing.T) {
	g := begin(t, Config{})
	if _, why := g.h.Methods([]string{"fine"}); !strings.Contains(why, `no plugin "fine"`) {
		t.Error(why)
	}
	g.h.Use([]plan.Plugin{pluginNamed("fine")}, theSecret)
	g.until("running", running)
	m, why := g.h.Methods([]string{"fine", "other"})
	if len(m) != 1 || m[0].Type != 200 || !m[0].MakesKeys || m[0].Mutual || why != `there is no plugin "other"` {
		t.Errorf("%+v, %s", m, why)
	}
	if e := g.login("fine", 1, "alice"); e.Err != nil || e.Step.Outcome != eapsdk.Success || len(e.Step.MSK) != eapsdk.MaxMSK {
		t.Errorf("%+v", e)
	}
	g.h.Begin("fine", 2, eapsdk.Begin{Role: eapsdk.Client, Identity: "alice"})
	if e := g.event(); e.Err == nil || !strings.Contains(e.Err.Error(), "cannot be an EAP client") {
		t.Errorf("%+v", e)
	}
	g.h.Next(77, nil)
	if e := g.event(); e.Err == nil {
		t.Error("a session that was never begun went on")
	}
	pid := g.h.Status()[0].PID
	g.h.Use([]plan.Plugin{pluginNamed("fine")}, theSecret)
	if now := g.h.Status()[0]; now.PID != pid || now.Restarts != 0 {
		t.Errorf("an unchanged plugin was touched: %+v", now)
	}
	g.h.Use([]plan.Plugin{pluginNamed("fine")}, func(string) secret.Bytes { return secret.New([]byte("another")) })
	g.until("running again, with another secret", func(s status.Plugin) bool { return running(s) && s.PID != pid })
	g.h.Use(nil, theSecret)
	if s := g.h.Status(); len(s) != 0 {
		t.Errorf("%+v", s)
	}
	if strings.Contains(g.said(), "s3cr3t") {
		t.Error("the log has the secret")
	}
}

// What a session does to its plugin costs that plugin's sessions, and it is there again.
func TestFaultsOfSessions(t *testing.T) {
	for _, tc := range []struct {
		who, want string
		again     bool // the plugin had to be started again
	}{
		{"panic", "panicked in Next: here", false},
		{"huge", "", false},
		{"crash", "", true},
		{"hang", "DeadlineExceeded", false},
	} {
		t.Run(tc.who, func(t *testing.T) {
			g := begin(t, Config{Call: 3 * time.Second})
			g.h.Use([]plan.Plugin{pluginNamed("fine")}, theSecret)
			g.until("running", running)
			pid := g.h.Status()[0].PID
			if e := g.login("fine", 1, tc.who); e.Err == nil || !strings.Contains(e.Err.Error(), tc.want) {
				t.Errorf("%+v", e)
			}
			if tc.again {
				g.until("running again", func(s status.Plugin) bool { return running(s) && s.PID != pid && s.Restarts == 1 })
			}
			if e := g.login("fine", 2, "alice"); e.Err != nil || e.Step.Outcome != eapsdk.Success {
				t.Errorf("afterwards: %+v\n%s", e, g.said())
			}
			if !tc.again && g.h.Status()[0].PID != pid {
				t.Error("the plugin was started again")
			}
		})
	}
}

// One that answers nobody any more is ended.
func TestThatHangs(t *testing.T) {
	g := begin(t, Config{Call: 100 * time.Millisecond})
	g.h.Use([]plan.Plugin{pluginNamed("fine")}, theSecret)
	g.until("running", running)
	pid := g.h.Status()[0].PID
	for i := range uint64(maxLate) {
		g.login("fine", i+1, "hang at once")
	}
	g.until("running again", func(s status.Plugin) bool { return running(s) && s.PID != pid })
	if !strings.Contains(g.said(), "did not answer 3 calls in a row") {
		t.Error(g.said())
	}
}

// What never works is given up, with the reason, until a plan is applied again.
func TestThatNeverRun(t *testing.T) {
	for kind, want := range map[string]string{"silent": "did not say within", "garbage": `it said "Hello, world!"`, "gone": "exit status 3", "foreign": "its socket: "} {
		t.Run(kind, func(t *testing.T) {
			start := time.Minute // a slow machine must not look like silence
			if kind == "silent" {
				start = 200 * time.Millisecond
			}
			g := begin(t, Config{Start: start, Wait: time.Millisecond})
			g.h.Use([]plan.Plugin{pluginNamed(kind)}, theSecret)
			g.until("failed", failed)
			if s := g.h.Status()[0]; !strings.Contains(s.Problem, want) || s.Restarts != maxFailures-1 {
				t.Errorf("%+v, want %q", s, want)
			}
			if m, why := g.h.Methods([]string{kind}); len(m) > 0 || !strings.Contains(why, want) {
				t.Errorf("%v, %s", m, why)
			}
			if e := g.login(kind, 1, "alice"); e.Err == nil {
				t.Error("it carried a session")
			}
			g.h.Use([]plan.Plugin{pluginNamed(kind)}, theSecret)
			if s := g.h.Status()[0]; s.State == "failed" {
				t.Error("it got no other chance")
			}
		})
	}
}

// Settings that do not fit are told, in the policy's words.
func TestSettings(t *testing.T) {
	for _, tc := range []struct {
		p    plan.Plugin
		want string
	}{
		{plan.Plugin{Name: "fine"}, `its setting "key" is needed: the key`},
		{plan.Plugin{Name: "fine", Values: []plan.PluginValue{{Name: "key", Value: "x"}}}, `its setting "key" is a secret`},
		{plan.Plugin{Name: "fine", Values: []plan.PluginValue{{Name: "wrod", Value: "x"}}, Secrets: pluginNamed("").Secrets}, `it knows no setting "wrod"; it knows key, word`},
		{plan.Plugin{Name: "fine", Secrets: append(pluginNamed("").Secrets, plan.PluginSecret{Name: "word", Secret: "k"})}, `its setting "word" is no secret`},
		{plan.Plugin{Name: "fine", Secrets: append(pluginNamed("").Secrets, plan.PluginSecret{Name: "more", Secret: "k"})}, `it knows no secret "more"`},
		{plan.Plugin{Name: "fine", Values: []plan.PluginValue{{Name: "word", Value: "bad"}}, Secrets: pluginNamed("").Secrets}, "the word is bad"},
	} {
		g := begin(t, Config{Wait: time.Millisecond})
		g.h.Use([]plan.Plugin{tc.p}, theSecret)
		g.until("told", func(s status.Plugin) bool { return strings.Contains(s.Problem, tc.want) })
	}
}

// A plugin that floods its log or its output goes on, and the log stays short.
func TestFlood(t *testing.T) {
	for _, kind := range []string{"flood", "talks"} {
		t.Run(kind, func(t *testing.T) {
			g := begin(t, Config{})
			g.h.Use([]plan.Plugin{pluginNamed(kind)}, theSecret)
			g.until("running", running)
			time.Sleep(400 * time.Millisecond) // for the flood to have come
			for i := range uint64(50) {
				if e := g.login(kind, i+1, "alice"); e.Err != nil || e.Step.Outcome != eapsdk.Success {
					t.Fatalf("%+v", e)
				}
			}
			if n := len(g.said()); n > 64<<10 {
				t.Errorf("the log has %d octets", n)
			}
		})
	}
}

// While one plugin crashes, hangs and floods, 200 logins by another one all come through.
func TestNeighboursAreSafe(t *testing.T) {
	g := begin(t, Config{Call: 30 * time.Second})
	g.h.Use([]plan.Plugin{pluginNamed("fine"), pluginNamed("flood")}, theSecret)
	for range 4000 {
		if m, _ := g.h.Methods([]string{"fine", "flood"}); len(m) == 2 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	const logins = 200
	for i := range uint64(logins) {
		g.h.Begin("fine", i+1, eapsdk.Begin{Role: eapsdk.Server, Identity: "alice"})
	}
	for i, who := range []string{"crash", "hang", "panic", "crash"} {
		g.h.Begin("flood", uint64(1000+i), eapsdk.Begin{Role: eapsdk.Server, Identity: who})
	}
	good := 0
	for good < logins {
		e := g.event()
		switch {
		case e.Session > logins: // the other plugin's
			if e.Err == nil && e.Step.Outcome == eapsdk.Continue {
				g.h.Next(e.Session, []byte{2, 0, 0, 4})
			}
		case e.Err != nil || e.Step.Outcome == eapsdk.Failure:
			t.Fatalf("%+v\n%s", e, g.said())
		case e.Step.Outcome == eapsdk.Continue:
			g.h.Next(e.Session, []byte{2, 0, 0, 4})
		default:
			good++
		}
	}
}
