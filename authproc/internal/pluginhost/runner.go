package pluginhost

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/trike-ipsec/trike/authproc/internal/eap"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

const (
	maxFailures = 6           // in a row, after which a plugin is given up
	maxWait     = time.Minute // between two starts
	maxLate     = 3           // calls in a row without an answer in time, after which a plugin is ended
	maxLine     = 1024        // octets of a line of its log that count
	lineRate    = 10          // lines a second that are logged
	octetRate   = 64 << 10    // octets a second that are read: a plugin that writes more waits
)

// runner keeps one plugin running.
type runner struct {
	h       *Host
	plugin  plan.Plugin
	config  eapsdk.Config
	ctx     context.Context // its end is the runner's
	stop    context.CancelFunc
	calls   chan struct{}
	records chan eapsdk.Record

	mu     sync.Mutex
	remote *eapsdk.Remote // nil while it does not run
	about  eapsdk.Description
	state  string // starting, running, waiting, failed
	why    string // it does not run
	pid    int
	starts int
	late   int
	kill   chan error // of the run that is on
}

// same tells whether two runners would run the same thing.
func (r *runner) same(o *runner) bool {
	a, b := r.plugin, o.plugin
	return a.File == b.File && a.SHA256 == b.SHA256 && a.Network == b.Network && a.MemoryMB == b.MemoryMB && a.Processes == b.Processes &&
		maps.Equal(r.config.Values, o.config.Values) && maps.EqualFunc(r.config.Secrets, o.config.Secrets, bytes.Equal)
}

func (r *runner) wipe() {
	for _, b := range r.config.Secrets {
		clear(b)
	}
}

func (r *runner) isFailed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state == "failed"
}

func (r *runner) remoteNow() *eapsdk.Remote {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.remote
}

func (r *runner) plays(role eapsdk.Role) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.about.Roles, role)
}

// method is what EAP has to know of it; why says why it cannot be used.
func (r *runner) method() (m eap.Method, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.remote == nil {
		if r.why == "" {
			return m, "is being started"
		}
		return m, "does not run: " + r.why
	}
	return eap.Method{Name: r.plugin.Name, Type: r.about.Type, MakesKeys: r.about.MakesKeys, Mutual: r.about.Mutual}, ""
}

func (r *runner) status() status.Plugin {
	r.mu.Lock()
	defer r.mu.Unlock()
	return status.Plugin{Name: r.plugin.Name, Method: r.about.Name, State: r.state, PID: r.pid, Restarts: max(r.starts-1, 0), Problem: r.why}
}

func (r *runner) is(state, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state, r.why = state, why
}

// run keeps the plugin running until the runner is stopped, or the plugin is given up.
func (r *runner) run() {
	defer r.wipe()
	failures, wait := 0, r.h.cfg.Wait
	for {
		began := r.h.cfg.Now()
		err := r.once()
		r.h.forget(r)
		if r.ctx.Err() != nil {
			return
		}
		if r.h.cfg.Now().Sub(began) >= r.h.cfg.Stable {
			failures, wait = 0, r.h.cfg.Wait
		}
		if failures++; failures >= maxFailures {
			r.is("failed", err.Error())
			r.h.log("error", fmt.Sprintf("plugin %q ended %d times in a row and is not started again until a plan is applied: %v", r.plugin.Name, failures, err))
			<-r.ctx.Done()
			return
		}
		r.is("waiting", err.Error())
		r.h.log("error", fmt.Sprintf("plugin %q is started again in %v: %v", r.plugin.Name, wait, err))
		select {
		case <-time.After(wait):
		case <-r.ctx.Done():
			return
		}
		wait = min(2*wait, maxWait)
	}
}

// once is one run: from the start to the end of the plugin.
func (r *runner) once() error {
	ctx, cancel := context.WithTimeout(r.ctx, r.h.cfg.Start)
	defer cancel()
	r.mu.Lock()
	r.starts++
	r.late, r.kill = 0, make(chan error, 1)
	kill := r.kill
	r.mu.Unlock()
	m := &msg.PluginExec{Name: r.plugin.Name, Env: []string{eapsdk.Cookie + "=" + eapsdk.Protocol, "PLUGIN_PROTOCOL_VERSIONS=1"}}
	a, err := r.h.ask(ctx, m, &m.Req)
	if err != nil {
		return err
	}
	if a.started == nil || a.started.Error != "" || len(a.files) != 2 {
		closeFiles(a.files)
		if a.started != nil && a.started.Error != "" {
			return errors.New(a.started.Error)
		}
		return errors.New("triked did not bring its output")
	}
	pid, stdout, stderr := a.started.PID, a.files[0], a.files[1]
	exited := r.h.exit(pid)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer func() { _ = r.h.tell(&msg.PluginEnd{PID: pid}) }() // then the pipes end, too
	readers.Go(func() { r.listen(stderr) })
	line := make(chan string, 1)
	readers.Go(func() { r.handshake(stdout, line) })
	remote, about, err := r.meet(ctx, pid, line, exited)
	if err != nil {
		return err
	}
	defer remote.Close()
	r.mu.Lock()
	r.remote, r.about, r.state, r.why, r.pid = remote, about, "running", "", pid
	r.mu.Unlock()
	r.h.log("info", fmt.Sprintf("plugin %q runs: method %s %s, EAP type %d", r.plugin.Name, about.Name, about.Version, about.Type))
	readers.Go(func() { remote.Drain(r.ctx) })
	readers.Go(func() { r.commands(remote, about) })
	defer func() {
		r.mu.Lock()
		r.remote, r.pid, r.state = nil, 0, "waiting"
		r.mu.Unlock()
	}()
	select {
	case text := <-exited:
		return fmt.Errorf("it ended: %s", text)
	case err := <-kill:
		return err
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// meet gets to know a plugin that has just been started.
func (r *runner) meet(ctx context.Context, pid int, line <-chan string, exited <-chan string) (*eapsdk.Remote, eapsdk.Description, error) {
	var about eapsdk.Description
	var said string
	select {
	case said = <-line:
	case text := <-exited:
		return nil, about, fmt.Errorf("it ended before it was ready: %s", text)
	case <-ctx.Done():
		return nil, about, fmt.Errorf("it did not say within %v that it is ready", r.h.cfg.Start)
	}
	socket, err := eapsdk.SocketOf(said)
	if err != nil {
		return nil, about, err
	}
	m := &msg.PluginDial{PID: pid, Socket: socket}
	a, err := r.h.ask(ctx, m, &m.Req)
	switch {
	case err != nil:
		return nil, about, err
	case a.dialed == nil || a.dialed.Error != "" || len(a.files) != 1:
		closeFiles(a.files)
		if a.dialed != nil && a.dialed.Error != "" {
			return nil, about, fmt.Errorf("its socket: %s", a.dialed.Error)
		}
		return nil, about, errors.New("triked did not bring a connection")
	}
	var conn net.Conn
	if conn, err = r.h.cfg.Dial(a.files[0]); err != nil {
		return nil, about, err
	}
	remote, err := eapsdk.Connect(conn)
	if err != nil {
		return nil, about, errors.Join(err, conn.Close())
	}
	if about, err = remote.Describe(ctx); err == nil {
		if err = about.Check(r.config); err == nil {
			err = remote.Configure(ctx, r.config)
		}
	}
	if err != nil {
		return nil, about, errors.Join(err, remote.Close())
	}
	return remote, about, nil
}

// answered counts calls that got no answer in time. A plugin that answers none any more is ended, so that it can begin anew.
func (r *runner) answered(m *eapsdk.Remote, late bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.remote != m {
		return
	}
	if !late || r.ctx.Err() != nil {
		r.late = 0
		return
	}
	if r.late++; r.late == maxLate {
		select {
		case r.kill <- fmt.Errorf("it did not answer %d calls in a row within %v", maxLate, r.h.cfg.Call):
		default:
		}
	}
}

// handshake brings the first line that a plugin writes, and takes the others away.
func (r *runner) handshake(stdout *os.File, line chan<- string) {
	defer stdout.Close()
	in := bufio.NewReaderSize(&slow{r: stdout}, 4096)
	if text, _, err := in.ReadLine(); err == nil {
		line <- string(text)
	}
	_, _ = io.Copy(io.Discard, in)
}

// listen brings what a plugin writes to standard error into the log, some lines a second at most.
func (r *runner) listen(stderr *os.File) {
	defer stderr.Close()
	in := bufio.NewReaderSize(&slow{r: stderr}, maxLine)
	var since time.Time
	n, dropped := 0, 0
	for {
		line, cut, err := in.ReadLine()
		for more := cut; more && err == nil; {
			_, more, err = in.ReadLine()
		}
		if err != nil {
			break
		}
		if now := time.Now(); now.Sub(since) >= time.Second {
			if dropped > 0 {
				r.h.log("warn", fmt.Sprintf("plugin %q: %d lines were too many and are lost", r.plugin.Name, dropped))
			}
			since, n, dropped = now, 0, 0
		}
		if n++; n > lineRate {
			dropped++
			continue
		}
		text := strings.TrimSpace(strings.Map(func(c rune) rune {
			if c < ' ' || c == 0x7f {
				return ' '
			}
			return c
		}, strings.ToValidUTF8(string(line), "?")))
		if text != "" {
			r.h.log("info", fmt.Sprintf("plugin %q: %s", r.plugin.Name, text))
		}
	}
}

// slow reads no faster than octetRate, so that a flood costs who makes it.
type slow struct {
	r    io.Reader
	from time.Time
	n    int
}

func (s *slow) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(s.from) >= time.Second {
		s.from, s.n = now, 0
	} else if s.n >= octetRate {
		time.Sleep(s.from.Add(time.Second).Sub(now))
		s.from, s.n = time.Now(), 0
	}
	n, err := s.r.Read(b[:min(len(b), octetRate)])
	s.n += n
	return n, err
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
