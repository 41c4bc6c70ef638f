package pluginhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/trike-ipsec/trike/authproc/internal/eap"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// maxCalls is how many calls may be under way in one plugin.
const maxCalls = 1024

// Config is what a Host works with. Zero times take the default.
type Config struct {
	Say func(msg.Message) error  // to triked
	Log func(level, text string) // one line
	Now func() time.Time         // nil: time.Now
	// Call bounds one call of a plugin, default 20 s: a RADIUS server may be slow. Start bounds a plugin's start, default 15 s.
	Call, Start time.Duration
	// Wait is the first time before a plugin that ended is started again, default 1 s; it doubles up to a minute. Stable is how long one must have run for its ends not to count, default 1
	// minute.
	Wait, Stable time.Duration
	// Dial makes a connection of what triked brings; nil: net.FileConn.
	Dial func(*os.File) (net.Conn, error)
}

// Event is what a plugin did with a session: its next step, or the plugin's own fault.
type Event struct {
	Session uint64
	Step    eapsdk.Step
	Err     error
}

// Host runs plugins. Its methods may be called from any goroutine.
type Host struct {
	cfg    Config
	events chan Event
	wishes chan Wish
	done   chan struct{}
	once   sync.Once

	over   sync.RWMutex // guards closed: nothing is said after Close
	closed bool

	mu       sync.Mutex
	runners  map[string]*runner
	sessions map[uint64]*open
	req      uint64
	asked    map[uint64]chan answer
	exits    map[int]chan string // by pid
}

// open is a session that a plugin has.
type open struct {
	runner *runner
	role   eapsdk.Role
}

// answer is triked's to a question.
type answer struct {
	started *msg.PluginStarted
	dialed  *msg.PluginDialed
	files   []*os.File
}

// New runs nothing yet.
func New(cfg Config) *Host {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&cfg.Call, 20 * time.Second}, {&cfg.Start, 15 * time.Second}, {&cfg.Wait, time.Second}, {&cfg.Stable, time.Minute}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if cfg.Dial == nil {
		cfg.Dial = func(f *os.File) (net.Conn, error) { defer f.Close(); return net.FileConn(f) }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Host{cfg: cfg, events: make(chan Event, 256), wishes: make(chan Wish), done: make(chan struct{}), runners: map[string]*runner{}, sessions: map[uint64]*open{},
		asked: map[uint64]chan answer{}, exits: map[int]chan string{}}
}

// Use makes a plan's plugins the ones that run. One that is as it was goes on, with its sessions; unless it was given up: then it gets another chance.
func (h *Host) Use(plugins []plan.Plugin, secrets func(name string) secret.Bytes) {
	h.mu.Lock()
	defer h.mu.Unlock()
	keep := map[string]bool{}
	for _, p := range plugins {
		r := h.newRunner(p, secrets)
		if old := h.runners[p.Name]; old != nil && old.same(r) && !old.isFailed() {
			r.wipe()
			keep[p.Name] = true
			continue
		} else if old != nil {
			old.stop()
		}
		h.runners[p.Name], keep[p.Name] = r, true
		go r.run()
		go r.account()
	}
	for name, r := range h.runners {
		if !keep[name] {
			r.stop()
			delete(h.runners, name)
		}
	}
}

func (h *Host) newRunner(p plan.Plugin, secrets func(name string) secret.Bytes) *runner {
	r := &runner{h: h, plugin: p, config: eapsdk.Config{Values: map[string]string{}, Secrets: map[string][]byte{}}, state: "starting", calls: make(chan struct{}, maxCalls), records: make(chan eapsdk.Record, maxRecords)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	for _, v := range p.Values {
		r.config.Values[v.Name] = v.Value
	}
	for _, s := range p.Secrets {
		if b := secrets(s.Secret); b.Len() > 0 {
			r.config.Secrets[s.Name] = bytes.Clone(b.Reveal())
		}
	}
	return r
}

// Methods tells what is known of the plugins of these names, in their order. Those that cannot be used are left out, and why says so.
func (h *Host) Methods(names []string) (methods []eap.Method, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var missing []string
	for _, name := range names {
		r := h.runners[name]
		if r == nil {
			missing = append(missing, fmt.Sprintf("there is no plugin %q", name))
			continue
		}
		m, state := r.method()
		if state != "" {
			missing = append(missing, fmt.Sprintf("plugin %q %s", name, state))
			continue
		}
		methods = append(methods, m)
	}
	return methods, strings.Join(missing, "; ")
}

// Status lists the plugins, sorted by name.
func (h *Host) Status() (out []status.Plugin) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.runners {
		out = append(out, r.status())
	}
	slices.SortFunc(out, func(a, b status.Plugin) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Events is what plugins did with sessions.
func (h *Host) Events() <-chan Event { return h.events }

// Begin opens a session in a plugin. What comes of it is an Event.
func (h *Host) Begin(plugin string, session uint64, b eapsdk.Begin) {
	h.mu.Lock()
	r := h.runners[plugin]
	if r != nil {
		h.sessions[session] = &open{r, b.Role}
	}
	h.mu.Unlock()
	if r == nil {
		go h.say(Event{Session: session, Err: fmt.Errorf("there is no plugin %q", plugin)})
		return
	}
	go h.call(session, r, func(ctx context.Context, m *eapsdk.Remote) (eapsdk.Step, error) {
		if !r.plays(b.Role) {
			return eapsdk.Step{}, fmt.Errorf("plugin %q cannot be an EAP %v", plugin, b.Role)
		}
		return m.Begin(ctx, session, b)
	})
}

// Next gives a session the other side's packet. What comes of it is an Event.
func (h *Host) Next(session uint64, packet []byte) {
	h.mu.Lock()
	o := h.sessions[session]
	h.mu.Unlock()
	if o == nil {
		go h.say(Event{Session: session, Err: fmt.Errorf("the plugin ended in the middle of it")})
		return
	}
	go h.call(session, o.runner, func(ctx context.Context, m *eapsdk.Remote) (eapsdk.Step, error) {
		return m.Next(ctx, session, o.role, packet)
	})
}

// Abort ends a session. No event follows, unless one was on its way.
func (h *Host) Abort(session uint64, reason string) {
	h.mu.Lock()
	o := h.sessions[session]
	delete(h.sessions, session)
	h.mu.Unlock()
	if o == nil {
		return
	}
	if m := o.runner.remoteNow(); m != nil {
		go func() {
			ctx, cancel := context.WithTimeout(o.runner.ctx, h.cfg.Call)
			defer cancel()
			_ = m.Abort(ctx, session, reason)
		}()
	}
}

// call makes one call of a plugin, in time or not at all.
func (h *Host) call(session uint64, r *runner, do func(context.Context, *eapsdk.Remote) (eapsdk.Step, error)) {
	ctx, cancel := context.WithTimeout(r.ctx, h.cfg.Call)
	defer cancel()
	var s eapsdk.Step
	m := r.remoteNow()
	began := time.Now()
	err := fmt.Errorf("plugin %q does not run", r.plugin.Name)
	if m != nil {
		select {
		case r.calls <- struct{}{}:
			s, err = do(ctx, m)
			<-r.calls
		case <-ctx.Done():
			err = fmt.Errorf("plugin %q is busy: %d calls wait for it", r.plugin.Name, maxCalls)
		}
		// The plugin's side of gRPC knows the deadline, too, and may say a little earlier than our clock that it has passed.
		r.answered(m, err != nil && time.Since(began) >= h.cfg.Call*9/10)
		if err != nil {
			err = fmt.Errorf("plugin %q: %w", r.plugin.Name, err)
		}
	}
	if err != nil || s.Outcome != eapsdk.Continue {
		h.mu.Lock()
		delete(h.sessions, session)
		h.mu.Unlock()
	}
	h.say(Event{session, s, err})
}

// tell says something to triked.
func (h *Host) tell(m msg.Message) error {
	h.over.RLock()
	defer h.over.RUnlock()
	if h.closed {
		return errors.New("authproc is ending")
	}
	return h.cfg.Say(m)
}

func (h *Host) log(level, text string) {
	h.over.RLock()
	defer h.over.RUnlock()
	if !h.closed {
		h.cfg.Log(level, text)
	}
}

func (h *Host) say(e Event) {
	select {
	case h.events <- e:
	case <-h.done:
		clear(e.Step.MSK)
	}
}

// ask says something to triked, and waits for its answer.
func (h *Host) ask(ctx context.Context, m msg.Message, req *uint64) (answer, error) {
	c := make(chan answer, 1)
	h.mu.Lock()
	h.req++
	*req = h.req
	h.asked[*req] = c
	h.mu.Unlock()
	if err := h.tell(m); err != nil {
		return answer{}, err
	}
	select {
	case a := <-c:
		return a, nil
	case <-ctx.Done():
		h.mu.Lock()
		delete(h.asked, *req)
		h.mu.Unlock()
		select {
		case a := <-c: // it came just now
			return a, nil
		default:
			return answer{}, fmt.Errorf("triked did not answer: %w", ctx.Err())
		}
	}
}

// answered brings an answer to who waits for it. Files that nobody waits for are closed, and a plugin that nobody waits for is ended.
func (h *Host) answered(req uint64, a answer) {
	h.mu.Lock()
	c := h.asked[req]
	delete(h.asked, req)
	if a.started != nil && a.started.Error == "" {
		h.exits[a.started.PID] = make(chan string, 1)
	}
	h.mu.Unlock()
	if c != nil {
		c <- a
		return
	}
	for _, f := range a.files {
		_ = f.Close()
	}
	if a.started != nil && a.started.PID != 0 {
		_ = h.tell(&msg.PluginEnd{PID: a.started.PID})
	}
}

// Started, Dialed and Exited take what triked says. Files become the host's.
func (h *Host) Started(m *msg.PluginStarted, files []*os.File) {
	h.answered(m.Req, answer{started: m, files: files})
}

// Dialed takes a connection to a plugin.
func (h *Host) Dialed(m *msg.PluginDialed, files []*os.File) {
	h.answered(m.Req, answer{dialed: m, files: files})
}

// Exited takes a plugin's end.
func (h *Host) Exited(m *msg.PluginExited) {
	h.mu.Lock()
	c := h.exits[m.PID]
	delete(h.exits, m.PID)
	h.mu.Unlock()
	if c != nil {
		c <- m.Text
	}
}

// exit is where a plugin's end is told.
func (h *Host) exit(pid int) chan string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.exits[pid]
}

// forget drops the sessions that a plugin had when it ended. Their next packet finds nothing.
func (h *Host) forget(r *runner) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, o := range h.sessions {
		if o.runner == r {
			delete(h.sessions, id)
		}
	}
}

// Close ends all plugins, which are triked's to kill once authproc has gone. After it nothing is said and nothing logged. Events may still be read, but none need be.
func (h *Host) Close() {
	h.over.Lock()
	h.closed = true
	h.over.Unlock()
	h.once.Do(func() { close(h.done) })
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.runners {
		r.stop()
	}
	clear(h.runners)
}
