package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// SA is the security association payload: proposals to choose from, or the one chosen (RFC 7296 section 3.3).
type SA struct {
	Proposals []Proposal
}

// Proposal is one acceptable combination: one transform of each type that stands in it (section 3.3.1).
type Proposal struct {
	// Number counts from 1 in an offer; the choice echoes it.
	Number   uint8
	Protocol ikev2.ProtocolID
	// SPI is the sender's: empty for IKE in the initial exchange, 8 octets for an IKE rekey, 4 for ESP and AH. The
	// parser takes any size; a proposal with the wrong size is unacceptable, not malformed.
	SPI        []byte
	Transforms []Transform
}

// Transform is one algorithm (section 3.3.2).
type Transform struct {
	Type ikev2.TransformType
	ID   uint16
	// KeyBits is the Key Length attribute in bits, 0 if there is none (section 3.3.5).
	KeyBits int
	// Unknown holds the attributes that this codec does not know, raw. A transform with any is unacceptable, the
	// others of its proposal are not touched by that (section 3.3.6).
	Unknown []byte
}

const (
	proposalLen     = 8
	transformLen    = 8
	moreProposals   = 2
	moreTransforms  = 3
	attributeFormTV = 0x8000
)

// PayloadType is SA.
func (*SA) PayloadType() ikev2.PayloadType { return ikev2.PayloadSA }

// AppendBody writes the payload without its generic header.
func (p *SA) AppendBody(dst []byte) ([]byte, error) {
	if len(p.Proposals) == 0 {
		return nil, fmt.Errorf("encode SA payload: no proposal")
	}
	var err error
	for i := range p.Proposals {
		if dst, err = p.Proposals[i].append(dst, i == len(p.Proposals)-1); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

func (p *Proposal) append(dst []byte, last bool) ([]byte, error) {
	if len(p.SPI) > 255 || len(p.Transforms) > 255 || len(p.Transforms) == 0 {
		return nil, fmt.Errorf("encode proposal %d: %d octets of SPI, %d transforms", p.Number, len(p.SPI), len(p.Transforms))
	}
	start := len(dst)
	more := byte(moreProposals)
	if last {
		more = 0
	}
	dst = append(dst, more, 0, 0, 0, p.Number, byte(p.Protocol), byte(len(p.SPI)), byte(len(p.Transforms)))
	dst = append(dst, p.SPI...)
	var err error
	for i := range p.Transforms {
		if dst, err = p.Transforms[i].append(dst, i == len(p.Transforms)-1); err != nil {
			return nil, fmt.Errorf("encode proposal %d: %w", p.Number, err)
		}
	}
	return setLen16(dst, start, "proposal")
}

func (t *Transform) append(dst []byte, last bool) ([]byte, error) {
	start := len(dst)
	more := byte(moreTransforms)
	if last {
		more = 0
	}
	dst = append(dst, more, 0, 0, 0, byte(t.Type), 0)
	dst = binary.BigEndian.AppendUint16(dst, t.ID)
	if t.KeyBits < 0 || t.KeyBits > 0xffff {
		return nil, fmt.Errorf("key length of %d bits", t.KeyBits)
	}
	if t.KeyBits != 0 {
		dst = binary.BigEndian.AppendUint16(dst, attributeFormTV|ikev2.AttrKeyLength)
		dst = binary.BigEndian.AppendUint16(dst, uint16(t.KeyBits))
	}
	dst = append(dst, t.Unknown...)
	return setLen16(dst, start, "transform")
}

// setLen16 writes the length of the substructure that starts at start into its octets 2 and 3.
func setLen16(dst []byte, start int, what string) ([]byte, error) {
	n := len(dst) - start
	if n > 0xffff {
		return nil, fmt.Errorf("%s of %d octets", what, n)
	}
	binary.BigEndian.PutUint16(dst[start+2:], uint16(n))
	return dst, nil
}

// countSA counts proposals and transforms and checks the lengths of both, so that the parser allocates once for each
// and never more than the limits say.
func countSA(b []byte, at int) (proposals, transforms int, err error) {
	last := false
	for off := 0; off < len(b); {
		if last {
			return 0, 0, syntax(ikev2.PayloadSA, at+off, "octets after the last proposal")
		}
		rest := b[off:]
		if len(rest) < proposalLen {
			return 0, 0, syntax(ikev2.PayloadSA, at+off, "proposal cut short at %d octets", len(rest))
		}
		n := int(binary.BigEndian.Uint16(rest[2:]))
		if n < proposalLen+int(rest[6]) || n > len(rest) {
			return 0, 0, syntax(ikev2.PayloadSA, at+off, "proposal length %d with %d octets left", n, len(rest))
		}
		switch rest[0] {
		case 0:
			last = true
		case moreProposals:
		default:
			return 0, 0, syntax(ikev2.PayloadSA, at+off, "proposal's last-substructure field is %d, not 0 or 2", rest[0])
		}
		proposals++
		transforms += int(rest[7])
		off += n
	}
	if !last {
		return 0, 0, syntax(ikev2.PayloadSA, at+len(b), "no last proposal")
	}
	return proposals, transforms, nil
}

func parseSA(b []byte, at int, lim Limits) (*SA, error) {
	proposals, transforms, err := countSA(b, at)
	if err != nil {
		return nil, err
	}
	if proposals > lim.Proposals || transforms > lim.Transforms {
		return nil, syntax(ikev2.PayloadSA, at, "%d proposals and %d transforms; at most %d and %d are taken",
			proposals, transforms, lim.Proposals, lim.Transforms)
	}
	sa := &SA{Proposals: make([]Proposal, proposals)}
	slab := make([]Transform, transforms)
	for i, off := 0, 0; i < proposals; i++ {
		rest := b[off:]
		n, spi, count := int(binary.BigEndian.Uint16(rest[2:])), int(rest[6]), int(rest[7])
		p := &sa.Proposals[i]
		*p = Proposal{Number: rest[4], Protocol: ikev2.ProtocolID(rest[5]), SPI: octets(rest[proposalLen : proposalLen+spi])}
		// Section 3.3.1: an offer counts up from 1. A choice is one proposal with any number of the offer.
		if p.Number == 0 || i > 0 && p.Number != sa.Proposals[i-1].Number+1 {
			return nil, syntax(ikev2.PayloadSA, at+off+4, "proposal number %d in place %d", p.Number, i+1)
		}
		p.Transforms, slab = slab[:count:count], slab[count:]
		if err := parseTransforms(p.Transforms, rest[proposalLen+spi:n], at+off+proposalLen+spi); err != nil {
			return nil, err
		}
		off += n
	}
	return sa, nil
}

// parseTransforms fills ts from b, which must hold exactly that many.
func parseTransforms(ts []Transform, b []byte, at int) error {
	off := 0
	for i := range ts {
		rest := b[off:]
		if len(rest) < transformLen {
			return syntax(ikev2.PayloadSA, at+off, "transform cut short at %d octets", len(rest))
		}
		n := int(binary.BigEndian.Uint16(rest[2:]))
		if n < transformLen || n > len(rest) {
			return syntax(ikev2.PayloadSA, at+off, "transform length %d with %d octets left", n, len(rest))
		}
		want := byte(moreTransforms)
		if i == len(ts)-1 {
			want = 0
		}
		if rest[0] != want {
			return syntax(ikev2.PayloadSA, at+off, "transform's last-substructure field is %d, not %d", rest[0], want)
		}
		ts[i].Type = ikev2.TransformType(rest[4])
		ts[i].ID = binary.BigEndian.Uint16(rest[6:])
		if err := ts[i].parseAttributes(rest[transformLen:n], at+off+transformLen); err != nil {
			return err
		}
		off += n
	}
	if off != len(b) {
		return syntax(ikev2.PayloadSA, at+off, "%d octets after the last transform", len(b)-off)
	}
	return nil
}

// parseAttributes takes a leading Key Length attribute; whatever else stands there is kept raw in Unknown.
// Repeated, empty or wrongly formed Key Lengths are "whatever else", so the transform is unacceptable.
func (t *Transform) parseAttributes(b []byte, at int) error {
	for off := 0; off < len(b); {
		rest := b[off:]
		if len(rest) < 4 {
			return syntax(ikev2.PayloadSA, at+off, "transform attribute cut short at %d octets", len(rest))
		}
		kind, value, n := binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:]), 4
		if kind&attributeFormTV == 0 {
			n += int(value)
		}
		if n > len(rest) {
			return syntax(ikev2.PayloadSA, at+off, "transform attribute of %d octets with %d left", n, len(rest))
		}
		if off == 0 && kind == attributeFormTV|ikev2.AttrKeyLength && value != 0 {
			t.KeyBits = int(value)
		} else if t.Unknown == nil {
			t.Unknown = b[off:]
		}
		off += n
	}
	return nil
}
