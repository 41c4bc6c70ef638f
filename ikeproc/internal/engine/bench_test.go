package engine_test

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// side is an engine with neighbours that agree to everything and cost nothing: what is measured is the engine.
type side struct {
	eng   *engine.Engine
	addrs map[netip.Addr]bool
	spent time.Duration // in the engine and its public-key work
	spi   uint32
	queue []engine.Event
}

// duel is two sides without a network between them. One has a connection to each of the addresses of the other.
type duel struct {
	t    testing.TB
	now  time.Time
	a, b *side
}

func newDuel(t testing.TB, connections int, ike plan.IKEProposal, esp plan.ESPProposal) *duel {
	var as, bs []plan.Connection
	va := plan.IKEView{Gateway: "a", Sources: []string{"policy.cue"}}
	hub := netip.MustParseAddr(addrB)
	addr := netip.MustParseAddr("192.0.2.1")
	for i := range connections {
		net := fmt.Sprintf("10.%d.%d.0/24", 100+i>>8, i&0xff)
		ca, cb := connectionOf(addr.String(), addrB, net, "10.2.0.0/16"), connectionOf(addrB, addr.String(), "10.2.0.0/16", net)
		for _, c := range []*plan.Connection{&ca, &cb} {
			c.Name = fmt.Sprintf("c%05d", i)
			c.Proposals, c.Children[0].Proposals = []plan.IKEProposal{ike}, []plan.ESPProposal{esp}
			c.DPD = plan.DPD{}
		}
		as, bs = append(as, ca), append(bs, cb)
		va.Listen = append(va.Listen, addr)
		addr = addr.Next()
	}
	va.Connections = as
	d := &duel{t: t, now: epoch}
	entropy := func(n uint64) engine.Config {
		return engine.Config{Entropy: detEntropy(7, n), Now: d.now, Limits: engine.Limits{CookieThreshold: 1 << 30}}
	}
	mine := func(v plan.IKEView, n uint64) *side {
		cfg := entropy(n)
		cfg.View = v
		s := &side{eng: engine.New(cfg), addrs: map[netip.Addr]bool{}, spi: 0x1000}
		for _, a := range v.Listen {
			s.addrs[a] = true
		}
		return s
	}
	d.a, d.b = mine(va, 1), mine(plan.IKEView{Gateway: "b", Sources: va.Sources, Listen: []netip.Addr{hub}, Connections: bs}, 2)
	return d
}

// run gives both sides what they have to hear, until there is nothing.
func (d *duel) run() {
	for len(d.a.queue)+len(d.b.queue) > 0 {
		for _, s := range []*side{d.a, d.b} {
			for len(s.queue) > 0 {
				ev := s.queue[0]
				s.queue = s.queue[1:]
				began := time.Now()
				effects := s.eng.Step(d.now, ev)
				s.spent += time.Since(began)
				for _, eff := range effects {
					d.do(s, eff)
				}
			}
		}
	}
}

func (d *duel) do(s *side, eff engine.Effect) {
	switch eff := eff.(type) {
	case engine.Send:
		to := d.a
		if d.b.addrs[eff.Remote.Addr()] {
			to = d.b
		}
		to.queue = append(to.queue, engine.Datagram{Local: eff.Remote, Remote: eff.Local, Data: eff.Data})
	case engine.Compute:
		began := time.Now()
		r := eff.Job.Run()
		s.spent += time.Since(began)
		s.queue = append(s.queue, engine.Computed{KEResult: r})
	case engine.ToAuth:
		s.queue = append(s.queue, engine.FromAuth{Msg: agreed(d.now, eff.Msg)})
	case engine.ToXFRM:
		switch m := eff.Msg.(type) {
		case *msg.AllocSPI:
			s.spi++
			s.queue = append(s.queue, engine.FromXFRM{Msg: &msg.SPI{Req: m.Req, SPI: s.spi}})
		case *msg.InstallChild:
			s.queue = append(s.queue, engine.FromXFRM{Msg: &msg.Installed{Req: m.Req}})
		case *msg.RemoveChild:
			s.queue = append(s.queue, engine.FromXFRM{Msg: &msg.Installed{Req: m.Req}})
		}
	case engine.ControlDone:
		if eff.Error != "" {
			d.t.Fatal(eff.Error)
		}
	}
}

// agreed is authproc's word where it agrees. The AUTH data is a hash of what is signed, so that both sides' octets must be the same.
func agreed(now time.Time, m msg.Message) msg.Message {
	sum := func(o msg.Octets) []byte {
		h := sha256.Sum256(append(append([]byte{}, o.Message...), o.Nonce...))
		return h[:]
	}
	grant := func(c string) msg.Grant { return msg.Grant{Serial: 1, Connection: c, Expiry: now.Unix() + 86400} }
	switch m := m.(type) {
	case *msg.Sign:
		return &msg.Signed{Req: m.Req, ID: msg.ID{Type: ikev2.ID_FQDN, Data: []byte(m.Connection)}, Method: 2, Data: sum(m.Octets)}
	case *msg.Verify:
		v := &msg.Verified{Req: m.Req, OK: string(m.Data) == string(sum(m.Octets))}
		for _, c := range m.Connections {
			if c == string(m.PeerID.Data) {
				v.Grants = append(v.Grants, grant(c))
			}
		}
		return v
	case *msg.Renew:
		return &msg.Renewed{Req: m.Req, Grant: m.Grant}
	}
	return nil
}

// each gives a's engine an operator's command for so many connections.
func (d *duel) each(verb string, connections int) {
	for i := range connections {
		d.a.queue = append(d.a.queue, engine.Control{Control: msg.Control{Req: uint64(i + 1), Verb: verb, Connection: fmt.Sprintf("c%05d", i), Wait: true}})
		d.run()
	}
}

var benchSuites = []struct {
	name string
	ike  plan.IKEProposal
	esp  plan.ESPProposal
}{
	{"psk-x25519", classic, espClassic},
	{"psk-modp2048", plan.IKEProposal{Encr: []plan.Encr{gcm256}, PRF: classic.PRF, KE: []ikev2.KEID{ikev2.KE_MODP2048}}, espClassic},
	{"default", hybrid, espClassic},
}

// BenchmarkHandshake is IKE_SA_INIT, IKE_INTERMEDIATE where the suite has one, IKE_AUTH with the first child, and the delete, in both engines.
func BenchmarkHandshake(b *testing.B) {
	for _, s := range benchSuites {
		b.Run(s.name, func(b *testing.B) {
			d := newDuel(b, 1, s.ike, s.esp)
			b.ReportAllocs()
			for b.Loop() {
				d.each("up", 1)
				d.each("down", 1)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
		})
	}
}

// BenchmarkResponder is the same, and only the responder's time counts.
func BenchmarkResponder(b *testing.B) {
	for _, s := range benchSuites {
		b.Run(s.name, func(b *testing.B) {
			d := newDuel(b, 1, s.ike, s.esp)
			for b.Loop() {
				d.each("up", 1)
				d.each("down", 1)
			}
			b.ReportMetric(float64(d.b.spent.Nanoseconds())/float64(b.N), "ns/op")
		})
	}
}

// BenchmarkMemory is what an established IKE SA with its child takes, where there are many: the heap of both engines, by the SAs that they hold.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				d := newDuel(b, n, classic, espClassic)
				before := heap()
				d.each("up", n)
				after := heap()
				if st := d.b.eng.Status(d.now); len(st.Connections) != n || len(st.Connections[n-1].SAs) != 1 {
					b.Fatal("not all are up")
				}
				b.ReportMetric(float64(after-before)/float64(2*n), "B/SA")
				runtime.KeepAlive(d)
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
