package wire

import (
	"fmt"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// MinNonce and MaxNonce bound a nonce in octets (RFC 7296 section 3.9).
const (
	MinNonce = 16
	MaxNonce = 256
)

// Nonce is the nonce payload.
type Nonce struct {
	Data []byte // MinNonce to MaxNonce octets
}

// PayloadType is Nonce.
func (*Nonce) PayloadType() ikev2.PayloadType { return ikev2.PayloadNonce }

// AppendBody writes the payload without its generic header.
func (p *Nonce) AppendBody(dst []byte) ([]byte, error) {
	if len(p.Data) < MinNonce || len(p.Data) > MaxNonce {
		return nil, fmt.Errorf("encode Nonce payload: %d octets, not %d to %d", len(p.Data), MinNonce, MaxNonce)
	}
	return append(dst, p.Data...), nil
}

func parseNonce(b []byte, at int) (*Nonce, error) {
	if len(b) < MinNonce || len(b) > MaxNonce {
		return nil, syntax(ikev2.PayloadNonce, at, "%d octets, not %d to %d", len(b), MinNonce, MaxNonce)
	}
	return &Nonce{Data: octets(b)}, nil
}
