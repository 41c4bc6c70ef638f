package engine_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
)

// CF-01, MI-01: four messages make an IKE SA and a child.
func TestFourMessages(t *testing.T) {
	w, a, b := pair(t)
	w.raise(a, b)
	// --> IKE_SA_INIT 0, <-- IKE_SA_INIT 0, --> IKE_AUTH 1, <-- IKE_AUTH 1
	want := []struct {
		from     *node
		x        ikev2.ExchangeType
		response bool
		id       uint32
	}{{a, ikev2.IKE_SA_INIT, false, 0}, {b, ikev2.IKE_SA_INIT, true, 0}, {a, ikev2.IKE_AUTH, false, 1}, {b, ikev2.IKE_AUTH, true, 1}}
	if len(w.seen) != len(want) {
		t.Fatalf("%d datagrams\n%s", len(w.seen), w.history(20))
	}
	for i, x := range want {
		p := w.seen[i]
		if p.from.Addr() != x.from.addr || p.h.Exchange != x.x || p.h.Response != x.response || p.h.MessageID != x.id {
			t.Errorf("datagram %d is %v", i, p)
		}
		if p.h.Initiator != (x.from == a) {
			t.Errorf("HD-08: datagram %d has initiator flag %t", i, p.h.Initiator)
		}
		if p.from.Port() != 500 || p.to.Port() != 500 {
			t.Errorf("TR-06: without a NAT datagram %d goes %v to %v", i, p.from, p.to)
		}
	}
	w.one(a, b, "net")
	if !a.ping(b, "ab", "net") || !b.ping(a, "ab", "net") {
		t.Error("no traffic")
	}
	for _, n := range []*node{a, b} {
		if !n.logged("ike-up") || !n.logged("child-up") {
			t.Errorf("%s logs %v", n.name, n.log)
		}
		c := n.status("ab")
		if c.State != "up" || c.Problem != nil || c.Policy != "policy.cue:10:2" || len(c.SAs) != 1 || c.SAs[0].NAT != "none" {
			t.Errorf("%s: status %+v", n.name, c)
		}
	}
}

// Every suite that a policy may name, in both families.
func TestSuites(t *testing.T) {
	for _, c := range []struct {
		name string
		ike  plan.IKEProposal
		esp  plan.ESPProposal
	}{
		{"x25519 gcm", classic, espClassic},
		{"hybrid", hybrid, espHybrid},
		{"chacha", plan.IKEProposal{Encr: []plan.Encr{chacha}, PRF: []ikev2.PRFID{ikev2.PRF_HMAC_SHA2_384}, KE: []ikev2.KEID{ikev2.KE_ECP384}},
			plan.ESPProposal{Encr: []plan.Encr{chacha}, SN: []ikev2.SNID{ikev2.SN_32}}},
		{"cbc sha2", plan.IKEProposal{Encr: []plan.Encr{cbc128}, PRF: []ikev2.PRFID{ikev2.PRF_HMAC_SHA2_256}, Integ: []ikev2.IntegID{ikev2.AUTH_HMAC_SHA2_256_128},
			KE: []ikev2.KEID{ikev2.KE_ECP256}}, plan.ESPProposal{Encr: []plan.Encr{cbc128}, Integ: []ikev2.IntegID{ikev2.AUTH_HMAC_SHA2_256_128}, SN: []ikev2.SNID{ikev2.SN_ESN}}},
		{"VPN-B", plan.IKEProposal{Encr: []plan.Encr{cbc128}, PRF: []ikev2.PRFID{ikev2.PRF_AES128_XCBC}, Integ: []ikev2.IntegID{ikev2.AUTH_AES_XCBC_96},
			KE: []ikev2.KEID{ikev2.KE_MODP2048}}, plan.ESPProposal{Encr: []plan.Encr{cbc128}, Integ: []ikev2.IntegID{ikev2.AUTH_AES_XCBC_96}, SN: []ikev2.SNID{ikev2.SN_32}}},
		{"two more exchanges", plan.IKEProposal{Encr: []plan.Encr{gcm256}, PRF: []ikev2.PRFID{ikev2.PRF_HMAC_SHA2_512}, KE: []ikev2.KEID{ikev2.KE_CURVE25519},
			AddKE: []plan.AddKE{{Slot: 1, KE: []ikev2.KEID{ikev2.KE_MLKEM768}}, {Slot: 2, KE: []ikev2.KEID{ikev2.KE_MLKEM1024, ikev2.KE_NONE}}}},
			plan.ESPProposal{Encr: []plan.Encr{gcm256}, KE: []ikev2.KEID{ikev2.KE_ECP256}, SN: []ikev2.SNID{ikev2.SN_32},
				AddKE: []plan.AddKE{{Slot: 1, KE: []ikev2.KEID{ikev2.KE_MLKEM768}}, {Slot: 3, KE: []ikev2.KEID{ikev2.KE_MLKEM512}}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, a, b := pair(t, func(_ int, k *plan.Connection) {
				k.Proposals = []plan.IKEProposal{c.ike}
				k.Children[0].Proposals = []plan.ESPProposal{c.esp}
			})
			w.raise(a, b)
			w.one(a, b, "net")
			// Both rekeys, from both sides, with the same suite (KD-07, MK-06).
			for _, n := range []*node{a, b} {
				for _, ike := range []bool{false, true} {
					child := "net"
					if ike {
						child = ""
					}
					req := n.control("rekey", "ab", child, ike, true)
					w.until(20*time.Second, "rekeyed", func() bool { return n.done[req] != "" })
					if n.done[req] != "ok" {
						t.Fatalf("rekey by %s, IKE %t: %s\n%s", n.name, ike, n.done[req], w.history(20))
					}
					w.run(5 * time.Second)
					w.one(a, b, "net")
					if !a.ping(b, "ab", "net") || !b.ping(a, "ab", "net") {
						t.Errorf("no traffic after a rekey by %s, IKE %t", n.name, ike)
					}
				}
			}
		})
	}
	t.Run("IPv6", func(t *testing.T) {
		w := newWorld(t, 1)
		ca := connectionOf("2001:db8::1", "2001:db8:1::2", "fd01::/64", "fd02::/64")
		cb := connectionOf("2001:db8:1::2", "2001:db8::1", "fd02::/64", "fd01::/64")
		a, b := w.add("a", viewOf(ca)), w.add("b", viewOf(cb))
		w.raise(a, b)
		w.one(a, b, "net")
	})
}

// IM-01, IM-02, MK-03, MK-04: a hybrid suite takes one IKE_INTERMEDIATE with ID 1, and IKE_AUTH has ID 2.
func TestIntermediate(t *testing.T) {
	w, a, b := pair(t, func(_ int, c *plan.Connection) {
		c.Proposals, c.FragmentSize = []plan.IKEProposal{hybrid, classic}, 576
	})
	w.raise(a, b)
	var order []string
	for _, p := range w.seen {
		if p.from.Addr() == a.addr && (p.h.NextPayload != ikev2.PayloadSKF || !strings.HasSuffix(strings.Join(order, " "), p.h.Exchange.String())) {
			order = append(order, p.h.Exchange.String())
		}
	}
	if got := strings.Join(order, " "); got != "IKE_SA_INIT IKE_INTERMEDIATE IKE_AUTH" {
		t.Errorf("a sends %s", got)
	}
	for _, p := range sent(w.seen, a, ikev2.IKE_AUTH, false) {
		if p.h.MessageID != 2 {
			t.Errorf("IKE_AUTH has ID %d", p.h.MessageID)
		}
	}
	// FR-01: an ML-KEM-768 key and more does not fit 576 octets: fragments, none too long.
	fragments := 0
	for _, p := range w.seen {
		if p.h.NextPayload == ikev2.PayloadSKF {
			fragments++
		}
		if p.h.Exchange != ikev2.IKE_SA_INIT && len(p.data)+28 > 576 {
			t.Errorf("FR-09: %v is too long", p)
		}
	}
	if fragments == 0 {
		t.Error("nothing was fragmented")
	}
	if s := a.status("ab").SAs[0].Suite; !strings.Contains(s, "ML_KEM_768") {
		t.Errorf("suite %s", s)
	}
}

// A peer without IKE_INTERMEDIATE gets the proposal without additional key exchanges (MK-03).
func TestHybridFallsBack(t *testing.T) {
	w, a, b := pair(t, func(end int, c *plan.Connection) {
		if end == 0 {
			c.Proposals = []plan.IKEProposal{hybrid, classic}
		}
	})
	w.raise(a, b)
	w.one(a, b, "net")
}

// TR-07, TR-08, TR-11: each message of the setup is lost once; the same octets come again, and nothing is done twice.
func TestEachMessageLostOnce(t *testing.T) {
	for lost := range 4 {
		w, a, b := pair(t)
		n := 0
		w.gate = func(packet) bool { n++; return n-1 != lost }
		w.raise(a, b)
		w.run(time.Minute)
		w.one(a, b, "net")
		bodies := map[string][]byte{}
		for _, p := range w.seen {
			key := p.from.String() + p.h.Exchange.String() + map[bool]string{true: "r"}[p.h.Response]
			if old := bodies[key]; old != nil && !bytes.Equal(old, p.data) && p.h.Exchange != ikev2.INFORMATIONAL {
				t.Errorf("message %d lost: %v differs from what was sent before", lost, p)
			}
			bodies[key] = p.data
		}
	}
}

// TR-08, TR-09: nobody answers. Gaps grow, then it ends, and nothing stays.
func TestNobodyAnswers(t *testing.T) {
	w, a, b := pair(t)
	b.mute = true
	req := a.control("up", "ab", "", false, true)
	w.run(10 * time.Minute)
	ps := sent(w.seen, a, ikev2.IKE_SA_INIT, false)
	if len(ps) != 6 {
		t.Fatalf("%d requests, want 1 and 5 retransmissions", len(ps))
	}
	for i := 2; i < len(ps); i++ {
		if ps[i].at.Sub(ps[i-1].at) <= ps[i-1].at.Sub(ps[i-2].at) {
			t.Errorf("gap %d does not grow", i)
		}
	}
	if a.done[req] == "" || a.done[req] == "ok" {
		t.Errorf("up ends with %q", a.done[req])
	}
	c := a.status("ab")
	if c.Problem == nil || c.Problem.Code != "no-answer" || c.State != "down" || len(c.SAs) != 0 {
		t.Errorf("status %+v", c)
	}
	if len(a.path.reserved)+len(a.path.pairs) != 0 {
		t.Error("the datapath holds something")
	}
}

// CK-01, CK-03, CK-08: under load every IKE_SA_INIT needs a cookie; the repeat has the cookie first and all else unchanged.
func TestCookie(t *testing.T) {
	w := newWorld(t, 1)
	ca, cb := connectionOf(addrA, addrB, "10.1.0.0/16", "10.2.0.0/16"), connectionOf(addrB, addrA, "10.2.0.0/16", "10.1.0.0/16")
	a := w.add("a", viewOf(ca))
	b := &node{w: w, name: "b", view: viewOf(cb), addr: cb.Local.Address, done: map[uint64]string{}, limits: engine.Limits{CookieThreshold: -1}}
	w.nodes = append(w.nodes, b)
	b.auth, b.path = newFalseAuth(b), newFalsePath(b)
	b.boot()
	w.raise(a, b)
	w.one(a, b, "net")
	req, resp := sent(w.seen, a, ikev2.IKE_SA_INIT, false), sent(w.seen, b, ikev2.IKE_SA_INIT, true)
	if len(req) != 2 || len(resp) != 2 || resp[0].h.SPIr != 0 || req[1].h.SPIr != 0 {
		t.Fatal(w.history(10))
	}
	m, _ := wire.ParseMessage(resp[0].data)
	n := wire.FindNotify(m.Payloads, ikev2.COOKIE)
	if n == nil || len(m.Payloads) != 1 || len(n.Data) == 0 || len(n.Data) > 64 || n.Protocol != 0 || len(n.SPI) != 0 {
		t.Fatalf("CK-02: %s", wire.Summary(m.Payloads))
	}
	first, _ := wire.ParseMessage(req[0].data)
	second, _ := wire.ParseMessage(req[1].data)
	if got := wire.FindNotify(second.Payloads[:1], ikev2.COOKIE); got == nil || !bytes.Equal(got.Data, n.Data) {
		t.Fatalf("the repeat is %s", wire.Summary(second.Payloads))
	}
	x, _ := wire.AppendPayloads(nil, first.Payloads)
	y, _ := wire.AppendPayloads(nil, second.Payloads[1:])
	if !bytes.Equal(x, y) || first.Header.SPIi != second.Header.SPIi {
		t.Error("more than the cookie changed")
	}
}

// CK-04, CK-05: a cookie is bound to nonce, address and SPI; a wrong one is as none.
func TestCookieIsBound(t *testing.T) {
	p := puppetTo(t)
	p.n.limits.CookieThreshold = -1
	p.n.boot()
	p.offer()
	c := wire.FindNotify(p.clear("cookie").Payloads, ikev2.COOKIE)
	if c == nil {
		t.Fatal("no cookie")
	}
	p.spiI++
	p.offer(c)
	if wire.FindNotify(p.clear("other SPI").Payloads, ikev2.COOKIE) == nil {
		t.Error("another SPI passes with the cookie")
	}
	p.spiI--
	p.ni = detBytes(32, 0x77)
	p.offer(c)
	if wire.FindNotify(p.clear("other nonce").Payloads, ikev2.COOKIE) == nil {
		t.Error("another nonce passes with the cookie")
	}
	p.ni = detBytes(32, 0x11)
	p.local = netip.MustParseAddrPort(addrB + ":40000")
	p.offer(c)
	_ = p.clear("other port")
	p.local = netip.MustParseAddrPort(addrB + ":500")
	if n := p.n.eng.Status(p.w.now).HalfOpen; n > 1 {
		t.Errorf("%d half-open SAs", n)
	}
}

// CK-06, KE-04: cookies and INVALID_KE_PAYLOAD without end come to an end.
func TestEndlessCookies(t *testing.T) {
	p := puppetTo(t)
	p.up()
	for i := range 100 {
		d, ok := p.take()
		if !ok {
			if i < 2 {
				t.Fatalf("the gateway repeats %d times only", i)
			}
			return
		}
		h, _ := wire.ParseHeader(d.Data)
		if h.SPIr != 0 {
			t.Fatal("HD-02: SPIr in a repeated request")
		}
		b, _ := wire.AppendMessage(nil, h.Answer(), []wire.Payload{wire.NotifyStatus(ikev2.COOKIE, detBytes(20, byte(i)))})
		p.raw(b)
	}
	t.Error("100 cookies, 100 repeats")
}

// KE-01, KE-02, KE-03: the responder wants another group; the whole proposal list is repeated unchanged.
func TestInvalidKE(t *testing.T) {
	two := plan.IKEProposal{Encr: []plan.Encr{gcm256}, PRF: []ikev2.PRFID{ikev2.PRF_HMAC_SHA2_256}, KE: []ikev2.KEID{ikev2.KE_CURVE25519, ikev2.KE_ECP256}}
	w, a, b := pair(t, func(end int, c *plan.Connection) {
		c.Proposals = []plan.IKEProposal{two}
		if end == 1 {
			c.Proposals[0].KE = []ikev2.KEID{ikev2.KE_ECP256}
		}
	})
	w.raise(a, b)
	w.one(a, b, "net")
	req, resp := sent(w.seen, a, ikev2.IKE_SA_INIT, false), sent(w.seen, b, ikev2.IKE_SA_INIT, true)
	if len(req) != 2 || len(resp) != 2 {
		t.Fatal(w.history(10))
	}
	m, _ := wire.ParseMessage(resp[0].data)
	if n := wire.FindNotify(m.Payloads, ikev2.INVALID_KE_PAYLOAD); n == nil || !bytes.Equal(n.Data, binary.BigEndian.AppendUint16(nil, uint16(ikev2.KE_ECP256))) {
		t.Errorf("%s", wire.Summary(m.Payloads))
	}
	x, _ := wire.ParseMessage(req[0].data)
	y, _ := wire.ParseMessage(req[1].data)
	sx, _ := wire.Find[*wire.SA](x.Payloads).AppendBody(nil)
	sy, _ := wire.Find[*wire.SA](y.Payloads).AppendBody(nil)
	if !bytes.Equal(sx, sy) {
		t.Error("KE-03: the proposals changed")
	}
}

// KE-02: a group that was not offered, or the one just sent, is not followed.
func TestInvalidKENotFollowed(t *testing.T) {
	for _, group := range []ikev2.KEID{ikev2.KE_MODP768, ikev2.KE_CURVE25519} {
		p := puppetTo(t)
		p.up()
		d, _ := p.take()
		h, _ := wire.ParseHeader(d.Data)
		b, _ := wire.AppendMessage(nil, h.Answer(), []wire.Payload{wire.NotifyInvalidKE(group)})
		p.raw(b)
		for _, d2 := range p.mail {
			if !bytes.Equal(d.Data, d2.Data) {
				t.Errorf("group %v: the gateway changes its request", group)
			}
		}
	}
}

// CK-07: cookie, then INVALID_KE_PAYLOAD: the retry carries the new KE and the cookie.
func TestCookieThenInvalidKE(t *testing.T) {
	p := puppetTo(t, func(c *plan.Connection) {
		c.Proposals[0].KE = []ikev2.KEID{ikev2.KE_CURVE25519, ikev2.KE_ECP256}
	})
	p.up()
	// --> IKE_SA_INIT, <-- N(COOKIE), --> N(COOKIE) …, <-- N(INVALID_KE_PAYLOAD), --> N(COOKIE), KE of the other group
	h := p.clear("request").Header
	b, _ := wire.AppendMessage(nil, h.Answer(), []wire.Payload{wire.NotifyStatus(ikev2.COOKIE, []byte("biscuit"))})
	p.raw(b)
	_ = p.clear("with cookie")
	b, _ = wire.AppendMessage(nil, h.Answer(), []wire.Payload{wire.NotifyInvalidKE(ikev2.KE_ECP256)})
	p.raw(b)
	m := p.clear("with the other group")
	if c := wire.FindNotify(m.Payloads, ikev2.COOKIE); c == nil || string(c.Data) != "biscuit" {
		t.Errorf("the cookie is gone: %s", wire.Summary(m.Payloads))
	}
	if k := wire.Find[*wire.KE](m.Payloads); k.Method != ikev2.KE_ECP256 {
		t.Errorf("KE of %v", k.Method)
	}
}
