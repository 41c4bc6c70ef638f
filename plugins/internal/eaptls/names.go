package eaptls

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Fields of a certificate that can name somebody.
const (
	FieldCN    = "cn"    // the subject's common name
	FieldEmail = "email" // subject alternative name: rfc822Name
	FieldDNS   = "dns"   // subject alternative name: dNSName
	FieldUPN   = "upn"   // subject alternative name: Microsoft's user principal name
	FieldIP    = "ip"    // subject alternative name: iPAddress
)

// maxNames of one certificate are looked at.
const maxNames = 100

// Name is one that a certificate has.
type Name struct{ Field, Value string }

// Names gives the names in a certificate that can stand in a log and in a policy: of printable text and bounded length.
func Names(cert *x509.Certificate) []Name {
	var all []Name
	add := func(field, value string) {
		if len(all) < maxNames && plain(value) {
			all = append(all, Name{field, value})
		}
	}
	add(FieldCN, cert.Subject.CommonName)
	for _, v := range cert.EmailAddresses {
		add(FieldEmail, v)
	}
	for _, v := range cert.DNSNames {
		add(FieldDNS, v)
	}
	for _, v := range principals(cert) {
		add(FieldUPN, v)
	}
	for _, v := range cert.IPAddresses {
		add(FieldIP, v.String())
	}
	return all
}

// plain refuses what is empty, too long, not text, or has control characters, with which a name could pretend to be another in a log or a shorter one to a C program.
func plain(s string) bool {
	return s != "" && len(s) <= eapsdk.MaxIdentity && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// matches reports whether the name is the identity. Domains and host names have no case.
func (n Name) matches(identity string) bool {
	switch n.Field {
	case FieldEmail, FieldUPN:
		return sameMail(n.Value, identity)
	case FieldDNS:
		// Windows as a machine calls itself host/ and its name.
		return strings.EqualFold(n.Value, strings.TrimPrefix(identity, "host/"))
	}
	return n.Value == identity
}

// sameMail compares with case before the last @ and without behind it.
func sameMail(a, b string) bool {
	i, j := strings.LastIndexByte(a, '@'), strings.LastIndexByte(b, '@')
	if i < 0 || j < 0 {
		return a == b
	}
	return a[:i] == b[:j] && strings.EqualFold(a[i:], b[j:])
}

// sameDN compares distinguished names in text: one of RFC 4514, with the last part first, and one in either order, with spaces behind its commas or without.
func sameDN(subject, name string) bool {
	a, b := parts(subject), parts(name)
	if slices.Equal(a, b) {
		return true
	}
	slices.Reverse(a)
	return slices.Equal(a, b)
}

// parts splits at commas that have no backslash before them.
func parts(dn string) (out []string) {
	from := 0
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			i++
		case ',':
			out, from = append(out, strings.TrimSpace(dn[from:i])), i+1
		}
	}
	return append(out, strings.TrimSpace(dn[from:]))
}

// Who gives the identity that a client proved by its certificate. from is a field, or "" for any field that has what the client called itself.
func Who(cert *x509.Certificate, from, claimed string) (string, error) {
	var fit []Name
	for _, n := range Names(cert) {
		if n.Field == FieldIP || from != "" && n.Field != from {
			continue
		}
		if n.matches(claimed) {
			return n.Value, nil
		}
		fit = append(fit, n)
	}
	switch {
	case from != "" && len(fit) == 1:
		return fit[0].Value, nil
	case from != "" && len(fit) == 0:
		return "", fmt.Errorf("the certificate of %q has no %s name to know the peer by", cert.Subject, from)
	}
	return "", fmt.Errorf("the peer calls itself %q, and its certificate is for %s", claimed, listed(fit))
}

// listed is names for a log.
func listed(names []Name) string {
	const most = 8
	var b strings.Builder
	for i, n := range names {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(names)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %q", n.Field, n.Value)
	}
	if b.Len() == 0 {
		return "no name"
	}
	return b.String()
}

var (
	oidAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidPrincipal = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
)

// principals gives the otherNames that are user principal names (RFC 5280 section 4.2.1.6; Microsoft's object identifier).
func principals(cert *x509.Certificate) []string {
	for _, e := range cert.Extensions {
		if e.Id.Equal(oidAltName) {
			return parsePrincipals(e.Value)
		}
	}
	return nil
}

func parsePrincipals(der []byte) (out []string) {
	in := cryptobyte.String(der)
	var names cryptobyte.String
	if !in.ReadASN1(&names, cbasn1.SEQUENCE) {
		return nil
	}
	for !names.Empty() && len(out) < maxNames {
		var name, wrapped, text cryptobyte.String
		var tag cbasn1.Tag
		if !names.ReadAnyASN1(&name, &tag) {
			return out
		}
		var id asn1.ObjectIdentifier
		if tag == cbasn1.Tag(0).ContextSpecific().Constructed() && name.ReadASN1ObjectIdentifier(&id) && id.Equal(oidPrincipal) &&
			name.ReadASN1(&wrapped, cbasn1.Tag(0).ContextSpecific().Constructed()) && wrapped.ReadASN1(&text, cbasn1.UTF8String) {
			out = append(out, string(text))
		}
	}
	return out
}
