package guard

import (
	"net/netip"

	"github.com/trike-ipsec/trike/internal/msg"
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
	sas      map[uint32]SA
	children map[childName]counts
}

// Pending is an SPI that was handed out and not used yet.
type Pending struct {
	Connection, Child string
	Local, Remote     netip.Addr
}

// SA is a pair that stands.
type SA struct {
	Connection, Child string
	Encap             bool
	// Replaces is the inbound SPI that this pair took over from, 0 for none.
	Replaces uint32
	// Known is false for a pair found in the datapath, which the engine has not named since this process started.
	Known bool
}

type childName struct{ connection, child string }

type counts struct{ pending, sas int }

// NewState holds nothing.
func NewState() *State {
	return &State{pending: map[uint32]Pending{}, sas: map[uint32]SA{}, children: map[childName]counts{}}
}

// Allocated notes an SPI that the datapath reserved for m.
func (s *State) Allocated(spi uint32, m msg.AllocSPI) {
	s.Removed(spi)
	s.pending[spi] = Pending{m.Connection, m.Child, m.Local, m.Remote}
	s.add(m.Connection, m.Child, counts{pending: 1})
}

// Installed notes a pair that the datapath installed for m.
func (s *State) Installed(m msg.InstallChild) {
	s.Removed(m.SPIIn)
	s.sas[m.SPIIn] = SA{Connection: m.Connection, Child: m.Child, Encap: m.Encap, Replaces: m.Replaces, Known: true}
	s.add(m.Connection, m.Child, counts{sas: 1})
}

// Adopted notes a pair that was found in the datapath.
func (s *State) Adopted(spi uint32, connection, child string, encap bool) {
	s.Removed(spi)
	s.sas[spi] = SA{Connection: connection, Child: child, Encap: encap}
	s.add(connection, child, counts{sas: 1})
}

// Named notes that the engine knows of a pair that was found in the datapath, so it is no orphan.
func (s *State) Named(spi uint32) {
	if sa, ok := s.sas[spi]; ok && !sa.Known {
		sa.Known = true
		s.sas[spi] = sa
	}
}

// Forgotten notes that no engine knows any pair any more: a new ikeproc begins with nothing.
func (s *State) Forgotten() {
	for spi, sa := range s.sas {
		sa.Known = false
		s.sas[spi] = sa
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
	}
}

// Pending lists the SPIs that were handed out and not used, in no order.
func (s *State) Pending() []uint32 {
	out := make([]uint32, 0, len(s.pending))
	for spi := range s.pending {
		out = append(out, spi)
	}
	return out
}

// SA is the pair with this inbound SPI.
func (s *State) SA(spi uint32) (SA, bool) { sa, ok := s.sas[spi]; return sa, ok }

// SAs lists the inbound SPIs of a child's pairs, in no order.
func (s *State) SAs(connection, child string) []uint32 {
	var out []uint32
	if s.children[childName{connection, child}].sas == 0 {
		return nil
	}
	for spi, sa := range s.sas {
		if sa.Connection == connection && sa.Child == child {
			out = append(out, spi)
		}
	}
	return out
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
