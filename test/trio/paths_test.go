package trio

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/simnet"
	"github.com/trike-ipsec/trike/internal/status"
)

// Gateway a is behind a NAT, and b knows its name alone. ESP goes in UDP; rekeys from either side lose nothing; when the NAT forgets everything and takes another
// address, traffic from a shows b the way, for ESP and for IKE.
func TestNAT(t *testing.T) {
	for _, symmetric := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1, func(p *plan.Plan) {
				if p.Gateway == "b" {
					p.Connections[0].Remote.Address = netip.Addr{}
				}
			})
			defer w.close()
			box := w.net.nat(simnet.NATConfig{Inside: netip.PrefixFrom(addrA, 24), Outside: netip.MustParseAddr("198.51.100.9"), Symmetric: symmetric, Timeout: time.Minute})
			w.a.boot()
			w.b.boot()
			synctest.Wait()
			w.up()
			if _, child := w.one(); !child.Encap {
				t.Error("ESP does not go in UDP")
			}
			sleep(10 * time.Minute) // keepalives keep the box's mapping
			w.mustPing()
			for _, g := range []*gateway{w.a, w.b} {
				for _, ofIKE := range []bool{false, true} {
					if why := g.control("rekey", "ab", "", ofIKE); why != "" {
						t.Errorf("%s: rekey: %s", g.name, why)
					}
					w.mustPing()
					w.one()
				}
			}
			w.net.rebind(box, netip.MustParseAddr("198.51.100.77"))
			if !cross(w.a, w.b, hostA, hostB) {
				t.Error("a's traffic does not arrive from the NAT's new address")
			}
			w.mustPing()
			if why := w.b.control("rekey", "ab", "", true); why != "" {
				t.Errorf("rekey towards the NAT's new address: %s", why)
			}
			w.mustPing()
			w.one()
		})
	}
}

// The ikeproc of b dies, and meanwhile a gets another address: what b's datapath carried for the old one goes when a is back.
func TestPeerComesFromElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, func(p *plan.Plan) {
			if p.Gateway == "b" {
				p.Connections[0].Remote.Address = netip.Addr{}
			}
		})
		defer w.close()
		box := w.net.nat(simnet.NATConfig{Inside: netip.PrefixFrom(addrA, 24), Outside: netip.MustParseAddr("198.51.100.9")})
		w.a.boot()
		w.b.boot()
		synctest.Wait()
		w.up()
		w.b.kill(msg.IKEProc)
		w.net.rebind(box, netip.MustParseAddr("198.51.100.77"))
		w.b.restart(msg.IKEProc)
		sleep(10 * time.Minute)
		w.one()
		w.mustPing()
	})
}

// The first packet brings the tunnel up, from either side, and both at once.
func TestTrafficBringsItUp(t *testing.T) {
	onTraffic := func(p *plan.Plan) { p.Connections[0].Children[0].Initiate = plan.InitiateTraffic }
	for _, from := range []string{"a", "b", "both"} {
		scene(t, onTraffic, func(w *world) {
			if from != "b" {
				w.a.device.fromHost <- packet(hostA, hostB, 1)
			}
			if from != "a" {
				w.b.device.fromHost <- packet(hostB, hostA, 1)
			}
			sleep(30 * time.Second)
			w.one()
			w.mustPing()
		})
	}
}

// Both sides begin at the same time, on each start: one tunnel is what is left.
func TestBothBegin(t *testing.T) {
	atStart := func(p *plan.Plan) { p.Connections[0].Children[0].Initiate = plan.InitiateStart }
	for seed := range uint64(10) {
		seeded(t, seed, atStart, func(w *world) {
			sleep(time.Minute)
			w.one()
			w.mustPing()
		})
	}
}

// The outer addresses are of IPv6, the hosts' of IPv4.
func TestOverIPv6(t *testing.T) {
	six := map[netip.Addr]netip.Addr{addrA: netip.MustParseAddr("2001:db8::1"), addrB: netip.MustParseAddr("2001:db8:1::2")}
	overSix := func(p *plan.Plan) {
		c := &p.Connections[0]
		p.Listen[0], c.Local.Address, c.Remote.Address = six[p.Listen[0]], six[c.Local.Address], six[c.Remote.Address]
	}
	tunnel(t, overSix, func(w *world) {
		for _, ofIKE := range []bool{false, true} {
			if why := w.b.control("rekey", "ab", "", ofIKE); why != "" {
				t.Error(why)
			}
			w.mustPing()
		}
		w.one()
	})
}

// A hundred tunnels to one hub: a reload that drops one and changes one leaves the others' SAs as they are, on both sides.
func TestReloadAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		spokes, hub := manyPlans(planOf("a", addrA, addrB, "10.1.0.0/16", "10.2.0.0/16").Connections[0].Proposals[0])
		g, h := newGateway(t, n, spokes, map[string]string{"ab": psk}), newGateway(t, n, hub, map[string]string{"ab": psk})
		defer func() {
			g.crash()
			h.crash()
			n.close()
		}()
		g.boot()
		h.boot()
		synctest.Wait()
		g.all("up", pairs)
		before := g.inboundSPIs()
		next := *spokes
		next.Connections = slices.Clone(spokes.Connections[1:])
		next.Connections[0].Children = slices.Clone(next.Connections[0].Children)
		next.Connections[0].Children[0].Lifetime.Rekey++
		if why := g.apply(&next); why != "" {
			t.Fatal(why)
		}
		sleep(time.Minute)
		after := g.inboundSPIs()
		for name, spi := range before {
			if name != "c000" && name != "c001" && after[name] != spi {
				t.Errorf("%s was not touched by the reload, and went from %s to %s", name, spi, after[name])
			}
		}
		if len(before) != pairs || after["c000"] != "" || len(after) < pairs-2 || len(h.inboundSPIs()) != len(after) || g.carried() != len(after) || h.carried() != len(after) {
			t.Errorf("%d tunnels before and %d after, %d at the hub; %d and %d pairs are carried", len(before), len(after), len(h.inboundSPIs()), g.carried(), h.carried())
		}
	})
}

// inboundSPIs are those of each connection that has one pair.
func (g *gateway) inboundSPIs() map[string]string {
	g.t.Helper()
	var s status.IKE
	g.tell(msg.IKEProc, &s)
	out := map[string]string{}
	for _, c := range s.Connections {
		if len(c.Children) == 1 && len(c.Children[0].SAs) == 1 {
			out[c.Name] = c.Children[0].SAs[0].SPIIn
		}
	}
	return out
}
