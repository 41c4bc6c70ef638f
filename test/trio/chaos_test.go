package trio

import (
	"fmt"
	"math/rand/v2"
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

// Everything at once, at random: processes and gateways die and come back, the network turns bad and good, the operator and reloads come in between. Afterwards,
// in calm, the two gateways come to one tunnel by themselves, and to no more than one.
func TestChaos(t *testing.T) {
	for seed := range uint64(30) {
		behindNAT := seed%4 == 2 // gateway a is
		change := func(p *plan.Plan) {
			c := &p.Connections[0].Children[0]
			if p.Gateway == "a" || seed%2 == 1 {
				c.Initiate = plan.InitiateStart
			}
			if seed%3 == 1 {
				c.Lifetime = plan.Lifetime{Rekey: 30, Hard: 45, Jitter: 10}
			}
			if p.Gateway == "b" && behindNAT {
				p.Connections[0].Remote.Address, c.Initiate = netip.Addr{}, plan.InitiateNever
			}
		}
		seeded(t, seed, change, func(w *world) {
			if behindNAT {
				w.box = w.net.nat(simnet.NATConfig{Inside: netip.PrefixFrom(addrA, 24), Outside: netip.MustParseAddr("198.51.100.9"), Timeout: 2 * time.Minute})
				w.a.crash() // it has begun before there was a NAT
				w.a.boot()
			}
			rng := rand.New(rand.NewPCG(seed, 3))
			var story []string
			for range 25 {
				story = append(story, w.mishap(rng))
				sleep(time.Duration(rng.ExpFloat64() * float64(10*time.Second)))
			}
			for _, g := range []*gateway{w.a, w.b} {
				g.mend()
			}
			w.net.weather(simnet.Link{Delay: 5 * time.Millisecond})
			w.a.wish("up") // the operator may have taken it down
			sleep(15 * time.Minute)
			wrong := "not looked at"
			for tries := 0; wrong != "" && tries < 20; tries++ { // one is looked at in the middle of a rekey now and then
				if _, _, wrong = w.look(); wrong != "" {
					sleep(time.Second)
				}
			}
			if wrong != "" || !w.ping() {
				w.t.Errorf("no tunnel of one IKE SA and one pair that carries traffic: %s\nwhat happened: %s", wrong, strings.Join(story, "; "))
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// mishap is one thing that happens, and its name.
func (w *world) mishap(rng *rand.Rand) string {
	g := []*gateway{w.a, w.b}[rng.IntN(2)]
	name := trio[rng.IntN(3)]
	switch n := rng.IntN(11); n {
	case 0, 1:
		if g.procs[name] != nil {
			g.kill(name)
			return fmt.Sprintf("%s of %s dies", name, g.name)
		}
	case 2, 3:
		g.mend()
		return g.name + " is whole again"
	case 4:
		g.crash()
		g.boot()
		return g.name + " starts again"
	case 5:
		w.net.weather(simnet.Link{Delay: 5 * time.Millisecond, Jitter: 100 * time.Millisecond, Loss: 0.2, Duplicate: 0.1, Reorder: 0.2})
		return "storm"
	case 6:
		w.net.weather(simnet.Link{Delay: 5 * time.Millisecond, Down: rng.IntN(3) == 0})
		return "calm, or cut"
	case 7:
		if len(g.procs) == len(trio) {
			p, what := g.another(rng)
			if why := g.apply(p); why != "" {
				w.t.Errorf("reload of %s: %s", g.name, why)
			}
			return "reload of " + g.name + " with " + what
		}
	case 8:
		if w.box != nil {
			w.net.rebind(w.box, netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + rng.IntN(200))}))
			return "the NAT forgets all"
		}
	default:
		verb := []string{"up", "down", "rekey", "rekey"}[rng.IntN(4)]
		if g.procs[msg.IKEProc] != nil {
			g.wish(verb)
			return verb + " at " + g.name
		}
	}
	return "nothing"
}

// another is a plan that the other gateway's can agree with, or the one in force.
func (g *gateway) another(rng *rand.Rand) (p *plan.Plan, what string) {
	p = new(plan.Plan)
	*p = *g.plan
	p.Connections = slices.Clone(p.Connections)
	c := &p.Connections[0]
	c.Children = slices.Clone(c.Children)
	gcm, chacha := plan.Encr{ID: ikev2.ENCR_AES_GCM_16, KeyBits: 256}, plan.Encr{ID: ikev2.ENCR_CHACHA20_POLY1305}
	encr := [][]plan.Encr{{gcm}, {gcm, chacha}, {chacha, gcm}}[rng.IntN(3)]
	switch rng.IntN(4) {
	case 0:
		c.Children[0].Proposals = []plan.ESPProposal{{Encr: encr, KE: []ikev2.KEID{ikev2.KE_CURVE25519}, SN: []ikev2.SNID{ikev2.SN_ESN}}}
		return p, fmt.Sprintf("ESP by %v", encr)
	case 1:
		ike := c.Proposals[0]
		ike.Encr = encr
		c.Proposals = []plan.IKEProposal{ike}
		return p, fmt.Sprintf("IKE by %v", encr)
	case 2:
		c.DPD.Delay = 10 + rng.IntN(60)
		return p, "other DPD"
	}
	return p, "nothing new"
}

// mend starts what has died.
func (g *gateway) mend() {
	for _, name := range trio {
		if g.procs[name] == nil {
			g.start(name)
			if _, why := g.prepare(name, g.plan); why != "" {
				g.t.Fatalf("%s: %s refuses the plan after a restart: %s", g.name, name, why)
			}
			g.commit(name)
			g.fresh(name)
		}
	}
	synctest.Wait()
}

// fresh makes new links for a process that was started again, to those neighbours that live. One that does not live yet makes its own.
func (g *gateway) fresh(name msg.Process) {
	for _, other := range trio[:2] {
		if (name == msg.IKEProc || name == other) && g.procs[other] != nil && g.procs[msg.IKEProc] != nil {
			g.link(other)
		}
	}
}
