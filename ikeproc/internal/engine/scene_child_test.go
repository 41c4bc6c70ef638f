package engine_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// createRequest is the payloads of a CREATE_CHILD_SA request for the connection's child.
func createRequest(spi uint32, extra ...wire.Payload) []wire.Payload {
	return append(extra, espSA(spi), &wire.Nonce{Data: detBytes(32, byte(spi))}, wholeTS(false, "10.2.0.0/16"), wholeTS(true, "10.1.0.0/16"))
}

// CC-01, CC-02, RK-01, KD-05, KD-06, DL-01, DL-02: the peer rekeys the child; then it deletes the old one.
func TestPeerRekeysChild(t *testing.T) {
	p := puppetTo(t)
	p.initiate()
	// --> CREATE_CHILD_SA { N(REKEY_SA), SA, Ni, TSi, TSr }
	ni := detBytes(32, 0x42)
	ps := p.ask(ikev2.CREATE_CHILD_SA, wire.NotifyChild(ikev2.REKEY_SA, ikev2.ProtocolESP, p.spiIn), espSA(0xabcdef02), &wire.Nonce{Data: ni}, wholeTS(false, "10.2.0.0/16"), wholeTS(true, "10.1.0.0/16"))
	sa, nonce := wire.Find[*wire.SA](ps), wire.Find[*wire.Nonce](ps)
	if sa == nil || nonce == nil || len(nonce.Data) < 16 || bytes.Equal(nonce.Data, p.nr) || wire.Find[*wire.KE](ps) != nil {
		t.Fatalf("KE-07: answer %s", wire.Summary(ps))
	}
	spi := binary.BigEndian.Uint32(sa.Proposals[0].SPI)
	q := p.n.path.pairs[spi]
	if q == nil || q.active != 0 || q.Replaces != p.spiOut {
		t.Fatalf("RK-07: installed %+v", q)
	}
	keys, err := suite.ChildKeys(p.chosen.PRF, p.keys.SKd, nil, ni, nonce.Data, suite.ESP{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 256})
	if err != nil || !q.keys[0].Equal(keys.EncrI) || !q.keys[2].Equal(keys.EncrR) {
		t.Errorf("KD-06: the keys are not those of the initiator of this exchange (%v)", err)
	}
	if len(p.n.path.pairs) != 2 {
		t.Errorf("CO-04: %d pairs while both stand", len(p.n.path.pairs))
	}
	// --> INFORMATIONAL { D(old) }, <-- { D(its other half) }
	ps = p.ask(ikev2.INFORMATIONAL, &wire.Delete{Protocol: ikev2.ProtocolESP, SPIs: []uint32{p.spiIn}})
	d := wire.Find[*wire.Delete](ps)
	if d == nil || len(d.SPIs) != 1 || d.SPIs[0] != p.spiOut {
		t.Fatalf("DL-02: answer %s", wire.Summary(ps))
	}
	if len(p.n.path.pairs) != 1 || q.active == 0 {
		t.Error("the old pair stays, or the new one is not sent on")
	}
}

// DL-02: the answer to the Delete of a rekeyed pair tells the peer that nothing comes on it any more. So it waits for the datapath to send on the new one, or for it to be gone.
func TestDeleteWaitsForDatapath(t *testing.T) {
	p := puppetTo(t)
	p.initiate()
	p.ask(ikev2.CREATE_CHILD_SA, createRequest(0xabcdef02, wire.NotifyChild(ikev2.REKEY_SA, ikev2.ProtocolESP, p.spiIn))...)
	p.n.path.deaf = true
	p.raw(p.seal(ikev2.INFORMATIONAL, p.next, false, &wire.Delete{Protocol: ikev2.ProtocolESP, SPIs: []uint32{p.spiIn}}))
	p.silence("an answer while the datapath still sends on the old pair")
	p.n.path.deaf = false
	p.n.tell(engine.LinkReset{Process: string(msg.XFRMProc)})
	p.ms(100)
	if _, ok := p.take(); !ok {
		t.Error("no answer when the datapath that was asked is gone")
	}
}

// RK-01, RK-04, RK-06: the gateway rekeys: its own inbound SPI, the policy's whole selectors; then it deletes the old pair.
func TestGatewayRekeysChild(t *testing.T) {
	p := puppetTo(t, func(c *plan.Connection) {
		c.Children[0].Lifetime = plan.Lifetime{Rekey: 600, Hard: 900}
		c.DPD.Delay = 0
	})
	p.respond()
	if len(p.n.path.pairs) != 1 {
		t.Fatal("no child")
	}
	p.w.run(600*time.Second + 500*time.Millisecond)
	h, ps := p.hear(ikev2.CREATE_CHILD_SA)
	n := p.wantNotify(ps, ikev2.REKEY_SA)
	if spi, ok := n.ChildSPI(); !ok || spi != p.spiOut {
		t.Errorf("REKEY_SA of %08x, want %08x", spi, p.spiOut)
	}
	if r := wire.FindTS(ps, true).Selectors; r[0].Start.String() != "10.2.0.0" || r[0].End.String() != "10.2.255.255" {
		t.Errorf("RK-04: TSr %+v", r)
	}
	spi2 := binary.BigEndian.Uint32(wire.Find[*wire.SA](ps).Proposals[0].SPI)
	p.answer(h, espSA(0xabcdef02), &wire.Nonce{Data: detBytes(32, 8)}, wholeTS(false, "10.1.0.0/16"), wholeTS(true, "10.2.0.0/16"))
	if q := p.n.path.pairs[spi2]; q == nil || q.active == 0 || q.Replaces != p.spiOut {
		t.Errorf("installed %+v", q)
	}
	h, ps = p.hear(ikev2.INFORMATIONAL)
	if d := wire.Find[*wire.Delete](ps); d == nil || d.Protocol != ikev2.ProtocolESP || len(d.SPIs) != 1 || d.SPIs[0] != p.spiOut {
		t.Fatalf("Delete %s", wire.Summary(ps))
	}
	if len(p.n.path.pairs) != 2 {
		t.Error("the old pair is gone before the peer knows")
	}
	p.answer(h, &wire.Delete{Protocol: ikev2.ProtocolESP, SPIs: []uint32{p.spiIn}})
	if len(p.n.path.pairs) != 1 {
		t.Error("the old pair stays")
	}
}

// RK-02, CO-07, CO-08, CO-11, ER-12: requests that cannot be met, and the IKE SA outlives them all.
func TestChildRequestsRefused(t *testing.T) {
	p := puppetTo(t)
	p.initiate()
	ps := p.ask(ikev2.CREATE_CHILD_SA, createRequest(0x1001, wire.NotifyChild(ikev2.REKEY_SA, ikev2.ProtocolESP, 0x99999999))...)
	if n := p.wantNotify(ps, ikev2.CHILD_SA_NOT_FOUND); n.Protocol != ikev2.ProtocolESP || binary.BigEndian.Uint32(n.SPI) != 0x99999999 {
		t.Errorf("RK-02: %+v", n)
	}
	ps = p.ask(ikev2.CREATE_CHILD_SA, espSA(0x1002), &wire.Nonce{Data: detBytes(32, 2)}, wholeTS(false, "172.16.0.0/16"), wholeTS(true, "10.1.0.0/16"))
	p.wantNotify(ps, ikev2.TS_UNACCEPTABLE)
	ps = p.ask(ikev2.CREATE_CHILD_SA, &wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: ikev2.ProtocolESP, SPI: []byte{1, 2, 3, 4}, Transforms: append(espTransforms(),
		wire.Transform{Type: ikev2.TransformKE, ID: uint16(ikev2.KE_CURVE25519)}, wire.Transform{Type: ikev2.TransformKE, ID: 0})}}},
		&wire.Nonce{Data: detBytes(32, 3)}, &wire.KE{Method: ikev2.KE_CURVE25519, Data: make([]byte, 32)}, wholeTS(false, "10.2.0.0/16"), wholeTS(true, "10.1.0.0/16"))
	if sa := wire.Find[*wire.SA](ps); sa == nil || wire.Find[*wire.KE](ps) != nil {
		t.Errorf("KE-06: group NONE is offered: %s", wire.Summary(ps))
	}
	ps = p.ask(ikev2.INFORMATIONAL, wire.NotifyStatus(ikev2.NotifyType(9999), nil), wire.NotifyStatus(ikev2.NotifyType(50000), []byte{1}), &wire.VendorID{Data: []byte("v")})
	if len(ps) != 0 {
		t.Errorf("ER-16: %s", wire.Summary(ps))
	}
	if ps = p.ask(ikev2.IKE_FOLLOWUP_KE, &wire.KE{Method: ikev2.KE_MLKEM768, Data: []byte{1}}, wire.NotifyStatus(ikev2.ADDITIONAL_KEY_EXCHANGE, []byte("what"))); wire.FindNotify(ps, ikev2.STATE_NOT_FOUND) == nil {
		t.Errorf("MK-07: %s", wire.Summary(ps))
	}
	if p.sas() != 1 {
		t.Error("the IKE SA is gone")
	}
}

// KE-05: PFS with another group: INVALID_KE_PAYLOAD inside SK, a new exchange with a new nonce.
func TestChildInvalidKE(t *testing.T) {
	two := espPFS
	two.KE = []ikev2.KEID{ikev2.KE_CURVE25519, ikev2.KE_ECP256}
	w, a, b := pair(t, func(end int, c *plan.Connection) {
		e := two
		if end == 1 {
			e.KE = []ikev2.KEID{ikev2.KE_ECP256}
		}
		c.Children[0].Proposals = []plan.ESPProposal{e}
	})
	w.raise(a, b)
	since := w.mark()
	req := a.control("rekey", "ab", "net", false, true)
	w.until(10*time.Second, "rekeyed", func() bool { return a.done[req] != "" })
	if n := sent(since(), a, ikev2.CREATE_CHILD_SA, false); a.done[req] != "ok" || len(n) != 2 || n[0].h.MessageID+1 != n[1].h.MessageID {
		t.Errorf("%s, %d requests", a.done[req], len(n))
	}
	w.run(10 * time.Second)
	w.one(a, b, "net")
}

// CC-08: USE_TRANSPORT_MODE asked for, granted and refused.
func TestTransportMode(t *testing.T) {
	for _, both := range []bool{true, false} {
		w, a, b := pair(t, func(end int, c *plan.Connection) {
			own := plan.Selector{PortLast: 65535}
			if end == 0 || both {
				c.Children[0].Mode, c.Children[0].Local, c.Children[0].Remote = plan.ModeTransport, []plan.Selector{own}, []plan.Selector{own}
			} else {
				c.Children[0].Local, c.Children[0].Remote = []plan.Selector{prefix(addrB + "/32")}, []plan.Selector{prefix(addrA + "/32")}
			}
		})
		if both {
			w.raise(a, b)
			w.one(a, b, "net")
			q := a.path.of("ab", "net")[0]
			if q.Mode != plan.ModeTransport || q.TSLocal[0].First != a.addr || q.TSRemote[0].First != b.addr {
				t.Errorf("installed %v %v %v", q.Mode, q.TSLocal, q.TSRemote)
			}
			req := b.control("rekey", "ab", "net", false, true) // RK-06
			w.until(20*time.Second, "rekeyed", func() bool { return b.done[req] == "ok" })
			if q := a.path.outbound("ab", "net"); q.Mode != plan.ModeTransport {
				t.Error("RK-06: the rekey lost the mode")
			}
			continue
		}
		req := a.control("up", "ab", "", false, true)
		w.until(time.Minute, "up is done", func() bool { return a.done[req] != "" })
		w.run(10 * time.Second)
		if a.done[req] == "ok" || len(a.path.pairs) != 0 || len(b.path.pairs) != 0 {
			t.Errorf("%q; pairs %d %d: one end insists on transport mode", a.done[req], len(a.path.pairs), len(b.path.pairs))
		}
	}
}

// MI-05, MI-06, RK-07, CO-04: both ends rekey children and IKE SAs a hundred times under traffic, and no packet is lost.
func TestRekeyWithoutLoss(t *testing.T) {
	w := newWorld(t, 5)
	a, b := w.twoGateways(func(_ int, c *plan.Connection) { c.Children[0].Proposals = []plan.ESPProposal{espPFS} })
	w.raise(a, b)
	w.net.SetDefault(linkOf(15 * time.Millisecond))
	lost := 0
	w.after = func() {
		for _, way := range [][2]*node{{a, b}, {b, a}} {
			if !way[0].ping(way[1], "ab", "net") {
				lost++
				if lost < 5 {
					t.Errorf("a packet of %s is lost at %v\n%s%s%s", way[0].name, w.now.Sub(epoch), w.history(8), a.path, b.path)
				}
			}
		}
	}
	for i := range 100 {
		n := []*node{a, b}[i%2]
		n.control("rekey", "ab", "net", false, false)
		if i%5 == 0 {
			w.run(time.Duration(i) * time.Millisecond)
			n.control("rekey", "ab", "", true, false)
		}
		if i%7 == 0 { // both at once
			[]*node{b, a}[i%2].control("rekey", "ab", "net", false, false)
		}
		w.run(12 * time.Second)
	}
	w.one(a, b, "net")
}

// CO-01, CO-02, CO-03, MK-08: both ends rekey the child at once, with all orders of nonces that twenty seeds give; with and without follow-up exchanges.
func TestCrossingChildRekeys(t *testing.T) {
	for _, esp := range []plan.ESPProposal{espClassic, espPFS, espHybrid} {
		for seed := range uint64(20) {
			w := newWorld(t, 1000+seed)
			a, b := w.twoGateways(func(_ int, c *plan.Connection) { c.Children[0].Proposals = []plan.ESPProposal{esp} })
			w.raise(a, b)
			w.net.SetDefault(linkOf(20 * time.Millisecond))
			since := w.mark()
			a.control("rekey", "ab", "net", false, false)
			w.run(time.Duration(seed) * 2 * time.Millisecond)
			b.control("rekey", "ab", "net", false, false)
			w.run(30 * time.Second)
			w.one(a, b, "net")
			if !a.ping(b, "ab", "net") || !b.ping(a, "ab", "net") {
				t.Fatalf("seed %d: no traffic", seed)
			}
			deletes := len(sent(since(), a, ikev2.INFORMATIONAL, false)) + len(sent(since(), b, ikev2.INFORMATIONAL, false))
			if deletes > 3 { // old, redundant, and perhaps a liveness check
				t.Errorf("CO-03: seed %d: %d Deletes\n%s", seed, deletes, w.history(20))
			}
		}
	}
}

// CO-06, CO-10: both ends rekey the IKE SA at once; one stays, with all children, and its first requests have ID 0.
func TestCrossingIKERekeys(t *testing.T) {
	for _, ike := range []plan.IKEProposal{classic, hybrid} {
		for seed := range uint64(20) {
			w := newWorld(t, 2000+seed)
			a, b := w.twoGateways(func(_ int, c *plan.Connection) { c.Proposals = []plan.IKEProposal{ike} })
			w.raise(a, b)
			w.net.SetDefault(linkOf(20 * time.Millisecond))
			a.control("rekey", "ab", "", true, false)
			w.run(time.Duration(seed) * 2 * time.Millisecond)
			b.control("rekey", "ab", "", true, false)
			w.run(2 * time.Minute)
			w.one(a, b, "net")
			for _, n := range []*node{a, b} {
				req := n.control("rekey", "ab", "net", false, true)
				w.until(20*time.Second, "the child is rekeyed on the new SA", func() bool { return n.done[req] == "ok" })
			}
		}
	}
}

// RK-11, RK-17, MI-04, HD-08, KD-07, RK-12, RK-13: the original responder rekeys the IKE SA and is the new one's original initiator.
func TestGatewayRekeysIKE(t *testing.T) {
	p := puppetTo(t, func(c *plan.Connection) { c.DPD.Delay = 0 })
	p.initiate()
	p.n.control("rekey", "ab", "", true, false)
	h, ps := p.hear(ikev2.CREATE_CHILD_SA)
	if h.MessageID != 0 || h.Initiator {
		t.Fatalf("MI-02: the gateway's first request is %+v", h)
	}
	prop := wire.Find[*wire.SA](ps).Proposals[0]
	if prop.Protocol != ikev2.ProtocolIKE || len(prop.SPI) != 8 {
		t.Fatalf("RK-11: proposal %+v", prop)
	}
	ni, nr := append([]byte(nil), wire.Find[*wire.Nonce](ps).Data...), detBytes(32, 0x71)
	r := suite.KEJob{Op: suite.Respond, Method: p.chosen.KE, Seed: p.seed(), Peer: wire.Find[*wire.KE](ps).Data}.Run()
	spiR := uint64(0x7777)
	p.answer(h, &wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: ikev2.ProtocolIKE, SPI: binary.BigEndian.AppendUint64(nil, spiR), Transforms: ikeTransforms()}}},
		&wire.Nonce{Data: nr}, &wire.KE{Method: p.chosen.KE, Data: r.Public})
	seed, err := suite.RekeySKEYSEED(p.chosen.PRF, p.keys.SKd, []secretBytes{r.Shared}, ni, nr)
	if err != nil {
		t.Fatal(err)
	}
	next := *p
	next.spiI, next.spiR, next.initiator, next.next, next.mail = binary.BigEndian.Uint64(prop.SPI), spiR, false, 0, nil
	if next.keys, err = suite.DeriveIKEKeys(p.chosen, seed, ni, nr, next.spiI, next.spiR); err != nil {
		t.Fatal(err)
	}
	if next.out, next.in, err = next.keys.Protectors(p.chosen, false, nil); err != nil {
		t.Fatal(err)
	}
	// --> INFORMATIONAL { D(IKE) } on the old SA
	h, ps = p.hear(ikev2.INFORMATIONAL)
	if d := wire.Find[*wire.Delete](ps); d == nil || d.Protocol != ikev2.ProtocolIKE || h.MessageID != 1 {
		t.Fatalf("RK-13: %+v %s", h, wire.Summary(ps))
	}
	p.answer(h)
	if p.sas() != 1 || p.n.status("ab").SAs[0].SPIi != fmt.Sprintf("%016x", next.spiI) || len(p.n.path.pairs) != 1 {
		t.Errorf("status %+v", p.n.status("ab").SAs)
	}
	// The new SA: message IDs from 0, the puppet is its responder; the child has moved.
	p.w.puppets[p.local.Addr()] = &next
	if got := next.ask(ikev2.INFORMATIONAL); len(got) != 0 {
		t.Errorf("liveness on the new SA: %s", wire.Summary(got))
	}
	ps = next.ask(ikev2.INFORMATIONAL, &wire.Delete{Protocol: ikev2.ProtocolESP, SPIs: []uint32{p.spiIn}})
	if d := wire.Find[*wire.Delete](ps); d == nil || d.SPIs[0] != p.spiOut {
		t.Errorf("RK-12: the child is not on the new SA: %s", wire.Summary(ps))
	}
}

// RK-11: no KE, or a group NONE.
func TestPeerRekeysIKEBadly(t *testing.T) {
	p := puppetTo(t)
	p.initiate()
	tr := ikeTransforms()
	tr[2].ID = 0
	ps := p.ask(ikev2.CREATE_CHILD_SA, &wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: ikev2.ProtocolIKE, SPI: detBytes(8, 1), Transforms: tr}}},
		&wire.Nonce{Data: detBytes(32, 4)}, &wire.KE{Method: ikev2.KE_NONE})
	p.wantNotify(ps, ikev2.NO_PROPOSAL_CHOSEN)
	ps = p.ask(ikev2.CREATE_CHILD_SA, &wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: ikev2.ProtocolIKE, SPI: detBytes(4, 1), Transforms: ikeTransforms()}}},
		&wire.Nonce{Data: detBytes(32, 4)}, &wire.KE{Method: p.chosen.KE, Data: p.generate(p.chosen.KE).Public})
	p.wantNotify(ps, ikev2.NO_PROPOSAL_CHOSEN)
	if p.sas() != 1 {
		t.Error("the IKE SA is gone")
	}
	// Without KE it is no legal request (RFC 7296 section 1.3.2): INVALID_SYNTAX, and the end (ER-06).
	ps = p.ask(ikev2.CREATE_CHILD_SA, &wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: ikev2.ProtocolIKE, SPI: detBytes(8, 1), Transforms: ikeTransforms()}}}, &wire.Nonce{Data: detBytes(32, 4)})
	p.wantNotify(ps, ikev2.INVALID_SYNTAX)
}

// RK-16, CO-12: TEMPORARY_FAILURE is not retried at once, and not for ever.
func TestPeerAlwaysBusy(t *testing.T) {
	p := puppetTo(t, func(c *plan.Connection) { c.DPD.Delay = 0 })
	p.initiate()
	p.n.control("rekey", "ab", "net", false, false)
	start, tries := p.w.now, 0
	for tries < 50 {
		var d simnetDatagram
		p.w.until(3*time.Minute, "the next request", func() bool {
			if len(p.mail) == 0 {
				return false
			}
			d = p.mail[0]
			return true
		})
		h, ps := p.open("request")
		if h.Exchange != ikev2.CREATE_CHILD_SA {
			if del := wire.Find[*wire.Delete](ps); del == nil || del.Protocol != ikev2.ProtocolIKE {
				t.Fatalf("the gateway says %v %s", h.Exchange, wire.Summary(ps))
			}
			p.answer(h)
			break
		}
		_ = d
		if tries++; tries == 2 && p.w.now.Sub(start) < time.Second {
			t.Error("tried again at once")
		}
		p.answer(h, wire.NotifyStatus(ikev2.TEMPORARY_FAILURE, nil))
	}
	if took := p.w.now.Sub(start); tries < 3 || tries > 30 || took < 2*time.Minute {
		t.Errorf("%d tries in %v", tries, took)
	}
}

// RK-03, CC-07: CHILD_SA_NOT_FOUND: the pair is dropped silently and made anew.
func TestPeerHasLostChild(t *testing.T) {
	p := puppetTo(t, func(c *plan.Connection) { c.DPD.Delay = 0 })
	p.respond()
	p.n.control("rekey", "ab", "net", false, false)
	h, _ := p.hear(ikev2.CREATE_CHILD_SA)
	p.answer(h, wire.NotifyChild(ikev2.CHILD_SA_NOT_FOUND, ikev2.ProtocolESP, p.spiOut))
	if len(p.n.path.pairs) != 0 {
		t.Error("the pair stays")
	}
	h, ps := p.hear(ikev2.CREATE_CHILD_SA)
	if wire.FindNotify(ps, ikev2.REKEY_SA) != nil {
		t.Error("it is not made from scratch")
	}
	p.answer(h, espSA(0xabcdef02), &wire.Nonce{Data: detBytes(32, 8)}, wholeTS(false, "10.1.0.0/16"), wholeTS(true, "10.2.0.0/16"))
	if len(p.n.path.pairs) != 1 {
		t.Error("no new pair")
	}
}

// RK-08: nobody rekeys: at the hard lifetime the pair goes, and a new one comes.
func TestHardLifetime(t *testing.T) {
	p := puppetTo(t, func(c *plan.Connection) {
		c.DPD.Delay = 0
		c.Children[0].Lifetime = plan.Lifetime{Hard: 300}
		c.Children[0].Initiate = plan.InitiateStart
	})
	p.ms(10)
	p.respondInit()
	h, ps := p.hear(ikev2.IKE_AUTH)
	p.spiOut = binary.BigEndian.Uint32(wire.Find[*wire.SA](ps).Proposals[0].SPI)
	p.answer(h, &wire.ID{Responder: true, Type: p.id.Type, Data: p.id.Data}, p.auth("a shared secret"), espSA(p.spiIn), wholeTS(false, "10.1.0.0/16"), wholeTS(true, "10.2.0.0/16"))
	p.w.run(300*time.Second + 500*time.Millisecond)
	seen := map[string]bool{}
	for range 2 {
		h, ps := p.open("after the end")
		if d := wire.Find[*wire.Delete](ps); d != nil {
			seen["delete"] = d.SPIs[0] == p.spiOut
			p.answer(h)
			continue
		}
		seen["create"] = h.Exchange == ikev2.CREATE_CHILD_SA
		p.answer(h, espSA(0xabcdef02), &wire.Nonce{Data: detBytes(32, 8)}, wholeTS(false, "10.1.0.0/16"), wholeTS(true, "10.2.0.0/16"))
	}
	if !seen["delete"] || !seen["create"] || len(p.n.path.pairs) != 1 {
		t.Errorf("%v, %d pairs", seen, len(p.n.path.pairs))
	}
}

// Limits in octets: soft rekeys, hard ends.
func TestExpireByOctets(t *testing.T) {
	w, a, b := pair(t)
	w.raise(a, b)
	old := a.path.of("ab", "net")[0].SPIIn
	a.tell(engine.FromXFRM{Msg: &msg.Expire{SPIIn: old}})
	w.run(10 * time.Second)
	w.one(a, b, "net")
	if now := a.path.of("ab", "net")[0].SPIIn; now == old {
		t.Error("not rekeyed")
	}
	a.tell(engine.FromXFRM{Msg: &msg.Expire{SPIIn: 0x12345678, Hard: true}}) // unknown: nothing
	w.run(time.Second)
	w.one(a, b, "net")
}

// TS-06, TS-07: a packet wants the child: its own selectors come first.
func TestAcquire(t *testing.T) {
	p := puppetTo(t, func(c *plan.Connection) { c.Children[0].Initiate = plan.InitiateTraffic })
	one := func(a string) msg.TS {
		s := wholeTS(false, a+"/32").Selectors[0]
		return msg.TS{Protocol: 6, PortFirst: 80, PortLast: 80, First: s.Start, Last: s.End}
	}
	p.n.tell(engine.FromXFRM{Msg: &msg.Acquire{Connection: "ab", Child: "net", TSLocal: one("10.1.2.3"), TSRemote: one("10.2.3.4")}})
	p.respondInit()
	h, ps := p.hear(ikev2.IKE_AUTH)
	i, r := wire.FindTS(ps, false), wire.FindTS(ps, true)
	if len(i.Selectors) != 2 || i.Selectors[0].Start.String() != "10.1.2.3" || i.Selectors[0].Protocol != 6 || len(r.Selectors) != 2 || r.Selectors[0].Start.String() != "10.2.3.4" {
		t.Fatalf("TSi %+v TSr %+v", i.Selectors, r.Selectors)
	}
	p.spiOut = binary.BigEndian.Uint32(wire.Find[*wire.SA](ps).Proposals[0].SPI)
	p.answer(h, &wire.ID{Responder: true, Type: p.id.Type, Data: p.id.Data}, p.auth("a shared secret"), espSA(p.spiIn), i, r)
	if len(p.n.path.pairs) != 1 {
		t.Error("no pair")
	}
	// A second packet while it is up changes nothing; a child that never starts by itself does not start by a packet.
	since := p.w.mark()
	p.n.tell(engine.FromXFRM{Msg: &msg.Acquire{Connection: "ab", Child: "net"}})
	p.n.tell(engine.FromXFRM{Msg: &msg.Acquire{Connection: "nobody", Child: "net"}})
	p.w.settle()
	if len(since()) != 0 {
		t.Error("something is sent")
	}
}
