// Package eappacket takes EAP packets apart and puts them together (RFC 3748 section 4). It keeps no state.
package eappacket

import (
	"errors"
	"fmt"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Code is the kind of a packet (RFC 3748 section 4).
type Code uint8

const (
	Request  Code = 1
	Response Code = 2
	Success  Code = 3
	Failure  Code = 4
)

// String is the code's name in lower case.
func (c Code) String() string {
	switch c {
	case Request:
		return "request"
	case Response:
		return "response"
	case Success:
		return "success"
	case Failure:
		return "failure"
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Packet is one EAP packet. Type and Data are those of a request or a response alone.
type Packet struct {
	Code       Code
	Identifier uint8
	Type       eapsdk.Type
	// Data is what follows the type. It shares memory with what was parsed.
	Data []byte
}

// What Parse finds wrong.
var (
	ErrShort  = errors.New("EAP packet is shorter than its header")
	ErrLength = errors.New("EAP packet's length field is not what has come")
	ErrCode   = errors.New("EAP packet has a code that is none")
)

const header = 4

// Parse takes one packet apart. Octets beyond its length field are padding of the link (RFC 3748 section 4.1), and ignored.
func Parse(b []byte) (Packet, error) {
	if len(b) < header {
		return Packet{}, ErrShort
	}
	length := int(b[2])<<8 | int(b[3])
	if length < header || length > len(b) {
		return Packet{}, ErrLength
	}
	p := Packet{Code: Code(b[0]), Identifier: b[1]}
	switch p.Code {
	case Request, Response:
		if length == header {
			return Packet{}, ErrShort
		}
		p.Type, p.Data = eapsdk.Type(b[4]), b[5:length]
	case Success, Failure:
		// RFC 3748 section 4.2: the length is 4. What comes behind says nothing.
	default:
		return Packet{}, ErrCode
	}
	return p, nil
}

// Append puts the packet behind b. Data that does not fit a packet's length is the caller's mistake, and is cut off by none: it panics.
func (p Packet) Append(b []byte) []byte {
	if p.Code == Success || p.Code == Failure {
		return append(b, byte(p.Code), p.Identifier, 0, header)
	}
	length := header + 1 + len(p.Data)
	if length > eapsdk.MaxPacket {
		panic(fmt.Sprintf("an EAP packet of %d octets", length))
	}
	b = append(b, byte(p.Code), p.Identifier, byte(length>>8), byte(length), byte(p.Type))
	return append(b, p.Data...)
}
