package engine

import (
	"crypto/sha1"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
)

// natHash is the data of a NAT detection notify: SHA-1(SPIi | SPIr | address | port) (RFC 7296 section 2.23). It protects nothing.
func natHash(spiI, spiR uint64, a netip.AddrPort) []byte {
	b := binary.BigEndian.AppendUint64(nil, spiI)
	b = binary.BigEndian.AppendUint64(b, spiR)
	b = append(b, a.Addr().AsSlice()...)
	h := sha1.Sum(binary.BigEndian.AppendUint16(b, a.Port()))
	return h[:]
}

// natNotifies tell the peer where we believe the two ends to be. With forced encapsulation the source is a lie that no address meets, so
// that the peer takes us to be behind a NAT.
func (e *Engine) natNotifies(sa *ikeSA, force bool) []wire.Payload {
	source := natHash(sa.spiI, sa.spiR, sa.local)
	if force {
		source = e.random(sha1.Size)
	}
	return []wire.Payload{
		wire.NotifyStatus(ikev2.NAT_DETECTION_SOURCE_IP, source),
		wire.NotifyStatus(ikev2.NAT_DETECTION_DESTINATION_IP, natHash(sa.spiI, sa.spiR, sa.remote)),
	}
}

// detectNAT compares where the peer believes the ends to be with where we see them.
func (sa *ikeSA) detectNAT(ps []wire.Payload, spiR uint64, force bool) {
	sources, sourceFits := 0, false
	for n := range wire.Notifies(ps, ikev2.NAT_DETECTION_SOURCE_IP) {
		sources++
		sourceFits = sourceFits || string(n.Data) == string(natHash(sa.spiI, spiR, sa.remote))
	}
	dest := wire.FindNotify(ps, ikev2.NAT_DETECTION_DESTINATION_IP)
	if sources == 0 || dest == nil {
		return // the peer does not do NAT traversal
	}
	sa.natRemote = !sourceFits
	sa.natLocal = string(dest.Data) != string(natHash(sa.spiI, spiR, sa.local))
	sa.encap = sa.natLocal || sa.natRemote || force
}

// float moves the initiator to port 4500 for all that follows (TR-06).
func (sa *ikeSA) float() {
	if sa.encap && sa.local.Port() == portIKE {
		sa.local = netip.AddrPortFrom(sa.local.Addr(), portNATT)
		sa.remote = netip.AddrPortFrom(sa.remote.Addr(), portNATT)
	}
}

// follow takes over the address that an authentic, fresh request came from: before the SA is up (the initiator has moved to 4500), or when the
// peer is behind a NAT whose mapping changed (RFC 7296 section 2.23). A host that is not behind a NAT does not move.
func (e *Engine) follow(sa *ikeSA, d Datagram) {
	if sa.remote == d.Remote && sa.local == d.Local {
		return
	}
	if sa.state < stateUp || sa.mayMove(d.Remote) {
		sa.local = d.Local
		e.move(sa, d.Remote)
	}
}

// mayMove: the peer is behind a NAT and we are not, and the plan lets it be there.
func (sa *ikeSA) mayMove(remote netip.AddrPort) bool {
	if !sa.natRemote || sa.natLocal || sa.conn == nil {
		return false
	}
	fixed := sa.conn.cfg.Remote.Address
	return !fixed.IsValid() || fixed == remote.Addr()
}

// move sends all that follows, ESP too, to where the peer is now.
func (e *Engine) move(sa *ikeSA, remote netip.AddrPort) {
	sa.remote = remote
	for _, ch := range sa.children {
		if ch.encap {
			m := &msg.UpdateChild{SPIIn: ch.spiIn, Local: sa.local, Remote: sa.remote}
			e.askXFRM(sa, m, &m.Req, func(msg.Message) {})
		}
	}
}

// mapping: authentic ESP came from another address, before any IKE packet did.
func (e *Engine) mapping(m *msg.Mapping) {
	ch := e.childIn(m.SPIIn)
	if ch == nil || !ch.encap || !m.Remote.IsValid() || m.Remote == ch.sa.remote || ch.sa.state != stateUp || !ch.sa.mayMove(m.Remote) {
		return
	}
	e.move(ch.sa, m.Remote)
}

// keepalives keep the NAT in front of us from forgetting the mapping (RFC 3948 section 4).
func (e *Engine) keepalives(sa *ikeSA) {
	sa.timers.keepalive.stop()
	if sa.conn == nil || sa.conn.cfg.Keepalive == 0 || !sa.natLocal {
		return
	}
	every := time.Duration(sa.conn.cfg.Keepalive) * time.Second
	sa.timers.keepalive = e.after(every, func() {
		if e.now.Sub(sa.lastOut) >= every {
			e.emit(Send{Local: sa.local, Remote: sa.remote, Data: []byte{0xff}})
			sa.lastOut = e.now
		}
		e.keepalives(sa)
	})
}

// natText is what status calls it.
func (sa *ikeSA) natText() string {
	switch {
	case sa.natLocal && sa.natRemote:
		return "both"
	case sa.natLocal:
		return "local"
	case sa.natRemote:
		return "remote"
	}
	return "none"
}
