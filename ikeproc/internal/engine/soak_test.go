package engine_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/simnet"
)

var (
	soakHours = flag.Int("soak.hours", 100_000, "simulated hours of TestSoak")
	soakSeed  = flag.Uint64("soak.seed", 0, "run one episode of TestSoak with this seed")
)

// soak is one episode: two gateways, a network that misbehaves, operators and neighbours that do what they like.
type soak struct {
	w    *world
	a, b *node
	rng  *rand.Rand
	ops  []string
}

// TestSoak: whatever the network and the operators do, keys agree, nothing is installed without a grant, collisions converge to one SA, and nothing leaks.
func TestSoak(t *testing.T) {
	hours := *soakHours
	if testing.Short() {
		hours = min(hours, 2000)
	}
	if *soakSeed != 0 {
		soakEpisode(t, *soakSeed, true)
		return
	}
	const firstSeed = 20260301
	t.Logf("seeds from %d", firstSeed)
	seed, done := uint64(firstSeed), time.Duration(0)
	for ; done < time.Duration(hours)*time.Hour; seed++ {
		done += soakEpisode(t, seed, false)
		if t.Failed() {
			t.Fatalf("episode of seed %d failed: run with -run TestSoak -soak.seed=%d", seed, seed)
		}
	}
	t.Logf("figure: %.0f simulated hours of two engines in %d episodes, invariants after each step", done.Hours(), seed-firstSeed)
}

func soakEpisode(t *testing.T, seed uint64, loud bool) time.Duration {
	w := newWorld(t, seed)
	s := &soak{w: w, rng: rand.New(rand.NewPCG(seed, 99))}
	s.start()
	w.after = s.invariants
	length := time.Duration(100+s.rng.IntN(800)) * time.Hour
	end := w.now.Add(length)
	for w.now.Before(end) && !t.Failed() {
		s.op()
		gap := time.Duration(s.rng.ExpFloat64() * float64(2*time.Hour))
		if s.rng.IntN(3) == 0 {
			gap = time.Duration(s.rng.IntN(400)) * time.Millisecond // two things at once
		}
		w.run(gap)
	}
	s.converge()
	if loud || t.Failed() {
		t.Logf("seed %d, %v, %d steps\n%s\n%s\na:\n%s\nb:\n%s", seed, w.now.Sub(epoch), w.steps, strings.Join(s.ops[max(0, len(s.ops)-12):], "\n"), w.history(60), s.a.path, s.b.path)
	}
	return length
}

// start makes the gateways as the seed says.
func (s *soak) start() {
	r := s.rng
	ike := []plan.IKEProposal{classic}
	esp := []plan.ESPProposal{[]plan.ESPProposal{espClassic, espClassic, espClassic, espPFS}[r.IntN(4)]}
	if r.IntN(12) == 0 {
		ike, esp = []plan.IKEProposal{hybrid, classic}, []plan.ESPProposal{espHybrid, espPFS}
	}
	starts := 1 + r.IntN(3) // bit 0: a, bit 1: b
	same := r.IntN(3) == 0  // rekeys of both ends at the same time
	unique := []plan.Unique{plan.UniqueReplace, plan.UniqueReplace, plan.UniqueKeep}[r.IntN(3)]
	if unique == plan.UniqueKeep {
		unique = plan.UniqueReplace // two ends that each keep another SA cannot agree after a crash
	}
	s.a, s.b = s.w.twoGateways(func(end int, c *plan.Connection) {
		c.Proposals, c.Unique = ike, unique
		c.Children = append(c.Children, c.Children[0])
		c.Children[1].Name = "other"
		c.Children[1].Reqid++
		c.Children[1].Local, c.Children[1].Remote = []plan.Selector{prefix("10.8.0.0/16")}, []plan.Selector{prefix("10.9.0.0/16")}
		if end == 1 {
			c.Children[1].Local, c.Children[1].Remote = c.Children[1].Remote, c.Children[1].Local
		}
		jitter := 900
		if same {
			jitter = 1
		}
		c.Lifetime = plan.Lifetime{Rekey: 20 * 3600, Hard: 21 * 3600, Jitter: jitter}
		c.DPD = plan.DPD{Delay: 1800, Restart: r.IntN(4) != 0 || true}
		for i := range c.Children {
			c.Children[i].Proposals = esp
			c.Children[i].Lifetime = plan.Lifetime{Rekey: 7 * 3600, Hard: 7*3600 + 1800, Jitter: jitter}
			if starts>>end&1 == 1 {
				c.Initiate, c.Children[i].Initiate = plan.InitiateStart, plan.InitiateStart
			}
		}
	})
	s.w.quiet = true
	s.weather()
	for _, n := range []*node{s.a, s.b} {
		// An SPI of a datapath that has restarted since, a transform of a plan that has been replaced since.
		n.path.excuse = func(why string) bool {
			return strings.Contains(why, "was not allocated here") || strings.Contains(why, "is not in the plan")
		}
	}
}

// weather sets how the network behaves.
func (s *soak) weather() {
	l := simnet.Link{Delay: time.Duration(5+s.rng.IntN(80)) * time.Millisecond, Jitter: time.Duration(s.rng.IntN(60)) * time.Millisecond}
	if s.rng.IntN(3) > 0 {
		l.Loss, l.Duplicate, l.Reorder = s.rng.Float64()*0.25, s.rng.Float64()*0.1, s.rng.Float64()*0.3
	}
	s.w.net.SetDefault(l)
}

func (s *soak) someone() *node {
	if s.rng.IntN(2) == 0 {
		return s.a
	}
	return s.b
}

// op does one thing that happens to gateways.
func (s *soak) op() {
	n := s.someone()
	child := []string{"net", "other", ""}[s.rng.IntN(3)]
	note := func(format string, args ...any) {
		s.ops = append(s.ops, fmt.Sprintf("%v %s: ", s.w.now.Sub(epoch).Round(time.Millisecond), n.name)+fmt.Sprintf(format, args...))
	}
	s.w.quiet = *soakSeed == 0
	switch k := s.rng.IntN(22); k {
	case 0, 1, 2:
		note("rekey child %q", child)
		n.control("rekey", "ab", child, false, s.rng.IntN(2) == 0)
	case 3, 4, 5:
		note("rekey IKE")
		n.control("rekey", "ab", "", true, s.rng.IntN(2) == 0)
	case 6:
		note("both rekey child %q", child)
		s.a.control("rekey", "ab", child, false, false)
		s.b.control("rekey", "ab", child, false, false)
	case 7:
		note("both rekey IKE")
		s.a.control("rekey", "ab", "", true, false)
		s.b.control("rekey", "ab", "", true, false)
	case 8:
		note("down %q", child)
		n.control("down", "ab", child, false, false)
	case 9, 10:
		note("up %q", child)
		n.control("up", "ab", child, false, s.rng.IntN(2) == 0)
	case 11:
		note("reboot")
		n.reboot()
	case 12:
		note("ikeproc restarts")
		n.boot()
		n.path.forget()
		n.tell(engine.FromXFRM{Msg: n.path.inventory()})
	case 13:
		note("xfrmproc restarts and has lost everything")
		n.path.clear()
		n.tell(engine.LinkReset{Process: "xfrmproc"})
		n.tell(engine.FromXFRM{Msg: n.path.inventory()})
	case 14:
		note("authproc restarts")
		n.tell(engine.LinkReset{Process: "authproc"})
	case 15:
		d := time.Duration(s.rng.ExpFloat64() * float64(5*time.Minute))
		note("link cut for %v", d)
		s.w.net.SetDefault(simnet.Link{Down: true})
		s.w.run(d)
		s.weather()
	case 16, 17:
		note("weather changes")
		s.weather()
	case 18:
		if ps := n.path.pairs; len(ps) > 0 {
			spi := sortedSPIs(ps)[s.rng.IntN(len(ps))]
			hard := s.rng.IntN(3) == 0
			note("SA %08x expires, hard %t", spi, hard)
			if hard {
				delete(ps, spi)
			}
			n.tell(engine.FromXFRM{Msg: &msg.Expire{SPIIn: spi, Hard: hard}})
		}
	case 19:
		c := &n.view.Connections[0]
		note("reload")
		v := n.view
		v.Connections = append([]plan.Connection(nil), v.Connections...)
		v.Connections[0].Children = append([]plan.Child(nil), c.Children...)
		switch s.rng.IntN(4) {
		case 0:
			v.Connections[0].Children[0].Lifetime.Rekey = 5*3600 + s.rng.IntN(3600)
		case 1:
			last := c.Children[1].Proposals[len(c.Children[1].Proposals)-1]
			v.Connections[0].Children[1].Proposals = []plan.ESPProposal{last}
			if len(c.Children[1].Proposals) == 1 {
				v.Connections[0].Children[1].Proposals = []plan.ESPProposal{{Encr: []plan.Encr{chacha}, SN: []ikev2.SNID{ikev2.SN_32}}, last}
			}
		case 2:
			v.Connections[0].Lifetime.Rekey = 15*3600 + s.rng.IntN(3600)
		}
		n.view = v
		n.tell(engine.Reload{Serial: uint64(s.rng.IntN(1 << 30)), View: v})
	case 20:
		note("packet wants %q", child)
		n.tell(engine.FromXFRM{Msg: &msg.Acquire{Connection: "ab", Child: child}})
	case 21:
		note("traffic")
		s.a.ping(s.b, "ab", "net")
		s.b.ping(s.a, "ab", "other")
	}
	s.w.settle()
}

// invariants hold after every step of every engine.
func (s *soak) invariants() {
	for _, way := range [][2]*node{{s.a, s.b}, {s.b, s.a}} {
		x, y := way[0], way[1]
		if n := len(x.path.pairs); n > 24 {
			s.w.t.Errorf("%s holds %d pairs:\n%s", x.name, n, x.path)
		}
		for _, p := range x.path.pairs {
			q := y.path.pairs[p.SPIOut]
			if q == nil {
				continue
			}
			if q.SPIOut == p.SPIIn && (!p.keys[2].Equal(q.keys[0]) || !p.keys[3].Equal(q.keys[1]) || !p.keys[0].Equal(q.keys[2]) || p.Transform != q.Transform) {
				s.w.t.Errorf("keys of %08x/%08x differ", p.SPIIn, p.SPIOut)
			}
		}
	}
}

// converge lets the world heal: then exactly one IKE SA and one pair a child stand on both sides, and nothing else is held.
func (s *soak) converge() {
	w := s.w
	w.net.SetDefault(simnet.Link{Delay: 10 * time.Millisecond})
	s.ops = append(s.ops, fmt.Sprintf("%v: heals", w.now.Sub(epoch).Round(time.Millisecond)))
	why := ""
	for i := range 120 {
		if i%4 == 3 {
			s.a.control("up", "ab", "", false, false)
		}
		w.run(time.Minute)
		if why = s.unsettled(); why == "" {
			return
		}
		if w.t.Failed() {
			return
		}
	}
	w.t.Errorf("two hours after everything healed: %s", why)
}

func (s *soak) unsettled() string {
	if bad := disagreement(s.a, s.b); bad != "" {
		return bad
	}
	for _, n := range []*node{s.a, s.b} {
		if k := len(n.status("ab").SAs); k != 1 {
			return fmt.Sprintf("%s has %d IKE SAs", n.name, k)
		}
		for _, child := range []string{"net", "other"} {
			if k := len(n.path.of("ab", child)); k != 1 {
				return fmt.Sprintf("%s has %d pairs of %s", n.name, k, child)
			}
		}
		if len(n.path.reserved) > 0 {
			return fmt.Sprintf("%s has %d SPIs reserved", n.name, len(n.path.reserved))
		}
		questions, timers, sas, children := n.eng.Leftovers()
		if questions != 0 || timers > 24 || sas != 1 || children != 2 {
			return fmt.Sprintf("%s holds %d questions, %d timers, %d IKE SAs, %d children", n.name, questions, timers, sas, children)
		}
		for _, child := range []string{"net", "other"} {
			if !n.ping(map[*node]*node{s.a: s.b, s.b: s.a}[n], "ab", child) {
				return fmt.Sprintf("%s cannot send on %s", n.name, child)
			}
		}
	}
	return ""
}
