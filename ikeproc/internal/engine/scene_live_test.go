package engine_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/simnet"
)

// TR-10, TR-11, TR-12, MI-08, MI-10, MI-11, MI-12: repeated, old, future and forged messages.
func TestMessageIDs(t *testing.T) {
	p := puppetTo(t, func(c *plan.Connection) { c.DPD.Delay = 0 })
	p.initiate()
	req := p.seal(ikev2.CREATE_CHILD_SA, p.next, false, createRequest(0x1001)...)
	p.next++
	p.raw(req)
	first, ok := p.take()
	if !ok {
		t.Fatal("no answer")
	}
	installed := len(p.n.path.pairs)
	p.raw(req)
	if again, ok := p.take(); !ok || !bytes.Equal(first.Data, again.Data) || len(p.n.path.pairs) != installed {
		t.Error("TR-11: a retransmitted request is not answered with the same octets, or done twice")
	}
	p.w.run(time.Minute)
	p.silence("TR-10: a response of its own accord")
	p.ask(ikev2.INFORMATIONAL)
	p.raw(req)
	p.silence("TR-12: an old request")
	p.raw(p.seal(ikev2.INFORMATIONAL, p.next+100, false))
	p.silence("MI-10: a request from the future")
	p.raw(p.seal(ikev2.INFORMATIONAL, p.next, true))
	p.silence("MI-11: a response to nothing")
	good := p.seal(ikev2.INFORMATIONAL, p.next, false)
	bad := bytes.Clone(good)
	bad[len(bad)-1] ^= 1
	p.raw(bad)
	p.silence("MI-12: a forged request")
	p.raw(good)
	if _, ok := p.take(); !ok {
		t.Error("MI-12: the genuine request after the forged one is not answered")
	}
	p.next++
	// HD-10: the sender's role does not fit.
	flip := p.header(ikev2.INFORMATIONAL, p.next, false)
	flip.Initiator = false
	b, _ := wire.Seal(nil, flip, nil, p.out)
	p.raw(b)
	for len(p.mail) > 0 {
		if m := p.clear("flipped"); wire.FindNotify(m.Payloads, ikev2.INVALID_IKE_SPI) == nil {
			t.Errorf("HD-10: answered with %s", wire.Summary(m.Payloads))
		}
	}
	if p.sas() != 1 {
		t.Error("the IKE SA is gone")
	}
}

// ER-08, ER-09, ER-11: unknown SPIs are answered in clear, rarely; what comes in clear changes nothing.
func TestUnprotected(t *testing.T) {
	p := puppetTo(t, func(c *plan.Connection) { c.DPD.Delay = 0 })
	p.initiate()
	h := wire.Header{SPIi: 5, SPIr: 6, Exchange: ikev2.INFORMATIONAL, Initiator: true, MessageID: 9}
	b, _ := wire.Seal(nil, h, nil, p.out)
	p.raw(b)
	m := p.clear("unknown SPI")
	if wire.FindNotify(m.Payloads, ikev2.INVALID_IKE_SPI) == nil || !m.Header.Response || m.Header.SPIi != 5 || m.Header.SPIr != 6 || m.Header.MessageID != 9 || m.Header.Exchange != ikev2.INFORMATIONAL {
		t.Errorf("ER-08: %+v %s", m.Header, wire.Summary(m.Payloads))
	}
	answers := 0
	for range 1000 {
		p.raw(b)
		answers += len(p.mail)
		p.mail = nil
	}
	if answers > 100 {
		t.Errorf("ER-08: %d answers to 1000 requests in no time", answers)
	}
	h.Response = true
	b, _ = wire.Seal(nil, h, nil, p.out)
	p.raw(b)
	p.silence("a response for an unknown SPI")
	for _, n := range []ikev2.NotifyType{ikev2.INVALID_IKE_SPI, ikev2.INVALID_SPI, ikev2.AUTHENTICATION_FAILED, ikev2.INITIAL_CONTACT} {
		for _, response := range []bool{false, true} {
			b, _ := wire.AppendMessage(nil, p.header(ikev2.INFORMATIONAL, p.next, response), []wire.Payload{wire.NotifyStatus(n, nil)})
			p.raw(b)
			b, _ = wire.AppendMessage(nil, p.header(ikev2.INFORMATIONAL, p.next, response), []wire.Payload{&wire.Delete{Protocol: ikev2.ProtocolIKE}})
			p.raw(b)
		}
	}
	p.silence("ER-11: notifies in clear")
	if p.sas() != 1 || len(p.n.path.pairs) != 1 {
		t.Error("ER-09: something in clear changed something")
	}
	p.ask(ikev2.INFORMATIONAL)
}

// HD-15, SK-07, ER-06, DL-07: what is wrong inside an authentic request.
func TestBadRequestsInside(t *testing.T) {
	p := puppetTo(t, func(c *plan.Connection) { c.DPD.Delay = 0 })
	p.initiate()
	ps := p.ask(ikev2.INFORMATIONAL, &wire.Unknown{Kind: 200, Critical: true})
	if n := p.wantNotify(ps, ikev2.UNSUPPORTED_CRITICAL_PAYLOAD); len(n.Data) != 1 || n.Data[0] != 200 {
		t.Errorf("HD-15: %+v", n)
	}
	if p.sas() != 1 {
		t.Fatal("HD-15 ended the IKE SA")
	}
	ps = p.ask(ikev2.INFORMATIONAL, espSA(5))
	p.wantNotify(ps, ikev2.INVALID_SYNTAX)
	p.w.run(time.Second)
	if p.sas() != 0 || len(p.n.path.pairs) != 0 {
		t.Error("ER-06: INVALID_SYNTAX does not end the IKE SA")
	}
}

// HD-16, ER-07: an authentic response that makes no sense.
func TestBadResponseInside(t *testing.T) {
	p := puppetTo(t, func(c *plan.Connection) { c.DPD = plan.DPD{Delay: 10} })
	p.respond()
	p.w.run(10*time.Second + 100*time.Millisecond)
	h, _ := p.hear(ikev2.INFORMATIONAL)
	p.answer(h, &wire.Unknown{Kind: 200, Critical: true})
	p.w.run(100 * time.Millisecond)
	for _, d := range p.mail {
		if h, _ := wire.ParseHeader(d.Data); h.Response {
			t.Error("HD-16: a response is answered")
		}
	}
}

// DL-03, DL-04, CO-09: crossing Deletes, and Deletes of what is not there.
func TestDeletes(t *testing.T) {
	p := puppetTo(t, func(c *plan.Connection) { c.DPD.Delay = 0 })
	p.initiate()
	ps := p.ask(ikev2.INFORMATIONAL, &wire.Delete{Protocol: ikev2.ProtocolESP, SPIs: []uint32{1, 2, 3}}, &wire.Delete{Protocol: ikev2.ProtocolAH, SPIs: []uint32{p.spiIn}})
	if len(ps) != 0 || len(p.n.path.pairs) != 1 {
		t.Errorf("DL-04: %s", wire.Summary(ps))
	}
	p.n.control("down", "ab", "net", false, false)
	h, ps := p.hear(ikev2.INFORMATIONAL)
	if wire.Find[*wire.Delete](ps) == nil {
		t.Fatal("no Delete")
	}
	// <-- D(ours) crosses --> D(theirs)
	ps = p.ask(ikev2.INFORMATIONAL, &wire.Delete{Protocol: ikev2.ProtocolESP, SPIs: []uint32{p.spiIn}})
	if len(ps) != 0 {
		t.Errorf("DL-03: crossing Delete answered with %s", wire.Summary(ps))
	}
	p.answer(h)
	if len(p.n.path.pairs) != 0 || p.sas() != 1 {
		t.Errorf("%d pairs, %d IKE SAs", len(p.n.path.pairs), p.sas())
	}
}

// DL-05, DL-09: the IKE SA is deleted by the peer; its children go without Deletes of their own; the response is empty.
func TestPeerDeletesIKE(t *testing.T) {
	p := puppetTo(t)
	p.initiate()
	ps := p.ask(ikev2.INFORMATIONAL, &wire.Delete{Protocol: ikev2.ProtocolIKE})
	if len(ps) != 0 {
		t.Errorf("answer %s", wire.Summary(ps))
	}
	p.w.run(time.Second)
	if p.sas() != 0 || len(p.n.path.pairs) != 0 {
		t.Errorf("%d IKE SAs, %d pairs", p.sas(), len(p.n.path.pairs))
	}
}

// DL-05: the response to a Delete of the IKE SA is lost; the repeated Delete gets the same response.
func TestRepeatedDeleteOfIKE(t *testing.T) {
	p := puppetTo(t)
	p.initiate()
	del := p.seal(ikev2.INFORMATIONAL, p.next, false, &wire.Delete{Protocol: ikev2.ProtocolIKE})
	p.raw(del)
	first, _ := p.take()
	p.w.run(2 * time.Second)
	p.mail = nil
	p.raw(del)
	if again, ok := p.take(); !ok || !bytes.Equal(again.Data, first.Data) {
		t.Error("not the same octets again")
	}
}

// LV-05, LV-06: idle, the gateway asks; nobody answers, and after the retransmissions the SAs are gone, with no message more, and it begins again.
func TestDeadPeer(t *testing.T) {
	w, a, b := pair(t)
	w.raise(a, b)
	b.mute = true
	since := w.mark()
	w.run(2 * time.Minute)
	probes := sent(since(), a, ikev2.INFORMATIONAL, false)
	if len(probes) != 6 || !bytes.Equal(probes[0].data, probes[5].data) {
		t.Fatalf("%d liveness checks", len(probes))
	}
	if gap := probes[0].at.Sub(epoch); gap < 29*time.Second || gap > 31*time.Second {
		t.Errorf("the first after %v", gap)
	}
	if len(a.path.pairs) != 0 {
		t.Error("the pair of a dead peer stays")
	}
	if len(sent(since(), a, ikev2.IKE_SA_INIT, false)) == 0 {
		t.Error("it does not begin again")
	}
	b.reboot()
	w.until(time.Minute, "it is up again", func() bool { return a.up("ab", "net") && b.up("ab", "net") })
	w.run(2 * time.Minute)
	w.one(a, b, "net")
}

// LV-05: ESP that comes in is life enough.
func TestTrafficIsLife(t *testing.T) {
	w, a, b := pair(t)
	w.raise(a, b)
	since := w.mark()
	for range 60 {
		w.run(5 * time.Second)
		a.ping(b, "ab", "net")
		b.ping(a, "ab", "net")
	}
	if n := len(since()); n != 0 {
		t.Errorf("%d datagrams for a tunnel in use", n)
	}
}

// LV-09, NT-09: replays and keepalives are no life.
func TestReplayIsNoLife(t *testing.T) {
	p := puppetTo(t)
	p.initiate()
	old := p.seal(ikev2.INFORMATIONAL, p.next, false)
	p.next++
	p.raw(old)
	p.mail = nil
	for range 40 {
		p.w.run(2 * time.Second)
		p.raw(old)
		for _, d := range p.mail {
			if h, _ := wire.ParseHeader(d.Data); !h.Response {
				return // it asks nevertheless
			}
		}
		p.mail = nil
	}
	t.Error("80 seconds of replays, and no liveness check")
}

// natWorld is a behind a NAT, b in the open with a road warrior's connection.
func natWorld(t *testing.T, change ...func(end int, c *plan.Connection)) (*world, *node, *node, *simnet.NAT) {
	w := newWorld(t, 11)
	box := w.net.AddNAT(simnet.NATConfig{Inside: netip.MustParsePrefix("10.77.0.0/24"), Outside: netip.MustParseAddr(addrA)})
	ca := connectionOf("10.77.0.5", addrB, "10.1.0.0/16", "10.2.0.0/16")
	cb := connectionOf(addrB, addrA, "10.2.0.0/16", "10.1.0.0/16")
	cb.Remote.ID = ca.Local.ID
	for _, f := range change {
		f(0, &ca)
		f(1, &cb)
	}
	a, b := w.add("a", viewOf(ca)), w.add("b", viewOf(cb))
	return w, a, b, box
}

// NT-01, NT-03, NT-04, NT-05, TR-03, TR-06: behind a NAT everything after IKE_SA_INIT goes over 4500, ESP in UDP, with keepalives from inside.
func TestNAT(t *testing.T) {
	w, a, b, _ := natWorld(t)
	w.raise(a, b)
	for _, p := range w.seen {
		if port := p.from.Port(); p.h.Exchange == ikev2.IKE_SA_INIT != (port == 500) {
			t.Errorf("%v", p)
		}
	}
	if na, nb := a.status("ab").SAs[0].NAT, b.status("ab").SAs[0].NAT; na != "local" || nb != "remote" {
		t.Errorf("NAT is %q for a, %q for b", na, nb)
	}
	qa, qb := a.path.of("ab", "net")[0], b.path.of("ab", "net")[0]
	if !qa.Encap || !qb.Encap || qb.Remote.Addr().String() != addrA || qb.Remote.Port() < 20000 || qa.Remote.Port() != 4500 || qb.Local.Port() != 4500 {
		t.Errorf("ESP between %v and %v, %v and %v", qa.Local, qa.Remote, qb.Local, qb.Remote)
	}
	since := w.mark()
	w.run(100 * time.Second)
	alive := map[netip.Addr]int{}
	for _, p := range since() {
		if p.alive {
			alive[p.from.Addr()]++
			if p.from.Port() != 4500 || p.to.Port() != 4500 {
				t.Errorf("keepalive %v", p)
			}
		}
	}
	if alive[a.addr] < 3 || alive[a.addr] > 5 || alive[b.addr] != 0 {
		t.Errorf("NT-09: keepalives %v in 100 s", alive)
	}
}

// NT-07: the NAT forgets its mapping; b follows a's authentic packets, and moves the child with them.
func TestNATRebinds(t *testing.T) {
	w, a, b, box := natWorld(t, func(end int, c *plan.Connection) {
		if end == 1 {
			c.Remote.Address = netip.Addr{}
			c.DPD.Delay = 0
		}
	})
	w.raise(a, b)
	before := b.path.of("ab", "net")[0].Remote
	box.Rebind(netip.MustParseAddr("192.0.2.99"))
	w.run(45 * time.Second) // a's liveness check comes from elsewhere
	after := b.path.of("ab", "net")[0].Remote
	if after == before || after.Addr().String() != "192.0.2.99" || b.status("ab").SAs[0].Remote != after.String() {
		t.Errorf("b sends to %v, IKE to %s", after, b.status("ab").SAs[0].Remote)
	}
	w.one(a, b, "net")
}

// NT-07: what the datapath saw of a new mapping moves IKE too.
func TestMappingFromDatapath(t *testing.T) {
	w, a, b, box := natWorld(t, func(end int, c *plan.Connection) {
		c.DPD.Delay = 0
		if end == 1 {
			c.Remote.Address = netip.Addr{}
		}
	})
	w.raise(a, b)
	box.Rebind(netip.Addr{})
	a.tell(engine.Control{Control: msg.Control{Req: 77, Verb: "rekey", Connection: "nobody"}})
	w.settle()
	// ESP from a arrives from another port: the datapath tells.
	w.net.Send(w.now, netip.AddrPortFrom(a.addr, 4500), netip.AddrPortFrom(b.addr, 4500), []byte{0xff})
	seenFrom, _ := box.Outside(w.now, netip.AddrPortFrom(a.addr, 4500), netip.AddrPortFrom(b.addr, 4500))
	q := b.path.of("ab", "net")[0]
	b.tell(engine.FromXFRM{Msg: &msg.Mapping{SPIIn: q.SPIIn, Remote: seenFrom}})
	w.settle()
	if got := b.status("ab").SAs[0].Remote; got != seenFrom.String() {
		t.Errorf("b's IKE goes to %s, a is at %v", got, seenFrom)
	}
	req := b.control("rekey", "ab", "net", false, true)
	w.until(20*time.Second, "b's rekey reaches a", func() bool { return b.done[req] == "ok" })
}

// NT-06: ESP in UDP where no NAT is, because the policy says so.
func TestForceEncap(t *testing.T) {
	for _, forced := range []int{0, 1} {
		w, a, b := pair(t, func(end int, c *plan.Connection) { c.ForceEncap = end == forced })
		w.raise(a, b)
		w.one(a, b, "net")
		for _, n := range []*node{a, b} {
			if !n.path.of("ab", "net")[0].Encap {
				t.Errorf("end %d forces, and %s does not encapsulate", forced, n.name)
			}
		}
	}
}

// NT-08: transport mode through a NAT: each end's selectors are its own view of the addresses.
func TestTransportThroughNAT(t *testing.T) {
	w, a, b, _ := natWorld(t, func(_ int, c *plan.Connection) {
		own := plan.Selector{PortLast: 65535}
		c.Children[0].Mode, c.Children[0].Local, c.Children[0].Remote = plan.ModeTransport, []plan.Selector{own}, []plan.Selector{own}
	})
	w.raise(a, b)
	w.one(a, b, "net")
	qa, qb := a.path.of("ab", "net")[0], b.path.of("ab", "net")[0]
	if qa.TSLocal[0].First != a.addr || qa.TSRemote[0].First != b.addr || qb.TSLocal[0].First != b.addr || qb.TSRemote[0].First.String() != addrA {
		t.Errorf("a %v %v, b %v %v", qa.TSLocal, qa.TSRemote, qb.TSLocal, qb.TSRemote)
	}
}

// FR-02, FR-05, FR-07: fragments that nobody agreed on, and repeated ones.
func TestFragments(t *testing.T) {
	p := puppetTo(t)
	ke := p.offer(wire.NotifyStatus(ikev2.IKEV2_FRAGMENTATION_SUPPORTED, nil))
	m := p.accept(ke)
	if wire.FindNotify(m.Payloads, ikev2.IKEV2_FRAGMENTATION_SUPPORTED) == nil {
		t.Fatal("FR-01: not announced")
	}
	ps := p.authRequest("a shared secret", &wire.VendorID{Data: make([]byte, 900)})
	bs, err := wire.SealFragments(p.header(ikev2.IKE_AUTH, 1, false), ps, p.out, 400)
	if err != nil || len(bs) < 3 {
		t.Fatal(err, len(bs))
	}
	forged := bytes.Clone(bs[0])
	forged[len(forged)-1] ^= 1
	p.raw(forged)
	for i := len(bs) - 1; i >= 0; i-- { // backwards, each twice
		p.raw(bs[i])
		if i > 0 {
			p.raw(bs[i])
		}
	}
	h, got := p.open("IKE_AUTH response")
	if h.MessageID != 1 || wire.Find[*wire.AUTH](got) == nil {
		t.Fatalf("%+v %s", h, wire.Summary(got))
	}
	p.mail = nil
	for _, b := range bs[1:] {
		p.raw(b)
	}
	p.silence("FR-07: fragments after the first of an answered request")
	p.raw(bs[0])
	if len(p.mail) != 1 {
		t.Errorf("FR-07: %d answers to its first fragment", len(p.mail))
	}
}

func TestFragmentsNotAgreed(t *testing.T) {
	p := puppetTo(t, func(c *plan.Connection) { c.FragmentSize = 0 })
	p.accept(p.offer(wire.NotifyStatus(ikev2.IKEV2_FRAGMENTATION_SUPPORTED, nil)))
	bs, _ := wire.SealFragments(p.header(ikev2.IKE_AUTH, 1, false), p.authRequest("a shared secret", &wire.VendorID{Data: make([]byte, 900)}), p.out, 400)
	for _, b := range bs {
		p.raw(b)
	}
	p.silence("FR-02: fragments that were not negotiated")
}

// IM-08, IN-20: an initiator that never ends its IKE_INTERMEDIATEs, or leaves one out.
func TestIntermediateAbuse(t *testing.T) {
	p := puppetTo(t, func(c *plan.Connection) { c.Proposals = []plan.IKEProposal{hybrid, classic} })
	p.accept(p.offer(wire.NotifyStatus(ikev2.INTERMEDIATE_EXCHANGE_SUPPORTED, nil)))
	for i := range 300 {
		p.mail = nil
		p.raw(p.seal(ikev2.IKE_INTERMEDIATE, uint32(1+i), false))
		if h, _ := wire.ParseHeader(append(p.mail, simnetDatagram{})[0].Data); h.NextPayload != ikev2.PayloadSK { // silence, or INVALID_IKE_SPI in clear
			if i > 20 {
				t.Errorf("%d rounds", i)
			}
			return
		}
	}
	t.Error("IM-08: 300 rounds of IKE_INTERMEDIATE")
}
