package wire

import (
	"fmt"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// ID is the identification payload of the initiator (IDi) or the responder (IDr) (RFC 7296 section 3.5).
type ID struct {
	// Responder makes it IDr.
	Responder bool
	Type      ikev2.IDType
	// Reserved is sent as zero. It is kept as received because AUTH covers it (section 2.15).
	Reserved [3]byte
	// Data is the identity. Addresses have 4 and 16 octets; other types have any length the receiver's policy takes.
	Data []byte
}

// PayloadType is IDi or IDr.
func (p *ID) PayloadType() ikev2.PayloadType {
	if p.Responder {
		return ikev2.PayloadIDr
	}
	return ikev2.PayloadIDi
}

// AppendBody writes the payload without its generic header: exactly the IDi' or IDr' that AUTH covers (section 2.15).
func (p *ID) AppendBody(dst []byte) ([]byte, error) {
	if n := idLen(p.Type); n >= 0 && len(p.Data) != n {
		return nil, fmt.Errorf("encode %s payload: %s with %d octets", p.PayloadType(), p.Type, len(p.Data))
	}
	return append(append(dst, byte(p.Type), p.Reserved[0], p.Reserved[1], p.Reserved[2]), p.Data...), nil
}

// idLen is the only length that the type allows, or -1.
func idLen(t ikev2.IDType) int {
	switch t {
	case ikev2.ID_IPV4_ADDR:
		return 4
	case ikev2.ID_IPV6_ADDR:
		return 16
	}
	return -1
}

func parseID(kind ikev2.PayloadType, b []byte, at int) (*ID, error) {
	if len(b) < 4 {
		return nil, syntax(kind, at, "%d octets, at least 4 are needed", len(b))
	}
	p := &ID{Responder: kind == ikev2.PayloadIDr, Type: ikev2.IDType(b[0]), Reserved: [3]byte(b[1:4]), Data: octets(b[4:])}
	if n := idLen(p.Type); n >= 0 && len(p.Data) != n {
		return nil, syntax(kind, at, "%s with %d octets, not %d", p.Type, len(p.Data), n)
	}
	return p, nil
}
