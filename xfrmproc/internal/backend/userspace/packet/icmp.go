package packet

import (
	"encoding/binary"
	"net/netip"
)

// Quoted octets of the packet that an error is about: IPv4 errors stay within 576 octets (RFC 1812 section 4.3.2.3), IPv6 errors within 1280
// (RFC 4443 section 2.4).
const (
	maxError4 = 576
	maxError6 = 1280
)

const hopLimit = 64

// TooBig appends to dst the ICMP error that tells the sender of b that no more than mtu octets fit: Fragmentation Needed (RFC 1191) or
// Packet Too Big (RFC 4443). It appends nothing when b is not to be answered.
func TooBig(dst, b []byte, h Header, mtu int) []byte {
	if h.Version == 4 {
		return error4(dst, b, h, 3, 4, uint32(min(mtu, 0xffff)))
	}
	return error6(dst, b, h, 2, 0, uint32(mtu))
}

// Prohibited appends to dst the ICMP error that tells the sender of b that policy forbids it (code 13 of RFC 1812 section 5.2.7.1, code 1 of RFC 4443). It
// appends nothing when b is not to be answered.
func Prohibited(dst, b []byte, h Header) []byte {
	if h.Version == 4 {
		return error4(dst, b, h, 3, 13, 0)
	}
	return error6(dst, b, h, 1, 1, 0)
}

// error4 obeys RFC 1122 section 3.2.2: no error about an error, a later fragment, or anything that is not from one host to one host.
//
// The error's source is the destination that it speaks for: a gateway's own address is not known here, and the host checks the quoted packet, not the
// source.
func error4(dst, b []byte, h Header, kind, code uint8, rest uint32) []byte {
	if h.Offset != 0 || !unicast4(h.Src) || !unicast4(h.Dst) || h.Protocol == ICMP && (!h.HasPorts || isError4(uint8(h.SrcPort>>8))) {
		return dst
	}
	quote := b[:min(h.Len, maxError4-IPv4Len-8)]
	at := len(dst)
	dst = append(dst, make([]byte, IPv4Len+8)...)
	dst = append(dst, quote...)
	p := dst[at:]
	p[0], p[1], p[8], p[9] = 0x45, 0xc0, hopLimit, ICMP // internetwork control, RFC 1812 section 4.3.2.5
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:], h.Dst.AsSlice())
	copy(p[16:], h.Src.AsSlice())
	headerChecksum(p[:IPv4Len])
	m := p[IPv4Len:]
	m[0], m[1] = kind, code
	binary.BigEndian.PutUint32(m[4:], rest)
	binary.BigEndian.PutUint16(m[2:], fold(add(0, m)))
	return dst
}

// isError4 names the ICMP types that are errors: those are never answered by another.
func isError4(kind uint8) bool {
	switch kind {
	case 0, 8, 9, 10, 13, 14, 15, 16, 17, 18:
		return false
	}
	return true
}

func unicast4(a netip.Addr) bool {
	return !a.IsMulticast() && !a.IsUnspecified() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// error6 obeys RFC 4443 section 2.4 (e), and answers nothing sent to a multicast group: no address of ours is known to say it with.
func error6(dst, b []byte, h Header, kind, code uint8, rest uint32) []byte {
	if h.Offset != 0 || h.Src.IsMulticast() || h.Src.IsUnspecified() || h.Src.IsLoopback() || h.Dst.IsMulticast() {
		return dst
	}
	if h.Protocol == ICMPv6 && (!h.HasPorts || h.SrcPort>>8 < 128 || h.SrcPort>>8 == 137) { // errors and redirects
		return dst
	}
	quote := b[:min(h.Len, maxError6-IPv6Len-8)]
	at := len(dst)
	dst = append(dst, make([]byte, IPv6Len+8)...)
	dst = append(dst, quote...)
	p := dst[at:]
	p[0], p[6], p[7] = 0x60, ICMPv6, hopLimit
	binary.BigEndian.PutUint16(p[4:], uint16(len(p)-IPv6Len))
	copy(p[8:], h.Dst.AsSlice())
	copy(p[24:], h.Src.AsSlice())
	m := p[IPv6Len:]
	m[0], m[1] = kind, code
	binary.BigEndian.PutUint32(m[4:], rest)
	binary.BigEndian.PutUint16(m[2:], fold(add(pseudo(p[8:24], p[24:40], ICMPv6, len(m)), m)))
	return dst
}
