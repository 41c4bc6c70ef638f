package simnet

import (
	"bytes"
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Link is how one direction between two addresses behaves. The zero value delivers everything at once and in order.
type Link struct {
	// Loss, Duplicate and Reorder are probabilities from 0 to 1. Loss counts for each IP packet. A reordered datagram
	// is delayed by up to three times Delay plus Jitter more than it would be.
	Loss, Duplicate, Reorder float64
	// Delay is the time on the way; up to Jitter is added to it.
	Delay, Jitter time.Duration
	// MTU is the largest IP packet in octets, headers included; 0 means no bound. A longer datagram goes in IP
	// fragments, each of which may be lost, or not at all if DropFragments is set.
	MTU           int
	DropFragments bool
	// Down loses everything.
	Down bool
}

// Datagram is a UDP datagram as it arrives: To is the receiving host's own address, From what the receiver sees.
type Datagram struct {
	From, To netip.AddrPort
	Data     []byte
}

// Stats counts datagrams.
type Stats struct {
	Sent       int // calls of Send
	Delivered  int // given out by Deliver, duplicates included
	Lost       int // by Loss or Down
	Duplicated int
	Reordered  int
	TooLong    int // beyond the MTU with DropFragments
	Filtered   int // refused by a NAT, or sent to an inside address from outside
	Overflowed int // beyond MaxInFlight
}

// MaxInFlight is how many datagrams may be on their way; what comes on top is lost.
const MaxInFlight = 1 << 16

// Net is the network. Make one with New.
type Net struct {
	rng   *rand.Rand
	def   Link
	links map[pair]Link
	nats  []*NAT
	queue queue
	seq   uint64
	stats Stats
}

// pair names one direction of a link by the addresses that a sender writes.
type pair struct{ from, to netip.Addr }

// New makes a network with nothing in it. Print the seed in the test's log.
func New(seed uint64) *Net {
	return &Net{rng: rand.New(rand.NewPCG(seed, 0x7472696b65)), links: make(map[pair]Link)}
}

// SetDefault sets what links do that SetLink does not name. Datagrams already on their way keep their fate.
func (n *Net) SetDefault(l Link) { n.def = l }

// SetLink sets the direction from one address to another, both as the sender writes them: its own address and, for a
// host behind a NAT, the NAT's outside address as the destination.
func (n *Net) SetLink(from, to netip.Addr, l Link) { n.links[pair{from, to}] = l }

// ClearLink makes the direction follow the default again.
func (n *Net) ClearLink(from, to netip.Addr) { delete(n.links, pair{from, to}) }

// Stats gives the counts so far.
func (n *Net) Stats() Stats { return n.stats }

// InFlight is how many datagrams are on their way.
func (n *Net) InFlight() int { return len(n.queue) }

// Send puts a datagram on its way at now. The data is copied.
func (n *Net) Send(now time.Time, from, to netip.AddrPort, data []byte) {
	n.stats.Sent++
	link, named := n.links[pair{from.Addr(), to.Addr()}]
	if !named {
		link = n.def
	}
	// Every datagram draws the same number of random values whatever its fate, so that one link's change does not
	// shift the fate of all that follows.
	lost, dup, late := n.rng.Float64(), n.rng.Float64(), n.rng.Float64()
	jitter, jitter2, detour := n.rng.Float64(), n.rng.Float64(), n.rng.Float64()

	src, ok := n.leave(now, from, to)
	if !ok {
		n.stats.Filtered++
		return
	}
	packets := link.packets(len(data), to.Addr())
	switch {
	case link.Down || lost < lossOf(link.Loss, packets):
		n.stats.Lost++
		return
	case packets > 1 && link.DropFragments:
		n.stats.TooLong++
		return
	}
	at := now.Add(link.Delay + time.Duration(jitter*float64(link.Jitter)))
	if late < link.Reorder {
		n.stats.Reordered++
		at = at.Add(time.Duration(3 * detour * float64(link.Delay+link.Jitter)))
	}
	n.enqueue(at, src, to, data)
	if dup < link.Duplicate {
		n.stats.Duplicated++
		n.enqueue(now.Add(link.Delay+time.Duration(jitter2*float64(link.Jitter))), src, to, data)
	}
}

// lossOf is the probability that at least one of some IP packets is lost.
func lossOf(one float64, packets int) float64 {
	all := 1.0
	for range packets {
		all *= 1 - one
	}
	return 1 - all
}

// packets is how many IP packets a datagram of size octets to an address takes.
func (l *Link) packets(size int, to netip.Addr) int {
	const udp, ip4, ip6, fragmentHeader = 8, 20, 40, 8
	size += udp
	header, room := ip4, l.MTU-ip4
	if !to.Unmap().Is4() {
		header, room = ip6, l.MTU-ip6-fragmentHeader
	}
	if l.MTU <= 0 || header+size <= l.MTU {
		return 1
	}
	room -= room % 8
	if room < 8 {
		return 1 << 10 // no MTU that IP could use: lost for certain with any loss at all
	}
	return (size + room - 1) / room
}

func (n *Net) enqueue(at time.Time, from, to netip.AddrPort, data []byte) {
	if len(n.queue) >= MaxInFlight {
		n.stats.Overflowed++
		return
	}
	n.seq++
	heap.Push(&n.queue, flight{at: at, seq: n.seq, Datagram: Datagram{From: from, To: to, Data: bytes.Clone(data)}})
}

// NextDelivery is when Deliver will have something to give; ok is false when nothing is on its way.
func (n *Net) NextDelivery() (at time.Time, ok bool) {
	if len(n.queue) == 0 {
		return time.Time{}, false
	}
	return n.queue[0].at, true
}

// Deliver gives what has arrived by now, in the order of arrival. The data belongs to the caller.
func (n *Net) Deliver(now time.Time) []Datagram {
	var out []Datagram
	for len(n.queue) > 0 && !n.queue[0].at.After(now) {
		f := heap.Pop(&n.queue).(flight)
		to, ok := n.arrive(f.at, f.From, f.To)
		if !ok {
			n.stats.Filtered++
			continue
		}
		f.To = to
		n.stats.Delivered++
		out = append(out, f.Datagram)
	}
	return out
}

// flight is a datagram on its way.
type flight struct {
	at  time.Time
	seq uint64 // keeps the order of what arrives at one time
	Datagram
}

// queue is a heap by time of arrival.
type queue []flight

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].at.Equal(q[j].at) {
		return q[i].seq < q[j].seq
	}
	return q[i].at.Before(q[j].at)
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is for package heap.
func (q *queue) Push(x any) { *q = append(*q, x.(flight)) }

// Pop is for package heap.
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = flight{}
	*q = old[:len(old)-1]
	return last
}
