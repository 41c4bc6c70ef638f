package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// CP is the configuration payload (RFC 7296 section 3.15).
type CP struct {
	Type       ikev2.CFGType
	Attributes []ConfigAttribute
}

// ConfigAttribute is one configuration attribute; a receiver ignores those it does not know (section 3.15.1).
type ConfigAttribute struct {
	Type  ikev2.CFGAttribute // 15 bits
	Value []byte
}

// PayloadType is CP.
func (*CP) PayloadType() ikev2.PayloadType { return ikev2.PayloadCP }

// AppendBody writes the payload without its generic header.
func (p *CP) AppendBody(dst []byte) ([]byte, error) {
	dst = append(dst, byte(p.Type), 0, 0, 0)
	for _, a := range p.Attributes {
		if a.Type > 0x7fff || len(a.Value) > 0xffff {
			return nil, fmt.Errorf("encode CP payload: attribute %d with %d octets", a.Type, len(a.Value))
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(a.Type))
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(a.Value)))
		dst = append(dst, a.Value...)
	}
	return dst, nil
}

func parseCP(b []byte, at int, lim Limits) (*CP, error) {
	if len(b) < 4 {
		return nil, syntax(ikev2.PayloadCP, at, "%d octets, at least 4 are needed", len(b))
	}
	p := &CP{Type: ikev2.CFGType(b[0])}
	for off := 4; off < len(b); {
		rest := b[off:]
		if len(rest) < 4 {
			return nil, syntax(ikev2.PayloadCP, at+off, "attribute cut short at %d octets", len(rest))
		}
		n := 4 + int(binary.BigEndian.Uint16(rest[2:]))
		if n > len(rest) {
			return nil, syntax(ikev2.PayloadCP, at+off, "attribute of %d octets with %d left", n, len(rest))
		}
		if len(p.Attributes) == lim.Attributes {
			return nil, syntax(ikev2.PayloadCP, at+off, "more than %d attributes", lim.Attributes)
		}
		kind := ikev2.CFGAttribute(binary.BigEndian.Uint16(rest) & 0x7fff) // the top bit is reserved
		p.Attributes = append(p.Attributes, ConfigAttribute{Type: kind, Value: octets(rest[4:n])})
		off += n
	}
	return p, nil
}
