package packet

import (
	"encoding/binary"
	"net/netip"
)

// PutHeader writes an IP header without options at the front of b, which is the whole packet, between two addresses of one family.
func PutHeader(b []byte, src, dst netip.Addr, protocol, tos uint8) {
	if src.Is4() {
		clear(b[:IPv4Len])
		b[0], b[1], b[8], b[9] = 0x45, tos, hopLimit, protocol
		b[6] = 0x40
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		s, d := src.As4(), dst.As4()
		copy(b[12:], s[:])
		copy(b[16:], d[:])
		headerChecksum(b[:IPv4Len])
		return
	}
	clear(b[:IPv6Len])
	b[0], b[1], b[6], b[7] = 0x60|tos>>4, tos<<4, protocol, hopLimit
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-IPv6Len))
	s, d := src.As16(), dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
}
