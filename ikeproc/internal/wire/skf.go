package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// fragmentLen is the length of the Fragment Number and Total Fragments fields together.
const fragmentLen = 4

// SKF is the encrypted fragment payload, sealed (RFC 7383 section 2.5).
type SKF struct {
	// First is the type of the first payload inside in fragment 1, 0 in the others.
	First ikev2.PayloadType
	// Number counts from 1 to Total.
	Number, Total uint16
	// Body is IV | ciphertext | ICV.
	Body []byte
}

// PayloadType is SKF.
func (*SKF) PayloadType() ikev2.PayloadType { return ikev2.PayloadSKF }

// AppendBody writes the payload without its generic header.
func (p *SKF) AppendBody(dst []byte) ([]byte, error) {
	if p.Number == 0 || p.Number > p.Total {
		return nil, fmt.Errorf("encode SKF payload: fragment %d of %d", p.Number, p.Total)
	}
	dst = binary.BigEndian.AppendUint16(dst, p.Number)
	dst = binary.BigEndian.AppendUint16(dst, p.Total)
	return append(dst, p.Body...), nil
}

func parseSKF(first ikev2.PayloadType, b []byte, at int) (*SKF, error) {
	if len(b) < fragmentLen {
		return nil, syntax(ikev2.PayloadSKF, at, "%d octets, at least %d are needed", len(b), fragmentLen)
	}
	p := &SKF{First: first, Number: binary.BigEndian.Uint16(b), Total: binary.BigEndian.Uint16(b[2:]), Body: octets(b[fragmentLen:])}
	if p.Number == 0 || p.Number > p.Total {
		return nil, syntax(ikev2.PayloadSKF, at, "fragment %d of %d", p.Number, p.Total)
	}
	return p, nil
}

// MaxMessage is the longest IKE message in octets that fits an IP packet of mtu octets: without IP header (20 octets, 40
// for IPv6, no options), UDP header (8) and, on port 4500, the non-ESP marker (4).
func MaxMessage(mtu int, ipv6, marker bool) int {
	mtu -= 20 + 8
	if ipv6 {
		mtu -= 20
	}
	if marker {
		mtu -= 4
	}
	return mtu
}

// SealFragments makes the message that holds the payloads: one SK message if it is no longer than max octets, else as
// many SKF messages as it takes, none longer than max (see MaxMessage). Whether the peer takes fragments is the
// caller's to know, and that IKE_SA_INIT is never fragmented (RFC 7383 section 2.4).
func SealFragments(h Header, ps []Payload, p Protector, max int) ([][]byte, error) {
	inner, err := appendInner(ps, p)
	if err != nil {
		return nil, err
	}
	if HeaderLen+genericLen+padded(len(inner), p.BlockSize())+p.Overhead() <= max {
		b, err := seal(nil, h, firstType(ps), inner, 0, 0, p)
		return [][]byte{b}, err
	}
	room := max - HeaderLen - genericLen - fragmentLen - p.Overhead()
	if block := p.BlockSize(); block > 1 {
		room -= room % block
	}
	room-- // Pad Length
	if room < 1 {
		return nil, fmt.Errorf("fragment %s message %d: no room within %d octets", h.Exchange, h.MessageID, max)
	}
	total := (len(inner) + room - 1) / room
	if total > MaxFragments {
		return nil, fmt.Errorf("fragment %s message %d: %d octets in pieces of %d are more than %d fragments", h.Exchange, h.MessageID, len(inner), room, MaxFragments)
	}
	out := make([][]byte, 0, total)
	first := firstType(ps)
	for n := 1; n <= total; n++ {
		piece := inner[:min(room, len(inner))]
		inner = inner[len(piece):]
		b, err := seal(nil, h, first, piece[:len(piece):len(piece)], uint16(n), uint16(total), p)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
		first = ikev2.PayloadNone
	}
	return out, nil
}
