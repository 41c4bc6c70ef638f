package userspace

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"time"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/esp"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/packet"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/spd"
)

// receiver is the goroutine from one socket to the TUN device.
type receiver struct {
	b      *Backend
	socket Socket
	in     []Received
	bufs   [][]byte // whole buffers
	ready  [][]byte // the first few of bufs, cut to their packets
	now    int64    // Unix seconds of this batch
}

func newReceiver(b *Backend, s Socket) *receiver {
	r := &receiver{b: b, socket: s, in: make([]Received, inBatch), ready: make([][]byte, 0, inBatch)}
	for range inBatch {
		// An offloading device appends what follows in a stream to the first packet's buffer, up to a packet's greatest length.
		r.bufs = append(r.bufs, make([]byte, inOffset+maxPacket+tailroom))
	}
	return r
}

// errorPause keeps a socket or device that only fails from taking a whole processor.
const errorPause = 5 * time.Millisecond

// run receives until the socket is closed.
func (r *receiver) run() {
	for {
		n, err := r.socket.Receive(r.in)
		if errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(errorPause)
			continue
		}
		r.batch(n)
	}
}

func (r *receiver) batch(n int) {
	r.now = time.Now().Unix()
	for i := range n {
		if buf := r.packet(&r.in[i], r.bufs[len(r.ready)]); buf != nil {
			r.ready = append(r.ready, buf)
		}
	}
	if len(r.ready) > 0 {
		if _, err := r.b.device.Write(r.ready, inOffset); err != nil {
			r.b.drops.deliver.Add(1)
		}
		clear(r.ready)
		r.ready = r.ready[:0]
	}
}

// packet takes one ESP packet through RFC 4301 section 5.2 and returns the part of buf that begins with inOffset free octets and the inner packet; nil
// when there is nothing to deliver.
func (r *receiver) packet(in *Received, buf []byte) []byte {
	if len(in.ESP) < 8 {
		if len(in.ESP) != 1 || in.ESP[0] != 0xff { // RFC 3948 section 2.3: a keepalive
			r.b.drops.malformed.Add(1)
		}
		return nil
	}
	p := r.b.sa.get(binary.BigEndian.Uint32(in.ESP))
	if p == nil {
		r.b.drops.unknownSPI.Add(1)
		return nil
	}
	at := inOffset
	if p.Mode == plan.ModeTransport {
		at += headerLen(in)
	}
	p.inMu.Lock()
	payload, next, err := p.in.Open(buf[at:], in.ESP)
	newest := err == nil && uint64(uint32(p.in.Top())) == uint64(binary.BigEndian.Uint32(in.ESP[4:]))
	p.inMu.Unlock()
	if err != nil {
		r.refused(p, err)
		return nil
	}
	if newest && p.Encap && r.socket.Encap() {
		r.mapping(p, in)
	}
	p.counters.lastIn.Store(r.now)
	if next == esp.NextDummy { // RFC 4303 section 2.6
		return nil
	}
	n := r.inner(p, in, buf, payload, next)
	if n == 0 {
		return nil
	}
	c := &p.counters
	r.b.limits(p, c.bytesIn.Add(uint64(n)), c.packetsIn.Add(1))
	return buf[:inOffset+n]
}

// inner checks and completes the packet at buf[inOffset:] and returns its length, 0 when it was dropped.
func (r *receiver) inner(p *pair, in *Received, buf, payload []byte, next uint8) int {
	whole := payload
	if p.Mode == plan.ModeTransport {
		whole = buf[inOffset : inOffset+headerLen(in)+len(payload)]
		if !header(whole, in, p.path.Load(), next) {
			p.counters.errors.Add(1)
			r.b.drops.malformed.Add(1)
			return 0
		}
	}
	h, err := packet.Parse(whole)
	if err != nil || p.Mode == plan.ModeTunnel && h.Version != familyOf(next) {
		p.counters.errors.Add(1)
		r.b.drops.malformed.Add(1)
		return 0
	}
	if !spd.Covers(p.TSLocal, p.TSRemote, spd.Inbound(h.Flow)) {
		p.counters.errors.Add(1)
		r.b.drops.selectors.Add(1)
		return 0
	}
	if p.Mode == plan.ModeTransport {
		if p.Encap {
			packet.FixChecksum(whole, h)
		}
		return h.Len
	}
	tos, keep := packet.Decapsulate(h.TOS, in.TOS)
	if !keep {
		r.b.drops.ecn.Add(1)
		return 0
	}
	if tos != h.TOS {
		packet.SetTOS(whole, tos)
	}
	return h.Len // RFC 4303 section 2.7: what follows is traffic flow padding
}

func headerLen(in *Received) int {
	if in.From.Addr().Is6() {
		return packet.IPv6Len
	}
	return packet.IPv4Len
}

// header writes the IP header that transport mode took off: the outer addresses as they came, the protocol that ESP carried.
func header(b []byte, in *Received, where *path, next uint8) bool {
	if in.From.Addr().BitLen() != where.local.Addr().BitLen() {
		return false
	}
	packet.PutHeader(b, in.From.Addr(), where.local.Addr(), next, in.TOS)
	return true
}

func (r *receiver) refused(p *pair, err error) {
	p.counters.errors.Add(1)
	switch {
	case errors.Is(err, esp.ErrReplay):
		r.b.drops.replay.Add(1)
	case errors.Is(err, esp.ErrIntegrity):
		r.b.drops.integrity.Add(1)
	default:
		r.b.drops.malformed.Add(1)
	}
}

// mapping tells, at most once a second for a pair, that authentic ESP came from elsewhere (RFC 7296 section 2.23). Only the newest packet counts: an old one
// that somebody held back must not turn traffic round (RFC 3948 section 2.2, UE-06).
func (r *receiver) mapping(p *pair, in *Received) {
	if in.From == p.path.Load().remote {
		return
	}
	if said := p.mappingSaid.Load(); said != nil && *said == in.From || r.now == p.mappingAt.Load() {
		return
	}
	from := in.From
	p.mappingSaid.Store(&from)
	p.mappingAt.Store(r.now)
	r.b.events.add(backend.Mapping{SPIIn: p.SPIIn, Remote: from})
}
