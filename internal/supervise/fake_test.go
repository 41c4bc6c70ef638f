package supervise

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// fakeHost is a machine without processes, sockets and files.
type fakeHost struct {
	mu        sync.Mutex // the loop and openings run beside each other
	children  map[msg.Process][]*fakeChild
	behave    func(c *fakeChild, m msg.Message) []msg.Message // nil: obey
	startErr  error
	openErr   error
	secretErr error
	secret    string // the path of every file that a plan names; "": the null device
	openTime  time.Duration
	protected []string // what Protect was told, in order
	protErr   error
	last      *saved
	saveErr   error
	flushed   int
	plugins   []*fakePlugin
}

func newFakeHost() *fakeHost { return &fakeHost{children: map[msg.Process][]*fakeChild{}} }

// will has the processes behave so from now on.
func (h *fakeHost) will(behave func(*fakeChild, msg.Message) []msg.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.behave = behave
}

func (h *fakeHost) Decide(want plan.Datapath) (plan.Datapath, string, error) {
	if want == plan.DatapathAuto {
		want = plan.DatapathKernel
	}
	return want, "a test", nil
}

func (h *fakeHost) Open(p *plan.Plan, _ plan.Datapath, have *openings) (*openings, error) {
	time.Sleep(h.openTime)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.openErr != nil {
		return nil, h.openErr
	}
	o := &openings{byName: map[msg.File]*os.File{}}
	for _, a := range p.Listen {
		name := msg.File{Kind: "ike", Name: a.String()}
		o.forIKE = append(o.forIKE, name)
		if have != nil && have.byName[name] != nil {
			o.byName[name] = have.byName[name]
			continue
		}
		f, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		o.byName[name] = f
	}
	return o, nil
}

func (h *fakeHost) Secrets(p *plan.Plan) ([]*os.File, []error) {
	list := filesOf(p)
	files, errs := make([]*os.File, len(list)), make([]error, len(list))
	for i := range list {
		if errs[i] = h.secretErr; errs[i] == nil {
			files[i], errs[i] = os.Open(cmp.Or(h.secret, os.DevNull))
		}
	}
	return files, errs
}

func (h *fakeHost) Pipes() (a, b [2]*os.File, err error) {
	for _, f := range []**os.File{&a[0], &a[1], &b[0], &b[1]} {
		if *f, err = os.Open(os.DevNull); err != nil {
			return a, b, err
		}
	}
	return a, b, nil
}

func (h *fakeHost) Protect(p *plan.Plan, _ plan.Datapath, addOnly bool) ([]string, error) {
	what := "only "
	if addOnly {
		what = "also "
	}
	h.protected = append(h.protected, what+p.Gateway)
	err := h.protErr
	h.protErr = nil
	return nil, err
}

func (h *fakeHost) StartPlugin(p plan.Plugin, user int, env []string) (pluginChild, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.startErr != nil {
		return nil, h.startErr
	}
	c := &fakePlugin{name: p.Name, user: user, env: env, pid: 5000 + len(h.plugins), gone: make(chan struct{})}
	h.plugins = append(h.plugins, c)
	return c, nil
}

func (h *fakeHost) Flush(plan.Datapath) error { h.flushed++; return nil }
func (h *fakeHost) Load() (*saved, error)     { return h.last, nil }
func (h *fakeHost) Save(s *saved) error {
	if h.saveErr == nil {
		h.last = s
	}
	return h.saveErr
}

func (h *fakeHost) Start(name msg.Process, args []string, _ func(string)) (child, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.startErr != nil {
		return nil, h.startErr
	}
	c := &fakeChild{host: h, name: name, args: args, pid: 100*len(h.children[name]) + len(name), in: make(chan msg.Message, 100), out: make(chan msg.Message, 100), gone: make(chan struct{})}
	h.children[name] = append(h.children[name], c)
	go c.live()
	return c, nil
}

// now is the run of a process that is alive, or nil.
func (h *fakeHost) now(name msg.Process) *fakeChild {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.children[name] {
		if !c.dead() {
			return c
		}
	}
	return nil
}

// fakeChild is a process that does what triked says, unless behave has something else in mind.
type fakeChild struct {
	host   *fakeHost
	name   msg.Process
	args   []string
	pid    int
	in     chan msg.Message
	out    chan msg.Message
	gone   chan struct{}
	once   sync.Once
	killed bool

	mu    sync.Mutex
	heard []string // what triked said to it
	files int
	inUse uint64 // the serial of the plan that it has committed
	next  uint64
}

func (c *fakeChild) dead() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

func (c *fakeChild) PID() int { return c.pid }
func (c *fakeChild) Kill()    { c.killed = true; c.end() }
func (c *fakeChild) end()     { c.once.Do(func() { close(c.gone) }) }
func (c *fakeChild) Wait() error {
	<-c.gone
	if c.killed {
		return errors.New("signal: killed")
	}
	return nil
}

func (c *fakeChild) Send(m msg.Message, files []*os.File) error {
	for _, f := range files {
		if _, err := f.Stat(); err != nil {
			panic(fmt.Sprintf("%s is sent a closed file with %s", c.name, m.Kind()))
		}
	}
	c.mu.Lock()
	c.files += len(files)
	c.mu.Unlock()
	select {
	case c.in <- m:
		return nil
	case <-c.gone:
		return io.ErrClosedPipe
	}
}

func (c *fakeChild) Receive() (msg.Message, error) {
	select {
	case m := <-c.out:
		return m, nil
	case <-c.gone:
		return nil, io.EOF
	}
}

func (c *fakeChild) live() {
	c.say(c.host.behaveOr(c, nil)...)
	for {
		select {
		case <-c.gone:
			return
		case m := <-c.in:
			c.mu.Lock()
			c.heard = append(c.heard, m.Kind().String())
			c.mu.Unlock()
			c.say(c.host.behaveOr(c, m)...)
		}
	}
}

func (c *fakeChild) say(ms ...msg.Message) {
	for _, m := range ms {
		if m == nil { // die
			c.end()
			return
		}
		select {
		case c.out <- m:
		case <-c.gone:
		}
	}
}

func (c *fakeChild) words() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.heard, " ")
}

func (h *fakeHost) behaveOr(c *fakeChild, m msg.Message) []msg.Message {
	h.mu.Lock()
	b := h.behave
	h.mu.Unlock()
	if b != nil {
		if out := b(c, m); out != nil {
			return out
		}
	}
	return c.obey(m)
}

// obey is what a process should do. m nil is its start.
func (c *fakeChild) obey(m msg.Message) []msg.Message {
	switch m := m.(type) {
	case nil:
		return []msg.Message{&msg.Hello{Process: string(c.name), PID: c.pid, Version: "1"}}
	case *msg.Prepare:
		c.next = m.Serial
		return []msg.Message{&msg.Prepared{Serial: m.Serial}}
	case *msg.Commit:
		if c.next != m.Serial {
			panic(fmt.Sprintf("%s is told to commit %d and has prepared %d", c.name, m.Serial, c.next))
		}
		c.inUse = m.Serial
		return []msg.Message{&msg.Committed{Serial: m.Serial}}
	case *msg.Abort:
		c.next = 0
	case *msg.StatusRequest:
		text := "{}"
		if c.name == msg.XFRMProc {
			text = `{"datapath":"kernel","sas":7}`
		}
		return []msg.Message{&msg.StatusReply{Req: m.Req, JSON: []byte(text)}}
	case *msg.Control:
		if m.Connection == "bad" {
			return []msg.Message{&msg.Controlled{Req: m.Req, Error: "no such connection"}}
		}
		return []msg.Message{&msg.Controlled{Req: m.Req}}
	case *msg.Shutdown:
		return []msg.Message{nil}
	}
	return nil
}

// world is a supervisor over a fake host.
type world struct {
	t    *testing.T
	h    *fakeHost
	s    *supervisor
	log  *bytes.Buffer
	stop func()
}

// planOf is a valid plan; change may alter it.
func planOf(t *testing.T, change func(*plan.Plan)) *version {
	t.Helper()
	b, err := os.ReadFile("../plan/testdata/berlin.plan.json")
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	p.Datapath = plan.DatapathKernel
	if change != nil {
		change(p)
	}
	v, err := newVersion(plan.Encode(p), p.Hash().String())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func named(name string) func(*plan.Plan) { return func(p *plan.Plan) { p.Gateway = name } }

// begin starts the loop inside a synctest bubble.
func begin(t *testing.T, h *fakeHost) *world {
	t.Helper()
	w := &world{t: t, h: h, log: new(bytes.Buffer)}
	s, err := newSupervisor(Config{Version: "1", State: "s", Control: "c", Libexec: "l", Log: w.log}, h)
	if err != nil {
		t.Fatal(err)
	}
	w.s = s
	ctx, cancel := contextFor(t)
	go s.run(ctx)
	s.post(booted{})
	w.stop = func() { cancel(); <-s.done; synctest.Wait() }
	return w
}

// apply applies a plan and waits.
func (w *world) apply(v *version) (applied, error) {
	w.t.Helper()
	a, err := w.s.applyAndWait(w.t.Context(), &applyRequest{v: v, rename: true, reply: make(chan applyReply, 1)})
	synctest.Wait()
	return a, err
}

func (w *world) mustApply(v *version) {
	w.t.Helper()
	if _, err := w.apply(v); err != nil {
		w.t.Fatalf("%v\n%s", err, w.log)
	}
}

// all checks that the three processes run the plan with this serial.
func (w *world) all(serial uint64) {
	w.t.Helper()
	for _, name := range trio {
		c := w.h.now(name)
		if c == nil {
			w.t.Errorf("%s does not run", name)
			continue
		}
		if c.inUse != serial {
			w.t.Errorf("%s runs plan %d, want %d; it heard %s", name, c.inUse, serial, c.words())
		}
	}
	st, err := gateway{w.s}.Status(w.t.Context())
	if err != nil || st.Serial != serial || st.XFRM.SAs != 7 {
		w.t.Errorf("status: %+v, %v", st, err)
	}
	for _, p := range st.Processes {
		if p.State != "running" {
			w.t.Errorf("%s is %s", p.Name, p.State)
		}
	}
}

func (w *world) logged(texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		if !strings.Contains(w.log.String(), text) {
			w.t.Errorf("the log does not say %q:\n%s", text, w.log)
		}
	}
}

// once behaves so at the n-th occasion that fits, and as it should otherwise.
func once(name msg.Process, kind msg.Kind, what func(m msg.Message) []msg.Message) func(*fakeChild, msg.Message) []msg.Message {
	var done bool
	var mu sync.Mutex
	return func(c *fakeChild, m msg.Message) []msg.Message {
		mu.Lock()
		defer mu.Unlock()
		if done || c.name != name || (m == nil) != (kind == 0) || m != nil && m.Kind() != kind {
			return nil
		}
		done = true
		return what(m)
	}
}

var silence = slices.Grow([]msg.Message{}, 1) // not nil, and nothing to say
