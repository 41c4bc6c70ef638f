package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// Protector encrypts and authenticates one direction of an IKE SA. Its implementation knows the algorithms; this
// package knows the layout.
type Protector interface {
	// SealSK encrypts plaintext, which is padded to BlockSize and ends with the Pad Length octet, and returns
	// IV | ciphertext | ICV, Overhead octets longer. prefix is the message from the first octet of the IKE header to the
	// end of the SK payload's generic header (with SKF's four more octets), lengths filled in: an AEAD takes it as
	// associated data, a MAC covers it and what follows (RFC 7296 section 3.14, RFC 5282 section 5.1).
	SealSK(prefix, plaintext []byte) (body []byte, err error)
	// OpenSK checks the ICV in constant time before anything else and returns the plaintext with its padding.
	OpenSK(prefix, body []byte) (plaintext []byte, err error)
	// BlockSize is what the plaintext's length must be a multiple of, in octets: 1 for AEADs.
	BlockSize() int
	// Overhead is the length of IV and ICV together in octets.
	Overhead() int
}

// SK is the encrypted payload, sealed (RFC 7296 section 3.14). It is the last of its message.
type SK struct {
	// First is the type of the first payload inside, 0 if there is none.
	First ikev2.PayloadType
	// Body is IV | ciphertext | ICV.
	Body []byte
}

// PayloadType is SK.
func (*SK) PayloadType() ikev2.PayloadType { return ikev2.PayloadSK }

// AppendBody writes the payload without its generic header.
func (p *SK) AppendBody(dst []byte) ([]byte, error) { return append(dst, p.Body...), nil }

// Sealed is the outside of a protected message: its frame, nothing of it trusted yet.
type Sealed struct {
	Header Header
	// First is the type of the first payload inside; in fragments after the first it is 0.
	First ikev2.PayloadType
	// Number and Total are the fragment's number and the count of fragments; both 0 in an SK payload.
	Number, Total uint16
	// Prefix is the message up to where Body begins: what the ICV covers besides Body.
	Prefix []byte
	// Body is IV | ciphertext | ICV.
	Body []byte

	nextAt int // where in Prefix stands the Next Payload field that says SK or SKF
}

// Fragment reports whether the message is one fragment of several or of one (SKF).
func (s *Sealed) Fragment() bool { return s.Total != 0 }

// ParseSealed reads the frame of a protected message. Payloads before SK are stepped over, never parsed: nobody vouches
// for them (RFC 7296 section 3.14). A message without SK or SKF is an error that is not answered.
func ParseSealed(b []byte) (Sealed, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return Sealed{Header: h}, err
	}
	s := Sealed{Header: h, nextAt: 16}
	c := chain{b: b[HeaderLen:], base: HeaderLen, next: h.NextPayload}
	for n, lim := 0, DefaultLimits(); ; n++ {
		at := HeaderLen + c.off
		l, ok, err := c.step()
		switch {
		case err != nil:
			// Unauthenticated octets: nothing is answered (section 2.21.4).
			return s, drop(at, "%v", err)
		case !ok:
			return s, drop(at, "%s message without an encrypted payload", h.Exchange)
		case n == lim.Payloads:
			return s, drop(at, "more than %d payloads before the encrypted one", lim.Payloads)
		case !l.sealed():
			s.nextAt = at
			continue
		case HeaderLen+c.off != len(b):
			return s, drop(HeaderLen+c.off, "octets after the encrypted payload")
		}
		s.First = l.next
		start := l.at
		if l.kind == ikev2.PayloadSKF {
			f, err := parseSKF(l.next, l.body, l.at)
			if err != nil {
				return s, drop(l.at, "%v", err)
			}
			s.Number, s.Total = f.Number, f.Total
			start += fragmentLen
		}
		s.Prefix, s.Body = b[:start:start], octets(b[start:])
		return s, nil
	}
}

// Inner is what a protected message held, its ICV checked.
type Inner struct {
	// Header is the message's; of a message that came in fragments it is fragment 1's, Length included.
	Header Header
	First  ikev2.PayloadType
	// Plaintext is the chain of payloads without padding. It may alias what the Protector returned.
	Plaintext []byte
	// Fragments is how many fragments it came in, 0 for an SK payload.
	Fragments int

	prefix []byte // of the SK payload, or of fragment 1 without its four own octets and its type made SK
}

// Payloads parses what is inside. Its errors come from an authenticated peer, so a request with one is answered.
func (in *Inner) Payloads(lim Limits) ([]Payload, error) {
	return ParsePayloads(in.First, in.Plaintext, lim)
}

// Open checks the ICV of an SK message, decrypts it and takes the padding off. An error of type *Error is a fault inside,
// found after the ICV was right; every other error is the Protector's: the message is dropped and counts for nothing.
func (s *Sealed) Open(p Protector) (Inner, error) {
	if s.Fragment() {
		return Inner{}, fmt.Errorf("open SK payload: message %d is fragment %d of %d", s.Header.MessageID, s.Number, s.Total)
	}
	plain, err := s.open(p)
	if err != nil {
		return Inner{Header: s.Header}, err
	}
	return Inner{Header: s.Header, First: s.First, Plaintext: plain, prefix: s.Prefix}, nil
}

func (s *Sealed) open(p Protector) ([]byte, error) {
	if len(s.Body) < p.Overhead()+1 {
		return nil, fmt.Errorf("open SK payload: %d octets are too few for IV, Pad Length and ICV", len(s.Body))
	}
	plain, err := p.OpenSK(s.Prefix, s.Body)
	if err != nil {
		return nil, err
	}
	if len(plain) == 0 {
		return nil, syntax(ikev2.PayloadSK, len(s.Prefix), "no Pad Length")
	}
	pad := int(plain[len(plain)-1])
	if pad+1 > len(plain) {
		return nil, syntax(ikev2.PayloadSK, len(s.Prefix), "Pad Length %d in a plaintext of %d octets", pad, len(plain))
	}
	return plain[:len(plain)-pad-1], nil
}

// Seal appends the message with all payloads inside one SK payload.
func Seal(dst []byte, h Header, ps []Payload, p Protector) ([]byte, error) {
	inner, err := appendInner(ps, p)
	if err != nil {
		return nil, err
	}
	return seal(dst, h, firstType(ps), inner, 0, 0, p)
}

// appendInner encodes the payloads with room for the padding behind.
func appendInner(ps []Payload, p Protector) ([]byte, error) {
	for _, q := range ps {
		if t := q.PayloadType(); t == ikev2.PayloadSK || t == ikev2.PayloadSKF {
			return nil, fmt.Errorf("encode %s payload: inside another encrypted payload", t)
		}
	}
	return AppendPayloads(make([]byte, 0, 512), ps)
}

// padded is the length of n octets with padding and the Pad Length octet.
func padded(n, block int) int {
	if block < 2 {
		return n + 1
	}
	return (n + block) / block * block
}

// seal appends one SK message, or one fragment if total is not 0. It takes inner's spare capacity for the padding.
func seal(dst []byte, h Header, first ikev2.PayloadType, inner []byte, number, total uint16, p Protector) ([]byte, error) {
	full := padded(len(inner), p.BlockSize())
	pad := full - len(inner) - 1
	if pad > 255 {
		return nil, fmt.Errorf("seal %s message %d: block size %d", h.Exchange, h.MessageID, p.BlockSize())
	}
	plain := inner
	for range pad {
		plain = append(plain, 0)
	}
	plain = append(plain, byte(pad))

	kind, own := ikev2.PayloadSK, genericLen
	if total != 0 {
		kind, own = ikev2.PayloadSKF, genericLen+fragmentLen
	}
	payload := own + len(plain) + p.Overhead()
	if payload > 0xffff {
		return nil, fmt.Errorf("seal %s message %d: payload of %d octets", h.Exchange, h.MessageID, payload)
	}
	start := len(dst)
	dst = appendHeader(dst, h, kind, HeaderLen+payload)
	dst = append(dst, byte(first), 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(payload))
	if total != 0 {
		dst = binary.BigEndian.AppendUint16(dst, number)
		dst = binary.BigEndian.AppendUint16(dst, total)
	}
	body, err := p.SealSK(dst[start:len(dst):len(dst)], plain)
	if err != nil {
		return nil, fmt.Errorf("seal %s message %d: %w", h.Exchange, h.MessageID, err)
	}
	if len(body) != len(plain)+p.Overhead() {
		return nil, fmt.Errorf("seal %s message %d: %d octets sealed to %d, not %d more", h.Exchange, h.MessageID, len(plain), len(body), p.Overhead())
	}
	return append(dst, body...), nil
}

// AppendIntAuth appends the octets A | P of an IKE_INTERMEDIATE message that we send, for AUTH (RFC 9242 section 3.3.2):
// the same whether it goes out whole or in fragments.
func AppendIntAuth(dst []byte, h Header, ps []Payload) ([]byte, error) {
	start := len(dst)
	dst = appendHeader(dst, h, ikev2.PayloadSK, 0)
	dst = append(dst, byte(firstType(ps)), 0, 0, 0)
	dst, err := AppendPayloads(dst, ps)
	if err != nil {
		return nil, err
	}
	return adjustLengths(dst, start, HeaderLen), nil
}

// AppendIntAuth appends the octets A | P of an IKE_INTERMEDIATE message that we received, for AUTH.
func (in *Inner) AppendIntAuth(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, in.prefix...)
	dst = append(dst, in.Plaintext...)
	return adjustLengths(dst, start, len(in.prefix)-genericLen)
}

// adjustLengths sets the lengths of the header at start and of the SK payload sk octets after it to what they would be
// without IV, padding, Pad Length and ICV.
func adjustLengths(dst []byte, start, sk int) []byte {
	n := len(dst) - start
	binary.BigEndian.PutUint32(dst[start+24:], uint32(n))
	binary.BigEndian.PutUint16(dst[start+sk+2:], uint16(n-sk))
	return dst
}
