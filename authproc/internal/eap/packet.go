package eap

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Code is the first octet of an EAP packet (RFC 3748 section 4).
type Code uint8

const (
	Request  Code = 1
	Response Code = 2
	Success  Code = 3
	Failure  Code = 4
)

var codeNames = [...]string{Request: "Request", Response: "Response", Success: "Success", Failure: "Failure"}

// String is the code's name.
func (c Code) String() string {
	if int(c) < len(codeNames) && codeNames[c] != "" {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Packet is the frame of an EAP packet.
type Packet struct {
	Code       Code
	Identifier uint8
	Type       eapsdk.Type // of requests and responses
	Data       []byte      // behind the type
	whole      []byte
}

// Parse reads the frame: code, identifier, a length that is the packet's, and in requests and responses a type.
func Parse(b []byte) (Packet, error) {
	if len(b) < 4 || len(b) > eapsdk.MaxPacket {
		return Packet{}, fmt.Errorf("an EAP packet of %d octets", len(b))
	}
	p := Packet{Code: Code(b[0]), Identifier: b[1], whole: b}
	if n := int(binary.BigEndian.Uint16(b[2:])); n != len(b) {
		return Packet{}, fmt.Errorf("an EAP packet says that it has %d octets, and has %d", n, len(b))
	}
	switch p.Code {
	case Request, Response:
		if len(b) < 5 {
			return Packet{}, fmt.Errorf("an EAP %v without a type", p.Code)
		}
		p.Type, p.Data = eapsdk.Type(b[4]), b[5:]
	case Success, Failure:
		if len(b) != 4 {
			return Packet{}, fmt.Errorf("an EAP %v of %d octets", p.Code, len(b))
		}
	default:
		return Packet{}, fmt.Errorf("an EAP packet with %v", p.Code)
	}
	return p, nil
}

func frame(code Code, identifier uint8, body ...byte) []byte {
	b := []byte{byte(code), identifier, 0, 0}
	b = append(b, body...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

// quote shows a name that a peer chose to the operator.
func quote(s string) string {
	if len(s) > 64 {
		s = strings.ToValidUTF8(s[:64], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}

// identityOf reads an identity (RFC 3748 section 5.1): what stands behind a NUL are options, not the name.
func identityOf(data []byte) (string, error) {
	if i := strings.IndexByte(string(data), 0); i >= 0 {
		data = data[:i]
	}
	if len(data) > eapsdk.MaxIdentity || !utf8.Valid(data) {
		return "", fmt.Errorf("an EAP identity of %d octets that is no text", len(data))
	}
	return string(data), nil
}
