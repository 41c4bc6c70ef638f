package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// TS is the traffic selector payload of the initiator (TSi) or the responder (TSr) (RFC 7296 section 3.13).
type TS struct {
	// Responder makes it TSr.
	Responder bool
	Selectors []Selector // 1 to 255
}

// Selector is one traffic selector: what matches all its fields (section 3.13.1).
type Selector struct {
	Type ikev2.TSType
	// Protocol is the IP protocol; 0 matches any.
	Protocol uint8
	// StartPort and EndPort bound the port; 0 and 65535 match any, 65535 and 0 stand for OPAQUE. For ICMP they are
	// type<<8 | code, for Mobile IPv6 the header type<<8.
	StartPort, EndPort uint16
	// Start and End bound the address, both included and of one family.
	Start, End netip.Addr
	// Raw is what follows the selector's length field in a type this codec does not know; the other fields but
	// Protocol are then empty. Such a selector is skipped (section 2.9).
	Raw []byte
}

// Known reports whether the selector is a range of addresses, so that its fields mean something.
func (s *Selector) Known() bool { return addrLen(s.Type) != 0 }

// AnyPort reports whether every port matches.
func (s *Selector) AnyPort() bool { return s.StartPort == 0 && s.EndPort == 0xffff }

// Opaque reports whether the ports are OPAQUE: the selector matches packets whose ports cannot be seen.
func (s *Selector) Opaque() bool { return s.StartPort == 0xffff && s.EndPort == 0 }

// AddressRange makes a selector of the range's family that matches the protocol and ports given.
func AddressRange(start, end netip.Addr, protocol uint8, startPort, endPort uint16) Selector {
	s := Selector{Type: ikev2.TS_IPV6_ADDR_RANGE, Protocol: protocol, StartPort: startPort, EndPort: endPort, Start: start, End: end}
	if start.Is4() {
		s.Type = ikev2.TS_IPV4_ADDR_RANGE
	}
	return s
}

const selectorLen = 8 // without addresses

// addrLen is the length of an address in a selector of the type, 0 for an unknown type.
func addrLen(t ikev2.TSType) int {
	switch t {
	case ikev2.TS_IPV4_ADDR_RANGE:
		return 4
	case ikev2.TS_IPV6_ADDR_RANGE:
		return 16
	}
	return 0
}

// PayloadType is TSi or TSr.
func (p *TS) PayloadType() ikev2.PayloadType {
	if p.Responder {
		return ikev2.PayloadTSr
	}
	return ikev2.PayloadTSi
}

// AppendBody writes the payload without its generic header.
func (p *TS) AppendBody(dst []byte) ([]byte, error) {
	if len(p.Selectors) == 0 || len(p.Selectors) > 255 {
		return nil, fmt.Errorf("encode %s payload: %d selectors", p.PayloadType(), len(p.Selectors))
	}
	dst = append(dst, byte(len(p.Selectors)), 0, 0, 0)
	var err error
	for i := range p.Selectors {
		if dst, err = p.Selectors[i].append(dst); err != nil {
			return nil, fmt.Errorf("encode %s payload: selector %d: %w", p.PayloadType(), i+1, err)
		}
	}
	return dst, nil
}

func (s *Selector) append(dst []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, byte(s.Type), s.Protocol, 0, 0)
	if !s.Known() {
		return setLen16(append(dst, s.Raw...), start, "selector")
	}
	if fault := s.fault(); fault != "" {
		return nil, fmt.Errorf("%s", fault)
	}
	dst = binary.BigEndian.AppendUint16(dst, s.StartPort)
	dst = binary.BigEndian.AppendUint16(dst, s.EndPort)
	dst = appendAddr(appendAddr(dst, s.Start), s.End)
	return setLen16(dst, start, "selector")
}

func appendAddr(dst []byte, a netip.Addr) []byte {
	if a.Is4() {
		b := a.As4()
		return append(dst, b[:]...)
	}
	b := a.As16()
	return append(dst, b[:]...)
}

// fault says what is wrong with a range, or nothing.
func (s *Selector) fault() string {
	n := addrLen(s.Type) * 8
	switch {
	case s.Start.BitLen() != n || s.End.BitLen() != n || s.Start.Zone() != "" || s.End.Zone() != "":
		return fmt.Sprintf("%s with addresses of another family", s.Type)
	case s.End.Less(s.Start):
		return "address range that ends before it starts"
	case s.StartPort > s.EndPort && !s.Opaque():
		return fmt.Sprintf("port range %d-%d ends before it starts", s.StartPort, s.EndPort)
	}
	return ""
}

func parseTS(kind ikev2.PayloadType, b []byte, at int, lim Limits) (*TS, error) {
	if len(b) < 4 {
		return nil, syntax(kind, at, "%d octets, at least 4 are needed", len(b))
	}
	count := int(b[0])
	if count == 0 || count > lim.Selectors {
		return nil, syntax(kind, at, "%d selectors, not 1 to %d", count, lim.Selectors)
	}
	if len(b) < 4+4*count {
		return nil, syntax(kind, at, "%d octets do not hold %d selectors", len(b), count)
	}
	p := &TS{Responder: kind == ikev2.PayloadTSr, Selectors: make([]Selector, count)}
	off := 4
	for i := range p.Selectors {
		n, err := p.Selectors[i].parse(kind, b[off:], at+off)
		if err != nil {
			return nil, err
		}
		off += n
	}
	if off != len(b) {
		return nil, syntax(kind, at+off, "%d octets after the last selector", len(b)-off)
	}
	return p, nil
}

// parse reads one selector from the head of b and returns how many octets it took.
func (s *Selector) parse(kind ikev2.PayloadType, b []byte, at int) (int, error) {
	if len(b) < 4 {
		return 0, syntax(kind, at, "selector cut short at %d octets", len(b))
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < 4 || n > len(b) {
		return 0, syntax(kind, at, "selector length %d with %d octets left", n, len(b))
	}
	s.Type, s.Protocol = ikev2.TSType(b[0]), b[1]
	size := addrLen(s.Type)
	if size == 0 {
		s.Raw = octets(b[4:n])
		return n, nil
	}
	if n != selectorLen+2*size {
		return 0, syntax(kind, at, "%s of %d octets, not %d", s.Type, n, selectorLen+2*size)
	}
	s.StartPort, s.EndPort = binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	if size == 4 {
		s.Start, s.End = netip.AddrFrom4([4]byte(b[8:])), netip.AddrFrom4([4]byte(b[12:]))
	} else {
		s.Start, s.End = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	}
	if fault := s.fault(); fault != "" {
		return 0, syntax(kind, at, "%s", fault)
	}
	return n, nil
}
