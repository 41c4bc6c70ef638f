package packet

import (
	"encoding/binary"
	"errors"

	"layeh.com/radius"
)

// EAP codes (RFC 3748 section 4).
const (
	EAPRequest  = 1
	EAPResponse = 2
	EAPSuccess  = 3
	EAPFailure  = 4
)

// AddEAP puts an EAP packet in, split over as many EAP-Message attributes as it needs (RFC 3579 section 3.1).
func AddEAP(p *radius.Packet, eap []byte) {
	for len(eap) > 0 {
		n := min(len(eap), MaxValue)
		p.Add(EAPMessage, eap[:n:n])
		eap = eap[n:]
	}
}

// EAP is the packet in the EAP-Message attributes, nil if there are none. The attributes must stand together (RFC 3579 section 3.1), and the packet's own
// length must be theirs.
func EAP(p *radius.Packet) ([]byte, error) {
	var eap []byte
	ended := false
	for _, avp := range p.Attributes {
		switch {
		case avp.Type != EAPMessage:
			ended = ended || eap != nil
		case ended:
			return nil, errors.New("the EAP-Message attributes do not stand together")
		default:
			eap = append(eap, avp.Attribute...)
		}
	}
	if eap == nil {
		return nil, nil
	}
	if len(eap) < 4 || int(binary.BigEndian.Uint16(eap[2:])) != len(eap) {
		return nil, errors.New("the EAP packet's length is not that of its EAP-Message attributes")
	}
	return eap, nil
}
