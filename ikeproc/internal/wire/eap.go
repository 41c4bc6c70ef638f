package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// EAP is the EAP payload: one EAP packet (RFC 7296 section 3.16, RFC 3748 section 4).
type EAP struct {
	// Packet is the whole EAP packet: code, identifier, length and, in requests and responses, type and data.
	Packet []byte
}

const (
	eapRequest  = 1
	eapResponse = 2
)

// PayloadType is EAP.
func (*EAP) PayloadType() ikev2.PayloadType { return ikev2.PayloadEAP }

// AppendBody writes the payload without its generic header.
func (p *EAP) AppendBody(dst []byte) ([]byte, error) {
	if fault := eapFault(p.Packet); fault != "" {
		return nil, fmt.Errorf("encode EAP payload: %s", fault)
	}
	return append(dst, p.Packet...), nil
}

func parseEAP(b []byte, at int) (*EAP, error) {
	if fault := eapFault(b); fault != "" {
		return nil, syntax(ikev2.PayloadEAP, at, "%s", fault)
	}
	return &EAP{Packet: octets(b)}, nil
}

// eapFault says what is wrong with a packet's frame, or nothing.
func eapFault(b []byte) string {
	switch {
	case len(b) < 4:
		return fmt.Sprintf("%d octets, at least 4 are needed", len(b))
	case int(binary.BigEndian.Uint16(b[2:])) != len(b):
		return fmt.Sprintf("EAP length %d in a payload with %d octets", binary.BigEndian.Uint16(b[2:]), len(b))
	case (b[0] == eapRequest || b[0] == eapResponse) && len(b) < 5:
		return "EAP request or response without a type"
	}
	return ""
}
