package trio

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/simnet"
)

// pairs is how many connections come up at once.
const pairs = 100

// BenchmarkTrioHandshake measures whole handshakes, from the operator's word until both datapaths carry the pair: IKE_SA_INIT, what IKE_INTERMEDIATE there
// is, IKE_AUTH, the messages between the processes, and the installation. Initiator and responder are both in the figures; the deletes in between are
// not. The network is in memory and takes no time.
func BenchmarkTrioHandshake(b *testing.B) {
	proposal := func(prf ikev2.PRFID, ke ikev2.KEID, more ...ikev2.KEID) plan.IKEProposal {
		p := plan.IKEProposal{Encr: []plan.Encr{{ID: ikev2.ENCR_AES_GCM_16, KeyBits: 256}}, PRF: []ikev2.PRFID{prf}, KE: []ikev2.KEID{ke}}
		for i := range more {
			p.AddKE = append(p.AddKE, plan.AddKE{Slot: i + 1, KE: more[i : i+1]})
		}
		return p
	}
	for _, of := range []struct {
		name     string
		proposal plan.IKEProposal
	}{
		{"psk-x25519", proposal(ikev2.PRF_HMAC_SHA2_256, ikev2.KE_CURVE25519)},
		{"psk-modp2048", proposal(ikev2.PRF_HMAC_SHA2_256, ikev2.KE_MODP2048)},
		{"default", proposal(ikev2.PRF_HMAC_SHA2_384, ikev2.KE_CURVE25519, ikev2.KE_MLKEM768)},
	} {
		b.Run(of.name, func(b *testing.B) { benchmarkHandshake(b, of.proposal) })
	}
}

func benchmarkHandshake(b *testing.B, proposal plan.IKEProposal) {
	n := newNetwork(1)
	defer n.close()
	n.weather(simnet.Link{})
	spokes, hub := manyPlans(proposal)
	var gs []*gateway
	for _, p := range []*plan.Plan{spokes, hub} {
		if err := p.Validate(); err != nil {
			b.Fatal(err)
		}
		g := newGateway(b, n, p, map[string]string{"ab": psk})
		g.boot()
		defer g.crash()
		gs = append(gs, g)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var cpu time.Duration
	for done := 0; done < b.N; {
		batch := min(pairs, b.N-done)
		before := cpuTime(b)
		gs[0].all("up", batch)
		cpu += cpuTime(b) - before
		done += batch
		b.StopTimer()
		if x, y := gs[0].carried(), gs[1].carried(); x != batch || y != batch {
			b.Fatalf("%d handshakes, and %d and %d pairs are carried", batch, x, y)
		}
		gs[0].all("down", batch)
		b.StartTimer()
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// manyPlans are a gateway with an address for each of its connections, and the hub that they go to.
func manyPlans(proposal plan.IKEProposal) (spokes, hub *plan.Plan) {
	for i := range pairs {
		at := netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
		near := fmt.Sprintf("10.1.%d.0/24", i)
		s, h := planOf("spokes", at, addrB, near, "10.2.0.0/16"), planOf("hub", addrB, at, "10.2.0.0/16", near)
		for _, p := range []*plan.Plan{s, h} {
			c := &p.Connections[0]
			c.Name = fmt.Sprintf("c%03d", i)
			c.Proposals = []plan.IKEProposal{proposal}
			c.Children[0].Reqid += uint32(i)
		}
		if spokes == nil {
			spokes, hub = s, h
			continue
		}
		spokes.Listen = append(spokes.Listen, at)
		spokes.Connections = append(spokes.Connections, s.Connections...)
		hub.Connections = append(hub.Connections, h.Connections...)
	}
	return spokes, hub
}

// all gives a command for each of the first n connections, at once, and waits until all are done.
func (g *gateway) all(verb string, n int) {
	g.t.Helper()
	for i := range n {
		g.say(msg.IKEProc, &msg.Control{Req: uint64(i), Verb: verb, Connection: g.plan.Connections[i].Name, Wait: true})
	}
	for range n {
		if c, ok := g.hear(msg.IKEProc).(*msg.Controlled); !ok || c.Error != "" {
			g.t.Fatalf("%s: %s: %+v\n%s", g.name, verb, c, g.story(20))
		}
	}
}

// cpuTime is what this process has used of all cores.
func cpuTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
