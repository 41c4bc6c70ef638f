package authn

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/trike-ipsec/trike/authproc/internal/pki"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// wireID is an identity of the plan as an ID payload holds it (RFC 7296 section 3.5).
func wireID(id plan.Identity) (msg.ID, error) {
	out := msg.ID{Type: id.Type, Data: []byte(id.Data)}
	switch id.Type {
	case ikev2.ID_FQDN, ikev2.ID_RFC822_ADDR:
	case ikev2.ID_IPV4_ADDR, ikev2.ID_IPV6_ADDR:
		a, err := netip.ParseAddr(id.Data)
		if err != nil || a.Zone() != "" || a.Is4() != (id.Type == ikev2.ID_IPV4_ADDR) {
			return msg.ID{}, fmt.Errorf("%v %q is no such address", id.Type, id.Data)
		}
		out.Data = a.AsSlice()
	case ikev2.ID_KEY_ID:
		b, err := hex.DecodeString(id.Data)
		if err != nil {
			return msg.ID{}, fmt.Errorf("ID_KEY_ID %q is not hexadecimal", id.Data)
		}
		out.Data = b
	case ikev2.ID_DER_ASN1_DN:
		d, err := pki.ParseDN(id.Data)
		if err != nil {
			return msg.ID{}, err
		}
		if out.Data, err = d.DER(); err != nil {
			return msg.ID{}, err
		}
	default:
		return msg.ID{}, fmt.Errorf("an identity of type %v is not served", id.Type)
	}
	if len(out.Data) == 0 || len(out.Data) > maxID {
		return msg.ID{}, fmt.Errorf("%v of %d octets", id.Type, len(out.Data))
	}
	return out, nil
}

// canonical is equal for identities that mean the same: of one type, and the same octets; names as in DNS and mail without regard to ASCII case.
func canonical(id msg.ID) string {
	b := append([]byte{byte(id.Type)}, id.Data...)
	if id.Type == ikev2.ID_FQDN || id.Type == ikev2.ID_RFC822_ADDR {
		for i, c := range b[1:] {
			if 'A' <= c && c <= 'Z' {
				b[1+i] = c + 'a' - 'A'
			}
		}
	}
	return string(b)
}

// text writes an identity for the operator. What a peer sent is quoted and cut short.
func text(id msg.ID) string {
	switch id.Type {
	case ikev2.ID_IPV4_ADDR, ikev2.ID_IPV6_ADDR:
		if a, ok := netip.AddrFromSlice(id.Data); ok {
			return a.String()
		}
	case ikev2.ID_FQDN, ikev2.ID_RFC822_ADDR:
		return fmt.Sprintf("%q", clip(string(id.Data), 128))
	case ikev2.ID_DER_ASN1_DN:
		if d, err := pki.ReadDN(id.Data); err == nil {
			return fmt.Sprintf("%q", clip(d.String(), 128))
		}
	}
	return fmt.Sprintf("%v %s", id.Type, clip(hex.EncodeToString(id.Data), 128))
}

// ServerName writes the identity that a server proved for an EAP client, which holds it against the certificate that the server shows within EAP: a name, an address or a
// distinguished name as a policy writes it. What is none of these is "" or in hexadecimal, which no certificate has.
func ServerName(id msg.ID) string {
	switch id.Type {
	case ikev2.ID_FQDN, ikev2.ID_RFC822_ADDR:
		return string(id.Data)
	case ikev2.ID_DER_ASN1_DN:
		if d, err := pki.ReadDN(id.Data); err == nil {
			return d.String()
		}
	}
	if id.Type == 0 {
		return ""
	}
	return text(id)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// peer is who a connection's other end may be.
type peer struct {
	fixed  bool   // it is id
	id     msg.ID // with fixed
	any    bool
	dn     pki.DN       // of a distinguished name, with "*" or without
	kind   ikev2.IDType // of a pattern
	suffix string       // of a pattern, lower case: ".example.org" or "@example.org"
}

// newPeer reads the plan's remote identity: one, a pattern, or the zero Identity for any (plan.Endpoint).
func newPeer(id plan.Identity) (peer, error) {
	switch {
	case id == plan.Identity{}:
		return peer{any: true}, nil
	case id.Type == ikev2.ID_FQDN && strings.HasPrefix(id.Data, "*."), id.Type == ikev2.ID_RFC822_ADDR && strings.HasPrefix(id.Data, "*@"):
		return peer{kind: id.Type, suffix: strings.ToLower(id.Data[1:])}, nil
	case id.Type == ikev2.ID_DER_ASN1_DN:
		d, err := pki.ParseDN(id.Data)
		return peer{dn: d, kind: id.Type}, err
	}
	one, err := wireID(id)
	return peer{fixed: err == nil, id: one}, err
}

// is tells whether an identity, as on the wire, is this peer's.
func (p peer) is(id msg.ID) bool {
	switch {
	case p.any:
		return true
	case p.fixed:
		return canonical(p.id) == canonical(id)
	}
	if p.dn != nil {
		d, err := pki.ReadDN(id.Data)
		return id.Type == p.kind && err == nil && p.dn.Matches(d)
	}
	name := strings.ToLower(string(id.Data))
	return id.Type == p.kind && len(name) > len(p.suffix) && strings.HasSuffix(name, p.suffix)
}

// String writes it for the operator.
func (p peer) String() string {
	switch {
	case p.any:
		return "anybody who can prove it"
	case p.fixed:
		return text(p.id)
	case p.dn != nil:
		return fmt.Sprintf("%q", p.dn.String())
	}
	return fmt.Sprintf("%q", "*"+p.suffix)
}
