package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// crypto/x509 has no constraints of directory names, and lets "example.com" stand for the mail of all hosts below. Both are looked at here, when it is done with a path.

var (
	oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
	oidSubjectAltName  = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidMail            = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
)

// maxNameChecks bounds how many comparisons of a name with a subtree one path may cost.
const maxNameChecks = 1 << 18

// subtrees are one authority's constraints (RFC 5280 section 4.2.1.10).
type subtrees struct {
	permitted, excluded []DN
	other               bool // names of a kind that neither crypto/x509 nor this file looks at
}

// handled takes name constraints off the list of what is critical and not understood where directory names are all that crypto/x509 missed.
func handled(c *x509.Certificate) error {
	s, err := constraintsOf(c)
	if err != nil {
		return err
	}
	if s != nil && !s.other {
		c.UnhandledCriticalExtensions = slices.DeleteFunc(c.UnhandledCriticalExtensions, oidNameConstraints.Equal)
	}
	return nil
}

func constraintsOf(c *x509.Certificate) (*subtrees, error) {
	value := extensionOf(c, oidNameConstraints)
	if value == nil {
		return nil, nil
	}
	in, out := cryptobyte.String(value), &subtrees{}
	var body cryptobyte.String
	if !in.ReadASN1(&body, cbasn1.SEQUENCE) || !in.Empty() {
		return nil, errConstraints
	}
	for i, names := range []*[]DN{&out.permitted, &out.excluded} {
		var part cryptobyte.String
		if !body.ReadOptionalASN1(&part, nil, cbasn1.Tag(i).ContextSpecific().Constructed()) {
			return nil, errConstraints
		}
		for !part.Empty() {
			if err := out.read(&part, names); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

var errConstraints = errors.New("its name constraints are malformed")

// read takes one GeneralSubtree.
func (s *subtrees) read(part *cryptobyte.String, names *[]DN) error {
	var tree, base cryptobyte.String
	var tag cbasn1.Tag
	if !part.ReadASN1(&tree, cbasn1.SEQUENCE) || !tree.ReadAnyASN1(&base, &tag) {
		return errConstraints
	}
	switch tag {
	case cbasn1.Tag(4).ContextSpecific().Constructed():
		dn, err := ReadDN(base)
		if err != nil || !tree.Empty() { // RFC 5280: minimum is 0, and there is no maximum
			return errConstraints
		}
		*names = append(*names, dn)
	case cbasn1.Tag(1).ContextSpecific(), cbasn1.Tag(2).ContextSpecific(), cbasn1.Tag(6).ContextSpecific(), cbasn1.Tag(7).ContextSpecific():
	default:
		s.other = true
	}
	return nil
}

// within holds the names of a chain against what each authority above may give (RFC 5280 section 6.1.4 (g)). The names of self-issued authorities do not count.
func within(chain []*x509.Certificate) error {
	checks := 0
	for i, authority := range chain[1:] {
		s, err := constraintsOf(authority)
		if err != nil {
			return fmt.Errorf("certificate %s: %w", Title(authority), err)
		}
		if s == nil {
			continue
		}
		for j, c := range chain[:i+1] {
			if j > 0 && bytes.Equal(c.RawSubject, c.RawIssuer) {
				continue
			}
			names, err := directoryNames(c)
			if err != nil {
				return fmt.Errorf("certificate %s: %w", Title(c), err)
			}
			if checks += len(names)*(len(s.permitted)+len(s.excluded)) + mailChecks(c, authority); checks > maxNameChecks {
				return fmt.Errorf("certificate %s: its name constraints cost more than is spent on a path", Title(authority))
			}
			for _, n := range names {
				if !s.allows(n) || !mailInside(n, authority) {
					return fmt.Errorf("certificate %s: the name %q may not be given by %s: its name constraints (RFC 5280 section 4.2.1.10) do not permit it", Title(c), n.String(), Title(authority))
				}
			}
			for _, m := range c.EmailAddresses {
				if !mailPermitted(m, authority.PermittedEmailAddresses) {
					return fmt.Errorf("certificate %s: the mail address %q is not permitted by the name constraints of %s (RFC 5280 section 4.2.1.10)", Title(c), m, Title(authority))
				}
			}
		}
	}
	return nil
}

func (s *subtrees) allows(n DN) bool {
	if slices.ContainsFunc(s.excluded, n.below) {
		return false
	}
	return len(s.permitted) == 0 || slices.ContainsFunc(s.permitted, n.below)
}

// below tells whether a name is in the subtree that top is the root of: the same relative names, each whole, and then any others.
func (n DN) below(top DN) bool {
	if len(n) < len(top) || len(n) > len(top) && len(top) > 0 && n[len(top)].Set == n[len(top)-1].Set {
		return false
	}
	for i, a := range top {
		if !a.OID.Equal(n[i].OID) || a.Set != n[i].Set || fold(a.Value) != fold(n[i].Value) {
			return false
		}
	}
	return true
}

// directoryNames are the subject, unless it is empty, and those of the subjectAltName.
func directoryNames(c *x509.Certificate) (out []DN, err error) {
	dn, err := ReadDN(c.RawSubject)
	if err != nil {
		return nil, err
	}
	if len(dn) > 0 {
		out = append(out, dn)
	}
	value := extensionOf(c, oidSubjectAltName)
	if value == nil {
		return out, nil
	}
	in := cryptobyte.String(value)
	var names cryptobyte.String
	if !in.ReadASN1(&names, cbasn1.SEQUENCE) {
		return nil, errors.New("its subjectAltName is malformed")
	}
	for !names.Empty() {
		var n cryptobyte.String
		var tag cbasn1.Tag
		if !names.ReadAnyASN1(&n, &tag) {
			return nil, errors.New("its subjectAltName is malformed")
		}
		if tag == cbasn1.Tag(4).ContextSpecific().Constructed() {
			if dn, err = ReadDN(n); err != nil {
				return nil, err
			}
			out = append(out, dn)
		}
	}
	return out, nil
}

// mailInside holds mail addresses in a directory name against constraints of mail (RFC 5280 section 4.2.1.10).
func mailInside(n DN, authority *x509.Certificate) bool {
	for _, a := range n {
		if a.OID.Equal(oidMail) && (!mailPermitted(a.Value, authority.PermittedEmailAddresses) || slices.ContainsFunc(authority.ExcludedEmailAddresses, func(x string) bool { return mailMatches(a.Value, x) })) {
			return false
		}
	}
	return true
}

func mailPermitted(m string, permitted []string) bool {
	return len(permitted) == 0 || slices.ContainsFunc(permitted, func(x string) bool { return mailMatches(m, x) })
}

// mailMatches: a constraint is one address, all of a host, or, with a dot in front, all of the hosts below a domain.
func mailMatches(m, constraint string) bool {
	_, host, ok := strings.Cut(m, "@")
	if at := strings.LastIndexByte(m, '@'); ok {
		host = m[at+1:]
	}
	switch {
	case strings.Contains(constraint, "@"):
		return sameMail(m, constraint)
	case strings.HasPrefix(constraint, "."):
		return len(host) > len(constraint) && strings.EqualFold(host[len(host)-len(constraint):], constraint)
	}
	return ok && strings.EqualFold(host, constraint)
}

func mailChecks(c, authority *x509.Certificate) int {
	return len(c.EmailAddresses) * len(authority.PermittedEmailAddresses)
}

func extensionOf(c *x509.Certificate, id asn1.ObjectIdentifier) []byte {
	for _, e := range c.Extensions {
		if e.Id.Equal(id) {
			return e.Value
		}
	}
	return nil
}
