package userspace

import (
	"encoding/binary"
	"net/netip"

	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/packet"
)

// udp is a UDP packet with n octets of data and a good checksum.
func udp(src, dst string, n int) []byte {
	return upper(src, dst, packet.UDP, func() []byte {
		b := make([]byte, 8+n)
		binary.BigEndian.PutUint16(b, 1000)
		binary.BigEndian.PutUint16(b[2:], 2000)
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
		b[6] = 1 // so that FixChecksum makes one
		for i := range n {
			b[8+i] = byte(i)
		}
		return b
	}())
}

// upper is a packet with this protocol and upper layer, DF set.
func upper(src, dst string, protocol uint8, body []byte) []byte {
	s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	size := packet.IPv4Len
	if s.Is6() {
		size = packet.IPv6Len
	}
	b := append(make([]byte, size), body...)
	packet.PutHeader(b, s, d, protocol, 0)
	if h, err := packet.Parse(b); err == nil {
		packet.FixChecksum(b, h)
	}
	return b
}

// fragmentable clears DF.
func fragmentable(b []byte) []byte {
	b[6] &^= 0x40
	packet.SetTOS(b, b[1]) // leaves the checksum
	sum := uint32(binary.BigEndian.Uint16(b[10:])) + 0x4000
	binary.BigEndian.PutUint16(b[10:], uint16(sum+sum>>16))
	return b
}
