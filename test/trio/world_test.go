package trio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/simnet"
	"github.com/trike-ipsec/trike/internal/status"
)

var (
	addrA = netip.MustParseAddr("192.0.2.1")
	addrB = netip.MustParseAddr("203.0.113.2")
	hostA = netip.MustParseAddr("10.1.0.7")
	hostB = netip.MustParseAddr("10.2.0.7")
)

const psk = "correct horse battery staple"

// world is two gateways, a and b, with the connection "ab" between them and a host behind each.
type world struct {
	t    *testing.T
	net  *network
	a, b *gateway
	box  *simnet.NAT // before a, in some scenes
}

// scene runs a test with a clock of its own. change, if not nil, changes both gateways' plans before they start.
func scene(t *testing.T, change func(p *plan.Plan), play func(w *world)) {
	t.Helper()
	seeded(t, 1, change, play)
}

// seeded is a scene whose network draws from this seed.
func seeded(t *testing.T, seed uint64, change func(p *plan.Plan), play func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, change)
		defer w.close()
		w.a.boot()
		w.b.boot()
		synctest.Wait()
		play(w)
	})
}

func newWorld(t *testing.T, seed uint64, change func(p *plan.Plan)) *world {
	n := newNetwork(seed)
	pa, pb := planOf("a", addrA, addrB, "10.1.0.0/16", "10.2.0.0/16"), planOf("b", addrB, addrA, "10.2.0.0/16", "10.1.0.0/16")
	for _, p := range []*plan.Plan{pa, pb} {
		if change != nil {
			change(p)
		}
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	keys := func() map[string]string { return map[string]string{"ab": psk} }
	w := &world{t: t, net: n, a: newGateway(t, n, pa, keys()), b: newGateway(t, n, pb, keys())}
	w.watch()
	return w
}

func (w *world) close() {
	w.a.crash()
	w.b.crash()
	w.net.close()
	synctest.Wait()
	if w.t.Failed() {
		w.t.Logf("%s%s", w.a.story(40), w.b.story(40))
	}
}

func planOf(name string, local, remote netip.Addr, localNet, remoteNet string) *plan.Plan {
	gcm := []plan.Encr{{ID: ikev2.ENCR_AES_GCM_16, KeyBits: 256}}
	id := func(a netip.Addr) plan.Identity {
		return plan.Identity{Type: ikev2.ID_FQDN, Data: "gw-" + strings.ReplaceAll(a.String(), ".", "-") + ".example"}
	}
	side := func(s string) []plan.Selector {
		return []plan.Selector{{Prefix: netip.MustParsePrefix(s), PortLast: 65535}}
	}
	psk := plan.Auth{Method: plan.AuthPSK, Secret: "ab"}
	return &plan.Plan{Format: plan.Format, Gateway: name, Datapath: plan.DatapathUserspace, Listen: []netip.Addr{local}, Sources: []string{"policy.cue"},
		Secrets: []plan.Secret{{Name: "ab", File: "/etc/trike/secrets/ab.psk"}},
		Connections: []plan.Connection{{
			Name: "ab", Local: plan.Endpoint{Address: local, ID: id(local)}, Remote: plan.Endpoint{Address: remote, ID: id(remote)}, LocalAuth: psk, RemoteAuth: psk,
			Proposals: []plan.IKEProposal{{Encr: gcm, PRF: []ikev2.PRFID{ikev2.PRF_HMAC_SHA2_256}, KE: []ikev2.KEID{ikev2.KE_CURVE25519},
				AddKE: []plan.AddKE{{Slot: 1, KE: []ikev2.KEID{ikev2.KE_MLKEM768}}}}},
			Initiate: plan.InitiateNever, Unique: plan.UniqueReplace, DPD: plan.DPD{Delay: 30, Restart: true},
			Lifetime: plan.Lifetime{Rekey: 14400, Hard: 15840, Jitter: 600}, Retransmit: plan.Retransmit{InitialMS: 1000, BaseX10: 18, Tries: 5},
			FragmentSize: 1280, Keepalive: 20, Pos: plan.Pos{Line: 10, Column: 2},
			Children: []plan.Child{{
				Name: "net", Mode: plan.ModeTunnel, Local: side(localNet), Remote: side(remoteNet),
				Proposals: []plan.ESPProposal{{Encr: gcm, KE: []ikev2.KEID{ikev2.KE_CURVE25519}, SN: []ikev2.SNID{ikev2.SN_ESN}}},
				Initiate:  plan.InitiateNever, Lifetime: plan.Lifetime{Rekey: 3600, Hard: 3960, Jitter: 180}, ReplayWindow: 64, Reqid: plan.ReqidFirst,
				Priority: 1000, Pos: plan.Pos{Line: 20, Column: 3},
			}},
		}}}
}

// up has a bring the connection up.
func (w *world) up() {
	w.t.Helper()
	if why := w.a.control("up", "ab", "", false); why != "" {
		w.t.Fatalf("up: %s", why)
	}
	sleep(time.Second)
	w.mustPing()
}

// payload is what the hosts say to each other; it must never be seen outside.
var payload = []byte("what the hosts say to each other")

// packet is a UDP packet in IPv4.
func packet(from, to netip.Addr, id uint16) []byte {
	b := make([]byte, 28, 28+len(payload))
	b[0], b[8], b[9] = 0x45, 64, 17
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], id)
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	binary.BigEndian.PutUint16(b[20:], 7)
	binary.BigEndian.PutUint16(b[22:], 7)
	binary.BigEndian.PutUint16(b[24:], uint16(len(b)-20))
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return b
}

// ping sends a packet each way between the hosts and tells whether both arrive.
func (w *world) ping() bool {
	return cross(w.a, w.b, hostA, hostB) && cross(w.b, w.a, hostB, hostA)
}

func cross(from, to *gateway, src, dst netip.Addr) bool {
	for len(to.device.toHost) > 0 {
		<-to.device.toHost
	}
	from.device.fromHost <- packet(src, dst, 1)
	sleep(100 * time.Millisecond)
	select {
	case p := <-to.device.toHost:
		return bytes.Contains(p, payload)
	default:
		return false
	}
}

func (w *world) mustPing() {
	w.t.Helper()
	if !w.ping() {
		w.t.Fatal("the hosts do not reach each other")
	}
}

// one fails unless both gateways have one IKE SA and one pair, the same.
func (w *world) one() (ike status.IKESA, child status.ChildSA) {
	w.t.Helper()
	ike, child, wrong := w.look()
	if wrong != "" {
		w.t.Fatal(wrong)
	}
	return ike, child
}

// look is one without its failing.
func (w *world) look() (ike status.IKESA, child status.ChildSA, wrong string) {
	w.t.Helper()
	ca, cb := w.a.connection("ab"), w.b.connection("ab")
	for _, c := range []status.Connection{ca, cb} {
		if len(c.SAs) != 1 || len(c.Children) != 1 || len(c.Children[0].SAs) != 1 {
			return ike, child, fmt.Sprintf("want one IKE SA and one pair: %+v", c)
		}
	}
	ike, child = ca.SAs[0], ca.Children[0].SAs[0]
	if other := cb.Children[0].SAs[0]; ike.SPIi != cb.SAs[0].SPIi || child.SPIIn != other.SPIOut || child.SPIOut != other.SPIIn {
		return ike, child, fmt.Sprintf("the two sides differ: %+v and %+v", ca, cb)
	}
	if w.a.carried() != 1 || w.b.carried() != 1 {
		return ike, child, fmt.Sprintf("the datapaths carry %d and %d pairs", w.a.carried(), w.b.carried())
	}
	return ike, child, ""
}

// until lets time pass until cond holds.
func (w *world) until(d time.Duration, what string, cond func() bool) {
	w.t.Helper()
	for end := time.Now().Add(d); !cond(); sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("after %v still not: %s", d, what)
		}
	}
}

// watch keeps an eye on the wire, in every scene: nothing that the hosts say crosses in clear, nor their packets' addresses, and no secret does.
func (w *world) watch() {
	a, b := hostA.AsSlice(), hostB.AsSlice()
	seen := [][]byte{payload, []byte(psk), slices.Concat(a, b), slices.Concat(b, a)}
	w.net.watch(func(from, to netip.AddrPort, data []byte) bool {
		if slices.ContainsFunc(seen, func(s []byte) bool { return bytes.Contains(data, s) }) {
			w.t.Errorf("in clear from %v to %v: %x", from, to, data)
		}
		return true
	})
}
