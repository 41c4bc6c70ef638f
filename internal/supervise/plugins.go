package supervise

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// Bounds on what authproc, should it be taken over, can have started.
const (
	maxRunsOfOne   = 2                      // of one plugin at a time: the old and the new
	maxPluginRuns  = 2 * plan.MaxPlugins    // of all
	minPluginGap   = 200 * time.Millisecond // between two starts of one
	maxPluginEnv   = 16
	maxPluginValue = 4 << 10 // octets of one variable
)

// Plugins' users are numbers of their own, a run each, so that no two plugins can touch each other's. They are outside the ranges that Debian and systemd give out, and behind the trio's.
const firstPluginUser = 64800

// pluginChild is one run of a plugin.
type pluginChild interface {
	PID() int
	// Dir is the folder that is its own.
	Dir() string
	// Output gives up the read ends of its standard output and error, to be closed by the caller.
	Output() (stdout, stderr *os.File)
	// Dial connects to the socket of this path, which must be in Dir and the plugin's own.
	Dial(socket string) (*os.File, error)
	Kill()
	// Wait waits for its end, with all that it started, and takes its folder away.
	Wait() error
}

// pluginRun is a plugin that runs, for the authproc that asked for it.
type pluginRun struct {
	name  string
	user  int
	child pluginChild // nil while it is being started
	of    *instance
}

type (
	pluginStarted struct {
		req   uint64
		run   *pluginRun
		child pluginChild // nil where err is not
		err   error
	}
	pluginEnded struct {
		run *pluginRun
		err error
	}
)

// pluginExec starts a plugin of the plan's for authproc.
func (s *supervisor) pluginExec(i *instance, m *msg.PluginExec) {
	refuse := func(format string, args ...any) {
		i.send(outgoing{m: &msg.PluginStarted{Req: m.Req, Error: fmt.Sprintf(format, args...)}})
	}
	p := s.pluginOf(m.Name)
	if p == nil {
		refuse("the plan has no plugin %q", m.Name)
		return
	}
	if err := checkEnv(m.Env); err != nil {
		refuse("plugin %q: %v", m.Name, err)
		return
	}
	runs, users := 0, map[int]bool{}
	for r := range s.plugins {
		users[r.user] = true
		if r.name == m.Name {
			runs++
		}
	}
	switch {
	case runs >= maxRunsOfOne || len(s.plugins) >= maxPluginRuns:
		refuse("plugin %q: %d of it run already, %d of all", m.Name, runs, len(s.plugins))
		return
	case time.Since(s.pluginStarts[m.Name]) < minPluginGap:
		refuse("plugin %q: it was started less than %v ago", m.Name, minPluginGap)
		return
	}
	s.pluginStarts[m.Name] = time.Now()
	run := &pluginRun{name: m.Name, user: firstPluginUser, of: i}
	for users[run.user] {
		run.user++
	}
	s.plugins[run] = true
	go func() { // the file is read whole before it is run
		child, err := s.host.StartPlugin(*p, run.user, m.Env)
		if !s.post(pluginStarted{m.Req, run, child, err}) && err == nil {
			child.Kill()
			_ = child.Wait()
		}
	}()
}

// pluginOf finds a plugin by name: in the plan that is about to be in force, which authproc has first, or in the one that is.
func (s *supervisor) pluginOf(name string) *plan.Plugin {
	var plans []*plan.Plan
	if s.change != nil && s.change.next != nil && s.change.next.plan != nil {
		plans = append(plans, s.change.next.plan)
	}
	if s.current != nil {
		plans = append(plans, s.current.plan)
	}
	for _, p := range plans {
		for i := range p.Plugins {
			if p.Plugins[i].Name == name {
				return &p.Plugins[i]
			}
		}
	}
	return nil
}

// checkEnv lets through what go-plugin's handshake needs, and nothing that a loader or a language would take for an order.
func checkEnv(env []string) error {
	if len(env) > maxPluginEnv {
		return fmt.Errorf("%d variables: at most %d are allowed", len(env), maxPluginEnv)
	}
	for _, v := range env {
		name, _, ok := strings.Cut(v, "=")
		if !ok || !strings.HasPrefix(name, "PLUGIN_") && !strings.HasPrefix(name, "TRIKE_") || len(v) > maxPluginValue || strings.ContainsRune(v, 0) {
			return fmt.Errorf("the variable %.64q is not for plugins", name)
		}
	}
	return nil
}

// pluginIsUp tells authproc, and hands over what the plugin says.
func (s *supervisor) pluginIsUp(e pluginStarted) {
	r := e.run
	if e.err != nil {
		delete(s.plugins, r)
		s.note("error", "plugin", "plugin %q does not start: %v", r.name, e.err)
		if s.slots[msg.AuthProc].now == r.of {
			r.of.send(outgoing{m: &msg.PluginStarted{Req: e.req, Error: clipText(e.err.Error())}})
		}
		return
	}
	r.child = e.child
	go func() {
		err := e.child.Wait()
		s.post(pluginEnded{r, err})
	}()
	stdout, stderr := r.child.Output()
	if s.slots[msg.AuthProc].now != r.of || s.ending { // who asked for it has gone meanwhile
		closeAll([]*os.File{stdout, stderr})
		r.child.Kill()
		return
	}
	s.note("info", "plugin", "plugin %q runs (pid %d, user %d)", r.name, r.child.PID(), r.user)
	r.of.send(outgoing{m: &msg.PluginStarted{Req: e.req, PID: r.child.PID(), Dir: r.child.Dir()}, files: []*os.File{stdout, stderr},
		after: func() { closeAll([]*os.File{stdout, stderr}) }})
}

// pluginDial connects authproc to a plugin of its own.
func (s *supervisor) pluginDial(i *instance, m *msg.PluginDial) {
	r := s.pluginRun(i, m.PID)
	if r == nil {
		i.send(outgoing{m: &msg.PluginDialed{Req: m.Req, Error: fmt.Sprintf("no plugin runs with pid %d", m.PID)}})
		return
	}
	f, err := r.child.Dial(m.Socket)
	if err != nil {
		i.send(outgoing{m: &msg.PluginDialed{Req: m.Req, Error: clipText(err.Error())}})
		return
	}
	i.send(outgoing{m: &msg.PluginDialed{Req: m.Req}, files: []*os.File{f}, after: func() { _ = f.Close() }})
}

func (s *supervisor) pluginEnd(i *instance, m *msg.PluginEnd) {
	if r := s.pluginRun(i, m.PID); r != nil {
		r.child.Kill()
	}
}

// pluginRun is a plugin that runs for this authproc, nil for none.
func (s *supervisor) pluginRun(i *instance, pid int) *pluginRun {
	for r := range s.plugins {
		if r.of == i && r.child != nil && r.child.PID() == pid {
			return r
		}
	}
	return nil
}

func (s *supervisor) pluginIsGone(e pluginEnded) {
	delete(s.plugins, e.run)
	text := "it went by itself"
	if e.err != nil {
		text = e.err.Error()
	}
	s.note("info", "plugin", "plugin %q (pid %d) ended: %s", e.run.name, e.run.child.PID(), text)
	if i := s.slots[msg.AuthProc].now; i == e.run.of && i != nil {
		i.send(outgoing{m: &msg.PluginExited{Name: e.run.name, PID: e.run.child.PID(), Text: clipText(text)}})
	}
}

// endPlugins kills the plugins of an authproc that has gone: the next one starts its own.
func (s *supervisor) endPlugins(of *instance) {
	for r := range s.plugins {
		if r.of == of && r.child != nil {
			r.child.Kill()
		}
	}
}

// waitForPlugins has none left behind when triked ends.
func (s *supervisor) waitForPlugins() {
	over := time.After(s.cfg.Patience.Shutdown)
	for len(s.plugins) > 0 {
		select {
		case <-over:
			s.note("warn", "shutdown", "%d plugins are still there", len(s.plugins))
			return
		case e := <-s.events:
			s.handle(e)
		}
	}
}

var errForeignSocket = errors.New("it is no socket of the plugin's in its own folder")

func clipText(s string) string { return s[:min(len(s), 1024)] }
