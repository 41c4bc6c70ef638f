package trio

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/simnet"
)

// tunnel is a scene that begins with the tunnel up.
func tunnel(t *testing.T, change func(p *plan.Plan), play func(w *world)) {
	t.Helper()
	scene(t, change, func(w *world) {
		w.up()
		w.one()
		play(w)
	})
}

func TestTunnelComesUp(t *testing.T) {
	scene(t, nil, func(w *world) {
		if w.ping() {
			t.Fatal("the hosts reach each other without a tunnel")
		}
		w.up()
		w.one()
	})
}

// Rekeys of the child and of the IKE SA, from either side, and by age, under traffic: not one packet is lost.
func TestRekeyUnderTraffic(t *testing.T) {
	tunnel(t, nil, func(w *world) {
		ike, child := w.one()
		for _, g := range []*gateway{w.a, w.b} {
			for _, ofIKE := range []bool{false, true} {
				if why := g.control("rekey", "ab", "", ofIKE); why != "" {
					t.Fatalf("%s: rekey: %s", g.name, why)
				}
				for range 10 {
					w.mustPing()
				}
				newIKE, newChild := w.one()
				if (newIKE.SPIi != ike.SPIi) != ofIKE || (newChild.SPIIn != child.SPIIn) == ofIKE {
					t.Errorf("%s rekeyed (of the IKE SA: %v): the SPIs went from %v/%v to %v/%v", g.name, ofIKE, ike.SPIi, child.SPIIn, newIKE.SPIi, newChild.SPIIn)
				}
				ike, child = newIKE, newChild
			}
		}
		for range 9 { // hours, so that all lifetimes end at least twice
			for range 60 {
				sleep(time.Minute)
				w.mustPing()
			}
		}
		if newIKE, newChild := w.one(); newIKE.SPIi == ike.SPIi || newChild.SPIIn == child.SPIIn {
			t.Error("nothing was rekeyed by age")
		}
	})
}

// A delete from either side takes both sides down, and nothing crosses any more.
func TestDelete(t *testing.T) {
	for _, by := range []string{"a", "b"} {
		t.Run(by, func(t *testing.T) {
			tunnel(t, nil, func(w *world) {
				g := map[string]*gateway{"a": w.a, "b": w.b}[by]
				if why := g.control("down", "ab", "", false); why != "" {
					t.Fatal(why)
				}
				sleep(time.Second)
				w.nothing()
			})
		})
	}
}

// The operator takes the tunnel down and wants it up again before the peer has answered: both come about.
func TestUpWhileGoingDown(t *testing.T) {
	tunnel(t, nil, func(w *world) {
		before, _ := w.one()
		w.net.weather(simnet.Link{Down: true})
		w.a.wish("down")
		w.a.wish("up")
		sleep(3 * time.Second)
		w.net.weather(simnet.Link{Delay: 5 * time.Millisecond})
		sleep(time.Minute)
		if after, _ := w.one(); after.SPIi == before.SPIi {
			t.Error("it was not taken down")
		}
		w.mustPing()
	})
}

// A pair ends by its age while its rekey waits for an xfrmproc that is gone, and both sides ask for another: one pair is what is left.
func TestRekeyTooLate(t *testing.T) {
	short := func(p *plan.Plan) {
		c := &p.Connections[0].Children[0]
		c.Initiate, c.Lifetime = plan.InitiateStart, plan.Lifetime{Rekey: 30, Hard: 45, Jitter: 10}
	}
	for seed := range uint64(30) {
		seeded(t, seed, short, func(w *world) {
			sleep(5 * time.Second)
			w.one()
			w.a.kill(msg.XFRMProc)
			sleep(42*time.Second + time.Duration(seed)*500*time.Millisecond)
			w.a.restart(msg.XFRMProc)
			sleep(3 * time.Minute)
			w.until(10*time.Second, "one tunnel", func() bool { _, _, wrong := w.look(); return wrong == "" })
			w.mustPing()
		})
	}
}

// nothing fails unless neither gateway has or carries anything.
func (w *world) nothing() {
	w.t.Helper()
	for _, g := range []*gateway{w.a, w.b} {
		if c := g.connection("ab"); len(c.SAs) != 0 || len(c.Children) > 0 && len(c.Children[0].SAs) != 0 {
			w.t.Errorf("%s still has %+v", g.name, c)
		}
		if n := g.carried(); n != 0 {
			w.t.Errorf("%s carries %d pairs", g.name, n)
		}
	}
	if w.ping() {
		w.t.Error("the hosts still reach each other")
	}
}

// Another key on one side: both sides say AUTHENTICATION_FAILED, and neither installs anything or writes a key down.
func TestWrongKey(t *testing.T) {
	scene(t, nil, func(w *world) {
		w.b.crash()
		w.b.secrets["ab"] = "another key"
		w.b.boot()
		synctest.Wait()
		if why := w.a.control("up", "ab", "", false); !strings.Contains(why, "AUTHENTICATION_FAILED") {
			t.Errorf("up: %s", why)
		}
		w.nothing()
		for _, g := range []*gateway{w.a, w.b} {
			if s := g.story(1000); !strings.Contains(s, "AUTHENTICATION_FAILED") || strings.Contains(s, psk) || strings.Contains(s, "another key") {
				t.Errorf("the log of %s:\n%s", g.name, s)
			}
		}
	})
}

// A network that loses, repeats and reorders: it takes longer, and comes to the same end.
func TestBadNetwork(t *testing.T) {
	for seed := range uint64(20) {
		seeded(t, seed, nil, func(w *world) {
			w.net.weather(simnet.Link{Delay: 5 * time.Millisecond, Jitter: 200 * time.Millisecond, Loss: 0.1, Duplicate: 0.2, Reorder: 0.3})
			tries := 0
			for why := "not tried"; why != ""; tries++ {
				if why = w.a.control("up", "ab", "", false); tries > 3 {
					t.Fatalf("seed %d: up: %s", seed, why)
				}
			}
			for range 4 {
				if why := w.a.control("rekey", "ab", "", false); why != "" {
					t.Errorf("seed %d: rekey: %s", seed, why)
				}
				if why := w.b.control("rekey", "ab", "", true); why != "" {
					t.Errorf("seed %d: rekey of the IKE SA: %s", seed, why)
				}
			}
			w.net.weather(simnet.Link{Delay: 5 * time.Millisecond})
			sleep(2 * time.Minute)
			w.one()
			w.mustPing()
		})
	}
}

// The wire is cut for longer than both sides wait, and mended: they find each other again by themselves.
func TestOutage(t *testing.T) {
	tunnel(t, nil, func(w *world) {
		w.net.weather(simnet.Link{Down: true})
		sleep(10 * time.Minute)
		if w.ping() {
			t.Fatal("the wire is cut")
		}
		w.net.weather(simnet.Link{Delay: 5 * time.Millisecond})
		w.until(10*time.Minute, "the tunnel is back", w.ping)
	})
}

// Each process of a gateway dies while traffic flows: what the datapath carries goes on, and the tunnel is managed again, with nothing left over.
func TestRestart(t *testing.T) {
	for _, name := range trio {
		for _, of := range []string{"a", "b"} {
			t.Run(string(name)+" of "+of, func(t *testing.T) {
				tunnel(t, nil, func(w *world) {
					g := map[string]*gateway{"a": w.a, "b": w.b}[of]
					g.kill(name)
					for range 20 {
						w.mustPing()
					}
					g.restart(name)
					for range 20 {
						w.mustPing()
					}
					sleep(time.Minute)
					w.one()
					if why := g.control("rekey", "ab", "", false); why != "" {
						t.Errorf("rekey after the restart: %s", why)
					}
					sleep(time.Second)
					w.one()
					w.mustPing()
				})
			})
		}
	}
}

// The whole gateway dies, datapath and all, and comes back: its peer takes it up again.
func TestGatewayComesBack(t *testing.T) {
	tunnel(t, nil, func(w *world) {
		w.b.crash()
		sleep(time.Second)
		w.b.boot()
		synctest.Wait()
		if why := w.b.control("up", "ab", "", false); why != "" {
			t.Fatal(why)
		}
		sleep(time.Second)
		w.mustPing()
		sleep(3 * time.Second) // a's old pair still receives for a while: b's datapath might have lived
		w.one()
		w.mustPing()
	})
}

// A reload that does not touch a connection does not touch its SAs; one that drops it drops them, on both sides.
func TestReload(t *testing.T) {
	tunnel(t, nil, func(w *world) {
		ike, child := w.one()
		p := *w.a.plan
		p.Connections = slices.Clone(p.Connections)
		other := p.Connections[0]
		other.Name, other.Remote.Address, other.Remote.ID.Data = "other", hostB.Next(), "other.example"
		other.Children = slices.Clone(other.Children)
		other.Children[0].Reqid++
		other.Children[0].Remote = []plan.Selector{{Prefix: netip.MustParsePrefix("10.9.0.0/16"), PortLast: 65535}}
		p.Connections = append(p.Connections, other)
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		if why := w.a.apply(&p); why != "" {
			t.Fatal(why)
		}
		w.mustPing()
		if newIKE, newChild := w.one(); newIKE.SPIi != ike.SPIi || newChild.SPIIn != child.SPIIn {
			t.Error("a reload that does not touch the connection changed its SAs")
		}
		gone := p
		gone.Connections = []plan.Connection{other}
		if why := w.a.apply(&gone); why != "" {
			t.Fatal(why)
		}
		sleep(time.Minute)
		if n := w.a.carried(); n != 0 {
			t.Errorf("a carries %d pairs of a connection that is gone", n)
		}
		if n := w.b.carried(); n != 0 {
			t.Errorf("b was not told: it carries %d pairs", n)
		}
		if w.ping() {
			t.Error("the hosts still reach each other")
		}
	})
}

// A reload that changes a connection, on one side and then on the other: the old SAs go, the new ones are what the new plans say.
func TestReloadChanged(t *testing.T) {
	tunnel(t, nil, func(w *world) {
		_, child := w.one()
		for _, g := range []*gateway{w.a, w.b} {
			p := *g.plan
			p.Connections = slices.Clone(p.Connections)
			c := &p.Connections[0]
			c.Children = slices.Clone(c.Children)
			c.Children[0].Proposals = []plan.ESPProposal{{Encr: []plan.Encr{{ID: ikev2.ENCR_CHACHA20_POLY1305}}, KE: []ikev2.KEID{ikev2.KE_CURVE25519}, SN: []ikev2.SNID{ikev2.SN_ESN}}}
			c.Children[0].Initiate = plan.InitiateStart
			if err := p.Validate(); err != nil {
				t.Fatal(err)
			}
			if why := g.apply(&p); why != "" {
				t.Fatal(why)
			}
			sleep(10 * time.Second)
		}
		w.until(5*time.Minute, "the tunnel is back", w.ping)
		_, newChild := w.one()
		if newChild.SPIIn == child.SPIIn || !strings.Contains(newChild.Suite, "CHACHA20") {
			t.Errorf("the pair went from %+v to %+v", child, newChild)
		}
	})
}

// A plan that one process refuses changes nothing in any.
func TestRefusedReload(t *testing.T) {
	for _, name := range trio {
		t.Run(string(name), func(t *testing.T) {
			tunnel(t, nil, func(w *world) {
				ike, child := w.one()
				p := *w.a.plan
				p.Connections = nil
				w.a.spoil = name
				if why := w.a.apply(&p); !strings.Contains(why, string(name)) {
					t.Fatalf("a view that was cut off was taken: %q", why)
				}
				w.mustPing()
				if newIKE, newChild := w.one(); newIKE.SPIi != ike.SPIi || newChild.SPIIn != child.SPIIn {
					t.Error("a refused plan changed the SAs")
				}
				if why := w.a.control("rekey", "ab", "", false); why != "" {
					t.Errorf("rekey after a refused plan: %s", why)
				}
				w.mustPing()
			})
		})
	}
}
