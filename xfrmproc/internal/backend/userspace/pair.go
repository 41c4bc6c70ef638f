package userspace

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/esp"
)

// pair is two SAs, one each way. The control goroutine makes and removes it, packets use it meanwhile.
type pair struct {
	backend.Pair // without keys
	group        *group
	serial       uint64 // rises with each install: Dump and preference are stable

	path atomic.Pointer[path] // where it sends to; Move replaces it

	// The mutexes are all but uncontended: packets of one direction come through one goroutine, except where a peer sends both in UDP and without.
	outMu sync.Mutex
	out   *esp.Outbound
	inMu  sync.Mutex
	in    *esp.Inbound

	sends atomic.Bool // the outbound SA is in use
	gone  atomic.Bool // removed; a goroutine may still hold it

	counters                pairCounters
	softSaid, exhaustedSaid atomic.Bool
	mappingSaid             atomic.Pointer[netip.AddrPort]
	mappingAt               atomic.Int64 // Unix seconds of the last Mapping
	net                     *time.Timer  // the safety net of Lifetime.Hard
}

type pairCounters struct {
	bytesIn, bytesOut, packetsIn, packetsOut, errors atomic.Uint64
	lastIn                                           atomic.Int64
}

// path is where a pair's packets go. It is immutable but for the MTU, which it shares with every pair of the same peer address.
type path struct {
	local, remote netip.AddrPort
	socket        Socket
	overhead      int // outer IP and UDP headers, octets
	mtu           *pathMTU
}

// pathMTU is what is known of the path to one peer address. A learned value is forgotten after mtuAge, so that a better path shows
// (RFC 4301 section 8.2.2).
type pathMTU struct {
	value atomic.Int64
	until atomic.Int64 // Unix seconds
	users int          // paths; owned by the control goroutine
}

const mtuAge = 600 // seconds

// room is how many octets of ESP fit into one outer packet at this time (Unix seconds).
func (p *path) room(now int64) int {
	mtu := int64(defaultMTU)
	if now < p.mtu.until.Load() {
		mtu = p.mtu.value.Load()
	}
	return int(mtu) - p.overhead
}

// learn notes an MTU that the network reported, bounded below so that a forged report does little harm.
func (m *pathMTU) learn(mtu int, v6 bool, now int64) {
	least := minMTU4
	if v6 {
		least = minMTU6
	}
	m.value.Store(int64(min(max(mtu, least), maxPacket)))
	m.until.Store(now + mtuAge)
}

func outerOverhead(remote netip.Addr, encap bool) int {
	n := 20
	if remote.Is6() {
		n = 40
	}
	if encap {
		n += 8
	}
	return n
}

// group is the sending pairs of one child, tied by reqid, the one to use first in front.
type group struct {
	sending   atomic.Pointer[[]*pair]
	acquireAt atomic.Int64 // Unix nanoseconds of the last Acquire
	pairs     int          // all pairs, sending or not; owned by the control goroutine
}

// child is a policy as the policy table holds it: protection by a group of pairs, or a bypass.
type child struct {
	protect backend.Protect
	group   *group // nil for a bypass
}
