// Package packet reads and writes the IP packets that cross the protected side of a userspace IPsec datapath: what the selectors of RFC 4301 section 4.4.1.1
// look at, ECN across a tunnel (RFC 6040), IPv4 fragments, and the ICMP errors that a gateway owes a sender. It is pure: octets in, octets out.
//
//	h, err := packet.Parse(b)     // bounds checked; h.Flow is what selectors match
package packet

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Protocol numbers that selectors treat apart.
const (
	ICMP    = 1
	TCP     = 6
	UDP     = 17
	DCCP    = 33
	ESP     = 50
	ICMPv6  = 58
	SCTP    = 132
	MH      = 135 // Mobility Header
	UDPLite = 136

	hopByHop    = 0
	routing     = 43
	fragment    = 44
	authHeader  = 51
	destOptions = 60
)

// Header lengths in octets.
const (
	IPv4Len = 20 // without options
	IPv6Len = 40 // without extension headers
)

// maxExtensions bounds how many extension headers of one IPv6 packet are looked through.
const maxExtensions = 16

// ErrMalformed: this is no IP packet that could be forwarded.
var ErrMalformed = errors.New("malformed IP packet")

// Flow is what traffic selectors look at. For ICMP both ports hold type and code, for the Mobility Header its type in the upper octet
// (RFC 7296 section 3.13.1). Comparable, so that it can be a key.
type Flow struct {
	Src, Dst         netip.Addr
	Protocol         uint8
	HasPorts         bool // false where the protocol has none, or they are not in this packet (a fragment that is not the first)
	SrcPort, DstPort uint16
}

// Header is what the datapath needs to know of a packet.
type Header struct {
	Flow
	Version int
	Len     int   // octets of the packet by its own word; what follows is padding (RFC 4303 section 2.7)
	IPLen   int   // octets before the upper layer, or before the fragment's data
	TOS     uint8 // TOS or Traffic Class: DSCP and ECN
	TTL     uint8
	// DontFragment: DF of IPv4; IPv6 routers never fragment.
	DontFragment bool
	// Fragment: it is a part of a datagram; Offset, in octets, tells which.
	Fragment bool
	Offset   int
	// Options: IPv4 options or IPv6 extension headers stand before the upper layer.
	Options bool
}

// Parse reads the headers of an IPv4 or IPv6 packet.
func Parse(b []byte) (h Header, err error) {
	if len(b) == 0 {
		return h, ErrMalformed
	}
	switch b[0] >> 4 {
	case 4:
		return parse4(b)
	case 6:
		return parse6(b)
	}
	return h, ErrMalformed
}

func parse4(b []byte) (h Header, err error) {
	if len(b) < IPv4Len {
		return h, ErrMalformed
	}
	h.Version, h.IPLen, h.Len = 4, int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if h.IPLen < IPv4Len || h.Len < h.IPLen || h.Len > len(b) {
		return h, ErrMalformed
	}
	h.TOS, h.TTL, h.Options = b[1], b[8], h.IPLen > IPv4Len
	frag := binary.BigEndian.Uint16(b[6:])
	h.DontFragment = frag&0x4000 != 0
	h.Fragment = frag&0x3fff != 0
	h.Offset = int(frag&0x1fff) * 8
	h.Protocol = b[9]
	h.Src, h.Dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	if h.Offset == 0 {
		h.ports(b[h.IPLen:h.Len])
	}
	return h, nil
}

func parse6(b []byte) (h Header, err error) {
	if len(b) < IPv6Len {
		return h, ErrMalformed
	}
	h.Version, h.Len = 6, IPv6Len+int(binary.BigEndian.Uint16(b[4:]))
	if h.Len > len(b) {
		return h, ErrMalformed
	}
	b = b[:h.Len]
	h.TOS, h.TTL, h.DontFragment = b[0]<<4|b[1]>>4, b[7], true
	h.Src, h.Dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	if h.Src.Is4In6() || h.Dst.Is4In6() {
		return h, ErrMalformed // RFC 4291 section 2.5.5.2: not addresses of packets; they would escape IPv4 selectors
	}
	next, at := b[6], IPv6Len
	for n := 0; ; n++ {
		size := 0
		switch next {
		case hopByHop, routing, destOptions:
			if len(b) < at+8 {
				return h, ErrMalformed
			}
			size = (int(b[at+1]) + 1) * 8
		case authHeader:
			if len(b) < at+8 {
				return h, ErrMalformed
			}
			size = (int(b[at+1]) + 2) * 4
		case fragment:
			if len(b) < at+8 {
				return h, ErrMalformed
			}
			size = 8
			field := binary.BigEndian.Uint16(b[at+2:])
			h.Offset = int(field &^ 7)
			h.Fragment = h.Fragment || field&^6 != 0 // an atomic fragment (RFC 6946) is whole
		}
		if size == 0 {
			break
		}
		if at+size > len(b) || n == maxExtensions {
			return h, ErrMalformed
		}
		h.Options = true
		if next, at = b[at], at+size; h.Offset != 0 {
			break // what follows is the middle of something
		}
	}
	h.Protocol, h.IPLen = next, at
	if h.Offset == 0 {
		h.ports(b[at:])
	}
	return h, nil
}

func (h *Header) ports(upper []byte) {
	switch h.Protocol {
	case TCP, UDP, DCCP, SCTP, UDPLite:
		if len(upper) >= 4 {
			h.HasPorts, h.SrcPort, h.DstPort = true, binary.BigEndian.Uint16(upper), binary.BigEndian.Uint16(upper[2:])
		}
	case ICMP, ICMPv6:
		if len(upper) >= 2 {
			h.HasPorts, h.SrcPort = true, binary.BigEndian.Uint16(upper)
			h.DstPort = h.SrcPort
		}
	case MH:
		if len(upper) >= 3 {
			h.HasPorts, h.SrcPort = true, uint16(upper[2])<<8
			h.DstPort = h.SrcPort
		}
	}
}
