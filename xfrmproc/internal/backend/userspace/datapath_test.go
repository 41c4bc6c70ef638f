package userspace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"testing"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/packet"
)

const (
	leftRaw, rightRaw   = "192.0.2.1:0", "192.0.2.2:0"
	leftUDP, rightUDP   = "192.0.2.1:4500", "192.0.2.2:4500"
	leftRaw6, rightRaw6 = "[2001:db8::1]:0", "[2001:db8::2]:0"
)

// Both families cross in both, straight in IP and in UDP.
func TestTunnel(t *testing.T) {
	for _, at := range [][2]string{{leftRaw, rightRaw}, {leftUDP, rightUDP}, {leftRaw6, rightRaw6}} {
		left, right := tunnel(t, at[0], at[1], nil)
		for _, p := range [][]byte{udp("10.1.0.5", "10.2.0.7", 100), udp("fd01::5", "fd02::7", 100), udp("10.1.0.5", "10.2.0.7", 0)} {
			left.send(p)
			out := left.wire()
			if bytes.Contains(out.ESP, p[len(p)/2:]) || out.To != netip.MustParseAddrPort(at[1]) {
				t.Errorf("%v: to %v, %x", at, out.To, out.ESP)
			}
			if got := right.receive(); !bytes.Equal(got, p) {
				t.Errorf("%v: got %x, want %x", at, got, p)
			}
		}
		right.send(udp("10.2.0.7", "10.1.0.5", 9))
		if got := left.receive(); !bytes.Equal(got, udp("10.2.0.7", "10.1.0.5", 9)) {
			t.Errorf("%v: back came %x", at, got)
		}
		d, err := left.Dump()
		if err != nil || len(d) != 1 || d[0].Connection != "office" {
			t.Fatal(d, err)
		}
		c, err := left.Query(d[0].SPIIn)
		if err != nil || c.PacketsOut != 3 || c.BytesOut != 128+148+28 || c.PacketsIn != 1 || c.BytesIn != 37 || c.LastIn == 0 || c.Errors != 0 {
			t.Errorf("%+v, %v", c, err)
		}
	}
}

// EI-03, EI-11, EI-13: what is replayed, forged or not what the SA is for goes nowhere and is counted.
func TestRefusedInbound(t *testing.T) {
	left, right := tunnel(t, leftRaw, rightRaw, func(l, _ *backend.Pair) {
		l.TSRemote = []msg.TS{ts("10.2.0.0", "10.2.255.255"), ts("10.9.0.0", "10.9.0.255")} // wider than what right takes
	})
	p := left.standing
	p.Protect[0].RemoteTS = append(p.Protect[0].RemoteTS, sel("10.9.0.0/24"))
	if err := left.SetPolicies(p, false); err != nil {
		t.Fatal(err)
	}
	left.send(udp("10.1.0.5", "10.2.0.7", 10))
	first := left.wire()
	right.receive()
	right.socket.in <- Received{From: netip.MustParseAddrPort(leftRaw), ESP: bytes.Clone(first.ESP)}
	right.until("the replay's drop", func() bool { return right.Drops().Replay == 1 })
	forged := bytes.Clone(first.ESP)
	forged[7] = 200
	right.socket.in <- Received{From: netip.MustParseAddrPort(leftRaw), ESP: forged}
	right.until("the forgery's drop", func() bool { return right.Drops().Integrity == 1 })
	left.send(udp("10.1.0.5", "10.9.0.7", 10))
	right.until("the selectors' drop", func() bool { return right.Drops().Selectors == 1 })
	right.socket.in <- Received{ESP: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}}
	right.until("the unknown SPI's drop", func() bool { return right.Drops().UnknownSPI == 1 })
	right.socket.in <- Received{ESP: []byte{0xff}} // UE-02: a keepalive is no error
	right.socket.in <- Received{ESP: []byte{0xff, 0xff}}
	right.until("the runt's drop", func() bool { return right.Drops().Malformed == 1 })
	d, _ := right.Dump()
	if c, _ := right.Query(d[0].SPIIn); c.Errors != 3 || c.PacketsIn != 1 {
		t.Errorf("%+v", c)
	}
	left.send(udp("10.1.0.5", "10.2.0.7", 11))
	right.receive() // and all is well
}

// A protected packet without an SA is held back and asks for one, at most once a second; one that no policy wants is refused (RFC 4301 section 5.1).
func TestNoSA(t *testing.T) {
	n := newNode(t, leftRaw, false)
	p := site(leftRaw, rightRaw, "10.1.0.0/16", "10.2.0.0/16")
	p.Bypass = []backend.Bypass{{Name: "printer", Priority: 50, LocalTS: []plan.Selector{sel("10.1.0.0/16")}, RemoteTS: []plan.Selector{sel("10.2.0.9/32")}}}
	if err := n.SetPolicies(p, false); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		n.send(udp("10.1.0.5", "10.2.0.7", 10))
	}
	a, ok := n.event().(backend.Acquire)
	want := msg.TS{Protocol: 17, PortFirst: 1000, PortLast: 1000, First: netip.MustParseAddr("10.1.0.5"), Last: netip.MustParseAddr("10.1.0.5")}
	if !ok || a.Connection != "office" || a.Child != "net" || a.TSLocal != want || a.TSRemote.PortFirst != 2000 {
		t.Errorf("%+v", a)
	}
	n.until("the drops", func() bool { return n.Drops().NoSA == 5 })
	if s, err := n.Stats(); err != nil || s.Dropped != 5 || s.SAs != 0 || s.Policies != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, dst := range []string{"10.3.0.1", "10.2.0.9"} { // no policy; bypass, which a TUN device cannot do
		n.send(udp("10.1.0.5", dst, 10))
		h, err := packet.Parse(n.receive())
		if err != nil || h.Protocol != packet.ICMP || h.SrcPort != 3<<8|13 || h.Dst != netip.MustParseAddr("10.1.0.5") {
			t.Errorf("%s: %+v, %v", dst, h, err)
		}
	}
	if d := n.Drops(); d.NoPolicy != 1 || d.Bypass != 1 {
		t.Errorf("%+v", d)
	}
	if len(n.socket.sent) != 0 {
		t.Error("something left")
	}
}

// SP-12: what does not fit is answered, or cut before ESP; a narrower path is learned and never below the least.
func TestPathMTU(t *testing.T) {
	left, right := tunnel(t, leftRaw, rightRaw, nil)
	const fits = 1500 - 20 - 8 - 8 - 16 - 2 // 1446: aligned
	left.send(udp("10.1.0.5", "10.2.0.7", fits-28))
	if out := left.wire(); len(out.ESP) != 1480 || out.MayFragment {
		t.Errorf("%d octets", len(out.ESP))
	}
	right.receive()
	left.send(udp("10.1.0.5", "10.2.0.7", fits-28+1))
	h, err := packet.Parse(left.receive())
	if err != nil || h.SrcPort != 3<<8|4 {
		t.Fatalf("%+v, %v", h, err)
	}
	left.send(udp("fd01::5", "fd02::7", 1500))
	big := left.receive()
	if h, _ := packet.Parse(big); h.SrcPort != 2<<8 || binary.BigEndian.Uint32(big[44:]) != fits {
		t.Errorf("%+v %x", h, big[:48])
	}
	whole := fragmentable(udp("10.1.0.5", "10.2.0.7", 4000))
	left.send(whole)
	var got []byte
	for range 3 {
		f := right.receive()
		h, err := packet.Parse(f)
		if err != nil || !h.Fragment || h.Offset != len(got) {
			t.Fatalf("%+v, %v", h, err)
		}
		got = append(got, f[20:]...)
	}
	if !bytes.Equal(got, whole[20:]) {
		t.Error("the fragments are not the packet")
	}
	left.socket.report(netip.MustParseAddr("192.0.2.2"), 1000)
	left.send(udp("10.1.0.5", "10.2.0.7", 1000))
	if m := left.receive(); binary.BigEndian.Uint16(m[26:]) != 1000-54 {
		t.Errorf("told %d", binary.BigEndian.Uint16(m[26:]))
	}
	left.socket.report(netip.MustParseAddr("192.0.2.2"), 68) // a forgery
	left.send(udp("10.1.0.5", "10.2.0.7", 1000))
	if m := left.receive(); binary.BigEndian.Uint16(m[26:]) != 576 {
		t.Errorf("told %d after a forged report", binary.BigEndian.Uint16(m[26:]))
	}
	for len(left.socket.sent) > 0 {
		<-left.socket.sent
	}
	left.send(udp("fd01::5", "fd02::7", 1280-48)) // must pass, whatever the path says
	if out := left.wire(); !out.MayFragment {
		t.Error("the least IPv6 packet may not be fragmented outside")
	}
	right.receive()
}

// SP-10: RFC 6040 both ways.
func TestECN(t *testing.T) {
	left, right := tunnel(t, leftRaw, rightRaw, nil)
	p := udp("10.1.0.5", "10.2.0.7", 10)
	packet.SetTOS(p, 0xb8|2)
	left.socket.peer = nil
	left.send(p)
	out := left.wire()
	if out.TOS != 0xb8|2 {
		t.Errorf("outer TOS %#x", out.TOS)
	}
	right.socket.in <- Received{From: netip.MustParseAddrPort(leftRaw), TOS: 0x08 | 3, ESP: out.ESP} // DSCP changed, congestion marked
	want := bytes.Clone(p)
	packet.SetTOS(want, 0xb8|3)
	if got := right.receive(); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	left.send(udp("10.1.0.5", "10.2.0.7", 10))
	right.socket.in <- Received{From: netip.MustParseAddrPort(leftRaw), TOS: 3, ESP: left.wire().ESP}
	right.until("the drop", func() bool { return right.Drops().ECN == 1 })
}

// Transport mode both ways, with the checksum mended after a NAT (UE-03).
func TestTransport(t *testing.T) {
	transport := func(l, r *backend.Pair) {
		l.Mode, r.Mode = plan.ModeTransport, plan.ModeTransport
		l.TSLocal, l.TSRemote = []msg.TS{ts("192.0.2.1", "192.0.2.1")}, []msg.TS{ts("192.0.2.2", "192.0.2.2")}
		r.TSLocal, r.TSRemote = l.TSRemote, []msg.TS{ts("192.0.2.1", "192.0.2.1"), ts("198.51.100.1", "198.51.100.1")}
	}
	for _, at := range [][2]string{{leftRaw, rightRaw}, {leftUDP, rightUDP}} {
		left, right := tunnel(t, at[0], at[1], transport)
		if err := left.SetPolicies(site(at[0], at[1], "192.0.2.1/32", "192.0.2.2/32"), false); err != nil {
			t.Fatal(err)
		}
		p := udp("192.0.2.1", "192.0.2.2", 33)
		left.send(p)
		if got := right.receive(); !bytes.Equal(got[20:], p[20:]) || !bytes.Equal(got[12:20], p[12:20]) || got[9] != packet.UDP {
			t.Errorf("%v: got %x, want %x", at, got, p)
		}
		f := udp("192.0.2.1", "192.0.2.2", 33)
		f[6] = 0x20
		left.send(f)
		left.until("the fragment's drop", func() bool { return left.Drops().Unsupported == 1 })
		left.send(upper("192.0.2.1", "192.0.2.2", packet.ESP, make([]byte, 50)))
		left.until("the loop's drop", func() bool { return left.Drops().Loop == 1 })
		if at[0] == leftUDP {
			left.socket.peer = nil
			left.wire() // the first
			left.send(p)
			right.socket.in <- Received{From: netip.MustParseAddrPort("198.51.100.1:3333"), ESP: left.wire().ESP}
			if got := right.receive(); !bytes.Equal(got, udpFrom(p, "198.51.100.1")) {
				t.Errorf("after a NAT:\n%x, want\n%x", got, udpFrom(p, "198.51.100.1"))
			}
		}
	}
}

func udpFrom(p []byte, src string) []byte {
	h, _ := packet.Parse(p)
	return upper(src, h.Dst.String(), h.Protocol, bytes.Clone(p[20:]))
}

// Rekey without loss: the new pair sends only once activated.
func TestOutboundLater(t *testing.T) {
	left, right := tunnel(t, leftRaw, rightRaw, nil)
	old, _ := left.Dump()
	next := func(n *node, from backend.Carried, in, out uint32, later bool, encrIn, encrOut byte, one, two msg.TS) {
		t.Helper()
		if err := n.Install(backend.Pair{Connection: "office", Child: "net", Reqid: plan.ReqidFirst, Mode: plan.ModeTunnel, Local: from.Local, Remote: from.Remote,
			SPIIn: in, SPIOut: out, Transform: gcm, EncrIn: key(encrIn, 20), EncrOut: key(encrOut, 20), TSLocal: []msg.TS{one}, TSRemote: []msg.TS{two},
			ReplayWindow: 64, OutboundLater: later, Replaces: from.SPIIn}); err != nil {
			t.Fatal(err)
		}
	}
	rightOld, _ := right.Dump()
	a, z := ts("10.1.0.0", "10.1.255.255"), ts("10.2.0.0", "10.2.255.255")
	next(left, old[0], 1001, 1002, true, 100, 150, a, z)
	left.send(udp("10.1.0.5", "10.2.0.7", 1))
	if out := left.wire(); binary.BigEndian.Uint32(out.ESP) != old[0].SPIOut {
		t.Error("the new SA is used before its time")
	}
	right.receive()
	d, _ := left.Dump()
	if d[0].SPIIn != 1001 || d[0].SPIOut != 0 {
		t.Errorf("%+v", d)
	}
	next(right, rightOld[0], 1002, 1001, false, 150, 100, z, a)
	right.send(udp("10.2.0.7", "10.1.0.5", 2)) // the peer uses the new pair
	left.receive()
	if err := left.Activate(1001); err != nil {
		t.Fatal(err)
	}
	left.send(udp("10.1.0.5", "10.2.0.7", 3))
	if out := left.wire(); binary.BigEndian.Uint32(out.ESP) != 1002 {
		t.Error("the new SA is not used")
	}
	right.receive()
	for _, n := range []uint32{1001, old[0].SPIIn} {
		if err := left.Remove(n); err != nil {
			t.Error(err)
		}
	}
	left.send(udp("10.1.0.5", "10.2.0.7", 4))
	if _, ok := left.event().(backend.Acquire); !ok {
		t.Error("no Acquire when the last pair is gone")
	}
}

// Soft limits ask once, hard limits end the pair; the end of the sequence numbers does both.
func TestLimits(t *testing.T) {
	left, right := tunnel(t, leftRaw, rightRaw, func(l, _ *backend.Pair) { l.Lifetime = plan.Lifetime{RekeyPackets: 2, HardPackets: 4} })
	d, _ := left.Dump()
	for range 4 {
		left.send(udp("10.1.0.5", "10.2.0.7", 1))
		right.receive()
	}
	for _, hard := range []bool{false, true} {
		if e := left.event(); e != (backend.Expire{SPIIn: d[0].SPIIn, Hard: hard}) {
			t.Errorf("%+v", e)
		}
	}
	left.send(udp("10.1.0.5", "10.2.0.7", 1))
	if _, ok := left.event().(backend.Acquire); !ok {
		t.Error("traffic after the hard limit")
	}
	if _, err := left.Query(d[0].SPIIn); !errors.Is(err, backend.ErrNoSuchSA) {
		t.Errorf("query: %v", err)
	}
}

// ES-02: the SA ends with its sequence numbers, after it asked for another in time.
func TestExhaustion(t *testing.T) {
	left, right := tunnel(t, leftRaw, rightRaw, nil)
	d, _ := left.Dump()
	p := left.sa.get(d[0].SPIIn)
	p.outMu.Lock()
	p.out.Skip(math.MaxUint32 - 1)
	p.outMu.Unlock()
	left.send(udp("10.1.0.5", "10.2.0.7", 1))
	right.receive()
	left.send(udp("10.1.0.5", "10.2.0.7", 1))
	for _, hard := range []bool{false, true} {
		if e := left.event(); e != (backend.Expire{SPIIn: d[0].SPIIn, Hard: hard}) {
			t.Errorf("%+v", e)
		}
	}
	if len(left.socket.sent) != 1 {
		t.Errorf("%d packets left", len(left.socket.sent))
	}
}

// RFC 7296 section 2.23: only authentic and newest ESP tells of a new mapping, and nothing moves by itself.
func TestMapping(t *testing.T) {
	left, right := tunnel(t, leftUDP, rightUDP, nil)
	d, _ := right.Dump()
	left.socket.peer = nil
	var sent []Datagram
	for range 2 {
		left.send(udp("10.1.0.5", "10.2.0.7", 1))
		sent = append(sent, left.wire())
	}
	moved := netip.MustParseAddrPort("203.0.113.9:1024")
	forged := bytes.Clone(sent[1].ESP)
	forged[20] ^= 1
	right.socket.in <- Received{From: moved, ESP: forged}
	right.socket.in <- Received{From: netip.MustParseAddrPort(leftUDP), ESP: sent[1].ESP}
	right.socket.in <- Received{From: moved, ESP: sent[0].ESP} // authentic but old
	right.receive()
	right.receive()
	left.send(udp("10.1.0.5", "10.2.0.7", 1))
	right.socket.in <- Received{From: moved, ESP: left.wire().ESP}
	right.receive()
	if e := right.event(); e != (backend.Mapping{SPIIn: d[0].SPIIn, Remote: moved}) {
		t.Errorf("%+v", e)
	}
	right.send(udp("10.2.0.7", "10.1.0.5", 1))
	if out := right.wire(); out.To != netip.MustParseAddrPort(leftUDP) {
		t.Errorf("sent to %v without Move", out.To)
	}
	if err := right.Move(d[0].SPIIn, netip.MustParseAddrPort(rightUDP), moved); err != nil {
		t.Fatal(err)
	}
	right.send(udp("10.2.0.7", "10.1.0.5", 1))
	if out := right.wire(); out.To != moved {
		t.Errorf("sent to %v after Move", out.To)
	}
}

// A peer of any address: its pair brings the policy, and the policy outlives the pair.
func TestOwnAddress(t *testing.T) {
	n := newNode(t, leftRaw, false)
	p := backend.Policies{Protect: []backend.Protect{{Connection: "road", Child: "warrior", Reqid: 7, Priority: 1, Mode: plan.ModeTunnel,
		Local: netip.MustParseAddr("192.0.2.1"), LocalTS: []plan.Selector{sel("10.1.0.0/16")}, OwnAddress: []plan.Selector{{PortLast: 65535}}}}}
	if err := n.SetPolicies(p, false); err != nil {
		t.Fatal(err)
	}
	n.send(udp("10.1.0.5", "203.0.113.5", 1))
	n.until("the refusal", func() bool { return n.Drops().NoPolicy == 1 })
	if err := n.Install(backend.Pair{Reqid: 7, Mode: plan.ModeTunnel, Local: netip.MustParseAddrPort(leftRaw), Remote: netip.MustParseAddrPort("203.0.113.5:0"), SPIIn: 300,
		SPIOut: 301, Transform: gcm, EncrIn: key(1, 20), EncrOut: key(2, 20), TSLocal: []msg.TS{ts("10.1.0.0", "10.1.255.255")},
		TSRemote: []msg.TS{ts("203.0.113.5", "203.0.113.5")}, ReplayWindow: 64}); err != nil {
		t.Fatal(err)
	}
	n.send(udp("10.1.0.5", "203.0.113.5", 1))
	n.wire()
	for _, again := range []backend.Policies{p, p} {
		if err := n.SetPolicies(again, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Remove(300); err != nil {
		t.Fatal(err)
	}
	n.send(udp("10.1.0.5", "203.0.113.5", 1))
	if a, ok := n.event().(backend.Acquire); !ok || a.Child != "warrior" {
		t.Errorf("%+v", a)
	}
	if err := n.SetPolicies(backend.Policies{}, false); err != nil {
		t.Fatal(err)
	}
	n.send(udp("10.1.0.5", "203.0.113.5", 1))
	n.until("the second refusal", func() bool { return n.Drops().NoPolicy == 2 })
	if len(n.groups) != 0 || len(n.learned) != 0 {
		t.Errorf("%d groups, %d learned policies are left", len(n.groups), len(n.learned))
	}
}

func TestRefusals(t *testing.T) {
	n := newNode(t, leftUDP, true)
	good := backend.Pair{Connection: "office", Child: "net", Reqid: 7, Mode: plan.ModeTunnel, Local: netip.MustParseAddrPort(leftUDP), Remote: netip.MustParseAddrPort(rightUDP),
		Encap: true, SPIIn: 300, SPIOut: 301, Transform: gcm, EncrIn: key(1, 20), EncrOut: key(2, 20), TSLocal: []msg.TS{ts("10.1.0.0", "10.1.0.1")},
		TSRemote: []msg.TS{ts("10.2.0.0", "10.2.0.1")}, ReplayWindow: 64}
	for what, change := range map[string]func(*backend.Pair){
		"no such socket": func(p *backend.Pair) { p.Encap = false },
		"other port":     func(p *backend.Pair) { p.Local = netip.MustParseAddrPort("192.0.2.1:4501") },
		"mixed families": func(p *backend.Pair) { p.Remote = netip.MustParseAddrPort("[2001:db8::1]:4500") },
		"short key":      func(p *backend.Pair) { p.EncrIn = key(1, 16) },
		"no selectors":   func(p *backend.Pair) { p.TSLocal = nil },
		"no window":      func(p *backend.Pair) { p.ReplayWindow = 0 },
		"beet":           func(p *backend.Pair) { p.Mode = "beet" },
		"reserved SPI":   func(p *backend.Pair) { p.SPIOut = 1 },
	} {
		p := good
		change(&p)
		if err := n.Install(p); err == nil {
			t.Errorf("%s: installed", what)
		}
	}
	if err := n.Install(good); err != nil {
		t.Fatal(err)
	}
	if err := n.Install(good); !errors.Is(err, backend.ErrExists) {
		t.Errorf("twice: %v", err)
	}
	for _, err := range []error{n.Activate(5000), n.Move(5000, good.Local, good.Remote), n.Remove(5000)} {
		if !errors.Is(err, backend.ErrNoSuchSA) {
			t.Errorf("unknown SPI: %v", err)
		}
	}
	if s, _ := n.Stats(); s.SAs != 2 {
		t.Errorf("%+v", s)
	}
}
