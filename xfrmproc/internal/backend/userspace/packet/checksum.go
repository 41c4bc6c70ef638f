package packet

import "encoding/binary"

// add adds b to a one's complement sum that is not yet folded.
func add(sum uint64, b []byte) uint64 {
	for len(b) >= 4 {
		sum += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// headerChecksum writes the checksum of an IPv4 header.
func headerChecksum(header []byte) {
	header[10], header[11] = 0, 0
	binary.BigEndian.PutUint16(header[10:], fold(add(0, header)))
}

// pseudo is the sum over the pseudo header of a packet's upper layer (RFC 9293 section 3.1, RFC 8200 section 8.1).
func pseudo(src, dst []byte, protocol uint8, length int) uint64 {
	return add(add(0, src), dst) + uint64(protocol) + uint64(length)
}

// FixChecksum computes the checksum of TCP, UDP or ICMPv6 anew. RFC 3948 section 3.1.2: after transport mode through a NAT the
// addresses are not those that the sender summed, and integrity was checked by ESP. The packet is one that Parse took, whole and not a fragment.
func FixChecksum(b []byte, h Header) {
	if h.Fragment {
		return
	}
	upper := b[h.IPLen:h.Len]
	at, least := 0, 0
	switch h.Protocol {
	case TCP:
		at, least = 16, 20
	case UDP:
		at, least = 6, 8
	case ICMPv6:
		at, least = 2, 4
	}
	if least == 0 || len(upper) < least {
		return
	}
	if h.Protocol == UDP && h.Version == 4 && upper[at] == 0 && upper[at+1] == 0 {
		return // the sender made none
	}
	src, dst := b[12:16], b[16:20]
	if h.Version == 6 {
		src, dst = b[8:24], b[24:40]
	}
	upper[at], upper[at+1] = 0, 0
	sum := fold(add(pseudo(src, dst, h.Protocol, len(upper)), upper))
	if sum == 0 && h.Protocol == UDP {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(upper[at:], sum)
}
