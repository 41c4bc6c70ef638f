package kernel

import (
	"encoding/binary"
	"net/netip"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// saSpec is one direction of a pair.
type saSpec struct {
	dir         uint8 // saDirIn or saDirOut
	spi         uint32
	twin        uint32 // the other direction's SPI, kept in the kernel's seq field: that is how a pair is found again after a crash
	src, dst    netip.AddrPort
	encap       bool
	reqid       uint32
	mode        plan.Mode
	window      int
	lifetime    plan.Lifetime
	transform   msg.Transform
	encr, integ []byte
	sel         *selector // what the SA is for, where it is less than the policies say
}

// hardGrace is how long, in seconds after the plan's hard lifetime, the kernel keeps an SA that nobody took away.
const hardGrace = 30

// Limits where sequence numbers have 32 bits and the plan says nothing: a rekey is asked for well before they run out (RFC 4303 section
// 3.3.3 forbids to wrap), and the SA ends with them.
const (
	softPackets32 = 0xf000_0000
	hardPackets32 = 0xffff_ffff
)

// message writes the SA as NEWSA or UPDSA. noDir is for kernels before 6.10, which know no direction and want a replay window
// of outbound ESN SAs.
func (s *saSpec) message(typ uint16, noDir bool) message {
	m := newMessage(typ, 0, sizeSAInfo)
	b := m.body()
	esn := s.transform.SN == ikev2.SN_ESN
	var flags uint8
	if s.sel != nil {
		s.sel.put(b)
	} else if s.mode == plan.ModeTunnel {
		flags |= stateAFUnspec // either family inside
	}
	if esn {
		flags |= stateESN
	}
	putSAID(b[offSAID:], s.dst.Addr(), s.spi)
	putAddr(b[offSASrc:], s.src.Addr())
	putLimits(b[offSALft:], s.lifetime, !esn)
	put32(b[offSASeq:], s.twin)
	put32(b[offSAReqid:], s.reqid)
	put16(b[offSAFamily:], familyOf(s.dst.Addr()))
	b[offSAMode] = modeOf(s.mode)
	b[offSAFlags] = flags
	addAlgorithms(&m, s.transform, s.encr, s.integ)
	if s.encap {
		m.attr(attrEncap, encapTemplate(s.src.Port(), s.dst.Port()))
	}
	switch {
	case s.dir == saDirIn:
		m.attr(attrReplayESN, replayState(s.window))
	case esn && noDir:
		m.attr(attrReplayESN, replayState(32))
	case esn:
		m.attr(attrReplayESN, replayState(0))
	}
	if !noDir {
		m.attr(attrSADir, []byte{s.dir})
	}
	return m
}

// putSAID writes struct xfrm_id.
func putSAID(b []byte, dst netip.Addr, spi uint32) {
	putAddr(b[0:], dst)
	binary.BigEndian.PutUint32(b[16:], spi)
	b[20] = protoESP
}

// putLimits writes struct xfrm_lifetime_cfg. Zero in the plan is no limit; the kernel wants all ones for that.
func putLimits(b []byte, l plan.Lifetime, numbers32 bool) {
	limit := func(v, most uint64) uint64 {
		if v == 0 || v > most {
			return most
		}
		return v
	}
	soft, hard := lifetimeNoEnd, lifetimeNoEnd
	if numbers32 {
		soft, hard = softPackets32, hardPackets32
	}
	put64(b[0:], limit(l.RekeyBytes, lifetimeNoEnd))
	put64(b[8:], limit(l.HardBytes, lifetimeNoEnd))
	put64(b[16:], limit(l.RekeyPackets, soft))
	put64(b[24:], limit(l.HardPackets, hard))
	if l.Hard > 0 {
		put64(b[40:], uint64(l.Hard)+hardGrace)
	}
}

// encapTemplate writes struct xfrm_encap_tmpl.
func encapTemplate(sport, dport uint16) []byte {
	t := make([]byte, sizeEncap)
	put16(t[0:], udpEncapESP)
	binary.BigEndian.PutUint16(t[2:], sport)
	binary.BigEndian.PutUint16(t[4:], dport)
	return t
}

// replayState writes struct xfrm_replay_state_esn, whose bitmap serves windows beyond 32 packets with 32-bit numbers too.
func replayState(window int) []byte {
	words := (window + 31) / 32
	r := make([]byte, 24+4*words)
	put32(r[0:], uint32(words))
	put32(r[20:], uint32(window))
	return r
}

// saKey is a request that names an SA: DELSA or GETSA.
func saKey(typ uint16, dst netip.Addr, spi uint32) message {
	m := newMessage(typ, 0, sizeSAID)
	b := m.body()
	putAddr(b[0:], dst)
	binary.BigEndian.PutUint32(b[16:], spi)
	put16(b[20:], familyOf(dst))
	b[22] = protoESP
	return m
}

// allocSPI is a request for an SPI between these addresses. The kernel holds it, for 30 s by default, as an SA without keys.
func allocSPI(src, dst netip.Addr, reqid uint32) message {
	m := newMessage(msgAllocSPI, 0, sizeSAInfo+8)
	b := m.body()
	putSAID(b[offSAID:], dst, 0)
	putAddr(b[offSASrc:], src)
	put32(b[offSAReqid:], reqid)
	put16(b[offSAFamily:], familyOf(dst))
	b[offSAMode] = modeTunnel
	put32(b[sizeSAInfo:], 0x100)
	put32(b[sizeSAInfo+4:], 0xffff_ffff)
	m.attr(attrSADir, []byte{saDirIn}) // from 6.10 on the SA that redeems it must have the same; before, it is ignored
	return m
}

// kernelSA is an SA as the kernel tells it, without its keys.
type kernelSA struct {
	spi, twin, reqid uint32
	src, dst         netip.AddrPort // ports with encap only
	encap            bool
	mode             uint8
	dir              uint8 // saDirIn, saDirOut, or 0 from a kernel that does not say
	bytes, packets   uint64
	lastUsed         int64
	errors           uint64
	window           uint32 // replay window in packets
	keyed            bool   // false while an SPI is only reserved, or an acquire is under way
}

// parseSA reads struct xfrm_usersa_info with its attributes. ok is false for what is no ESP SA of ours to understand.
func parseSA(data []byte) (s kernelSA, ok bool) {
	if len(data) < sizeSAInfo || data[offSAProto] != protoESP {
		return s, false
	}
	attrs, err := parseAttrs(data[sizeSAInfo:])
	if err != nil {
		return s, false
	}
	family := get16(data[offSAFamily:])
	src, dst := getAddr(data[offSASrc:offSASrc+16], family), getAddr(data[offSAID:offSAID+16], family)
	s.spi = binary.BigEndian.Uint32(data[offSASPI:])
	s.twin, s.reqid = get32(data[offSASeq:]), get32(data[offSAReqid:])
	s.mode = data[offSAMode]
	s.bytes, s.packets = get64(data[offSACur:]), get64(data[offSACur+8:])
	for i := range 3 {
		s.errors += uint64(get32(data[offSAStats+4*i:]))
	}
	s.keyed = find(attrs, attrAlgAEAD, 72) != nil || find(attrs, attrAlgCrypt, 68) != nil
	s.window = uint32(data[offSAWindow])
	if r := find(attrs, attrReplayESN, 24); r != nil {
		s.window = get32(r[20:])
	}
	var sport, dport uint16
	if e := find(attrs, attrEncap, 6); e != nil {
		s.encap = true
		sport, dport = binary.BigEndian.Uint16(e[2:]), binary.BigEndian.Uint16(e[4:])
	}
	if d := find(attrs, attrSADir, 1); d != nil {
		s.dir = d[0]
	}
	if l := find(attrs, attrLastUsed, 8); l != nil {
		s.lastUsed = int64(get64(l))
	}
	s.src, s.dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return s, src.IsValid() && dst.IsValid()
}
