package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// What the operator says, and what he hears: with and without waiting, for what there is and what there is not.
func TestControl(t *testing.T) {
	w, a, b := pair(t, func(_ int, c *plan.Connection) {
		c.Children = append(c.Children, childOf("other", "10.8.0.0/16", "10.9.0.0/16"))
		if c.Local.Address.String() == addrB {
			c.Children[1].Local, c.Children[1].Remote = c.Children[1].Remote, c.Children[1].Local
		}
	})
	say := func(verb, connection, child string, ike, wait bool) string {
		t.Helper()
		req := a.control(verb, connection, child, ike, wait)
		if wait {
			w.until(5*time.Minute, verb+" is answered", func() bool { return a.done[req] != "" })
		}
		return a.done[req]
	}
	for _, bad := range [][3]string{{"up", "nobody", ""}, {"up", "ab", "no child"}, {"dance", "ab", ""}, {"rekey", "ab", "net"}} {
		if got := say(bad[0], bad[1], bad[2], false, true); got == "ok" {
			t.Errorf("%v is done", bad)
		}
	}
	if got := say("up", "ab", "net", false, true); got != "ok" || !a.up("ab", "net") || a.up("ab", "other") {
		t.Fatalf("up net: %s", got)
	}
	if got := say("up", "ab", "", false, true); got != "ok" || !a.up("ab", "other") {
		t.Fatalf("up: %s", got)
	}
	if got := say("up", "ab", "", false, true); got != "ok" {
		t.Errorf("up of what is up: %s", got)
	}
	w.one(a, b, "net")
	w.one(a, b, "other")
	if got := say("rekey", "ab", "other", false, true); got != "ok" {
		t.Errorf("rekey: %s", got)
	}
	if got := say("rekey", "ab", "", true, true); got != "ok" {
		t.Errorf("rekey IKE: %s", got)
	}
	if got := say("down", "ab", "net", false, true); got != "ok" || a.up("ab", "net") || !a.up("ab", "other") {
		t.Errorf("down net: %s", got)
	}
	if got := say("down", "ab", "", false, true); got != "ok" {
		t.Errorf("down: %s", got)
	}
	w.run(5 * time.Minute)
	if len(a.path.pairs)+len(b.path.pairs) != 0 || len(a.status("ab").SAs)+len(b.status("ab").SAs) != 0 {
		t.Errorf("after down: %s%s", a.path, b.path)
	}
}

// A connection that starts by itself: at once, again after the peer took it down, with longer and longer waits while nobody answers; not after down.
func TestStart(t *testing.T) {
	w, a, b := pair(t, func(end int, c *plan.Connection) {
		if end == 0 {
			c.Initiate, c.Children[0].Initiate = plan.InitiateStart, plan.InitiateStart
		}
	})
	b.mute = true
	w.run(20 * time.Minute)
	inits := map[uint64]time.Time{}
	var begun []time.Time
	for _, p := range sent(w.seen, a, ikev2.IKE_SA_INIT, false) {
		if _, ok := inits[p.h.SPIi]; !ok {
			inits[p.h.SPIi] = p.at
			begun = append(begun, p.at)
		}
	}
	if len(begun) < 5 || len(begun) > 30 {
		t.Fatalf("%d attempts in 20 minutes", len(begun))
	}
	if first, last := begun[1].Sub(begun[0]), begun[len(begun)-1].Sub(begun[len(begun)-2]); last <= first {
		t.Errorf("the first gap is %v, the last %v", first, last)
	}
	b.reboot()
	w.until(5*time.Minute, "it is up", func() bool { return a.up("ab", "net") && b.up("ab", "net") })
	w.run(2 * time.Minute)
	b.control("down", "ab", "", false, false)
	w.run(2 * time.Second)
	w.until(time.Minute, "it is up again after the peer took it down", func() bool { return a.up("ab", "net") && b.up("ab", "net") })
	w.run(2 * time.Minute)
	w.one(a, b, "net")
	a.control("down", "ab", "", false, false)
	w.run(10 * time.Minute)
	if a.up("ab", "net") || len(a.path.pairs) != 0 {
		t.Error("down does not hold")
	}
}

// change copies a view with its only connection changed.
func change(n *node, f func(c *plan.Connection)) plan.IKEView {
	v := n.view
	v.Connections = append([]plan.Connection(nil), v.Connections...)
	v.Connections[0].Children = append([]plan.Child(nil), v.Connections[0].Children...)
	f(&v.Connections[0])
	return v
}

func (n *node) reload(serial uint64, v plan.IKEView) {
	n.view = v
	n.tell(engine.Reload{Serial: serial, View: v})
	n.w.settle()
}

// A reload that changes nothing of a connection does not touch it; ReloadDone follows.
func TestReloadUntouched(t *testing.T) {
	w, a, b := pair(t)
	w.raise(a, b)
	pairs, since := a.path.String(), w.mark()
	v := change(a, func(c *plan.Connection) { c.Pos.Line = 99; c.Children[0].Pos.Line = 98 })
	v.Connections = append(v.Connections, connectionOf(addrA, "198.51.100.77", "10.1.0.0/16", "10.77.0.0/16"))
	v.Connections[1].Name = "zz"
	a.reload(7, v)
	w.run(time.Second)
	if a.path.String() != pairs || len(since()) != 0 {
		t.Errorf("the tunnel was touched: %v", since())
	}
	if len(a.path.reloads) != 1 || a.path.reloads[0] != 7 {
		t.Errorf("ReloadDone %v", a.path.reloads)
	}
	if got := a.status("ab").Policy; got != "policy.cue:99:2" {
		t.Errorf("policy line %s", got)
	}
	w.one(a, b, "net")
}

// A reload without the connection deletes it towards the peer; ReloadDone comes after its pairs have left.
func TestReloadRemoves(t *testing.T) {
	w, a, b := pair(t)
	w.raise(a, b)
	v := a.view
	v.Connections = []plan.Connection{connectionOf(addrA, "198.51.100.77", "10.1.0.0/16", "10.77.0.0/16")}
	v.Connections[0].Name = "zz"
	since := w.mark()
	a.reload(8, v)
	w.until(time.Minute, "ReloadDone", func() bool { return len(a.path.reloads) == 1 })
	w.run(5 * time.Second)
	if len(a.path.pairs)+len(b.path.pairs) != 0 || len(sent(since(), a, ikev2.INFORMATIONAL, false)) == 0 {
		t.Errorf("pairs %d %d", len(a.path.pairs), len(b.path.pairs))
	}
	if sas := b.status("ab").SAs; len(sas) != 0 {
		t.Errorf("b still has %+v", sas)
	}
}

// A reload that changes what a child carries makes it anew, and one that changes proposals rekeys.
func TestReloadChanges(t *testing.T) {
	for name, f := range map[string]func(c *plan.Connection){
		"child's cipher": func(c *plan.Connection) {
			c.Children[0].Proposals = []plan.ESPProposal{{Encr: []plan.Encr{chacha}, SN: []ikev2.SNID{ikev2.SN_32}}}
		},
		"child's selectors": func(c *plan.Connection) {
			c.Children[0].Local, c.Children[0].Remote = []plan.Selector{prefix("10.0.0.0/8")}, []plan.Selector{prefix("10.0.0.0/8")}
		},
		"child's lifetime": func(c *plan.Connection) { c.Children[0].Lifetime.Rekey = 1800 },
		"IKE proposals":    func(c *plan.Connection) { c.Proposals = []plan.IKEProposal{hybrid} },
		"secret":           func(c *plan.Connection) { c.LocalAuth.Secret, c.RemoteAuth.Secret = "new", "new" },
		"delay":            func(c *plan.Connection) { c.DPD.Delay = 7 },
		"a child more": func(c *plan.Connection) {
			c.Children = append(c.Children, childOf("zz", "10.8.0.0/16", "10.8.0.0/16"))
			c.Children[1].Initiate = plan.InitiateStart
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, a, b := pair(t, func(_ int, c *plan.Connection) { c.Children[0].Initiate = plan.InitiateStart })
			w.until(time.Minute, "up", func() bool { return a.up("ab", "net") && b.up("ab", "net") })
			w.run(2 * time.Minute)
			w.one(a, b, "net")
			for _, n := range []*node{a, b} {
				n.path.excuse = func(string) bool { return true } // the two ends change one after the other
			}
			a.reload(9, change(a, f))
			w.run(3 * time.Second)
			b.reload(3, change(b, f))
			w.run(8 * time.Minute)
			w.one(a, b, "net")
			if name == "a child more" {
				w.one(a, b, "zz")
			}
			q := a.path.of("ab", "net")[0]
			if name == "child's cipher" && q.Transform.Encr != ikev2.ENCR_CHACHA20_POLY1305 {
				t.Errorf("still %v", q.Transform)
			}
			if name == "child's selectors" && q.TSLocal[0].First.String() != "10.0.0.0" {
				t.Errorf("still %v", q.TSLocal)
			}
			if s := a.status("ab").SAs[0].Suite; name == "IKE proposals" && !strings.Contains(s, "ML_KEM") {
				t.Errorf("still %s", s)
			}
		})
	}
}

// ikeproc restarts: the datapath carries on, and the engine takes the tunnel over by a new negotiation.
func TestAdoption(t *testing.T) {
	w, a, b := pair(t)
	w.raise(a, b)
	old := a.path.of("ab", "net")[0].SPIIn
	a.boot()
	a.path.forget()
	a.tell(engine.FromXFRM{Msg: a.path.inventory()})
	w.until(time.Minute, "taken over", func() bool {
		return a.up("ab", "net") && len(a.path.of("ab", "net")) == 1 && a.path.of("ab", "net")[0].SPIIn != old
	})
	w.run(time.Minute)
	w.one(a, b, "net")
	if !a.ping(b, "ab", "net") || !b.ping(a, "ab", "net") {
		t.Error("no traffic")
	}
}

// The datapath restarts and has lost everything: the pairs are made again.
func TestDatapathRestarts(t *testing.T) {
	w, a, b := pair(t)
	w.raise(a, b)
	a.path.clear()
	a.tell(engine.LinkReset{Process: "xfrmproc"})
	a.tell(engine.FromXFRM{Msg: a.path.inventory()})
	w.until(10*time.Second, "made again", func() bool { return a.up("ab", "net") && a.ping(b, "ab", "net") && b.ping(a, "ab", "net") })
	w.run(time.Minute)
	w.one(a, b, "net")
}

// A neighbour dies in the middle of a negotiation: it fails or goes on, but comes to an end.
func TestNeighbourDies(t *testing.T) {
	for _, process := range []string{"authproc", "xfrmproc"} {
		w, a, b := pair(t)
		b.auth.deaf, b.path.deaf = process == "authproc", process == "xfrmproc"
		req := a.control("up", "ab", "", false, true)
		w.run(2 * time.Second)
		b.auth.deaf, b.path.deaf = false, false
		b.tell(engine.LinkReset{Process: process})
		if process == "xfrmproc" {
			b.tell(engine.FromXFRM{Msg: b.path.inventory()})
		}
		w.until(4*time.Minute, "up has come to an end", func() bool { return a.done[req] != "" })
		if a.done[req] != "ok" {
			req = a.control("up", "ab", "", false, true)
			w.until(4*time.Minute, "a second up has come to an end", func() bool { return a.done[req] != "" })
		}
		w.run(time.Minute)
		if a.done[req] != "ok" {
			t.Fatalf("%s: %s", process, a.done[req])
		}
		w.one(a, b, "net")
	}
}

// Grants are renewed in time; when authproc no longer vouches for the peer, the SA ends.
func TestGrants(t *testing.T) {
	w, a, b := pair(t, func(_ int, c *plan.Connection) { c.DPD.Delay = 3600 })
	w.raise(a, b)
	serial := a.auth.serial
	w.run(60 * time.Hour)
	w.one(a, b, "net")
	if a.auth.serial == serial {
		t.Error("never renewed")
	}
	for _, n := range []*node{a, b} {
		for _, q := range n.path.pairs {
			if q.Grant.Expiry < w.now.Unix() {
				t.Error("a pair stands on an old grant")
			}
		}
	}
}

// Shutdown: every peer is told, then Exit.
func TestShutdown(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		w, a, b := pair(t)
		w.raise(a, b)
		b.mute = deaf
		a.tell(engine.Shutdown{})
		w.until(30*time.Second, "Exit", func() bool { return a.exited })
		w.run(time.Second)
		if !deaf && (len(b.path.pairs) != 0 || len(b.status("ab").SAs) != 0) {
			t.Error("the peer was not told")
		}
		if took := w.now.Sub(epoch); took > 20*time.Second {
			t.Errorf("deaf %t: it takes %v", deaf, took)
		}
	}
	w, a, _ := pair(t)
	a.tell(engine.Shutdown{})
	w.settle()
	if !a.exited {
		t.Error("with nothing up, no Exit at once")
	}
}

// TrustHints show in status before a peer finds out.
func TestTrustHints(t *testing.T) {
	w, a, _ := pair(t)
	a.tell(engine.FromAuth{Msg: &msg.TrustHints{Problems: []msg.Problem{{Connection: "ab", Text: "secret ab: file not readable"}}}})
	w.settle()
	if p := a.status("ab").Problem; p == nil || !strings.Contains(p.Text, "not readable") {
		t.Errorf("problem %+v", p)
	}
}

// Whatever neighbours say that nobody asked for, nothing happens.
func TestStrangeAnswers(t *testing.T) {
	w, a, b := pair(t)
	w.raise(a, b)
	for req := range uint64(200) {
		for _, ev := range []engine.Event{
			engine.FromAuth{Msg: &msg.Signed{Req: req}}, engine.FromAuth{Msg: &msg.Verified{Req: req, OK: true}}, engine.FromAuth{Msg: &msg.Renewed{Req: req}},
			engine.FromXFRM{Msg: &msg.SPI{Req: req}}, engine.FromXFRM{Msg: &msg.Installed{Req: req}}, engine.FromXFRM{Msg: &msg.Refused{Req: req}},
			engine.FromXFRM{Msg: &msg.Counters{Req: req}}, engine.FromXFRM{Msg: &msg.Expire{SPIIn: uint32(req), Hard: true}}, engine.FromXFRM{Msg: &msg.Mapping{SPIIn: uint32(req)}},
			engine.FromXFRM{Msg: &msg.Shutdown{}}, engine.LinkReset{Process: "nobody"}, engine.Tick{},
		} {
			a.tell(ev)
		}
	}
	w.settle()
	w.run(time.Minute)
	w.one(a, b, "net")
}
