package packet

import "encoding/binary"

// ECN code points (RFC 3168 section 5).
const (
	notECT = 0
	ect1   = 1
	ect0   = 2
	ce     = 3
)

// OuterTOS is the outer TOS or Traffic Class of a tunnel packet round an inner one: DSCP and, in RFC 6040's normal mode, ECN are copied.
func OuterTOS(inner uint8) uint8 { return inner }

// Decapsulate is RFC 6040 section 4.2, figure 4: what the inner ECN field becomes, given the outer one. keep is false where the packet must be dropped:
// congestion was marked and the transport would never hear of it.
func Decapsulate(inner, outer uint8) (tos uint8, keep bool) {
	in, out := inner&3, outer&3
	switch {
	case out == ce && in == notECT:
		return inner, false
	case in == notECT || in == ce:
		return inner, true
	case out == ce:
		return inner&^3 | ce, true
	case out == ect1 && in == ect0:
		return inner&^3 | ect1, true
	}
	return inner, true
}

// SetTOS writes TOS or Traffic Class into a packet that Parse took, and mends the IPv4 header checksum (RFC 1624).
func SetTOS(b []byte, tos uint8) {
	if b[0]>>4 == 6 {
		b[0], b[1] = b[0]&0xf0|tos>>4, b[1]&0x0f|tos<<4
		return
	}
	old := binary.BigEndian.Uint16(b)
	b[1] = tos
	sum := uint32(^binary.BigEndian.Uint16(b[10:])) + uint32(^old) + uint32(binary.BigEndian.Uint16(b))
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum&0xffff+sum>>16))
}
