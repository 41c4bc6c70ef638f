// Package packet makes RADIUS packets and takes them, on top of layeh.com/radius, which knows the octets but not whom to believe: here every
// request that asks for access carries a Message-Authenticator, and every answer to it must (RFC 3579 section 3.2); an answer counts only if its
// Response Authenticator and its code fit the request (RFC 2865 section 3). All functions are pure, but for the fresh Request Authenticators.
package packet

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"layeh.com/radius"
)

// headerLen is a RADIUS header: code, identifier, length and authenticator (RFC 2865 section 3).
const headerLen = 20

// authenticatorLen is the length of authenticators and of Message-Authenticator's value.
const authenticatorLen = 16

// What may be wrong with a packet that another side sent. All of these are "silently discarded" by the RFCs; they are told to the operator when no good
// answer follows.
var (
	ErrMalformed     = errors.New("malformed packet")
	ErrUnexpected    = errors.New("packet of a kind that does not answer the request")
	ErrAuthenticator = errors.New("wrong authenticator: the shared secrets differ, or somebody forges")
	ErrUnsigned      = errors.New("no Message-Authenticator")
	ErrSignature     = errors.New("wrong Message-Authenticator: the shared secrets differ, or somebody forges")
)

// Seal gives a request its authenticators and its octets. The identifier must be set. Access-Request and Status-Server get a fresh random Request
// Authenticator and, as the first attribute, a Message-Authenticator: behind attributes that an attacker can choose it would not withstand a chosen-prefix
// collision of the answer. Accounting requests are signed by their Request Authenticator (RFC 2866 section 3). Disconnect and CoA
// requests have both (RFC 5176 section 3.4).
func Seal(p *radius.Packet, secret []byte) ([]byte, error) {
	q := *p
	q.Secret = secret
	q.Attributes = unsigned(p.Attributes)
	switch q.Code {
	case radius.CodeAccessRequest, radius.CodeStatusServer:
		rand.Read(q.Authenticator[:])
		q.Attributes = slices.Insert(q.Attributes, 0, blank())
	case radius.CodeDisconnectRequest, radius.CodeCoARequest:
		q.Authenticator = [authenticatorLen]byte{}
		q.Attributes = slices.Insert(q.Attributes, 0, blank())
	case radius.CodeAccountingRequest:
		q.Authenticator = [authenticatorLen]byte{}
	default:
		return nil, fmt.Errorf("packet code %d is no request", q.Code)
	}
	return finish(&q)
}

// SealAnswer gives an answer to the request its identifier, its authenticators and its octets. An answer to Accounting-Request has no
// Message-Authenticator; all others begin with it.
func SealAnswer(p *radius.Packet, request, secret []byte) ([]byte, error) {
	if len(request) < headerLen {
		return nil, ErrMalformed
	}
	q := *p
	q.Secret = secret
	q.Identifier = request[1]
	copy(q.Authenticator[:], request[4:headerLen])
	q.Attributes = unsigned(p.Attributes)
	if q.Code != radius.CodeAccountingResponse {
		q.Attributes = slices.Insert(q.Attributes, 0, blank())
	}
	return finish(&q)
}

// unsigned copies the list without Message-Authenticators.
func unsigned(a radius.Attributes) radius.Attributes {
	out := make(radius.Attributes, 0, len(a)+1)
	for _, avp := range a {
		if avp.Type != MessageAuthenticator {
			out = append(out, avp)
		}
	}
	return out
}

func blank() *radius.AVP {
	return &radius.AVP{Type: MessageAuthenticator, Attribute: make(radius.Attribute, authenticatorLen)}
}

// finish computes the Message-Authenticator of q, whose authenticator field is the one that the HMAC wants, then the packet's own authenticator.
func finish(q *radius.Packet) ([]byte, error) {
	if i := slices.IndexFunc(q.Attributes, func(a *radius.AVP) bool { return a.Type == MessageAuthenticator }); i >= 0 {
		plain, err := q.MarshalBinary()
		if err != nil {
			return nil, err
		}
		q.Attributes[i].Attribute = mac(plain, q.Secret)
	}
	return q.Encode()
}

func mac(b, secret []byte) []byte {
	h := hmac.New(md5.New, secret)
	h.Write(b)
	return h.Sum(nil)
}

// Open takes what came as an answer to request, octets that Seal gave. What stands behind the packet's own length is padding (RFC 2865 section 3).
// Answers about access must carry a Message-Authenticator; others' is checked if it is there.
func Open(b, request, secret []byte) (*radius.Packet, error) {
	b, err := trim(b)
	if err != nil {
		return nil, err
	}
	if len(request) < headerLen || b[1] != request[1] || !answers(radius.Code(b[0]), radius.Code(request[0])) {
		return nil, ErrUnexpected
	}
	want := md5.New()
	want.Write(b[:4])
	want.Write(request[4:headerLen])
	want.Write(b[headerLen:])
	want.Write(secret)
	if subtle.ConstantTimeCompare(want.Sum(nil), b[4:headerLen]) != 1 {
		return nil, ErrAuthenticator
	}
	needed := radius.Code(request[0]) == radius.CodeAccessRequest
	if err := checkMAC(b, request[4:headerLen], secret, needed); err != nil {
		return nil, err
	}
	return parse(b)
}

// OpenRequest takes a Disconnect or CoA request, or an Accounting-Request. With strict it must carry a Message-Authenticator.
func OpenRequest(b, secret []byte, strict bool) (*radius.Packet, error) {
	b, err := trim(b)
	if err != nil {
		return nil, err
	}
	zero := make([]byte, authenticatorLen)
	switch radius.Code(b[0]) {
	case radius.CodeDisconnectRequest, radius.CodeCoARequest, radius.CodeAccountingRequest:
	default:
		return nil, ErrUnexpected
	}
	want := md5.New()
	want.Write(b[:4])
	want.Write(zero)
	want.Write(b[headerLen:])
	want.Write(secret)
	if subtle.ConstantTimeCompare(want.Sum(nil), b[4:headerLen]) != 1 {
		return nil, ErrAuthenticator
	}
	if err := checkMAC(b, zero, secret, strict); err != nil {
		return nil, err
	}
	return parse(b)
}

// OpenAccess takes an Access-Request or Status-Server as a server does; the tests' servers use it.
func OpenAccess(b, secret []byte) (*radius.Packet, error) {
	b, err := trim(b)
	if err != nil {
		return nil, err
	}
	if c := radius.Code(b[0]); c != radius.CodeAccessRequest && c != radius.CodeStatusServer {
		return nil, ErrUnexpected
	}
	if err := checkMAC(b, b[4:headerLen], secret, true); err != nil {
		return nil, err
	}
	return parse(b)
}

// Size is the length that a packet's header tells, if it can be one.
func Size(header []byte) (int, error) {
	if len(header) < 4 {
		return 0, ErrMalformed
	}
	n := int(binary.BigEndian.Uint16(header[2:]))
	if n < headerLen || n > radius.MaxPacketLength {
		return 0, ErrMalformed
	}
	return n, nil
}

func trim(b []byte) ([]byte, error) {
	n, err := Size(b)
	if err != nil || n > len(b) {
		return nil, ErrMalformed
	}
	return b[:n], nil
}

func parse(b []byte) (*radius.Packet, error) {
	p, err := radius.Parse(b, nil)
	if err != nil {
		return nil, ErrMalformed
	}
	return p, nil
}

func answers(code, request radius.Code) bool {
	switch request {
	case radius.CodeAccessRequest:
		return code == radius.CodeAccessAccept || code == radius.CodeAccessReject || code == radius.CodeAccessChallenge
	case radius.CodeAccountingRequest:
		return code == radius.CodeAccountingResponse
	case radius.CodeStatusServer:
		return code == radius.CodeAccessAccept || code == radius.CodeAccountingResponse
	case radius.CodeDisconnectRequest:
		return code == radius.CodeDisconnectACK || code == radius.CodeDisconnectNAK
	case radius.CodeCoARequest:
		return code == radius.CodeCoAACK || code == radius.CodeCoANAK
	}
	return false
}

// checkMAC looks for the one Message-Authenticator of b and recomputes it, with authenticator in the header's field and zeros in its own.
func checkMAC(b, authenticator, secret []byte, needed bool) error {
	at := 0
	for i := headerLen; i < len(b); {
		if len(b)-i < 2 || b[i+1] < 2 || int(b[i+1]) > len(b)-i {
			return ErrMalformed
		}
		n := int(b[i+1])
		if radius.Type(b[i]) == MessageAuthenticator {
			// One only, and of one length (RFC 3579 section 3.2).
			if at != 0 || n != 2+authenticatorLen {
				return ErrMalformed
			}
			at = i + 2
		}
		i += n
	}
	if at == 0 {
		if needed {
			return ErrUnsigned
		}
		return nil
	}
	c := slices.Clone(b)
	copy(c[4:headerLen], authenticator)
	clear(c[at : at+authenticatorLen])
	if !hmac.Equal(mac(c, secret), b[at:at+authenticatorLen]) {
		return ErrSignature
	}
	return nil
}
