package userspace

import (
	"fmt"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// across is both directions of the datapath without devices and sockets: a packet from one host is decided on, sealed, found, opened and checked.
type across struct {
	s     *sender
	r     *receiver
	inner []byte
	buf   []byte
}

func newAcross(t testing.TB, size int, transform msg.Transform) *across {
	encr, integ, _ := backend.KeyLengths(transform)
	left, right := tunnel(t, leftRaw, rightRaw, func(l, r *backend.Pair) {
		l.Transform, r.Transform = transform, transform
		l.EncrIn, l.EncrOut, l.IntegIn, l.IntegOut = key(1, encr), key(9, encr), key(1, integ), key(9, integ)
		r.EncrIn, r.EncrOut, r.IntegIn, r.IntegOut = l.EncrOut, l.EncrIn, l.IntegOut, l.IntegIn
	})
	a := &across{s: newSender(left.Backend), r: &receiver{b: right.Backend, socket: right.socket}, inner: udp("10.1.0.5", "10.2.0.7", size-28),
		buf: make([]byte, inOffset+maxPacket+tailroom)}
	a.s.now, a.r.now = time.Now(), time.Now().Unix()
	return a
}

func (a *across) packet(t testing.TB) {
	copy(a.s.bufs[0][headroom:], a.inner)
	a.s.packet(a.s.bufs[0], len(a.inner))
	in := Received{From: a.s.out[0].To, ESP: a.s.out[0].ESP}
	if a.r.packet(&in, a.buf) == nil {
		t.Fatalf("lost: %+v", a.r.b.Drops())
	}
	a.s.out = a.s.out[:0]
}

func TestNoAllocations(t *testing.T) {
	a := newAcross(t, 1400, gcm)
	if n := testing.AllocsPerRun(200, func() { a.packet(t) }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

func BenchmarkAcross(b *testing.B) {
	for _, c := range []msg.Transform{gcm, {Encr: ikev2.ENCR_CHACHA20_POLY1305}, {Encr: ikev2.ENCR_AES_CBC, KeyBits: 128, Integ: ikev2.AUTH_HMAC_SHA2_256_128}} {
		for _, size := range []int{64, 512, 1400} {
			b.Run(fmt.Sprintf("%v/%d", c.Encr, size), func(b *testing.B) {
				a := newAcross(b, size, c)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					a.packet(b)
				}
			})
		}
	}
}

// BenchmarkInstall: what a pair costs where there are many of them already.
func BenchmarkInstall(b *testing.B) {
	n := newNode(b, leftRaw, false)
	pairs := 0
	install := func() {
		pairs++
		spi := uint32(1000 + pairs)
		if err := n.Install(backend.Pair{Reqid: plan.ReqidFirst + uint32(pairs), Mode: plan.ModeTunnel, Local: n.socket.local, Remote: n.socket.local, SPIIn: spi, SPIOut: spi,
			Transform: gcm, EncrIn: secret.New(make([]byte, 20)), EncrOut: secret.New(make([]byte, 20)), TSLocal: []msg.TS{ts("10.1.0.0", "10.1.0.1")},
			TSRemote: []msg.TS{ts("10.2.0.0", "10.2.0.1")}, ReplayWindow: 1024}); err != nil {
			b.Fatal(err)
		}
	}
	for pairs < 10_000 {
		install()
	}
	b.ReportAllocs()
	for b.Loop() {
		install()
	}
}
