package supervise

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// fakePlugin is a plugin that runs until it is killed.
type fakePlugin struct {
	name   string
	user   int
	env    []string
	pid    int
	gone   chan struct{}
	once   sync.Once
	killed bool
}

func (p *fakePlugin) PID() int    { return p.pid }
func (p *fakePlugin) Dir() string { return "/plugins/" + p.name }
func (p *fakePlugin) Kill()       { p.killed = true; p.once.Do(func() { close(p.gone) }) }
func (p *fakePlugin) Wait() error {
	<-p.gone
	if p.killed {
		return errors.New("signal: killed")
	}
	return nil
}

func (p *fakePlugin) Output() (stdout, stderr *os.File) {
	stdout, _ = os.Open(os.DevNull)
	stderr, _ = os.Open(os.DevNull)
	return stdout, stderr
}

func (p *fakePlugin) Dial(socket string) (*os.File, error) {
	if socket != p.Dir()+"/plugin" {
		return nil, errForeignSocket
	}
	return os.Open(os.DevNull)
}

// pluginWorld is a world whose authproc asks for plugins.
type pluginWorld struct {
	*world
	mu    sync.Mutex
	heard []msg.Message // by authproc, of plugins
}

func beginPlugins(t *testing.T) *pluginWorld {
	h := newFakeHost()
	w := &pluginWorld{}
	h.will(func(c *fakeChild, m msg.Message) []msg.Message {
		switch m.(type) {
		case *msg.PluginStarted, *msg.PluginExited, *msg.PluginDialed:
			w.mu.Lock()
			w.heard = append(w.heard, m)
			w.mu.Unlock()
		}
		return nil
	})
	w.world = begin(t, h)
	v := planOf(t, nil)
	v.plan.Plugins = []plan.Plugin{{Name: "a", File: "/a"}, {Name: "b", File: "/b"}}
	w.mustApply(v)
	return w
}

// ask has authproc say something, and is what it hears.
func (w *pluginWorld) ask(m msg.Message) string {
	w.t.Helper()
	w.mu.Lock()
	w.heard = nil
	w.mu.Unlock()
	w.h.now(msg.AuthProc).say(m)
	synctest.Wait()
	return w.told()
}

func (w *pluginWorld) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, m := range w.heard {
		switch m := m.(type) {
		case *msg.PluginStarted:
			out = append(out, fmt.Sprintf("started %d %s", m.PID, m.Error))
		case *msg.PluginExited:
			out = append(out, fmt.Sprintf("exited %d %s", m.PID, m.Text))
		case *msg.PluginDialed:
			out = append(out, fmt.Sprintf("dialed %s", m.Error))
		}
	}
	return strings.Join(out, "; ")
}

func (w *pluginWorld) want(got, want string) {
	w.t.Helper()
	if strings.TrimSpace(got) != want {
		w.t.Errorf("authproc heard %q, want %q", got, want)
	}
}

// A plugin of the plan's is started for authproc, connected to, and ended; each run is a user of its own.
func TestPluginRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := beginPlugins(t)
		defer w.stop()
		w.want(w.ask(&msg.PluginExec{Req: 1, Name: "a", Env: []string{"PLUGIN_X=1", "TRIKE_Y=2"}}), "started 5000")
		w.want(w.ask(&msg.PluginExec{Req: 2, Name: "b"}), "started 5001")
		if a, b := w.h.plugins[0], w.h.plugins[1]; a.user == b.user || a.user < firstPluginUser || len(a.env) != 2 {
			t.Errorf("users %d and %d, environment %q", a.user, b.user, a.env)
		}
		w.want(w.ask(&msg.PluginDial{Req: 3, PID: 5000, Socket: "/plugins/a/plugin"}), "dialed")
		w.want(w.ask(&msg.PluginDial{Req: 4, PID: 5000, Socket: "/run/other"}), "dialed "+errForeignSocket.Error())
		w.want(w.ask(&msg.PluginDial{Req: 5, PID: 1, Socket: "/plugins/a/plugin"}), "dialed no plugin runs with pid 1")
		w.want(w.ask(&msg.PluginEnd{PID: 5000}), "exited 5000 signal: killed")
		w.want(w.ask(&msg.PluginEnd{PID: 1}), "")
		w.logged(`plugin "a" runs`, `plugin "a" (pid 5000) ended`)
	})
}

// What authproc, taken over, may not have started.
func TestPluginsThatAreNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := beginPlugins(t)
		defer w.stop()
		w.want(w.ask(&msg.PluginExec{Name: "c"}), `started 0 the plan has no plugin "c"`)
		for _, v := range []string{"LD_PRELOAD=/x", "PATH=/x", "PLUGIN", "TRIKE_X=" + strings.Repeat("x", maxPluginValue), "PLUGIN_X=a\x00b"} {
			if got := w.ask(&msg.PluginExec{Name: "a", Env: []string{v}}); !strings.Contains(got, "is not for plugins") {
				t.Errorf("%.20q: %s", v, got)
			}
		}
		if got := w.ask(&msg.PluginExec{Name: "a", Env: make([]string, maxPluginEnv+1)}); !strings.Contains(got, "variables") {
			t.Error(got)
		}
		w.want(w.ask(&msg.PluginExec{Name: "a"}), "started 5000")
		w.want(w.ask(&msg.PluginExec{Name: "a"}), `started 0 plugin "a": it was started less than 200ms ago`)
		time.Sleep(time.Second)
		w.want(w.ask(&msg.PluginExec{Name: "a"}), "started 5001")
		time.Sleep(time.Second)
		w.want(w.ask(&msg.PluginExec{Name: "a"}), `started 0 plugin "a": 2 of it run already, 2 of all`)
		if len(w.h.plugins) != 2 {
			t.Errorf("%d were started", len(w.h.plugins))
		}
	})
}

// A plugin that cannot be started costs nothing but itself.
func TestPluginThatDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := beginPlugins(t)
		defer w.stop()
		w.h.startErr = errors.New("no such file")
		w.want(w.ask(&msg.PluginExec{Name: "a"}), "started 0 no such file")
		w.h.startErr = nil
		time.Sleep(time.Second)
		w.want(w.ask(&msg.PluginExec{Name: "a"}), "started 5000")
		w.logged(`plugin "a" does not start: no such file`)
	})
}

// Plugins are an authproc's: they go with it, and the next one starts its own.
func TestPluginsEndWithAuthproc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := beginPlugins(t)
		defer w.stop()
		w.want(w.ask(&msg.PluginExec{Name: "a"}), "started 5000")
		w.h.now(msg.AuthProc).end()
		synctest.Wait()
		if p := w.h.plugins[0]; !p.killed {
			t.Error("the plugin outlived its authproc")
		}
		time.Sleep(time.Minute)
		w.want(w.ask(&msg.PluginExec{Name: "a"}), "started 5001")
		w.want(w.ask(&msg.PluginDial{PID: 5000, Socket: "/plugins/a/plugin"}), "dialed no plugin runs with pid 5000")
	})
}

// No plugin is left when triked ends.
func TestPluginsEndWithTriked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := beginPlugins(t)
		w.want(w.ask(&msg.PluginExec{Name: "a"}), "started 5000")
		w.stop()
		if p := w.h.plugins[0]; !p.killed {
			t.Error("the plugin outlived triked")
		}
	})
}
