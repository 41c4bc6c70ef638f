package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// Payload is one payload of a message: *SA, *KE, *ID, *CERT, *CERTREQ, *AUTH, *Nonce, *Notify, *Delete, *VendorID,
// *TS, *SK, *SKF, *CP, *EAP or *Unknown.
type Payload interface {
	// PayloadType is what the Next Payload field before it says.
	PayloadType() ikev2.PayloadType
	// AppendBody writes the payload without its generic header. An error is ours: a value that has no encoding.
	AppendBody(dst []byte) ([]byte, error)
}

// Message is an IKE message.
type Message struct {
	Header   Header
	Payloads []Payload
}

// Limits bounds what one message may make us allocate; a message beyond them is INVALID_SYNTAX. A zero field allows none.
type Limits struct {
	Payloads     int // of any type in one message
	Notifies     int // notify payloads in one message
	Certificates int // CERT and CERTREQ payloads in one message
	Proposals    int // in one SA payload
	Transforms   int // in one SA payload, all proposals together
	Selectors    int // in one TS payload; the field's width ends at 255
	Attributes   int // in one CP payload
}

// DefaultLimits gives limits several times beyond what any known peer sends.
func DefaultLimits() Limits {
	return Limits{Payloads: 256, Notifies: 128, Certificates: 32, Proposals: 64, Transforms: 1024, Selectors: 255, Attributes: 256}
}

// ParseMessage reads a whole message. In a protected one the last payload is *SK or *SKF, still sealed: see ParseSealed.
// Unknown payloads that are not critical stand in the list as *Unknown.
func ParseMessage(b []byte) (Message, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return Message{Header: h}, err
	}
	ps, err := parseChain(h.NextPayload, b[HeaderLen:], HeaderLen, DefaultLimits(), true)
	return Message{Header: h, Payloads: ps}, err
}

// ParsePayloads reads a chain of payloads that begins with the type first: the plaintext of an SK payload or of a
// reassembled message, without padding. It may be empty when first is 0. SK and SKF do not stand in it.
func ParsePayloads(first ikev2.PayloadType, b []byte, lim Limits) ([]Payload, error) {
	return parseChain(first, b, 0, lim, false)
}

// AppendMessage appends the message with the payloads in the order given; an SK or SKF payload, already sealed, is the
// last. The header's version, next payload and length are computed.
func AppendMessage(dst []byte, h Header, ps []Payload) ([]byte, error) {
	start := len(dst)
	dst = appendHeader(dst, h, firstType(ps), 0)
	dst, err := AppendPayloads(dst, ps)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(dst[start+24:], uint32(len(dst)-start))
	return dst, nil
}

// AppendPayloads appends the chain of payloads in the order given: what an SK payload encrypts.
func AppendPayloads(dst []byte, ps []Payload) ([]byte, error) {
	for i, p := range ps {
		next := firstType(ps[i+1:])
		critical := byte(0)
		switch p := p.(type) {
		case *SK:
			next = p.First
		case *SKF:
			next = p.First
		case *Unknown:
			if p.Critical {
				critical = 0x80
			}
		}
		if pt := p.PayloadType(); (pt == ikev2.PayloadSK || pt == ikev2.PayloadSKF) && i != len(ps)-1 {
			return nil, fmt.Errorf("encode %s payload: it is not the last", pt)
		}
		start := len(dst)
		dst = append(dst, byte(next), critical, 0, 0)
		var err error
		if dst, err = p.AppendBody(dst); err != nil {
			return nil, err
		}
		if dst, err = setLen16(dst, start, "payload"); err != nil {
			return nil, fmt.Errorf("encode %s: %w", p.PayloadType(), err)
		}
	}
	return dst, nil
}

func firstType(ps []Payload) ikev2.PayloadType {
	if len(ps) == 0 {
		return ikev2.PayloadNone
	}
	return ps[0].PayloadType()
}

// chain walks generic payload headers (RFC 7296 section 3.2).
type chain struct {
	b    []byte
	off  int
	base int // offset of b in what the caller parses, for errors
	next ikev2.PayloadType
}

// link is one payload of a chain, not yet parsed.
type link struct {
	kind     ikev2.PayloadType
	next     ikev2.PayloadType
	critical bool
	body     []byte
	at       int // offset of body
}

// step gives the next payload. ok is false at the end, which must be the end of the octets too.
func (c *chain) step() (l link, ok bool, err error) {
	rest := c.b[c.off:]
	at := c.base + c.off
	if c.next == ikev2.PayloadNone {
		if len(rest) != 0 {
			return link{}, false, syntax(0, at, "%d octets after the last payload", len(rest))
		}
		return link{}, false, nil
	}
	if len(rest) < genericLen {
		return link{}, false, syntax(c.next, at, "%d octets left for a payload header", len(rest))
	}
	n := int(binary.BigEndian.Uint16(rest[2:]))
	if n < genericLen || n > len(rest) {
		return link{}, false, syntax(c.next, at, "length %d with %d octets left", n, len(rest))
	}
	l = link{kind: c.next, next: ikev2.PayloadType(rest[0]), critical: rest[1]&0x80 != 0, body: rest[genericLen:n:n], at: at + genericLen}
	c.off += n
	c.next = l.next
	if l.sealed() {
		// Section 3.14: SK is last, and its Next Payload names the first payload inside.
		c.next = ikev2.PayloadNone
	}
	return l, true, nil
}

func (l *link) sealed() bool { return l.kind == ikev2.PayloadSK || l.kind == ikev2.PayloadSKF }

// known reports whether this codec has a parser for the type.
func known(t ikev2.PayloadType) bool {
	return t >= ikev2.PayloadSA && t <= ikev2.PayloadEAP || t == ikev2.PayloadSKF
}

// census is what a first walk along the chain finds, before anything is allocated.
type census struct {
	payloads, notifies, certificates int
}

// survey checks the chain's lengths, limits and critical bits.
func survey(c chain, lim Limits, outer bool) (census, error) {
	var n census
	var critical *Error
	for {
		l, ok, err := c.step()
		if err != nil {
			return n, err
		}
		if !ok {
			break
		}
		n.payloads++
		switch {
		case l.kind == ikev2.PayloadNotify:
			n.notifies++
		case l.kind == ikev2.PayloadCERT || l.kind == ikev2.PayloadCERTREQ:
			n.certificates++
		case l.sealed() && !outer:
			return n, syntax(l.kind, l.at-genericLen, "inside another encrypted payload")
		case l.critical && !known(l.kind) && critical == nil:
			critical = &Error{Notify: ikev2.UNSUPPORTED_CRITICAL_PAYLOAD, Payload: l.kind, CriticalType: l.kind,
				Offset: l.at - genericLen, Text: "unknown and critical"}
		}
		if n.payloads > lim.Payloads || n.notifies > lim.Notifies || n.certificates > lim.Certificates {
			return n, syntax(l.kind, l.at-genericLen, "too many payloads: at most %d are taken, of them %d notifies and %d certificates",
				lim.Payloads, lim.Notifies, lim.Certificates)
		}
	}
	if critical != nil {
		return n, critical
	}
	return n, nil
}

func parseChain(first ikev2.PayloadType, b []byte, base int, lim Limits, outer bool) ([]Payload, error) {
	c := chain{b: b, base: base, next: first}
	n, err := survey(c, lim, outer)
	if err != nil || n.payloads == 0 {
		return nil, err
	}
	ps := make([]Payload, 0, n.payloads)
	notifies := make([]Notify, n.notifies)
	for {
		l, ok, err := c.step()
		if err != nil || !ok {
			return ps, err
		}
		var p Payload
		if l.kind == ikev2.PayloadNotify {
			p, err = &notifies[0], notifies[0].parse(l.body, l.at)
			notifies = notifies[1:]
		} else {
			p, err = parsePayload(l, lim)
		}
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
}

// parsePayload is the table of parsers.
func parsePayload(l link, lim Limits) (Payload, error) {
	switch l.kind {
	case ikev2.PayloadSA:
		return ptr(parseSA(l.body, l.at, lim))
	case ikev2.PayloadKE:
		return ptr(parseKE(l.body, l.at))
	case ikev2.PayloadIDi, ikev2.PayloadIDr:
		return ptr(parseID(l.kind, l.body, l.at))
	case ikev2.PayloadCERT:
		return ptr(parseCERT(l.body, l.at))
	case ikev2.PayloadCERTREQ:
		return ptr(parseCERTREQ(l.body, l.at))
	case ikev2.PayloadAUTH:
		return ptr(parseAUTH(l.body, l.at))
	case ikev2.PayloadNonce:
		return ptr(parseNonce(l.body, l.at))
	case ikev2.PayloadDelete:
		return ptr(parseDelete(l.body, l.at))
	case ikev2.PayloadVendor:
		return &VendorID{Data: octets(l.body)}, nil
	case ikev2.PayloadTSi, ikev2.PayloadTSr:
		return ptr(parseTS(l.kind, l.body, l.at, lim))
	case ikev2.PayloadSK:
		return &SK{First: l.next, Body: octets(l.body)}, nil
	case ikev2.PayloadSKF:
		return ptr(parseSKF(l.next, l.body, l.at))
	case ikev2.PayloadCP:
		return ptr(parseCP(l.body, l.at, lim))
	case ikev2.PayloadEAP:
		return ptr(parseEAP(l.body, l.at))
	}
	return &Unknown{Kind: l.kind, Critical: l.critical, Data: octets(l.body)}, nil
}

// ptr keeps a nil *T of a failed parser from becoming a Payload that is not nil.
func ptr[P Payload](p P, err error) (Payload, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

// octets gives nil for an empty slice, so that "nothing there" has one form, and no room to append into what follows.
func octets(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b[:len(b):len(b)]
}

// Unknown is a payload of a type that this codec does not know. It is skipped (RFC 7296 section 2.5).
type Unknown struct {
	Kind ikev2.PayloadType
	// Critical makes a peer that does not know the type either refuse the message. Parsers never return it set: such
	// a message is an error.
	Critical bool
	Data     []byte
}

// PayloadType is the unknown type's number.
func (p *Unknown) PayloadType() ikev2.PayloadType { return p.Kind }

// AppendBody writes the payload without its generic header.
func (p *Unknown) AppendBody(dst []byte) ([]byte, error) {
	if known(p.Kind) || p.Kind == 0 {
		return nil, fmt.Errorf("encode unknown payload: type %s has a form of its own", p.Kind)
	}
	return append(dst, p.Data...), nil
}
