package supervise

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/internal/control"
	"github.com/trike-ipsec/trike/internal/msg"
)

// A process that dies comes back with the plan in force, and its neighbours get new links.
func TestRestart(t *testing.T) {
	for _, who := range trio {
		t.Run(string(who), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := begin(t, newFakeHost())
				defer w.stop()
				w.mustApply(planOf(t, named("one")))
				before := w.h.now(msg.IKEProc)
				w.h.now(who).Kill()
				time.Sleep(time.Second)
				synctest.Wait()
				w.all(1)
				if got := w.h.now(who).words(); !strings.HasPrefix(got, "Prepare Commit Link") {
					t.Errorf("the new %s heard %s", who, got)
				}
				if who != msg.IKEProc {
					if got := before.words(); strings.Count(got, "Link") != 3 {
						t.Errorf("ikeproc heard %s, want a third Link", got)
					}
				}
				w.logged(string(who)+" (pid", "ended: signal: killed", "started again in 250ms")
			})
		})
	}
}

// The wait before a new start doubles up to half a minute, and is forgotten after a minute of life.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newFakeHost())
		defer w.stop()
		w.mustApply(planOf(t, named("one")))
		var waits []time.Duration
		for range 10 {
			w.h.now(msg.IKEProc).Kill()
			synctest.Wait()
			began := time.Now()
			for w.h.now(msg.IKEProc) == nil {
				time.Sleep(time.Millisecond)
			}
			waits = append(waits, time.Since(began).Round(10*time.Millisecond))
			synctest.Wait()
		}
		if waits[0] != 250*time.Millisecond || waits[1] != 500*time.Millisecond || waits[3] != 2*time.Second || waits[9] != 30*time.Second {
			t.Errorf("waits %v", waits)
		}
		time.Sleep(2 * time.Minute)
		w.h.now(msg.IKEProc).Kill()
		time.Sleep(300 * time.Millisecond)
		if w.h.now(msg.IKEProc) == nil {
			t.Error("the back-off was not forgotten")
		}
		w.all(1)
	})
}

// A process that says what it may not, lies about who it is, or says nothing is ended.
func TestProcessThatLies(t *testing.T) {
	for name, hello := range map[string]msg.Message{
		"another process":  &msg.Hello{Process: "xfrmproc", PID: 107, Version: "1"},
		"another version":  &msg.Hello{Process: "ikeproc", PID: 107, Version: "2"},
		"another pid":      &msg.Hello{Process: "ikeproc", PID: 1, Version: "1"},
		"no hello at all":  &msg.Committed{Serial: 77},
		"a plan of no one": &msg.Prepared{Serial: 77},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := begin(t, newFakeHost())
				defer w.stop()
				w.mustApply(planOf(t, named("one")))
				w.h.will(once(msg.IKEProc, 0, func(msg.Message) []msg.Message { return []msg.Message{hello} }))
				w.h.now(msg.IKEProc).Kill()
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if n := len(w.h.children[msg.IKEProc]); n != 3 {
					t.Errorf("ikeproc was started %d times, want 3: the second one lied", n)
				}
				w.all(1)
			})
		})
	}
	t.Run("silence", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := begin(t, newFakeHost())
			defer w.stop()
			w.mustApply(planOf(t, named("one")))
			w.h.will(once(msg.IKEProc, 0, func(msg.Message) []msg.Message { return silence }))
			w.h.now(msg.IKEProc).Kill()
			time.Sleep(15 * time.Second)
			synctest.Wait()
			w.all(1)
			w.logged("it said nothing after its start")
		})
	})
}

// An apply while a process is being started again waits for it.
func TestApplyDuringRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newFakeHost())
		defer w.stop()
		w.mustApply(planOf(t, named("one")))
		w.h.now(msg.XFRMProc).Kill()
		synctest.Wait()
		w.mustApply(planOf(t, named("two")))
		w.all(2)
		// One that does not come back in time is not waited for.
		w.h.will(func(c *fakeChild, m msg.Message) []msg.Message {
			if c.name == msg.XFRMProc && m == nil {
				return []msg.Message{nil}
			}
			return nil
		})
		w.h.now(msg.XFRMProc).Kill()
		synctest.Wait()
		_, err := w.apply(planOf(t, named("three")))
		if err == nil || !strings.Contains(err.Error(), "xfrmproc is backoff") {
			t.Error(err)
		}
	})
}

func TestControlAndStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newFakeHost())
		defer w.stop()
		g := gateway{w.s}
		w.mustApply(planOf(t, named("one")))
		if err := g.Do(t.Context(), control.Request{Verb: "up", Connection: "good"}); err != nil {
			t.Error(err)
		}
		if err := g.Do(t.Context(), control.Request{Verb: "up", Connection: "bad"}); err == nil || err.Error() != "no such connection" {
			t.Error(err)
		}
		// ikeproc dies with the answer owed.
		w.h.will(once(msg.IKEProc, msg.KindControl, func(msg.Message) []msg.Message { return []msg.Message{nil} }))
		if err := g.Do(t.Context(), control.Request{Verb: "up", Connection: "good"}); err == nil || !strings.Contains(err.Error(), "ikeproc ended before it had answered") {
			t.Error(err)
		}
		time.Sleep(time.Second)
		// A process that does not answer leaves a gap in the status, not a wait.
		w.h.will(once(msg.AuthProc, msg.KindStatusRequest, func(msg.Message) []msg.Message { return silence }))
		if st, err := g.Status(t.Context()); err != nil || st.XFRM.SAs != 7 {
			t.Errorf("%+v, %v", st, err)
		}
		w.logged("authproc did not tell its status in time")
	})
}

// On the way out ikeproc goes first: it needs the others to say goodbye.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		w := begin(t, h)
		w.mustApply(planOf(t, named("one")))
		var order []msg.Process
		var mu sync.Mutex
		h.will(func(c *fakeChild, m msg.Message) []msg.Message {
			if _, ok := m.(*msg.Shutdown); ok {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, c.name)
				if c.name == msg.XFRMProc {
					return silence // and must be killed
				}
			}
			return nil
		})
		began := time.Now()
		w.stop()
		if len(order) != 3 || order[0] != msg.IKEProc {
			t.Errorf("order %v", order)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it took %v, want the patience of 5s", took)
		}
		for _, name := range trio {
			if h.now(name) != nil || len(h.children[name]) != 1 {
				t.Errorf("%s runs, or was started again", name)
			}
		}
		if h.flushed != 0 {
			t.Error("protection was taken away")
		}
	})
}

// What a process logs cannot pass for another's, fill the log, or play with a terminal.
func TestLogOfAProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		w := begin(t, h)
		defer w.stop()
		w.mustApply(planOf(t, named("one")))
		c := h.now(msg.IKEProc)
		c.say(&msg.Log{JSON: []byte(`{"level":"panic","process":"triked","event":"x","text":"\u001b[2Jgone"}`)}, &msg.Log{JSON: []byte(`nonsense`)})
		synctest.Wait()
		w.logged("warn  ikeproc  x: �[2Jgone", "logs what is no event")
		for range burst + 500 {
			c.say(&msg.Log{JSON: []byte(`{"level":"info","event":"flood","text":"y"}`)})
		}
		synctest.Wait()
		time.Sleep(time.Second)
		c.say(&msg.Log{JSON: []byte(`{"level":"info","event":"flood","text":"y"}`)})
		synctest.Wait()
		if n := strings.Count(w.log.String(), " flood: y"); n > burst+10 {
			t.Errorf("%d lines", n)
		}
		w.logged("were left out")
	})
}
