// Package spd finds the policy of a packet: a security policy database (RFC 4301 section 4.4.1) over prefix tables, immutable, so that packets read one
// version while the next is built.
//
//	b := spd.NewBuilder[*child]()
//	b.Add(child, priority, localTS, remoteTS)
//	t := b.Table()
//	c, ok := t.Lookup(spd.Outbound(flow))
package spd

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/packet"
)

// Sides is a packet as selectors see it: from this gateway's side of the SA.
type Sides struct {
	Local, Remote         netip.Addr
	Protocol              uint8
	HasPorts              bool
	LocalPort, RemotePort uint16
}

// Outbound is a packet on its way to the peer.
func Outbound(f packet.Flow) Sides {
	return Sides{f.Src, f.Dst, f.Protocol, f.HasPorts, f.SrcPort, f.DstPort}
}

// Inbound is a packet that came from the peer.
func Inbound(f packet.Flow) Sides {
	return Sides{f.Dst, f.Src, f.Protocol, f.HasPorts, f.DstPort, f.SrcPort}
}

// entry is one remote selector of a policy with all local selectors that go with it. Entries hang on the remote prefix.
type entry[T any] struct {
	value           T
	priority        uint32
	order           int // of Add, which decides between equal priorities under one prefix
	protocol        uint8
	portFirst, last uint16
	local           []plan.Selector
}

// Table is a finished database. The zero Table has no policies.
type Table[T any] struct {
	byRemote *bart.Table[[]entry[T]]
	entries  int
	order    int
}

// Len is how many pairs of remote selector and policy stand.
func (t *Table[T]) Len() int { return t.entries }

// Lookup finds the policy with the lowest priority number that the packet fits. Between equal numbers the longer remote prefix wins, then the one added
// first.
func (t *Table[T]) Lookup(s Sides) (value T, ok bool) {
	if t.byRemote == nil {
		return value, false
	}
	best := uint32(0)
	for _, list := range t.byRemote.Supernets(netip.PrefixFrom(s.Remote, s.Remote.BitLen())) {
		for i := range list {
			e := &list[i]
			if ok && e.priority >= best {
				break // sorted by priority
			}
			if e.fits(s) {
				value, best, ok = e.value, e.priority, true
				break
			}
		}
	}
	return value, ok
}

func (e *entry[T]) fits(s Sides) bool {
	if e.protocol != 0 && e.protocol != s.Protocol || !portFits(e.portFirst, e.last, s.RemotePort, s.HasPorts) {
		return false
	}
	for i := range e.local {
		l := &e.local[i]
		if (l.Protocol == 0 || l.Protocol == s.Protocol) && portFits(l.PortFirst, l.PortLast, s.LocalPort, s.HasPorts) && l.Prefix.Contains(s.Local) {
			return true
		}
	}
	return false
}

// portFits obeys RFC 4301 section 4.4.1.1: 0 to 65535 is ANY, which also covers packets without a port; 65535 to 0 is OPAQUE, which covers only
// those (RFC 7296 section 3.13.1).
func portFits(first, last, port uint16, has bool) bool {
	switch {
	case first == 0 && last == 0xffff:
		return true
	case first == 0xffff && last == 0:
		return !has
	}
	return has && first <= port && port <= last
}

// Builder collects policies for a Table. It starts empty or from a table, which stays as it is.
type Builder[T any] struct{ t Table[T] }

// NewBuilder starts with no policies.
func NewBuilder[T any]() *Builder[T] {
	return &Builder[T]{Table[T]{byRemote: new(bart.Table[[]entry[T]])}}
}

// Extend is t with one more policy. t stays as it is and shares memory with the result.
func (t *Table[T]) Extend(value T, priority uint32, local, remote []plan.Selector) *Table[T] {
	n := *t
	if n.byRemote == nil {
		n.byRemote = new(bart.Table[[]entry[T]])
	}
	for _, r := range remote {
		if e, ok := n.newEntry(value, priority, local, r); ok {
			n.byRemote = n.byRemote.ModifyPersist(r.Prefix, func(list []entry[T], _ bool) ([]entry[T], bool) { return insert(slices.Clone(list), e), false })
		}
	}
	return &n
}

// Add puts in every pair of one local and one remote selector of the same family whose protocols meet. Prefixes are valid and masked.
func (b *Builder[T]) Add(value T, priority uint32, local, remote []plan.Selector) {
	for _, r := range remote {
		if e, ok := b.t.newEntry(value, priority, local, r); ok {
			b.t.byRemote.Modify(r.Prefix, func(list []entry[T], _ bool) ([]entry[T], bool) { return insert(list, e), false })
		}
	}
}

// Table is what was collected; the Builder must not be used after it.
func (b *Builder[T]) Table() *Table[T] { return &b.t }

func (t *Table[T]) newEntry(value T, priority uint32, local []plan.Selector, r plan.Selector) (entry[T], bool) {
	e := entry[T]{value: value, priority: priority, order: t.order, protocol: r.Protocol, portFirst: r.PortFirst, last: r.PortLast}
	for _, l := range local {
		if l.Prefix.Addr().Is4() == r.Prefix.Addr().Is4() && (l.Protocol == r.Protocol || l.Protocol == 0 || r.Protocol == 0) {
			e.local = append(e.local, l)
		}
	}
	if len(e.local) == 0 {
		return e, false
	}
	t.order++
	t.entries++
	return e, true
}

func insert[T any](list []entry[T], e entry[T]) []entry[T] {
	at, _ := slices.BinarySearchFunc(list, e, func(a, b entry[T]) int {
		if a.priority != b.priority {
			if a.priority < b.priority {
				return -1
			}
			return 1
		}
		return a.order - b.order
	})
	return slices.Insert(list, at, e)
}

// Covers reports whether a packet fits one local and one remote selector of an SA (RFC 4301 section 5.2 step 4, and the choice of an SA on the way
// out).
func Covers(local, remote []msg.TS, s Sides) bool {
	return side(local, s.Local, s.LocalPort, s) && side(remote, s.Remote, s.RemotePort, s)
}

func side(list []msg.TS, a netip.Addr, port uint16, s Sides) bool {
	for i := range list {
		t := &list[i]
		if (t.Protocol == 0 || t.Protocol == s.Protocol) && t.First.BitLen() == a.BitLen() && t.First.Compare(a) <= 0 && a.Compare(t.Last) <= 0 &&
			portFits(t.PortFirst, t.PortLast, port, s.HasPorts) {
			return true
		}
	}
	return false
}

// Selectors are a packet's own traffic selectors, as an Acquire carries them (RFC 7296 section 2.9).
func Selectors(s Sides) (local, remote msg.TS) {
	one := func(a netip.Addr, port uint16) msg.TS {
		if !s.HasPorts {
			return msg.TS{Protocol: s.Protocol, PortFirst: 0, PortLast: 0xffff, First: a, Last: a}
		}
		return msg.TS{Protocol: s.Protocol, PortFirst: port, PortLast: port, First: a, Last: a}
	}
	return one(s.Local, s.LocalPort), one(s.Remote, s.RemotePort)
}
