package wire

import (
	"encoding/binary"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// KE is the key exchange payload (RFC 7296 section 3.4, RFC 9370).
type KE struct {
	Method ikev2.KEID
	// Data is the public value, encapsulation key or ciphertext. Its length is the method's business, not the codec's.
	Data []byte
}

// PayloadType is KE.
func (*KE) PayloadType() ikev2.PayloadType { return ikev2.PayloadKE }

// AppendBody writes the payload without its generic header.
func (p *KE) AppendBody(dst []byte) ([]byte, error) {
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.Method))
	return append(append(dst, 0, 0), p.Data...), nil
}

func parseKE(b []byte, at int) (*KE, error) {
	if len(b) < 4 {
		return nil, syntax(ikev2.PayloadKE, at, "%d octets, at least 4 are needed", len(b))
	}
	return &KE{Method: ikev2.KEID(binary.BigEndian.Uint16(b)), Data: octets(b[4:])}, nil
}
