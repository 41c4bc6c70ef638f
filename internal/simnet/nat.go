package simnet

import (
	"net/netip"
	"time"
)

// NATConfig describes a NAT box (RFC 4787 names the behaviours).
type NATConfig struct {
	// Inside holds the hosts behind the box. They reach each other directly.
	Inside netip.Prefix
	// Outside is the box's address in the network.
	Outside netip.Addr
	// Symmetric gives each destination a mapping of its own (address and port-dependent mapping). Otherwise an inside
	// address and port keeps one outside port for all destinations.
	Symmetric bool
	// Open lets anybody use a mapping (endpoint-independent filtering). Otherwise only destinations that the inside
	// host has sent to can answer.
	Open bool
	// Timeout is how long a mapping lives after the last datagram from inside; 0 means for ever.
	Timeout time.Duration
}

// NAT is a NAT box in a Net.
type NAT struct {
	cfg      NATConfig
	next     uint16
	mappings []*mapping
}

// mapping is one outside port.
type mapping struct {
	inside netip.AddrPort
	to     netip.AddrPort // of a symmetric NAT
	port   uint16
	used   time.Time
	peers  []netip.AddrPort // who may answer
}

// firstPort is the first outside port that a box gives out.
const firstPort = 20000

// AddNAT puts a NAT box before the hosts of cfg.Inside.
func (n *Net) AddNAT(cfg NATConfig) *NAT {
	b := &NAT{cfg: cfg, next: firstPort}
	n.nats = append(n.nats, b)
	return b
}

// Rebind forgets every mapping, as a box does when it restarts. New ones get other ports and, if outside is valid, that
// address. Datagrams on their way to old mappings are lost.
func (b *NAT) Rebind(outside netip.Addr) {
	b.mappings = nil
	if outside.IsValid() {
		b.cfg.Outside = outside
	}
}

// Outside gives the address and port under which an inside address and port is seen by a destination, if it is mapped.
func (b *NAT) Outside(now time.Time, inside, to netip.AddrPort) (netip.AddrPort, bool) {
	if m := b.find(now, inside, to); m != nil {
		return netip.AddrPortFrom(b.cfg.Outside, m.port), true
	}
	return netip.AddrPort{}, false
}

// leave gives the source address that a datagram carries in the network, or false if no route leads there.
func (n *Net) leave(now time.Time, from, to netip.AddrPort) (netip.AddrPort, bool) {
	src, dst := n.boxOf(from.Addr()), n.boxOf(to.Addr())
	switch {
	case dst != nil && dst != src:
		return netip.AddrPort{}, false // an inside address means nothing outside
	case src == dst:
		return from, true // both outside, or both behind one box
	}
	m := src.find(now, from, to)
	if m == nil {
		m = src.add(from, to)
	}
	m.used = now
	m.allow(to)
	return netip.AddrPortFrom(src.cfg.Outside, m.port), true
}

// arrive gives the host that a datagram reaches, or false if a NAT refuses it.
func (n *Net) arrive(now time.Time, from, to netip.AddrPort) (netip.AddrPort, bool) {
	for _, b := range n.nats {
		if b.cfg.Outside != to.Addr() {
			continue
		}
		b.expire(now)
		for _, m := range b.mappings {
			if m.port == to.Port() && (b.cfg.Open || m.allows(from)) {
				return m.inside, true
			}
		}
		return netip.AddrPort{}, false
	}
	// A box that was rebound to another address leaves the old one without a host; whoever drives the network has none
	// there either.
	return to, true
}

// boxOf gives the box that an address is behind, or nil.
func (n *Net) boxOf(a netip.Addr) *NAT {
	for _, b := range n.nats {
		if b.cfg.Inside.Contains(a) {
			return b
		}
	}
	return nil
}

func (b *NAT) expire(now time.Time) {
	if b.cfg.Timeout == 0 {
		return
	}
	keep := b.mappings[:0]
	for _, m := range b.mappings {
		if now.Sub(m.used) < b.cfg.Timeout {
			keep = append(keep, m)
		}
	}
	clear(b.mappings[len(keep):])
	b.mappings = keep
}

func (b *NAT) find(now time.Time, inside, to netip.AddrPort) *mapping {
	b.expire(now)
	for _, m := range b.mappings {
		if m.inside == inside && (!b.cfg.Symmetric || m.to == to) {
			return m
		}
	}
	return nil
}

// add takes the next port that is free; they go round from firstPort to 65535.
func (b *NAT) add(inside, to netip.AddrPort) *mapping {
	for b.taken(b.next) && len(b.mappings) < 1<<16-firstPort {
		b.advance()
	}
	m := &mapping{inside: inside, to: to, port: b.next}
	b.advance()
	b.mappings = append(b.mappings, m)
	return m
}

func (b *NAT) advance() {
	b.next++
	if b.next == 0 {
		b.next = firstPort
	}
}

func (b *NAT) taken(port uint16) bool {
	for _, m := range b.mappings {
		if m.port == port {
			return true
		}
	}
	return false
}

func (m *mapping) allows(from netip.AddrPort) bool {
	for _, p := range m.peers {
		if p == from {
			return true
		}
	}
	return false
}

func (m *mapping) allow(to netip.AddrPort) {
	if !m.allows(to) {
		m.peers = append(m.peers, to)
	}
}
