package wire

import (
	"github.com/trike-ipsec/trike/internal/ikev2"
)

// AUTH is the authentication payload (RFC 7296 section 3.8).
type AUTH struct {
	Method ikev2.AuthMethod
	Data   []byte
}

// PayloadType is AUTH.
func (*AUTH) PayloadType() ikev2.PayloadType { return ikev2.PayloadAUTH }

// AppendBody writes the payload without its generic header.
func (p *AUTH) AppendBody(dst []byte) ([]byte, error) {
	return append(append(dst, byte(p.Method), 0, 0, 0), p.Data...), nil
}

func parseAUTH(b []byte, at int) (*AUTH, error) {
	if len(b) < 4 {
		return nil, syntax(ikev2.PayloadAUTH, at, "%d octets, at least 4 are needed", len(b))
	}
	return &AUTH{Method: ikev2.AuthMethod(b[0]), Data: octets(b[4:])}, nil
}
