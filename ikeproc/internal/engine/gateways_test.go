package engine_test

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/simnet"
)

func prefix(s string) plan.Selector {
	return plan.Selector{Prefix: netip.MustParsePrefix(s), PortLast: 65535}
}

// connectionOf is a connection named "ab" with one child "net", seen from one end.
func connectionOf(local, remote, localNet, remoteNet string) plan.Connection {
	return plan.Connection{
		Name:         "ab",
		Local:        plan.Endpoint{Address: netip.MustParseAddr(local), ID: plan.Identity{Type: ikev2.ID_FQDN, Data: idOf(local)}},
		Remote:       plan.Endpoint{Address: netip.MustParseAddr(remote), ID: plan.Identity{Type: ikev2.ID_FQDN, Data: idOf(remote)}},
		LocalAuth:    plan.Auth{Method: plan.AuthPSK, Secret: "ab"},
		RemoteAuth:   plan.Auth{Method: plan.AuthPSK, Secret: "ab"},
		Proposals:    []plan.IKEProposal{classic},
		Initiate:     plan.InitiateNever,
		Unique:       plan.UniqueReplace,
		DPD:          plan.DPD{Delay: 30, Restart: true},
		Lifetime:     plan.Lifetime{Rekey: 14400, Hard: 15840, Jitter: 600},
		Retransmit:   plan.Retransmit{InitialMS: 1000, BaseX10: 18, Tries: 5},
		FragmentSize: 1280, Keepalive: 20,
		Children: []plan.Child{childOf("net", localNet, remoteNet)},
		Pos:      plan.Pos{Line: 10, Column: 2},
	}
}

func childOf(name, localNet, remoteNet string) plan.Child {
	return plan.Child{
		Name: name, Mode: plan.ModeTunnel, Local: []plan.Selector{prefix(localNet)}, Remote: []plan.Selector{prefix(remoteNet)},
		Proposals: []plan.ESPProposal{espClassic}, Initiate: plan.InitiateNever,
		Lifetime: plan.Lifetime{Rekey: 3600, Hard: 3960, Jitter: 180}, ReplayWindow: 64, Reqid: plan.ReqidFirst, Pos: plan.Pos{Line: 20, Column: 3},
	}
}

func idOf(addr string) string {
	return "gw-" + strings.NewReplacer(".", "-", ":", "-").Replace(addr) + ".example"
}

func viewOf(cs ...plan.Connection) plan.IKEView {
	return plan.IKEView{Gateway: "test", Listen: []netip.Addr{cs[0].Local.Address}, Connections: cs, Sources: []string{"policy.cue"}}
}

const addrA, addrB = "192.0.2.1", "203.0.113.2"

// pair makes two gateways a and b with the connection "ab" between them; change, if given, changes both ends' connections first (end 0 is a's).
func pair(t testing.TB, change ...func(end int, c *plan.Connection)) (w *world, a, b *node) {
	w = newWorld(t, 1)
	a, b = w.twoGateways(change...)
	return w, a, b
}

func (w *world) twoGateways(change ...func(end int, c *plan.Connection)) (a, b *node) {
	ca := connectionOf(addrA, addrB, "10.1.0.0/16", "10.2.0.0/16")
	cb := connectionOf(addrB, addrA, "10.2.0.0/16", "10.1.0.0/16")
	for _, f := range change {
		f(0, &ca)
		f(1, &cb)
	}
	return w.add("a", viewOf(ca)), w.add("b", viewOf(cb))
}

// raise has a bring the connection up and waits until both ends have it.
func (w *world) raise(a, b *node) {
	w.t.Helper()
	req := a.control("up", "ab", "", false, true)
	w.until(time.Minute, "the connection is up on both sides", func() bool { return a.done[req] != "" && b.up("ab", "net") })
	if a.done[req] != "ok" {
		w.t.Fatalf("up: %s\n%s", a.done[req], w.history(30))
	}
	w.agree(a, b)
}

// agree checks that both gateways hold the same pairs of SAs with the same keys, one pair for each child.
func (w *world) agree(a, b *node) {
	w.t.Helper()
	if bad := disagreement(a, b); bad != "" {
		w.t.Fatalf("%s\n%s", bad, w.history(30))
	}
}

// disagreement says in what the two datapaths differ, or nothing.
func disagreement(a, b *node) string {
	for _, way := range [][2]*node{{a, b}, {b, a}} {
		x, y := way[0], way[1]
		for _, p := range x.path.pairs {
			q := y.path.pairs[p.SPIOut]
			if q == nil {
				return fmt.Sprintf("%s sends on SPI %08x, which %s does not have", x.name, p.SPIOut, y.name)
			}
			if q.SPIOut != p.SPIIn {
				return fmt.Sprintf("SPIs %08x and %08x of %s are not paired at %s", p.SPIIn, p.SPIOut, x.name, y.name)
			}
			if !p.keys[2].Equal(q.keys[0]) || !p.keys[3].Equal(q.keys[1]) || p.Transform != q.Transform || p.Mode != q.Mode {
				return fmt.Sprintf("keys, transforms or modes of SPI %08x differ", p.SPIOut)
			}
		}
	}
	return ""
}

// one fails unless both gateways have exactly one IKE SA and one pair for the child, and nothing reserved.
func (w *world) one(a, b *node, child string) {
	w.t.Helper()
	w.agree(a, b)
	for _, n := range []*node{a, b} {
		if sas := n.status("ab").SAs; len(sas) != 1 {
			w.t.Fatalf("%s has %d IKE SAs\n%s", n.name, len(sas), w.history(30))
		}
		if ps := n.path.of("ab", child); len(ps) != 1 {
			w.t.Fatalf("%s has %d pairs for %s\n%s", n.name, len(ps), child, w.history(30))
		}
		if len(n.path.reserved) != 0 {
			w.t.Fatalf("%s has SPIs reserved that nobody uses: %v\n%s", n.name, n.path.reserved, w.history(30))
		}
	}
}

// ping sends one packet of the child's traffic and reports whether it arrives.
func (n *node) ping(peer *node, connection, child string) bool {
	p := n.path.outbound(connection, child)
	if p == nil {
		return false
	}
	q := peer.path.pairs[p.SPIOut]
	if q == nil || !q.keys[0].Equal(p.keys[2]) || !q.keys[1].Equal(p.keys[3]) {
		return false
	}
	p.packetsOut, p.bytesOut = p.packetsOut+1, p.bytesOut+100
	q.packetsIn, q.bytesIn, q.lastIn = q.packetsIn+1, q.bytesIn+100, n.w.now
	return true
}

// fingerprint names a secret without telling it.
func fingerprint(s secret.Bytes) string {
	b := s.Reveal()
	return hex.EncodeToString(b[:min(4, len(b))])
}

// linkOf is a clean link with a delay.
func linkOf(delay time.Duration) simnet.Link { return simnet.Link{Delay: delay} }
