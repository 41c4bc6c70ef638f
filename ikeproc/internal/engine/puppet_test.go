package engine_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/simnet"
)

// puppet is a peer that the test moves by hand, message for message. It shares the codec and the cryptography with the engine, and no line of the
// engine: what it says and expects is written from the RFCs.
type puppet struct {
	w             *world
	n             *node // the gateway under test
	local, remote netip.AddrPort
	initiator     bool // original initiator of the IKE SA
	spiI, spiR    uint64
	chosen        suite.Chosen
	keys          suite.IKEKeys
	out, in       *suite.Protector
	ni, nr        []byte
	initI, initR  []byte
	next          uint32 // message ID of our next request
	id, peerID    msg.ID
	mail          []simnet.Datagram
	frags         wire.Reassembler
	spiIn, spiOut uint32 // of the first child: ours, the gateway's
	seeds         byte
}

// puppetTo puts a puppet at b's place before gateway a, with the connection of pair between them.
func puppetTo(t *testing.T, change ...func(c *plan.Connection)) *puppet {
	w := newWorld(t, 7)
	c := connectionOf(addrA, addrB, "10.1.0.0/16", "10.2.0.0/16")
	for _, f := range change {
		f(&c)
	}
	n := w.add("a", viewOf(c))
	p := &puppet{w: w, n: n, local: netip.MustParseAddrPort(addrB + ":500"), remote: netip.AddrPortFrom(n.addr, 500),
		chosen: suite.Chosen{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 256, PRF: ikev2.PRF_HMAC_SHA2_256, KE: ikev2.KE_CURVE25519},
		ni:     detBytes(32, 0x11), nr: detBytes(32, 0x22), spiI: 0x1111111111111111, spiIn: 0xabcdef01}
	p.id, p.peerID = wireID(c.Remote.ID), wireID(c.Local.ID)
	w.puppets = map[netip.Addr]*puppet{p.local.Addr(): p}
	return p
}

type (
	simnetDatagram = simnet.Datagram
	secretBytes    = secret.Bytes
)

func detBytes(n int, b byte) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = b + byte(i)*3
	}
	return out
}

func (p *puppet) t() testing.TB { return p.w.t }

// raw sends octets as they are.
func (p *puppet) raw(b []byte) {
	p.w.net.Send(p.w.now, p.local, p.remote, b)
	p.w.settle()
}

// ms lets as much time pass.
func (p *puppet) ms(n int) { p.w.run(time.Duration(n) * time.Millisecond) }

// take gives the oldest datagram in the mail.
func (p *puppet) take() (simnet.Datagram, bool) {
	p.w.settle()
	if len(p.mail) == 0 {
		return simnet.Datagram{}, false
	}
	d := p.mail[0]
	p.mail = p.mail[1:]
	return d, true
}

// silence fails if there is mail.
func (p *puppet) silence(what string) {
	p.t().Helper()
	p.w.settle()
	if len(p.mail) != 0 {
		h, _ := wire.ParseHeader(p.mail[0].Data)
		p.t().Fatalf("%s: the gateway says %v (response %t, ID %d)", what, h.Exchange, h.Response, h.MessageID)
	}
}

// clear reads an IKE_SA_INIT or another message in clear.
func (p *puppet) clear(what string) wire.Message {
	p.t().Helper()
	d, ok := p.take()
	if !ok {
		p.t().Fatalf("%s: the gateway says nothing\n%s", what, p.w.history(10))
	}
	m, err := wire.ParseMessage(d.Data)
	if err != nil {
		p.t().Fatalf("%s: %v", what, err)
	}
	return m
}

func ikeTransforms() []wire.Transform {
	return []wire.Transform{
		{Type: ikev2.TransformENCR, ID: uint16(ikev2.ENCR_AES_GCM_16), KeyBits: 256},
		{Type: ikev2.TransformPRF, ID: uint16(ikev2.PRF_HMAC_SHA2_256)},
		{Type: ikev2.TransformKE, ID: uint16(ikev2.KE_CURVE25519)},
	}
}

func espTransforms() []wire.Transform {
	return []wire.Transform{
		{Type: ikev2.TransformENCR, ID: uint16(ikev2.ENCR_AES_GCM_16), KeyBits: 256},
		{Type: ikev2.TransformSN, ID: uint16(ikev2.SN_32)},
	}
}

func ikeSA() *wire.SA {
	return &wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: ikev2.ProtocolIKE, Transforms: ikeTransforms()}}}
}

func espSA(spi uint32) *wire.SA {
	return &wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: ikev2.ProtocolESP, SPI: binary.BigEndian.AppendUint32(nil, spi), Transforms: espTransforms()}}}
}

func (p *puppet) seed() secret.Bytes {
	p.seeds++
	return secret.New(detBytes(suite.SeedLen, p.seeds))
}

func (p *puppet) generate(m ikev2.KEID) suite.KEResult {
	r := suite.KEJob{Op: suite.Generate, Method: m, Seed: p.seed()}.Run()
	if r.Err != nil {
		p.t().Fatal(r.Err)
	}
	return r
}

// initRequest is an IKE_SA_INIT request with these payloads.
func (p *puppet) initRequest(ps ...wire.Payload) []byte {
	b, err := wire.AppendMessage(nil, wire.Header{SPIi: p.spiI, Exchange: ikev2.IKE_SA_INIT, Initiator: true}, ps)
	if err != nil {
		p.t().Fatal(err)
	}
	return b
}

// offer sends a plain IKE_SA_INIT request and returns the key pair.
func (p *puppet) offer(extra ...wire.Payload) suite.KEResult {
	p.initiator = true
	ke := p.generate(p.chosen.KE)
	p.initI = p.initRequest(append([]wire.Payload{ikeSA(), &wire.KE{Method: p.chosen.KE, Data: ke.Public}, &wire.Nonce{Data: p.ni}}, extra...)...)
	p.raw(p.initI)
	return ke
}

// accept takes the response to offer and derives the keys.
func (p *puppet) accept(ke suite.KEResult) wire.Message {
	p.t().Helper()
	d, ok := p.take()
	if !ok {
		p.t().Fatalf("no IKE_SA_INIT response\n%s", p.w.history(10))
	}
	m, err := wire.ParseMessage(d.Data)
	if err != nil {
		p.t().Fatal(err)
	}
	n, k := wire.Find[*wire.Nonce](m.Payloads), wire.Find[*wire.KE](m.Payloads)
	if n == nil || k == nil {
		p.t().Fatalf("IKE_SA_INIT response %s", wire.Summary(m.Payloads))
	}
	p.initR, p.nr, p.spiR = d.Data, n.Data, m.Header.SPIr
	p.derive(suite.KEJob{Op: suite.Finish, Method: k.Method, Private: ke.Private, Peer: k.Data}.Run())
	p.next = 1
	return m
}

func (p *puppet) derive(r suite.KEResult) {
	if r.Err != nil {
		p.t().Fatal(r.Err)
	}
	s, err := suite.InitialSKEYSEED(p.chosen.PRF, r.Shared, p.ni, p.nr)
	if err != nil {
		p.t().Fatal(err)
	}
	if p.keys, err = suite.DeriveIKEKeys(p.chosen, s, p.ni, p.nr, p.spiI, p.spiR); err != nil {
		p.t().Fatal(err)
	}
	if p.out, p.in, err = p.keys.Protectors(p.chosen, p.initiator, detEntropy(9, 9)); err != nil {
		p.t().Fatal(err)
	}
}

// auth is the AUTH payload of the puppet's side.
func (p *puppet) auth(psk string) *wire.AUTH {
	o := msg.Octets{PRF: p.chosen.PRF, Message: p.initR, Nonce: p.ni, SKp: p.keys.SKpr}
	if p.initiator {
		o = msg.Octets{PRF: p.chosen.PRF, Message: p.initI, Nonce: p.nr, SKp: p.keys.SKpi}
	}
	return &wire.AUTH{Method: ikev2.AuthSharedKey, Data: pskAuth(secret.New([]byte(psk)), &o, p.id)}
}

func wholeTS(responder bool, prefixText string) *wire.TS {
	pre := netip.MustParsePrefix(prefixText)
	last := pre.Masked().Addr().As4()
	for i := pre.Bits(); i < 32; i++ {
		last[i/8] |= 1 << (7 - i%8)
	}
	return &wire.TS{Responder: responder, Selectors: []wire.Selector{wire.AddressRange(pre.Masked().Addr(), netip.AddrFrom4(last), 0, 0, 65535)}}
}

// header is the header of a message of the puppet's.
func (p *puppet) header(x ikev2.ExchangeType, id uint32, response bool) wire.Header {
	return wire.Header{SPIi: p.spiI, SPIr: p.spiR, Exchange: x, Initiator: p.initiator, Response: response, MessageID: id}
}

func (p *puppet) seal(x ikev2.ExchangeType, id uint32, response bool, ps ...wire.Payload) []byte {
	b, err := wire.Seal(nil, p.header(x, id, response), ps, p.out)
	if err != nil {
		p.t().Fatal(err)
	}
	return b
}

// open reads one protected message out of the mail.
func (p *puppet) open(what string) (wire.Header, []wire.Payload) {
	p.t().Helper()
	for {
		d, ok := p.take()
		if !ok {
			p.t().Fatalf("%s: the gateway says nothing\n%s", what, p.w.history(10))
		}
		s, err := wire.ParseSealed(d.Data)
		if err != nil {
			p.t().Fatalf("%s: %v", what, err)
		}
		var in wire.Inner
		done := true
		if s.Fragment() {
			in, done, err = p.frags.Add(s, p.in, 0)
		} else {
			in, err = s.Open(p.in)
		}
		if err != nil {
			p.t().Fatalf("%s: %v", what, err)
		}
		if !done {
			continue
		}
		ps, err := in.Payloads(wire.DefaultLimits())
		if err != nil {
			p.t().Fatalf("%s: %v", what, err)
		}
		p.remote, p.local = d.From, d.To
		return in.Header, ps
	}
}

// ask sends a request and returns the payloads of its response.
func (p *puppet) ask(x ikev2.ExchangeType, ps ...wire.Payload) []wire.Payload {
	p.t().Helper()
	id := p.next
	p.next++
	p.raw(p.seal(x, id, false, ps...))
	h, got := p.open(x.String() + " response")
	if !h.Response || h.MessageID != id || h.Exchange != x || h.Initiator == p.initiator {
		p.t().Fatalf("answer to %v %d is %+v", x, id, h)
	}
	return got
}

// hear takes the gateway's next request.
func (p *puppet) hear(x ikev2.ExchangeType) (wire.Header, []wire.Payload) {
	p.t().Helper()
	h, ps := p.open(x.String() + " request")
	if h.Response || h.Exchange != x || h.Initiator == p.initiator {
		p.t().Fatalf("want a request %v, got %+v %s", x, h, wire.Summary(ps))
	}
	return h, ps
}

// answer responds to a request.
func (p *puppet) answer(h wire.Header, ps ...wire.Payload) {
	p.raw(p.seal(h.Exchange, h.MessageID, true, ps...))
}

// authRequest is the payloads of a plain IKE_AUTH request.
func (p *puppet) authRequest(psk string, extra ...wire.Payload) []wire.Payload {
	return append([]wire.Payload{&wire.ID{Type: p.id.Type, Data: p.id.Data}, p.auth(psk), espSA(p.spiIn),
		wholeTS(false, "10.2.0.0/16"), wholeTS(true, "10.1.0.0/16")}, extra...)
}

// initiate brings the IKE SA and its first child up with the puppet as the original initiator.
func (p *puppet) initiate(extra ...wire.Payload) []wire.Payload {
	p.t().Helper()
	ke := p.offer()
	p.accept(ke)
	ps := p.ask(ikev2.IKE_AUTH, p.authRequest("a shared secret", extra...)...)
	if sa := wire.Find[*wire.SA](ps); sa != nil {
		p.spiOut = binary.BigEndian.Uint32(sa.Proposals[0].SPI)
	}
	return ps
}

// respondInit hears the gateway's IKE_SA_INIT and answers it with these payloads beside SA, KE and nonce.
func (p *puppet) respondInit(extra ...wire.Payload) {
	p.t().Helper()
	d, ok := p.take()
	if !ok {
		p.t().Fatalf("no IKE_SA_INIT request\n%s", p.w.history(10))
	}
	m, err := wire.ParseMessage(d.Data)
	if err != nil {
		p.t().Fatal(err)
	}
	p.initI, p.spiI, p.spiR, p.ni = d.Data, m.Header.SPIi, 0x2222222222222222, wire.Find[*wire.Nonce](m.Payloads).Data
	r := suite.KEJob{Op: suite.Respond, Method: p.chosen.KE, Seed: p.seed(), Peer: wire.Find[*wire.KE](m.Payloads).Data}.Run()
	h := m.Header.Answer()
	h.SPIr = p.spiR
	p.initR, err = wire.AppendMessage(nil, h, append([]wire.Payload{ikeSA(), &wire.KE{Method: p.chosen.KE, Data: r.Public}, &wire.Nonce{Data: p.nr}}, extra...))
	if err != nil {
		p.t().Fatal(err)
	}
	p.derive(r)
	p.raw(p.initR)
}

// up has the gateway bring the connection up.
func (p *puppet) up() {
	p.n.tell(engine.Control{Control: msg.Control{Req: 1, Verb: "up", Connection: "ab"}})
	p.w.settle()
}

// respond brings the IKE SA and its first child up with the gateway as the original initiator.
func (p *puppet) respond() {
	p.t().Helper()
	p.up()
	p.respondInit()
	h, ps := p.hear(ikev2.IKE_AUTH)
	p.spiOut = binary.BigEndian.Uint32(wire.Find[*wire.SA](ps).Proposals[0].SPI)
	p.answer(h, &wire.ID{Responder: true, Type: p.id.Type, Data: p.id.Data}, p.auth("a shared secret"), espSA(p.spiIn),
		wholeTS(false, "10.1.0.0/16"), wholeTS(true, "10.2.0.0/16"))
}

// wantNotify fails unless the payloads hold a notify of the type.
func (p *puppet) wantNotify(ps []wire.Payload, n ikev2.NotifyType) *wire.Notify {
	p.t().Helper()
	got := wire.FindNotify(ps, n)
	if got == nil {
		p.t().Fatalf("want N(%v), got %s", n, wire.Summary(ps))
	}
	return got
}

// sas is how many IKE SAs the gateway's status shows.
func (p *puppet) sas() int { return len(p.n.status("ab").SAs) }
