package userspace

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/packet"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/spd"
)

// modes are the tunnel of most tests, and host to host.
func modes(f *testing.F) [2][2]*node {
	var out [2][2]*node
	out[0][0], out[0][1] = tunnel(f, leftRaw, rightRaw, nil)
	out[1][0], out[1][1] = tunnel(f, leftUDP, rightUDP, func(l, r *backend.Pair) {
		l.Mode, r.Mode = plan.ModeTransport, plan.ModeTransport
		l.TSLocal, l.TSRemote = []msg.TS{ts("192.0.2.1", "192.0.2.1")}, []msg.TS{ts("192.0.2.2", "192.0.2.2")}
		r.TSLocal, r.TSRemote = l.TSRemote, l.TSLocal
	})
	if err := out[1][0].SetPolicies(site(leftUDP, rightUDP, "192.0.2.1/32", "192.0.2.2/32"), false); err != nil {
		f.Fatal(err)
	}
	return out
}

func seeds(f *testing.F, add func([]byte)) {
	add(udp("10.1.0.5", "10.2.0.7", 20))
	add(udp("fd01::5", "fd02::7", 20))
	add(udp("192.0.2.1", "192.0.2.2", 20))
	add(fragmentable(udp("10.1.0.5", "10.2.0.7", 3000)))
	add(upper("fd01::5", "fd02::7", 44, []byte{17, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8}))
	add(upper("10.1.0.5", "10.2.0.7", packet.ICMP, []byte{8, 0, 1, 2, 3, 4, 5, 6}))
	add([]byte{0x45})
	add(nil)
}

// FuzzInbound: a peer that has the keys seals whatever it likes. What is delivered is a packet that fits the SA, and nothing panics.
func FuzzInbound(f *testing.F) {
	all := modes(f)
	seeds(f, func(b []byte) { f.Add(b, uint8(4), uint8(0), false) })
	f.Add(udp("10.2.0.7", "10.1.0.5", 9)[20:], uint8(17), uint8(3), true)
	f.Fuzz(func(t *testing.T, inner []byte, next, tos uint8, transport bool) {
		pair := all[0]
		if transport {
			pair = all[1]
		}
		if len(inner) > 60000 {
			return
		}
		left, right := pair[0], pair[1]
		d, _ := left.Dump()
		p := left.sa.get(d[0].SPIIn)
		buf := make([]byte, headroom+len(inner)+tailroom)
		copy(buf[headroom:], inner)
		p.outMu.Lock()
		pkt, err := p.out.Seal(buf, headroom, len(inner), next)
		p.outMu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		r := &receiver{b: right.Backend, socket: right.socket}
		got := r.packet(&Received{From: left.socket.local, TOS: tos, ESP: pkt}, make([]byte, inOffset+maxPacket+tailroom))
		if got == nil {
			return
		}
		h, err := packet.Parse(got[inOffset:])
		if err != nil || h.Len != len(got)-inOffset {
			t.Fatalf("delivered %x: %v", got[inOffset:], err)
		}
		d, _ = right.Dump()
		q := right.sa.get(d[0].SPIIn)
		if !spd.Covers(q.TSLocal, q.TSRemote, spd.Inbound(h.Flow)) {
			t.Fatalf("delivered %+v", h.Flow)
		}
	})
}

// FuzzWire: whatever comes from the network without the keys, nothing is delivered.
func FuzzWire(f *testing.F) {
	all := modes(f)
	left, right := all[0][0], all[0][1]
	left.socket.peer = nil
	left.send(udp("10.1.0.5", "10.2.0.7", 20))
	f.Add(left.wire().ESP)
	f.Add([]byte{0xff})
	f.Add([]byte{})
	d, _ := right.Dump()
	spi := d[0].SPIIn
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		if len(b) >= 4 && b[0]&1 == 0 { // half of them find the SA
			b[0], b[1], b[2], b[3] = byte(spi>>24), byte(spi>>16), byte(spi>>8), byte(spi)
		}
		r := &receiver{b: right.Backend, socket: right.socket}
		in := Received{From: netip.MustParseAddrPort(leftRaw), ESP: b}
		if got := r.packet(&in, make([]byte, inOffset+maxPacket+tailroom)); got != nil && right.Drops().Integrity > 0 {
			t.Fatalf("delivered %x", got)
		}
	})
}

// FuzzOutbound: whatever enters the TUN device leaves as ESP that the peer takes, or not at all.
func FuzzOutbound(f *testing.F) {
	all := modes(f)
	seeds(f, func(b []byte) { f.Add(b, false); f.Add(b, true) })
	f.Fuzz(func(t *testing.T, inner []byte, transport bool) {
		pair := all[0]
		if transport {
			pair = all[1]
		}
		if len(inner) > maxPacket {
			return
		}
		left, right := pair[0], pair[1]
		s := newSender(left.Backend)
		s.now = s.now.AddDate(2000, 0, 0)
		s.generation = left.generation.Load()
		copy(s.bufs[0][headroom:], inner)
		s.packet(s.bufs[0], len(inner))
		before := right.Drops()
		for _, d := range s.out {
			if len(d.ESP) > 1480 && !d.MayFragment {
				t.Fatalf("%d octets of ESP do not fit the path", len(d.ESP))
			}
			r := &receiver{b: right.Backend, socket: right.socket}
			if got := r.packet(&Received{From: left.socket.local, TOS: d.TOS, ESP: d.ESP}, make([]byte, inOffset+maxPacket+tailroom)); got == nil {
				t.Fatalf("the peer refuses what came of %x: %+v", inner, right.Drops())
			}
		}
		if right.Drops() != before {
			t.Fatal("the peer dropped something")
		}
	})
}
