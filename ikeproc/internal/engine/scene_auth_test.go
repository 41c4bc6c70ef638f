package engine_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// AU-05, AU-09: the secrets differ. The responder says AUTHENTICATION_FAILED and no more; both sides end it, nothing is installed, both logs say why.
func TestWrongSecret(t *testing.T) {
	w, a, b := pair(t)
	b.auth.secrets["ab"] = "another secret"
	req := a.control("up", "ab", "", false, true)
	w.until(time.Minute, "up has failed", func() bool { return a.done[req] != "" })
	w.run(5 * time.Second)
	for _, n := range []*node{a, b} {
		c := n.status("ab")
		if len(c.SAs) != 0 || c.Problem == nil || c.Problem.Code != "authentication-failed" || len(n.path.pairs)+len(n.path.reserved) != 0 {
			t.Errorf("%s: %+v, problem %+v, datapath %d %d", n.name, c, c.Problem, len(n.path.pairs), len(n.path.reserved))
		}
		if !n.logged("negotiation-failed") {
			t.Errorf("%s logs nothing", n.name)
		}
	}
	w.run(time.Minute) // the refusal is repeated for a while
	if n := b.eng.Status(w.now).HalfOpen; n != 0 {
		t.Errorf("%d half-open", n)
	}
}

// AU-10, ER-04: the initiator does not believe the responder: it says so in an INFORMATIONAL, and the responder's SA goes.
func TestInitiatorRefusesResponder(t *testing.T) {
	p := puppetTo(t)
	p.up()
	p.respondInit()
	h, _ := p.hear(ikev2.IKE_AUTH)
	p.answer(h, &wire.ID{Responder: true, Type: p.id.Type, Data: p.id.Data}, p.auth("a wrong secret"), espSA(p.spiIn), wholeTS(false, "10.1.0.0/16"), wholeTS(true, "10.2.0.0/16"))
	// --> INFORMATIONAL { N(AUTHENTICATION_FAILED) }
	h, ps := p.hear(ikev2.INFORMATIONAL)
	if wire.FindNotify(ps, ikev2.AUTHENTICATION_FAILED) == nil && wire.Find[*wire.Delete](ps) == nil {
		t.Errorf("the gateway says %s", wire.Summary(ps))
	}
	if h.MessageID != 2 {
		t.Errorf("message ID %d", h.MessageID)
	}
	p.answer(h)
	p.w.run(time.Second)
	if len(p.n.path.pairs)+len(p.n.path.reserved) != 0 {
		t.Error("something is installed")
	}
}

// ER-04, ER-05, IN-20: as responder, the gateway drops an SA that its initiator refuses.
func TestResponderHearsRefusal(t *testing.T) {
	p := puppetTo(t)
	p.initiate()
	p.ask(ikev2.INFORMATIONAL, wire.NotifyStatus(ikev2.AUTHENTICATION_FAILED, nil))
	p.w.run(time.Second)
	if p.sas() != 0 || len(p.n.path.pairs) != 0 {
		t.Errorf("%d IKE SAs, %d pairs stay", p.sas(), len(p.n.path.pairs))
	}
}

// AU-01, HD-23: the reserved octets of the ID payload are part of what is signed.
func TestReservedIDOctets(t *testing.T) {
	p := puppetTo(t)
	p.accept(p.offer())
	id := &wire.ID{Type: p.id.Type, Reserved: [3]byte{1, 2, 3}, Data: p.id.Data}
	o := msg.Octets{PRF: p.chosen.PRF, Message: p.initI, Nonce: p.nr, SKp: p.keys.SKpi, IDReserved: id.Reserved}
	auth := &wire.AUTH{Method: ikev2.AuthSharedKey, Data: pskAuth(p.n.auth.secret("ab"), &o, p.id)}
	ps := p.ask(ikev2.IKE_AUTH, id, auth, espSA(p.spiIn), wholeTS(false, "10.2.0.0/16"), wholeTS(true, "10.1.0.0/16"))
	if wire.Find[*wire.AUTH](ps) == nil {
		t.Errorf("answer %s", wire.Summary(ps))
	}
}

// AU-13, ER-02, ER-15, CC-06: the child fails, the IKE SA stands.
func TestAuthWithoutChild(t *testing.T) {
	for name, c := range map[string]struct {
		sa     *wire.SA
		tsi    *wire.TS
		tsr    *wire.TS
		notify ikev2.NotifyType
	}{
		"no proposal": {&wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: ikev2.ProtocolESP, SPI: []byte{1, 2, 3, 4}, Transforms: []wire.Transform{
			{Type: ikev2.TransformENCR, ID: uint16(ikev2.ENCR_3DES)}, {Type: ikev2.TransformINTEG, ID: uint16(ikev2.AUTH_HMAC_SHA1_96)}, {Type: ikev2.TransformSN}}}}},
			wholeTS(false, "10.2.0.0/16"), wholeTS(true, "10.1.0.0/16"), ikev2.NO_PROPOSAL_CHOSEN},
		"no SN": {&wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: ikev2.ProtocolESP, SPI: []byte{1, 2, 3, 4}, Transforms: espTransforms()[:1]}}},
			wholeTS(false, "10.2.0.0/16"), wholeTS(true, "10.1.0.0/16"), ikev2.NO_PROPOSAL_CHOSEN}, // CC-12
		"SPI of 8 octets": {&wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: ikev2.ProtocolESP, SPI: make([]byte, 8), Transforms: espTransforms()}}},
			wholeTS(false, "10.2.0.0/16"), wholeTS(true, "10.1.0.0/16"), ikev2.NO_PROPOSAL_CHOSEN}, // CC-03
		"reserved SPI": {espSA(200), wholeTS(false, "10.2.0.0/16"), wholeTS(true, "10.1.0.0/16"), ikev2.NO_PROPOSAL_CHOSEN}, // CC-04
		"a group": {&wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: ikev2.ProtocolESP, SPI: []byte{1, 2, 3, 4}, Transforms: append(espTransforms(), wire.Transform{Type: ikev2.TransformKE, ID: uint16(ikev2.KE_CURVE25519)})}}},
			wholeTS(false, "10.2.0.0/16"), wholeTS(true, "10.1.0.0/16"), ikev2.NO_PROPOSAL_CHOSEN}, // CC-11
		"selectors": {espSA(0x1234), wholeTS(false, "172.16.0.0/16"), wholeTS(true, "10.1.0.0/16"), ikev2.TS_UNACCEPTABLE}, // TS-10
	} {
		t.Run(name, func(t *testing.T) {
			p := puppetTo(t)
			p.accept(p.offer())
			// --> IKE_AUTH …, <-- IKE_AUTH { IDr, AUTH, N(error) }
			ps := p.ask(ikev2.IKE_AUTH, &wire.ID{Type: p.id.Type, Data: p.id.Data}, p.auth("a shared secret"), c.sa, c.tsi, c.tsr)
			p.wantNotify(ps, c.notify)
			if wire.Find[*wire.AUTH](ps) == nil || wire.FindID(ps, true) == nil || wire.Find[*wire.SA](ps) != nil || wire.FindTS(ps, false) != nil {
				t.Errorf("answer %s", wire.Summary(ps))
			}
			if p.sas() != 1 || len(p.n.path.pairs) != 0 {
				t.Errorf("%d IKE SAs, %d pairs", p.sas(), len(p.n.path.pairs))
			}
			if pr := p.n.status("ab").Problem; pr == nil || len(pr.Ours) == 0 || len(pr.Theirs) == 0 || pr.Policy != "policy.cue:20:3" {
				t.Errorf("problem %+v", pr)
			}
			// The IKE SA is good for another try.
			ps = p.ask(ikev2.CREATE_CHILD_SA, espSA(p.spiIn), &wire.Nonce{Data: detBytes(32, 5)}, wholeTS(false, "10.2.0.0/16"), wholeTS(true, "10.1.0.0/16"))
			if wire.Find[*wire.SA](ps) == nil || len(p.n.path.pairs) != 1 {
				t.Errorf("another try: %s", wire.Summary(ps))
			}
		})
	}
}

// AU-13 from the initiator's side: authentication holds though the child failed.
func TestInitiatorKeepsIKESAWithoutChild(t *testing.T) {
	w, a, b := pair(t, func(end int, c *plan.Connection) {
		if end == 1 {
			c.Children[0].Proposals = []plan.ESPProposal{{Encr: []plan.Encr{chacha}, SN: []ikev2.SNID{ikev2.SN_32}}}
		}
	})
	req := a.control("up", "ab", "", false, true)
	w.until(time.Minute, "up has failed", func() bool { return a.done[req] != "" })
	if a.done[req] == "ok" {
		t.Fatal("up succeeds")
	}
	pr := a.status("ab").Problem
	if pr == nil || pr.Code != "no-proposal-chosen" || len(pr.Ours) == 0 || pr.Policy != "policy.cue:20:3" {
		t.Errorf("problem %+v", pr)
	}
	if len(a.path.reserved)+len(b.path.reserved) != 0 {
		t.Error("SPIs stay reserved")
	}
}

// LV-01, LV-02, AU-15: INITIAL_CONTACT of an authenticated peer ends its older SAs without a word; of another, nothing.
func TestInitialContact(t *testing.T) {
	p := puppetTo(t)
	p.initiate()
	old := *p
	// A second IKE SA with a wrong secret and INITIAL_CONTACT.
	p.spiI, p.ni, p.spiIn = 0x3333, detBytes(32, 0x66), 0xabcdef02
	p.local, p.remote = netip.MustParseAddrPort(addrB+":500"), netip.AddrPortFrom(p.n.addr, 500)
	p.accept(p.offer())
	ps := p.ask(ikev2.IKE_AUTH, p.authRequest("guessed", wire.NotifyStatus(ikev2.INITIAL_CONTACT, nil))...)
	p.wantNotify(ps, ikev2.AUTHENTICATION_FAILED)
	if p.sas() != 1 || len(p.n.path.pairs) != 1 {
		t.Fatalf("AU-15: %d IKE SAs, %d pairs", p.sas(), len(p.n.path.pairs))
	}
	p.spiI, p.ni = 0x4444, detBytes(32, 0x67)
	p.accept(p.offer())
	p.ask(ikev2.IKE_AUTH, p.authRequest("a shared secret", wire.NotifyStatus(ikev2.INITIAL_CONTACT, nil))...)
	sending := func() (n int) {
		for _, q := range p.n.path.pairs {
			if q.active > 1 {
				n++
			}
		}
		return n
	}
	p.w.run(100 * time.Millisecond)
	if p.sas() != 1 || len(p.n.path.pairs) != 2 || sending() != 0 {
		t.Errorf("%d IKE SAs, %d pairs right after INITIAL_CONTACT, %d new ones that send: the peer may still use the old one", p.sas(), len(p.n.path.pairs), sending())
	}
	p.w.run(2 * time.Second)
	if sending() != 1 {
		t.Error("the new pair does not send")
	}
	p.w.run(2 * time.Second)
	if len(p.n.path.pairs) != 1 || sending() != 1 {
		t.Errorf("%d pairs a while after INITIAL_CONTACT", len(p.n.path.pairs))
	}
	p.silence("a Delete on the old SA")
	_ = old
}

// A gateway says INITIAL_CONTACT when it knows no other SA with the peer, and not when it does.
func TestInitialContactIsSent(t *testing.T) {
	p := puppetTo(t)
	p.up()
	p.respondInit()
	_, ps := p.hear(ikev2.IKE_AUTH)
	p.wantNotify(ps, ikev2.INITIAL_CONTACT)
}

// The policy's word on a second SA with the same peer, long after the first.
func TestUnique(t *testing.T) {
	for _, c := range []struct {
		unique plan.Unique
		sas    int
	}{{plan.UniqueReplace, 1}, {plan.UniqueKeep, 1}, {plan.UniqueNever, 2}} {
		p := puppetTo(t, func(k *plan.Connection) { k.Unique, k.DPD.Delay = c.unique, 0 })
		p.initiate()
		first := p.n.status("ab").SAs[0].SPIr
		old := *p
		p.w.run(10 * time.Minute)
		p.spiI, p.ni, p.spiIn = 0x3333, detBytes(32, 0x66), 0xabcdef02
		p.accept(p.offer())
		ps := p.ask(ikev2.IKE_AUTH, p.authRequest("a shared secret")...)
		if c.unique == plan.UniqueKeep {
			p.wantNotify(ps, ikev2.AUTHENTICATION_FAILED)
		}
		// With replace, the gateway deletes the old one.
		if d, ok := p.take(); ok {
			h, _ := wire.ParseHeader(d.Data)
			if h.SPIi != old.spiI || h.Response || c.unique != plan.UniqueReplace {
				t.Errorf("%s: the gateway says %+v", c.unique, h)
			}
			p.raw(old.seal(h.Exchange, h.MessageID, true))
		}
		p.w.run(time.Second)
		if got := p.sas(); got != c.sas {
			t.Errorf("%s: %d IKE SAs", c.unique, got)
			continue
		}
		if second := p.n.status("ab").SAs[0].SPIr; c.sas == 1 && (second == first) != (c.unique == plan.UniqueKeep) {
			t.Errorf("%s: the wrong one stays", c.unique)
		}
	}
}

// Both ends start at once: one IKE SA and one child remain.
func TestCrossingSetups(t *testing.T) {
	for delay := range 12 {
		w := newWorld(t, uint64(100+delay))
		a, b := w.twoGateways(func(_ int, c *plan.Connection) {
			c.Initiate, c.Children[0].Initiate = plan.InitiateStart, plan.InitiateStart
		})
		w.net.SetDefault(linkOf(20 * time.Millisecond))
		b.mute = true
		w.run(10 * time.Millisecond)
		b.mute = delay > 0
		w.run(time.Duration(delay) * 10 * time.Millisecond)
		b.reboot()
		w.until(time.Minute, "both are up", func() bool { return a.up("ab", "net") && b.up("ab", "net") })
		w.run(2 * time.Minute)
		if t.Failed() {
			return
		}
		w.one(a, b, "net")
		if !a.ping(b, "ab", "net") || !b.ping(a, "ab", "net") {
			t.Errorf("delay %d: no traffic", delay)
		}
	}
}

// ID-01, and the right connection among several candidates: two road warriors from one address, told apart by identity and secret.
func TestCandidates(t *testing.T) {
	w := newWorld(t, 3)
	c1 := connectionOf(addrB, addrA, "10.2.0.0/16", "10.1.0.0/16")
	c1.Name, c1.Remote.Address = "one", netip.Addr{}
	c2 := connectionOf(addrB, addrA, "10.2.0.0/16", "10.3.0.0/16")
	c2.Name, c2.Remote.Address, c2.Remote.ID = "two", netip.Addr{}, plan.Identity{Type: ikev2.ID_RFC822_ADDR, Data: "two@example"}
	b := w.add("b", viewOf(c1, c2))
	ca := connectionOf(addrA, addrB, "10.3.0.0/16", "10.2.0.0/16")
	ca.Local.ID = c2.Remote.ID
	a := w.add("a", viewOf(ca))
	b.auth.secrets["two"], a.auth.secrets["ab"] = "second", "second"
	req := a.control("up", "ab", "", false, true)
	w.until(time.Minute, "up is done", func() bool { return a.done[req] != "" })
	if a.done[req] != "ok" || !b.up("two", "net") || len(b.status("one").SAs) != 0 {
		t.Errorf("%s\n%s", a.done[req], w.history(20))
	}
	if len(b.auth.asked) != 1 || len(b.auth.asked[0]) == 0 {
		t.Errorf("asked for %v", b.auth.asked)
	}
}

// The datapath refuses the child: the peer is told, the IKE SA stands, the log names the reason.
func TestDatapathRefuses(t *testing.T) {
	w, a, b := pair(t)
	b.path.refuse = func(*msg.InstallChild) string { return "not today" }
	req := a.control("up", "ab", "", false, true)
	w.until(time.Minute, "up has failed", func() bool { return a.done[req] != "" })
	w.run(5 * time.Second)
	if a.done[req] == "ok" || len(a.path.pairs)+len(a.path.reserved)+len(b.path.reserved) != 0 {
		t.Errorf("%q, pairs %d, reserved %d %d", a.done[req], len(a.path.pairs), len(a.path.reserved), len(b.path.reserved))
	}
	if pr := b.status("ab").Problem; pr == nil {
		t.Error("no problem in status")
	}
}

// CC-10: the response leaves only after the datapath has the SA, so that what the peer sends at once arrives.
func TestInstallBeforeResponse(t *testing.T) {
	w, a, b := pair(t)
	b.path.deaf = true
	a.control("up", "ab", "", false, false)
	w.run(500 * time.Millisecond)
	if n := len(sent(w.seen, b, ikev2.IKE_AUTH, true)); n != 0 {
		t.Fatalf("%d responses without an SA in the datapath", n)
	}
	_ = a
}

// ER-03: an IKE_AUTH that does not decrypt is dropped; the good one after it counts (MI-12).
func TestForgedAuth(t *testing.T) {
	p := puppetTo(t)
	p.accept(p.offer())
	good := p.seal(ikev2.IKE_AUTH, 1, false, p.authRequest("a shared secret")...)
	for i := 28; i < len(good); i += 11 {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x40
		p.raw(bad)
	}
	p.silence("forged IKE_AUTH")
	p.raw(good)
	h, ps := p.open("IKE_AUTH response")
	if h.MessageID != 1 || wire.Find[*wire.AUTH](ps) == nil {
		t.Errorf("%+v %s", h, wire.Summary(ps))
	}
}

// IN-20: nothing but IKE_AUTH before IKE_AUTH.
func TestNothingBeforeAuth(t *testing.T) {
	p := puppetTo(t)
	p.accept(p.offer())
	p.raw(p.seal(ikev2.CREATE_CHILD_SA, 1, false, espSA(0x5555), &wire.Nonce{Data: detBytes(32, 5)}, wholeTS(false, "10.2.0.0/16"), wholeTS(true, "10.1.0.0/16")))
	if len(p.n.path.pairs)+len(p.n.path.reserved) != 0 || p.sas() != 0 && p.n.status("ab").SAs[0].State == "established" {
		t.Error("a child before authentication")
	}
}

// TS-06, CC-10: what the peer asks for is narrowed to policy, and the narrowed selectors are what is installed.
func TestNarrowing(t *testing.T) {
	p := puppetTo(t)
	p.accept(p.offer())
	ps := p.ask(ikev2.IKE_AUTH, &wire.ID{Type: p.id.Type, Data: p.id.Data}, p.auth("a shared secret"), espSA(p.spiIn), wholeTS(false, "0.0.0.0/0"), wholeTS(true, "10.1.2.0/24"))
	i, r := wire.FindTS(ps, false), wire.FindTS(ps, true)
	if i == nil || r == nil || len(i.Selectors) != 1 || len(r.Selectors) != 1 {
		t.Fatal(wire.Summary(ps))
	}
	if i.Selectors[0].Start.String() != "10.2.0.0" || i.Selectors[0].End.String() != "10.2.255.255" || r.Selectors[0].Start.String() != "10.1.2.0" || r.Selectors[0].End.String() != "10.1.2.255" {
		t.Errorf("TSi %+v TSr %+v", i.Selectors, r.Selectors)
	}
	q := p.n.path.of("ab", "net")[0]
	if q.TSLocal[0].First.String() != "10.1.2.0" || q.TSRemote[0].Last.String() != "10.2.255.255" {
		t.Errorf("installed %v %v", q.TSLocal, q.TSRemote)
	}
	if q.SPIOut != p.spiIn || q.SPIIn != binary.BigEndian.Uint32(wire.Find[*wire.SA](ps).Proposals[0].SPI) {
		t.Errorf("DL-01: SPIs %x %x", q.SPIIn, q.SPIOut)
	}
}

// TS-05: a response wider than what was asked is not installed.
func TestResponderWidens(t *testing.T) {
	p := puppetTo(t)
	p.up()
	p.respondInit()
	h, _ := p.hear(ikev2.IKE_AUTH)
	p.answer(h, &wire.ID{Responder: true, Type: p.id.Type, Data: p.id.Data}, p.auth("a shared secret"), espSA(p.spiIn), wholeTS(false, "10.0.0.0/8"), wholeTS(true, "10.2.0.0/16"))
	p.w.run(time.Second)
	if len(p.n.path.pairs) != 0 {
		t.Error("installed")
	}
	// The peer has an SA that we do not: it is deleted, or the whole IKE SA is (ER-07).
	_, ps := p.hear(ikev2.INFORMATIONAL)
	if wire.Find[*wire.Delete](ps) == nil {
		t.Errorf("the gateway says %s", wire.Summary(ps))
	}
}
