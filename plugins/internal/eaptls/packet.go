package eaptls

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// EAP codes (RFC 3748 section 4).
const (
	CodeRequest  = 1
	CodeResponse = 2
	CodeSuccess  = 3
	CodeFailure  = 4
)

// Flags of the octet behind the type (RFC 5216 section 3.1). The low bits are reserved in EAP-TLS and the version in TTLS and PEAP.
const (
	flagLength = 0x80
	flagMore   = 0x40
	flagStart  = 0x20
)

const (
	headerSize = 4 // code, identifier, length
	prefixSize = 6 // with type and flags
)

// Errors of the packet codec.
var (
	ErrShort  = errors.New("the packet ends within its header")
	ErrLength = errors.New("the length in the EAP header is not the packet's")
	ErrCode   = errors.New("the packet is neither a request nor a response, success or failure")
	ErrType   = errors.New("the packet is of another EAP type")
)

// Packet is one EAP packet of a TLS based method (RFC 5216 section 3, RFC 5281 section 9.1). Of a Success or Failure only Code and Identifier count.
type Packet struct {
	Code       uint8
	Identifier uint8
	Type       eapsdk.Type
	HasLength  bool   // L: Length is there
	More       bool   // M: fragments follow
	Start      bool   // S
	Low        uint8  // the five low bits of the flags octet: version or reserved
	Length     uint32 // octets of the whole message, with HasLength
	Data       []byte // TLS octets, the packet's own memory
}

// ParsePacket reads a whole EAP packet. A type that has no flags octet (a Nak, for example) is an ErrType with the Type set.
func ParsePacket(b []byte, want eapsdk.Type) (Packet, error) {
	if len(b) < headerSize {
		return Packet{}, ErrShort
	}
	p := Packet{Code: b[0], Identifier: b[1]}
	if int(binary.BigEndian.Uint16(b[2:])) != len(b) {
		return Packet{}, ErrLength
	}
	switch p.Code {
	case CodeSuccess, CodeFailure:
		if len(b) != headerSize {
			return Packet{}, ErrLength
		}
		return p, nil
	case CodeRequest, CodeResponse:
	default:
		return Packet{}, ErrCode
	}
	if len(b) == headerSize {
		return Packet{}, ErrShort
	}
	p.Type = eapsdk.Type(b[4])
	if p.Type != want {
		return p, fmt.Errorf("%w: %d instead of %d", ErrType, p.Type, want)
	}
	if len(b) < prefixSize {
		return Packet{}, ErrShort
	}
	flags := b[5]
	p.HasLength, p.More, p.Start, p.Low = flags&flagLength != 0, flags&flagMore != 0, flags&flagStart != 0, flags&^(flagLength|flagMore|flagStart)
	rest := b[prefixSize:]
	if p.HasLength {
		if len(rest) < 4 {
			return Packet{}, ErrShort
		}
		p.Length, rest = binary.BigEndian.Uint32(rest), rest[4:]
	}
	p.Data = rest
	return p, nil
}

// Bytes is the packet as it is sent. Data must leave room for the header in MaxPacket.
func (p Packet) Bytes() []byte {
	b := []byte{p.Code, p.Identifier, 0, 0}
	if p.Code == CodeRequest || p.Code == CodeResponse {
		flags := p.Low &^ (flagLength | flagMore | flagStart)
		for _, f := range []struct {
			on  bool
			bit uint8
		}{{p.HasLength, flagLength}, {p.More, flagMore}, {p.Start, flagStart}} {
			if f.on {
				flags |= f.bit
			}
		}
		b = append(b, uint8(p.Type), flags)
		if p.HasLength {
			b = binary.BigEndian.AppendUint32(b, p.Length)
		}
		b = append(b, p.Data...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

// isAck reports whether the packet says nothing but "go on" (RFC 5216 section 2.1.5).
func (p Packet) isAck() bool { return !p.HasLength && !p.More && !p.Start && len(p.Data) == 0 }
