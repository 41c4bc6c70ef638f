package engine_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
)

// IN-16: nothing fits. The responder says so and keeps nothing; status on both sides shows both lists and the line of policy.
func TestNoProposalChosen(t *testing.T) {
	w, a, b := pair(t, func(end int, c *plan.Connection) {
		if end == 1 {
			c.Proposals = []plan.IKEProposal{{Encr: []plan.Encr{chacha}, PRF: []ikev2.PRFID{ikev2.PRF_HMAC_SHA2_512}, KE: []ikev2.KEID{ikev2.KE_ECP521}}}
		}
	})
	req := a.control("up", "ab", "", false, true)
	w.until(5*time.Minute, "up has failed", func() bool { return a.done[req] != "" })
	for _, n := range []*node{a, b} {
		pr := n.status("ab").Problem
		if pr == nil || pr.Code != "no-proposal-chosen" || len(pr.Ours) == 0 || pr.Policy != "policy.cue:10:2" || pr.Hint == "" {
			t.Errorf("%s: problem %+v", n.name, pr)
		}
	}
	if pr := b.status("ab").Problem; pr != nil && len(pr.Theirs) == 0 {
		t.Errorf("b does not show what a offered: %+v", pr)
	}
	if n := b.eng.Status(w.now).HalfOpen; n != 0 {
		t.Errorf("%d half-open", n)
	}
}

// IN-17, ER-01: a forged error does not end the negotiation; the true answer still counts.
func TestForgedErrorInInit(t *testing.T) {
	p := puppetTo(t)
	p.up()
	d, _ := p.take()
	h, _ := wire.ParseHeader(d.Data)
	for _, n := range []ikev2.NotifyType{ikev2.NO_PROPOSAL_CHOSEN, ikev2.INVALID_SYNTAX, ikev2.AUTHENTICATION_FAILED, ikev2.NotifyType(9999)} {
		b, _ := wire.AppendMessage(nil, h.Answer(), []wire.Payload{wire.NotifyStatus(n, nil)})
		p.raw(b)
	}
	p.mail = append([]simnetDatagram{d}, p.mail...)
	p.respondInit()
	p.hear(ikev2.IKE_AUTH)
}

// IN-10, IN-12, IN-13, IN-14, IN-15: what a responder takes of proposals of every kind.
func TestResponderChooses(t *testing.T) {
	base := ikeTransforms()
	with := func(ts ...wire.Transform) []wire.Transform { return append(append([]wire.Transform{}, base...), ts...) }
	for _, c := range []struct {
		name   string
		first  []wire.Transform
		proto  ikev2.ProtocolID
		chosen uint8
	}{
		{"plain", base, ikev2.ProtocolIKE, 1},
		{"unknown transform type", with(wire.Transform{Type: 241, ID: 1}), ikev2.ProtocolIKE, 2},
		{"unknown transform beside a known one", with(wire.Transform{Type: ikev2.TransformENCR, ID: 999, KeyBits: 128}), ikev2.ProtocolIKE, 1},
		{"no PRF", []wire.Transform{base[0], base[2]}, ikev2.ProtocolIKE, 2},
		{"no KE", base[:2], ikev2.ProtocolIKE, 2},
		{"AES without key length", []wire.Transform{{Type: ikev2.TransformENCR, ID: uint16(ikev2.ENCR_AES_GCM_16)}, base[1], base[2]}, ikev2.ProtocolIKE, 2},
		{"PRF with key length", []wire.Transform{base[0], {Type: ikev2.TransformPRF, ID: uint16(ikev2.PRF_HMAC_SHA2_256), KeyBits: 256}, base[2]}, ikev2.ProtocolIKE, 2},
		{"unknown attribute", []wire.Transform{{Type: ikev2.TransformENCR, ID: uint16(ikev2.ENCR_AES_GCM_16), KeyBits: 256, Unknown: []byte{0x80, 99, 0, 1}}, base[1], base[2]}, ikev2.ProtocolIKE, 2},
		{"AEAD with HMAC", with(wire.Transform{Type: ikev2.TransformINTEG, ID: uint16(ikev2.AUTH_HMAC_SHA2_256_128)}), ikev2.ProtocolIKE, 2},
		{"AEAD with integrity NONE", with(wire.Transform{Type: ikev2.TransformINTEG, ID: 0}), ikev2.ProtocolIKE, 1},
		{"AES-CBC with integrity NONE", []wire.Transform{{Type: ikev2.TransformENCR, ID: uint16(ikev2.ENCR_AES_CBC), KeyBits: 128}, base[1], base[2], {Type: ikev2.TransformINTEG, ID: 0}}, ikev2.ProtocolIKE, 2},
		{"ESP", base, ikev2.ProtocolESP, 2},
		{"additional key exchange without IKE_INTERMEDIATE", with(wire.Transform{Type: ikev2.TransformADDKE1, ID: uint16(ikev2.KE_MLKEM768)}), ikev2.ProtocolIKE, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := puppetTo(t)
			p.initiator = true
			ke := p.generate(p.chosen.KE)
			sa := &wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: c.proto, Transforms: c.first}, {Number: 2, Protocol: ikev2.ProtocolIKE, Transforms: base}}}
			p.initI = p.initRequest(sa, &wire.KE{Method: p.chosen.KE, Data: ke.Public}, &wire.Nonce{Data: p.ni})
			p.raw(p.initI)
			m := p.accept(ke)
			got := wire.Find[*wire.SA](m.Payloads)
			if len(got.Proposals) != 1 || got.Proposals[0].Number != c.chosen || len(got.Proposals[0].SPI) != 0 {
				t.Fatalf("chose %+v, want %d", got.Proposals, c.chosen)
			}
			types := map[ikev2.TransformType]int{}
			for _, tr := range got.Proposals[0].Transforms {
				types[tr.Type]++
			}
			for typ, n := range types {
				if n != 1 {
					t.Errorf("%d transforms of type %v", n, typ)
				}
			}
			p.ask(ikev2.IKE_AUTH, p.authRequest("a shared secret")...)
			if p.sas() != 1 {
				t.Error("no IKE SA")
			}
		})
	}
}

// IN-11: a choice that was not offered ends the negotiation.
func TestInitiatorChecksChoice(t *testing.T) {
	base := ikeTransforms()
	for name, prop := range map[string]wire.Proposal{
		"proposal 7":      {Number: 7, Protocol: ikev2.ProtocolIKE, Transforms: base},
		"another cipher":  {Number: 1, Protocol: ikev2.ProtocolIKE, Transforms: []wire.Transform{{Type: ikev2.TransformENCR, ID: uint16(ikev2.ENCR_AES_GCM_16), KeyBits: 128}, base[1], base[2]}},
		"two ciphers":     {Number: 1, Protocol: ikev2.ProtocolIKE, Transforms: append([]wire.Transform{base[0]}, base...)},
		"no PRF":          {Number: 1, Protocol: ikev2.ProtocolIKE, Transforms: []wire.Transform{base[0], base[2]}},
		"protocol ESP":    {Number: 1, Protocol: ikev2.ProtocolESP, Transforms: base},
		"a type too many": {Number: 1, Protocol: ikev2.ProtocolIKE, Transforms: append([]wire.Transform{{Type: ikev2.TransformADDKE1, ID: uint16(ikev2.KE_MLKEM768)}}, base...)},
	} {
		t.Run(name, func(t *testing.T) {
			p := puppetTo(t)
			p.up()
			m := p.clear("request")
			ke := p.generate(p.chosen.KE)
			h := m.Header.Answer()
			h.SPIr = 99
			b, err := wire.AppendMessage(nil, h, []wire.Payload{&wire.SA{Proposals: []wire.Proposal{prop}}, &wire.KE{Method: p.chosen.KE, Data: ke.Public}, &wire.Nonce{Data: p.nr}})
			if err != nil {
				t.Fatal(err)
			}
			p.raw(b)
			p.w.run(200 * time.Millisecond)
			for _, d := range p.mail {
				if h, _ := wire.ParseHeader(d.Data); h.Exchange != ikev2.IKE_SA_INIT {
					t.Errorf("the gateway goes on with %v", h.Exchange)
				}
			}
			if p.sas() != 0 && p.n.status("ab").SAs[0].State == "established" {
				t.Error("established")
			}
		})
	}
}

// IN-07, IN-08, IN-01, IN-02, HD-01, HD-02, HD-05, HD-06, HD-09, HD-11: what no IKE_SA_INIT may be.
func TestBadInitRequests(t *testing.T) {
	p := puppetTo(t)
	ke := p.generate(p.chosen.KE)
	good := p.initRequest(ikeSA(), &wire.KE{Method: p.chosen.KE, Data: ke.Public}, &wire.Nonce{Data: p.ni})
	change := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	for _, c := range []struct {
		name   string
		b      []byte
		answer ikev2.NotifyType // 0: silence
		maybe  bool             // silence will do too
	}{
		{"SPIi zero", change(func(b []byte) { clear(b[:8]) }), 0, false},
		{"SPIr not zero", change(func(b []byte) { b[15] = 1 }), 0, true},
		{"major version 3", change(func(b []byte) { b[17] = 0x30 }), ikev2.INVALID_MAJOR_VERSION, false},
		{"major version 3, response", change(func(b []byte) { b[17] = 0x30; b[19] = 0x28 }), 0, false},
		{"IKEv1", change(func(b []byte) { b[17] = 0x10 }), 0, false},
		{"response", change(func(b []byte) { b[19] = 0x20 }), 0, false},
		{"length one more", change(func(b []byte) { b[27]++ }), 0, false},
		{"length one less", change(func(b []byte) { b[27]-- }), 0, false},
		{"no nonce", p.initRequest(ikeSA(), &wire.KE{Method: p.chosen.KE, Data: ke.Public}), ikev2.INVALID_SYNTAX, true},
		{"unknown critical payload", p.initRequest(ikeSA(), &wire.KE{Method: p.chosen.KE, Data: ke.Public}, &wire.Nonce{Data: p.ni}, &wire.Unknown{Kind: 200, Critical: true}), ikev2.UNSUPPORTED_CRITICAL_PAYLOAD, false},
		{"x25519 of zeros", p.initRequest(ikeSA(), &wire.KE{Method: p.chosen.KE, Data: make([]byte, 32)}, &wire.Nonce{Data: p.ni}), ikev2.INVALID_SYNTAX, true},
		{"x25519 of 31 octets", p.initRequest(ikeSA(), &wire.KE{Method: p.chosen.KE, Data: ke.Public[:31]}, &wire.Nonce{Data: p.ni}), ikev2.INVALID_SYNTAX, true},
		{"CREATE_CHILD_SA", change(func(b []byte) { b[18] = byte(ikev2.CREATE_CHILD_SA) }), 0, true},
	} {
		p.mail = nil
		p.raw(c.b)
		d, ok := p.take()
		if !ok {
			if c.answer != 0 && !c.maybe {
				t.Errorf("%s: silence", c.name)
			}
			continue
		}
		m, err := wire.ParseMessage(d.Data)
		if err != nil || c.answer == 0 && !c.maybe || c.answer != 0 && wire.FindNotify(m.Payloads, c.answer) == nil || len(m.Payloads) != 1 {
			t.Errorf("%s: answered with %v %s", c.name, m.Header.Exchange, wire.Summary(m.Payloads))
		}
		if !m.Header.Response || m.Header.Major != 2 {
			t.Errorf("%s: header %+v", c.name, m.Header)
		}
	}
	p.w.run(time.Minute)
	if n := p.n.eng.Status(p.w.now).HalfOpen; n != 0 {
		t.Errorf("%d half-open SAs stay", n)
	}
}

// HD-04, HD-07, HD-12, HD-13, HD-14, HD-18: reserved bits, minor version, order, unknown payloads do not matter.
func TestTolerance(t *testing.T) {
	p := puppetTo(t)
	p.initiator = true
	ke := p.generate(p.chosen.KE)
	p.initI = p.initRequest(&wire.VendorID{Data: []byte("somebody")}, &wire.Nonce{Data: p.ni}, &wire.Unknown{Kind: 127, Data: []byte{1}}, &wire.KE{Method: p.chosen.KE, Data: ke.Public}, ikeSA())
	p.initI[17], p.initI[19] = 0x2f, p.initI[19]|0xd7 // minor version 15, all reserved flags
	p.raw(p.initI)
	m := p.accept(ke)
	if m.Header.Minor != 0 {
		t.Errorf("the response says version 2.%d", m.Header.Minor)
	}
	// --> IKE_AUTH, its payloads in reverse, with strangers between
	ps := p.authRequest("a shared secret", &wire.Unknown{Kind: 255}, &wire.VendorID{Data: []byte("x")}, wire.NotifyStatus(40960, []byte("status nobody knows")))
	for i, j := 0, len(ps)-1; i < j; i, j = i+1, j-1 {
		ps[i], ps[j] = ps[j], ps[i]
	}
	got := p.ask(ikev2.IKE_AUTH, ps...)
	if wire.Find[*wire.AUTH](got) == nil || wire.Find[*wire.SA](got) == nil {
		t.Errorf("answer %s", wire.Summary(got))
	}
}

// TR-13, TR-14: a repeated IKE_SA_INIT gets the same response; another with the same SPIi is another SA; a replay disturbs nothing.
func TestRepeatedInit(t *testing.T) {
	p := puppetTo(t)
	ke := p.offer()
	first, _ := p.take()
	p.raw(p.initI)
	again, ok := p.take()
	if !ok || !bytes.Equal(first.Data, again.Data) {
		t.Error("a retransmitted request does not get the stored response")
	}
	other := *p
	other.local = netip.MustParseAddrPort(addrB + ":40000")
	other.ni = detBytes(32, 0x55)
	other.mail = nil
	other.offer()
	if d, ok := p.take(); !ok || bytes.Equal(d.Data, first.Data) || d.To.Port() != 40000 {
		t.Error("TR-05: another peer with the same SPI is not answered")
	}
	p.mail = append(p.mail, first)
	p.accept(ke)
	p.ask(ikev2.IKE_AUTH, p.authRequest("a shared secret")...)
	p.raw(p.initI) // a replay
	p.mail = nil
	if got := p.ask(ikev2.INFORMATIONAL); len(got) != 0 {
		t.Errorf("liveness after the replay: %s", wire.Summary(got))
	}
}

// HD-21: half-open SAs are bounded and go away.
func TestHalfOpenBound(t *testing.T) {
	p := puppetTo(t)
	p.n.limits = engine.Limits{CookieThreshold: 1 << 20, MaxHalfOpen: 10}
	p.n.boot()
	for i := range 50 {
		p.spiI = uint64(i + 1)
		p.offer()
	}
	if n := p.n.eng.Status(p.w.now).HalfOpen; n > 10 || n == 0 {
		t.Errorf("%d half-open SAs", n)
	}
	p.w.run(3 * time.Minute)
	if n := p.n.eng.Status(p.w.now).HalfOpen; n != 0 {
		t.Errorf("%d half-open SAs after three minutes", n)
	}
}
