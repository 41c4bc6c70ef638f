package pki

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
)

// Names tells whether a certificate names an identity as IKE carries it (RFC 4945 section 3.1): an error says what it names instead.
func Names(c *x509.Certificate, id msg.ID) error {
	ok := false
	switch id.Type {
	case ikev2.ID_FQDN:
		for _, n := range c.DNSNames {
			ok = ok || dns(n, string(id.Data))
		}
	case ikev2.ID_RFC822_ADDR:
		for _, n := range c.EmailAddresses {
			ok = ok || sameMail(n, string(id.Data))
		}
	case ikev2.ID_IPV4_ADDR, ikev2.ID_IPV6_ADDR:
		want, valid := netip.AddrFromSlice(id.Data)
		for _, n := range c.IPAddresses {
			have, good := netip.AddrFromSlice(n)
			ok = ok || valid && good && have.Unmap() == want
		}
	case ikev2.ID_DER_ASN1_DN:
		ok = sameName(c.RawSubject, id.Data)
	case ikev2.ID_KEY_ID:
		// RFC 4945 section 3.1.7: what a key ID means is a matter of agreement. The policy names it, and the certificate's subject key identifier is the one agreement
		// that needs no words.
		ok = len(c.SubjectKeyId) > 0 && string(c.SubjectKeyId) == string(id.Data)
	}
	if ok {
		return nil
	}
	return fmt.Errorf("certificate %s does not name the identity: it names %s (RFC 4945 section 3.1)", Title(c), All(c))
}

// dns compares a dNSName, which may begin with "*.", with a name.
func dns(n, want string) bool {
	n, want = strings.ToLower(strings.TrimSuffix(n, ".")), strings.ToLower(strings.TrimSuffix(want, "."))
	if strings.HasPrefix(n, "*.") {
		_, parent, ok := strings.Cut(want, ".")
		return ok && parent == n[2:] && strings.Contains(parent, ".")
	}
	return n == want && n != ""
}

// sameMail compares mail addresses: the host without regard to case (RFC 5280 section 7.5).
func sameMail(a, b string) bool {
	i, j := strings.LastIndexByte(a, '@'), strings.LastIndexByte(b, '@')
	return i > 0 && j > 0 && a[:i] == b[:j] && strings.EqualFold(a[i:], b[j:])
}

// All lists what a certificate names, for the operator.
func All(c *x509.Certificate) string {
	var out []string
	if d, err := ReadDN(c.RawSubject); err == nil && len(d) > 0 {
		out = append(out, fmt.Sprintf("subject %q", d.String()))
	}
	for _, n := range c.DNSNames {
		out = append(out, fmt.Sprintf("%q", n))
	}
	for _, n := range c.EmailAddresses {
		out = append(out, fmt.Sprintf("%q", n))
	}
	for _, n := range c.IPAddresses {
		out = append(out, n.String())
	}
	if len(out) > 12 {
		out = append(out[:12], fmt.Sprintf("%d more", len(out)-12))
	}
	return strings.ToValidUTF8(join(out), "?")
}
