package userspace

import (
	"errors"
	"math"
	"os"
	"time"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/esp"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/packet"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/spd"
)

// sender is the goroutine from the TUN device to the sockets. There is one, so packets of an SA stay in order.
type sender struct {
	b          *Backend
	bufs       [][]byte
	sizes      []int
	now        time.Time // of this batch
	out        []Datagram
	socket     Socket // of out
	replies    [][]byte
	patience   bucket
	cache      []decision
	generation uint64 // of cache
}

// decision is what was decided for a flow.
type decision struct {
	flow packet.Flow
	pair *pair
}

const cacheSize = 1024

func newSender(b *Backend) *sender {
	s := &sender{b: b, cache: make([]decision, cacheSize), patience: bucket{rate: 200, depth: 50}}
	n := b.device.BatchSize()
	s.sizes = make([]int, n)
	for range n {
		s.bufs = append(s.bufs, make([]byte, headroom+maxPacket+tailroom))
	}
	s.out = make([]Datagram, 0, n)
	return s
}

// run reads until the device is closed.
func (s *sender) run() {
	for {
		n, err := s.b.device.Read(s.bufs, s.sizes, headroom)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil && n == 0 {
			// A packet that the device could not split, say. The device itself is gone only when it was closed.
			s.b.drops.malformed.Add(1)
			time.Sleep(errorPause)
			continue
		}
		s.batch(n)
	}
}

func (s *sender) batch(n int) {
	s.now = time.Now()
	if g := s.b.generation.Load(); g != s.generation {
		clear(s.cache)
		s.generation = g
	}
	for i := range n {
		s.packet(s.bufs[i], s.sizes[i])
	}
	s.flush()
	if len(s.replies) > 0 {
		if _, err := s.b.device.Write(s.replies, inOffset); err != nil {
			s.b.drops.deliver.Add(1)
		}
		clear(s.replies)
		s.replies = s.replies[:0]
	}
}

// packet takes one inner packet of n octets at buf[headroom:] through RFC 4301 section 5.1.
func (s *sender) packet(buf []byte, n int) {
	inner := buf[headroom : headroom+n]
	h, err := packet.Parse(inner)
	if err != nil {
		s.b.drops.malformed.Add(1)
		return
	}
	p := s.find(inner, &h)
	if p == nil {
		return
	}
	where := p.path.Load()
	if loops(&h, where) {
		s.b.drops.loop.Add(1)
		return
	}
	if p.Mode == plan.ModeTransport {
		s.transport(p, where, buf, h)
		return
	}
	s.tunnel(p, where, buf, h)
}

// find is the SA that carries a packet; nil when it was dropped.
func (s *sender) find(inner []byte, h *packet.Header) *pair {
	slot := &s.cache[slotOf(h.Flow)]
	if slot.pair != nil && slot.flow == h.Flow {
		return slot.pair
	}
	sides := spd.Outbound(h.Flow)
	c, ok := s.b.table.Load().Lookup(sides)
	switch {
	case !ok:
		s.b.drops.noPolicy.Add(1)
		s.reply(packet.Prohibited, inner, h)
		return nil
	case c.group == nil:
		s.b.drops.bypass.Add(1)
		s.reply(packet.Prohibited, inner, h)
		return nil
	}
	for _, p := range *c.group.sending.Load() {
		if spd.Covers(p.TSLocal, p.TSRemote, sides) {
			*slot = decision{h.Flow, p}
			return p
		}
	}
	s.b.drops.noSA.Add(1)
	s.acquire(c, sides)
	return nil
}

func slotOf(f packet.Flow) int {
	a, b := f.Src.As16(), f.Dst.As16()
	x := uint32(f.SrcPort)<<16 ^ uint32(f.DstPort) ^ uint32(f.Protocol)<<8
	for i := 0; i < 16; i += 4 {
		x = (x^uint32(a[i])<<24^uint32(a[i+1])<<16^uint32(a[i+2])<<8^uint32(a[i+3]))*0x9e3779b1 + uint32(b[i])<<24 + uint32(b[i+1])<<16 + uint32(b[i+2])<<8 + uint32(b[i+3])
	}
	return int(x * 0x9e3779b1 >> 22)
}

// acquire says at most once a second that a child wants an SA.
func (s *sender) acquire(c *child, sides spd.Sides) {
	last, now := c.group.acquireAt.Load(), s.now.UnixNano()
	if last != 0 && now-last < int64(time.Second) || !c.group.acquireAt.CompareAndSwap(last, now) {
		return
	}
	local, remote := spd.Selectors(sides)
	s.b.events.add(backend.Acquire{Connection: c.protect.Connection, Child: c.protect.Child, TSLocal: local, TSRemote: remote})
}

// loops tells our own ESP or IKE towards the peer, which a route has led back into the TUN device.
func loops(h *packet.Header, where *path) bool {
	if h.Dst != where.remote.Addr() || h.Src != where.local.Addr() {
		return false
	}
	return h.Protocol == packet.ESP || h.Protocol == packet.UDP && h.HasPorts && (h.SrcPort == 500 || h.SrcPort == 4500)
}

// tunnel puts the whole packet into ESP.
func (s *sender) tunnel(p *pair, where *path, buf []byte, h packet.Header) {
	next, least := uint8(esp.NextIPv4), minMTU4
	if h.Version == 6 {
		next, least = esp.NextIPv6, minMTU6
	}
	room := p.out.Capacity(where.room(s.now.Unix()))
	whole := h.Len <= room
	if !whole && room < least && h.Len <= least {
		whole = true // RFC 8200 section 5 and its like: this much must pass, if need be in outer fragments
	}
	switch {
	case whole:
		s.seal(p, where, buf, headroom, h.Len, h.Len, next, h.TOS, h.Len > room)
	case h.DontFragment:
		s.b.drops.tooBig.Add(1)
		s.tooBig(buf[headroom:], &h, max(room, least))
	default:
		// RFC 4301 section 7: fragmented before ESP, so that the peer's gateway need not reassemble.
		packet.Fragment(buf[headroom:headroom+h.Len], h, max(room, least), func(f []byte) {
			scratch := make([]byte, headroom+len(f)+tailroom)
			copy(scratch[headroom:], f)
			s.seal(p, where, scratch, headroom, len(f), len(f), next, h.TOS, len(f) > room)
		})
	}
}

// transport puts what follows the IP header into ESP; the sockets write an IP header of their own, with the same addresses.
//
// RFC 4303 section 3.3.4: transport mode takes whole datagrams only. Options and extension headers would be lost, so their packets are dropped.
func (s *sender) transport(p *pair, where *path, buf []byte, h packet.Header) {
	if h.Fragment || h.Options || h.Protocol == esp.NextDummy || h.Src != where.local.Addr() || h.Dst != where.remote.Addr() {
		s.b.drops.unsupported.Add(1)
		return
	}
	room := p.out.Capacity(where.room(s.now.Unix()))
	body := h.Len - h.IPLen
	least := minMTU4
	if h.Version == 6 {
		least = minMTU6
	}
	if body > room && h.DontFragment && h.Len > least {
		s.b.drops.tooBig.Add(1)
		s.tooBig(buf[headroom:], &h, max(room+h.IPLen, least))
		return
	}
	s.seal(p, where, buf, headroom+h.IPLen, body, h.Len, h.Protocol, h.TOS, body > room)
}

// seal encrypts the n octets at buf[off:] and queues them. inner is what counts against the SA's limits.
func (s *sender) seal(p *pair, where *path, buf []byte, off, n, inner int, next, tos uint8, mayFragment bool) {
	p.outMu.Lock()
	pkt, err := p.out.Seal(buf, off, n, next)
	left := p.out.Left()
	p.outMu.Unlock()
	if err != nil {
		if errors.Is(err, esp.ErrExhausted) {
			s.b.expire(p) // RFC 4303 section 3.3.3: no packet leaves with a number that was used
		}
		return
	}
	if s.socket != where.socket || len(s.out) == cap(s.out) {
		s.flush()
		s.socket = where.socket
	}
	s.out = append(s.out, Datagram{To: where.remote, From: where.local.Addr(), TOS: packet.OuterTOS(tos), ESP: pkt, MayFragment: mayFragment})
	c := &p.counters
	s.b.limits(p, c.bytesOut.Add(uint64(inner)), c.packetsOut.Add(1))
	if left < exhaustionWarning && !p.exhaustedSaid.Swap(true) {
		s.b.soft(p)
	}
}

// exhaustionWarning is how many packets before the end of the sequence numbers a rekey is asked for.
const exhaustionWarning = math.MaxUint32 / 8

func (s *sender) flush() {
	if len(s.out) == 0 {
		return
	}
	if lost := s.socket.Send(s.out); lost > 0 {
		s.b.drops.send.Add(uint64(lost))
	}
	clear(s.out)
	s.out = s.out[:0]
}

// reply answers a packet with an ICMP error, if there is patience left.
func (s *sender) reply(make func(dst, b []byte, h packet.Header) []byte, inner []byte, h *packet.Header) {
	if !s.patience.take(s.now) {
		return
	}
	if m := make(newReply(), inner, *h); len(m) > inOffset {
		s.replies = append(s.replies, m)
	}
}

func (s *sender) tooBig(inner []byte, h *packet.Header, mtu int) {
	s.reply(func(dst, b []byte, h packet.Header) []byte { return packet.TooBig(dst, b, h, mtu) }, inner, h)
}

func newReply() []byte { return make([]byte, inOffset, inOffset+minMTU6) }

// bucket bounds how often something is done: so many a second, and so many at once.
type bucket struct {
	rate, depth float64
	level       float64
	last        time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.level = min(b.depth, b.level+now.Sub(b.last).Seconds()*b.rate)
	b.last = now
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}

// limits compares what one direction of a pair has carried with its lifetime.
func (b *Backend) limits(p *pair, bytes, packets uint64) {
	l := &p.Lifetime
	if reached(bytes, l.HardBytes) || reached(packets, l.HardPackets) {
		b.expire(p)
		return
	}
	if (reached(bytes, l.RekeyBytes) || reached(packets, l.RekeyPackets)) && !p.softSaid.Load() {
		b.soft(p)
	}
}

func reached(n, limit uint64) bool { return limit != 0 && n >= limit }

// soft asks for a new pair in place of p, once.
func (b *Backend) soft(p *pair) {
	if !p.softSaid.Swap(true) {
		b.events.add(backend.Expire{SPIIn: p.SPIIn})
	}
}

// familyOf is what a packet's version must be for a Next Header of tunnel mode; 0 for any other.
func familyOf(next uint8) int {
	switch next {
	case esp.NextIPv4:
		return 4
	case esp.NextIPv6:
		return 6
	}
	return 0
}
