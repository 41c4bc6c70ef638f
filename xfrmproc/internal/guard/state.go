package guard

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// Bounds on what a taken-over ikeproc can make the datapath hold: for a child with one known peer, for one that serves any, and
// for the gateway.
const (
	maxPendingFixed = 16
	maxPendingAny   = 4096
	maxPending      = 65536
	maxSAsFixed     = 16
	maxSAsAny       = 65536
)

// State is what has been allocated and installed. The zero value is not ready; NewState is.
type State struct {
	pending  map[uint32]Pending
	sas      map[uint32]*SA
	children map[childName]counts
	leases   map[netip.Addr]lease // by address of a pool, those of all pairs that stand
}

// lease is the youngest word of authproc's about an address.
type lease struct {
	session, serial uint64
	pairs           int
}

// Pending is an SPI that was handed out and not used yet.
type Pending struct {
	Connection, Child string
	Local, Remote     netip.Addr
}

// SA is a pair that stands.
type SA struct {
	Connection, Child string
	Local, Remote     netip.AddrPort
	Encap             bool
	// Known is false for a pair found in the datapath, which the engine has not named since the link to it began.
	Known bool
	// Later is true until the outbound SA is activated.
	Later bool
	// asked is the request that this pair was installed for, without grant and keys; nil for one found in the datapath.
	asked *msg.InstallChild
}

type childName struct{ connection, child string }

type counts struct{ pending, sas int }

// NewState holds nothing.
func NewState() *State {
	return &State{pending: map[uint32]Pending{}, sas: map[uint32]*SA{}, children: map[childName]counts{}, leases: map[netip.Addr]lease{}}
}

// Allocated notes an SPI that the datapath reserved for m.
func (s *State) Allocated(spi uint32, m *msg.AllocSPI) {
	s.Removed(spi)
	s.pending[spi] = Pending{m.Connection, m.Child, m.Local, m.Remote}
	s.add(m.Connection, m.Child, counts{pending: 1})
}

// Installed notes a pair that the datapath installed for m.
func (s *State) Installed(m *msg.InstallChild) {
	s.Removed(m.SPIIn)
	asked := *m
	for _, a := range m.Grant.Peer {
		l := s.leases[a]
		if l.pairs++; l.serial < m.Grant.Serial {
			l.session, l.serial = m.Grant.Session, m.Grant.Serial
		}
		s.leases[a] = l
	}
	asked.Grant = msg.Grant{Session: m.Grant.Session, Serial: m.Grant.Serial, Peer: m.Grant.Peer, Own: m.Grant.Own}
	asked.EncrIn, asked.IntegIn, asked.EncrOut, asked.IntegOut = secret.Bytes{}, secret.Bytes{}, secret.Bytes{}, secret.Bytes{}
	s.sas[m.SPIIn] = &SA{Connection: m.Connection, Child: m.Child, Local: m.Local, Remote: m.Remote, Encap: m.Encap,
		Known: true, Later: m.OutboundLater, asked: &asked}
	s.add(m.Connection, m.Child, counts{sas: 1})
}

// Adopted notes a pair that was found in the datapath.
func (s *State) Adopted(c backend.Carried) {
	s.Removed(c.SPIIn)
	s.sas[c.SPIIn] = &SA{Connection: c.Connection, Child: c.Child, Local: c.Local, Remote: c.Remote, Encap: c.Encap}
	s.add(c.Connection, c.Child, counts{sas: 1})
}

// Updated notes what the datapath did for m.
func (s *State) Updated(m *msg.UpdateChild) {
	sa := s.sas[m.SPIIn]
	if sa == nil {
		return
	}
	if m.Activate {
		sa.Later = false
	}
	if m.Local.IsValid() {
		sa.Local, sa.Remote = m.Local, m.Remote
	}
}

// Named notes that the engine knows of a pair, so it is no orphan.
func (s *State) Named(spi uint32) {
	if sa := s.sas[spi]; sa != nil {
		sa.Known = true
	}
}

// Forgotten notes that no engine knows any pair yet: a new link has begun.
func (s *State) Forgotten() {
	for _, sa := range s.sas {
		sa.Known = false
	}
}

// Removed forgets a pair or a reservation.
func (s *State) Removed(spi uint32) {
	if p, ok := s.pending[spi]; ok {
		delete(s.pending, spi)
		s.add(p.Connection, p.Child, counts{pending: -1})
	}
	if sa, ok := s.sas[spi]; ok {
		delete(s.sas, spi)
		s.add(sa.Connection, sa.Child, counts{sas: -1})
		s.unlease(sa)
	}
}

// unlease forgets what is known of a pair's addresses with the last pair that has them.
func (s *State) unlease(gone *SA) {
	if gone.asked == nil {
		return
	}
	for _, a := range gone.asked.Grant.Peer {
		l := s.leases[a]
		if l.pairs--; l.pairs <= 0 {
			delete(s.leases, a)
			continue
		}
		s.leases[a] = l
	}
}

// Pending lists the SPIs that were handed out and not used, sorted.
func (s *State) Pending() []uint32 {
	return slices.Sorted(maps.Keys(s.pending))
}

// SA is the pair with this inbound SPI, nil for none.
func (s *State) SA(spi uint32) *SA { return s.sas[spi] }

// Holds: the SPI is reserved or a pair's.
func (s *State) Holds(spi uint32) bool {
	_, pending := s.pending[spi]
	return pending || s.sas[spi] != nil
}

// SAs lists the inbound SPIs of all pairs, sorted.
func (s *State) SAs() []uint32 {
	return slices.Sorted(maps.Keys(s.sas))
}

// Orphans lists, sorted, the pairs that a pair just installed makes needless: those of the same child that the engine has not named since the
// link to it began. Where several peers may share an identity, only those with the same address.
func (s *State) Orphans(spi uint32, shared bool) []uint32 {
	sa := s.sas[spi]
	if sa == nil || s.count(sa.Connection, sa.Child).sas < 2 {
		return nil
	}
	var out []uint32
	for other, o := range s.sas {
		if !o.Known && o.Connection == sa.Connection && o.Child == sa.Child && (!shared || o.Remote.Addr() == sa.Remote.Addr()) && sa.sameLease(o) {
			out = append(out, other)
		}
	}
	slices.Sort(out)
	return out
}

// sameLease: the two carry the traffic of one peer's address, or of peers that have none from a pool.
func (sa *SA) sameLease(o *SA) bool {
	if sa.asked == nil || len(sa.asked.Grant.Peer) == 0 {
		return true
	}
	return o.asked != nil && slices.Equal(sa.asked.Grant.Peer, o.asked.Grant.Peer)
}

func (s *State) count(connection, child string) counts {
	return s.children[childName{connection, child}]
}

func (s *State) add(connection, child string, d counts) {
	k := childName{connection, child}
	n := s.children[k]
	n.pending += d.pending
	n.sas += d.sas
	if n == (counts{}) {
		delete(s.children, k)
		return
	}
	s.children[k] = n
}
