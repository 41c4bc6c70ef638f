package supervise

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/internal/control"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

func contextFor(t *testing.T) (context.Context, func()) { return context.WithCancel(t.Context()) }

// Open, Prepare to all, Commit in order, links: the first plan.
func TestFirstPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newFakeHost())
		defer w.stop()
		w.mustApply(planOf(t, named("one")))
		w.all(1)
		for name, want := range map[msg.Process]string{msg.IKEProc: "Prepare Commit Link Link", msg.AuthProc: "Prepare Commit Link", msg.XFRMProc: "Prepare Commit Link"} {
			if got := w.h.now(name).words(); !strings.HasPrefix(got, want) {
				t.Errorf("%s heard %s, want %s", name, got, want)
			}
		}
		if got := w.h.now(msg.XFRMProc).args; !slices.Equal(got, []string{"--datapath", "kernel", "--why", "the policy says so"}) && got[1] != "kernel" {
			t.Errorf("xfrmproc was started with %q", got)
		}
		if want := []string{"also one", "only one"}; !slices.Equal(w.h.protected, want) {
			t.Errorf("protected %q, want %q", w.h.protected, want)
		}
		if w.h.last == nil || w.h.last.Hash != w.s.current.hash.String() {
			t.Error("the plan was not saved")
		}
	})
}

func TestSecondPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newFakeHost())
		defer w.stop()
		w.mustApply(planOf(t, named("one")))
		two := planOf(t, func(p *plan.Plan) {
			p.Gateway = "two"
			p.Listen = []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")}
		})
		a, err := w.apply(two)
		if err != nil || a.serial != 2 || len(a.changes) == 0 {
			t.Fatalf("%+v, %v", a, err)
		}
		w.all(2)
		if a, err := w.apply(planOf(t, func(p *plan.Plan) { *p = *two.plan })); err != nil || !a.same {
			t.Errorf("the same plan once more: %+v, %v", a, err)
		}
		if n := len(w.h.children[msg.IKEProc]); n != 1 {
			t.Errorf("ikeproc was started %d times", n)
		}
	})
}

// Each way in which a process can fail a change before it is firm: nothing changes, the operator learns why, and the gateway goes on.
// A file that was put in another's place is read when the plan is applied once more: keys, certificates and revocation lists are rotated in this way.
func TestSamePlanReadsChangedFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		h.secret = filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(h.secret, []byte("one"), 0o600); err != nil {
			t.Fatal(err)
		}
		w := begin(t, h)
		defer w.stop()
		w.mustApply(planOf(t, named("one")))
		again := func() applied {
			a, err := w.apply(planOf(t, named("one")))
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		if a := again(); !a.same || a.serial != 1 {
			t.Errorf("nothing changed: %+v", a)
		}
		if err := os.WriteFile(h.secret+".new", []byte("two"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(h.secret+".new", h.secret); err != nil {
			t.Fatal(err)
		}
		if a := again(); a.same || a.serial != 2 {
			t.Errorf("a file changed: %+v", a)
		}
		if a := again(); !a.same || a.serial != 2 {
			t.Errorf("nothing changed since: %+v", a)
		}
	})
}

func TestChangeThatFails(t *testing.T) {
	refuse := func(m msg.Message) []msg.Message {
		return []msg.Message{&msg.NotPrepared{Serial: m.(*msg.Prepare).Serial, Reason: "I do not like it"}}
	}
	die := func(msg.Message) []msg.Message { return []msg.Message{nil} }
	hang := func(msg.Message) []msg.Message { return silence }
	nonsense := func(msg.Message) []msg.Message { return []msg.Message{&msg.Committed{Serial: 99}} }
	for _, c := range []struct {
		name string
		who  msg.Process
		at   msg.Kind
		what func(msg.Message) []msg.Message
		want string
	}{
		{"ikeproc refuses", msg.IKEProc, msg.KindPrepare, refuse, "ikeproc refuses the plan: I do not like it"},
		{"authproc refuses", msg.AuthProc, msg.KindPrepare, refuse, "authproc refuses"},
		{"xfrmproc refuses", msg.XFRMProc, msg.KindPrepare, refuse, "xfrmproc refuses"},
		{"ikeproc dies", msg.IKEProc, msg.KindPrepare, die, "ikeproc ended"},
		{"xfrmproc dies", msg.XFRMProc, msg.KindPrepare, die, "xfrmproc ended"},
		{"ikeproc hangs", msg.IKEProc, msg.KindPrepare, hang, "ikeproc did not prepare the plan within 1m0s"},
		{"authproc hangs at its commit", msg.AuthProc, msg.KindCommit, hang, "authproc ended: it did not commit"},
		{"authproc dies at its commit", msg.AuthProc, msg.KindCommit, die, "authproc ended"},
		{"xfrmproc says nonsense", msg.XFRMProc, msg.KindPrepare, nonsense, "it committed plan 99"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := begin(t, newFakeHost())
				defer w.stop()
				w.mustApply(planOf(t, named("one")))
				before := w.s.current.open
				w.h.will(once(c.who, c.at, c.what))
				_, err := w.apply(planOf(t, func(p *plan.Plan) {
					p.Gateway = "two"
					p.Listen = append(p.Listen, netip.MustParseAddr("198.51.100.2"))
				}))
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("error %v, want %q", err, c.want)
				}
				time.Sleep(3 * time.Second) // who died is back
				synctest.Wait()
				w.all(1)
				if w.s.current.plan.Gateway != "one" || w.s.current.open != before || w.h.last.Hash != w.s.current.hash.String() {
					t.Error("something of the refused plan stayed")
				}
				if n := len(w.h.protected); n > 2 && w.h.protected[n-1] != "only one" {
					t.Errorf("protected %q", w.h.protected)
				}
				for _, f := range before.byName {
					if _, err := f.Stat(); err != nil {
						t.Errorf("a socket of the plan in force was closed: %v", err)
					}
				}
				w.mustApply(planOf(t, named("three"))) // and the next one works
				w.all(3)
			})
		})
	}
}

// After authproc's Committed there is no way back: who fails is brought to the new plan.
func TestChangeThatFailsLate(t *testing.T) {
	for _, who := range []msg.Process{msg.XFRMProc, msg.IKEProc} {
		for what, do := range map[string]func(msg.Message) []msg.Message{
			"dies":  func(msg.Message) []msg.Message { return []msg.Message{nil} },
			"hangs": func(msg.Message) []msg.Message { return silence },
		} {
			t.Run(string(who)+" "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := begin(t, newFakeHost())
					defer w.stop()
					w.mustApply(planOf(t, named("one")))
					w.h.will(once(who, msg.KindCommit, do))
					w.mustApply(planOf(t, named("two")))
					time.Sleep(3 * time.Second)
					synctest.Wait()
					w.all(2)
				})
			})
		}
	}
}

func TestHostThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		w := begin(t, h)
		defer w.stop()
		w.mustApply(planOf(t, named("one")))
		errHost := errors.New("the host says no")
		for name, fail := range map[string]func(){
			"sockets": func() { h.openErr = errHost }, "secrets": func() { h.secretErr = errHost }, "routes": func() { h.protErr = errHost },
		} {
			fail()
			_, err := w.apply(planOf(t, named("two")))
			if !errors.Is(err, errHost) {
				t.Errorf("%s: %v", name, err)
			}
			if name == "secrets" && !strings.Contains(err.Error(), `secret "berlin-paris" (`) {
				t.Errorf("it does not name the secret and its line: %v", err)
			}
			h.openErr, h.secretErr = nil, nil
			w.all(1)
		}
		h.saveErr = errHost
		a, err := w.apply(planOf(t, named("four")))
		if err != nil || len(a.warnings) != 1 || !strings.Contains(a.warnings[0], "could not be saved") {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

// A first plan that fails leaves nothing running, and the next may work.
func TestFirstPlanThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		w := begin(t, h)
		defer w.stop()
		for _, at := range []msg.Kind{0, msg.KindPrepare, msg.KindCommit} {
			h.will(once(msg.AuthProc, at, func(msg.Message) []msg.Message { return []msg.Message{nil} }))
			if _, err := w.apply(planOf(t, named("one"))); err == nil {
				t.Fatal("it was applied")
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			for _, name := range trio {
				if h.now(name) != nil {
					t.Errorf("after %v: %s still runs", at, name)
				}
			}
		}
		if err := (gateway{w.s}).Do(t.Context(), control.Request{Verb: "up", Connection: "x"}); err == nil {
			t.Error("up without a plan")
		}
		w.mustApply(planOf(t, named("two")))
		w.all(4)
	})
}

// Applies that come while one is under way wait for it, in order.
func TestAppliesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		h.openTime = time.Second
		w := begin(t, h)
		defer w.stop()
		var answers []chan applyReply
		for i := range maxWaiting + 3 {
			r := &applyRequest{v: planOf(t, named(string(rune('a'+i)))), rename: true, reply: make(chan applyReply, 1)}
			w.s.post(r)
			answers = append(answers, r.reply)
		}
		refused := 0
		for _, c := range answers {
			if a := <-c; a.err != nil {
				refused++
			}
		}
		if refused != 2 {
			t.Errorf("%d were refused, want 2", refused)
		}
		w.all(maxWaiting + 1)
	})
}

// A running gateway cannot change its datapath: xfrmproc gave the rights up.
func TestDatapathStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newFakeHost())
		defer w.stop()
		w.mustApply(planOf(t, named("one")))
		_, err := w.apply(planOf(t, func(p *plan.Plan) { p.Datapath = plan.DatapathUserspace }))
		if err == nil || !strings.Contains(err.Error(), "restart triked") {
			t.Error(err)
		}
		w.mustApply(planOf(t, func(p *plan.Plan) { p.Datapath = plan.DatapathAuto }))
	})
}

// A plan that went to the wrong machine is refused, unless the operator means it.
func TestPlanOfAnotherGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, newFakeHost())
		defer w.stop()
		w.mustApply(planOf(t, named("one")))
		_, err := w.s.applyAndWait(t.Context(), &applyRequest{v: planOf(t, named("two")), reply: make(chan applyReply, 1)})
		if err == nil || !strings.Contains(err.Error(), "for gateway two and this is gateway one") {
			t.Error(err)
		}
		w.all(1)
	})
}

func TestPlanThatChangedAfterItWasHashed(t *testing.T) {
	v := planOf(t, nil)
	if _, err := newVersion(v.bytes, strings.Repeat("0", 64)); err == nil || !strings.Contains(err.Error(), "changed after it was hashed") {
		t.Error(err)
	}
	b := slices.Clone(v.bytes)
	b[len(b)/2] ^= 1
	if _, err := newVersion(b, v.hash.String()); err == nil {
		t.Error("an octet was changed and nobody saw it")
	}
}
