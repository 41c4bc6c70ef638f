package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/url"
	"testing"
)

// under is a name below Acme: its organisational units, from the top.
func under(units ...string) pkix.Name {
	return pkix.Name{ExtraNames: append(acmeTop(), ou(units...)...)}
}

func acmeTop() []pkix.AttributeTypeAndValue {
	return append(atv("DE", 2, 5, 4, 6), atv("Acme", 2, 5, 4, 10)...)
}

func nameDER(n pkix.Name) []byte { return der(n.ToRDNSequence()) }

// tree is a GeneralSubtree of a directoryName.
func tree(n pkix.Name) []byte {
	return der(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: dirName(n)})
}

func dirName(n pkix.Name) []byte {
	return der(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: nameDER(n)})
}

func nameConstraints(critical bool, permitted, excluded []byte) func(*x509.Certificate) {
	var b []byte
	for i, part := range [][]byte{permitted, excluded} {
		if part != nil {
			b = append(b, der(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: i, IsCompound: true, Bytes: part})...)
		}
	}
	return extension(critical, der(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: b}), 2, 5, 29, 30)
}

func permits(names ...pkix.Name) func(*x509.Certificate) {
	return nameConstraints(true, trees(names), nil)
}
func excludes(names ...pkix.Name) func(*x509.Certificate) {
	return nameConstraints(true, nil, trees(names))
}

func trees(names []pkix.Name) (out []byte) {
	for _, n := range names {
		out = append(out, tree(n)...)
	}
	return out
}

// alsoNamed is a subjectAltName with a directoryName.
func alsoNamed(n pkix.Name) func(*x509.Certificate) {
	return extension(false, der(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: dirName(n)}), 2, 5, 29, 17)
}

func mail(a string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.EmailAddresses = []string{a} }
}

func host(a string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = []string{a} }
}

func uri(a string) func(*x509.Certificate) {
	u, err := url.Parse(a)
	if err != nil {
		panic(err)
	}
	return func(c *x509.Certificate) { c.URIs = []*url.URL{u} }
}

func permitsMail(d string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.PermittedEmailAddresses, c.PermittedDNSDomainsCritical = []string{d}, true
	}
}

// Section 4.13: name constraints.
func TestPKITSNames(t *testing.T) {
	const no, noDN, top = "not permitted", "may not be given", "permitted1"
	p1, p2, x1, x2, p1p2 := under(top), under("permitted2"), under("excluded1"), under("excluded2"), under(top, "permitted2")
	gw := func(units ...string) func(*x509.Certificate) {
		return subject(pkix.Name{ExtraNames: append(append(acmeTop(), ou(units...)...), atv("gw", 2, 5, 4, 3)...)})
	}
	below := func(units ...string) func(*x509.Certificate) {
		return subject(pkix.Name{ExtraNames: append(append(acmeTop(), ou(units...)...), atv("sub", 2, 5, 4, 3)...)})
	}
	withMail := subject(pkix.Name{ExtraNames: append(append(acmeTop(), ou(top)...), pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1},
		Value: asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte("a@invalid.example")}})})
	excludedMail := func(c *x509.Certificate) {
		c.ExcludedEmailAddresses, c.PermittedDNSDomainsCritical = []string{"good.example"}, true
	}
	permitsHost := func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"good.example"}, true
	}
	excludesHost := func(c *x509.Certificate) {
		c.ExcludedDNSDomains, c.PermittedDNSDomainsCritical = []string{"bad.example"}, true
	}
	permitsURI := func(c *x509.Certificate) {
		c.PermittedURIDomains, c.PermittedDNSDomainsCritical = []string{".good.example"}, true
	}
	excludesURI := func(c *x509.Certificate) {
		c.ExcludedURIDomains, c.PermittedDNSDomainsCritical = []string{"bad.example"}, true
	}
	rfc := pkix.Name{}
	runPKITS(t, []pkits{
		{n: "4.13.1 DN", path: []*link{ca(permits(p1)), ee(gw(top))}},
		{n: "4.13.2 DN", path: []*link{ca(permits(p1)), ee(gw("excluded1"))}, want: noDN},
		{n: "4.13.3 DN in the subjectAltName", path: []*link{ca(permits(p1)), ee(gw(top), alsoNamed(x1))}, want: noDN},
		{n: "4.13.4 DN, and a mail address", path: []*link{ca(permits(p1)), ee(gw(top), mail("a@good.example"))}},
		{n: "4.13.5 DN, two subtrees", path: []*link{ca(permits(p1, p2)), ee(gw(top), alsoNamed(p2))}},
		{n: "4.13.6 DN excluded", path: []*link{ca(excludes(x1)), ee(gw(top))}},
		{n: "4.13.7 DN excluded", path: []*link{ca(excludes(x1)), ee(gw("excluded1"))}, want: noDN},
		{n: "4.13.8 DN, two excluded", path: []*link{ca(excludes(x1, x2)), ee(gw("excluded1"))}, want: noDN},
		{n: "4.13.9 DN, two excluded", path: []*link{ca(excludes(x1, x2)), ee(gw("excluded2"))}, want: noDN},
		{n: "4.13.10 DN, both", path: []*link{ca(nameConstraints(true, tree(p1), tree(under(top, "excluded1")))), ee(gw(top, "excluded1"))}, want: noDN},
		{n: "4.13.11 DN, both", path: []*link{ca(nameConstraints(true, tree(p1), tree(under(top, "excluded1")))), ee(gw(top, "permitted2"))}},
		{n: "4.13.12 DN, narrower below", path: []*link{ca(permits(p1)), ca(below(top), permits(p1p2)), ee(gw(top))}, want: noDN},
		{n: "4.13.13 DN, nothing in common", path: []*link{ca(permits(p1)), ca(below(top), permits(p2)), ee(gw(top))}, want: noDN},
		{n: "4.13.14 DN, nothing in common, and no DN", path: []*link{ca(permits(p1)), ca(below(top), permits(p2)), ee(subject(rfc), mail("a@good.example"))}},
		{n: "4.13.15 DN excluded in two", path: []*link{ca(excludes(x1)), ca(excludes(x2)), ee(gw("excluded1"))}, want: noDN},
		{n: "4.13.16 DN excluded in two", path: []*link{ca(excludes(x1)), ca(excludes(x2)), ee(gw("excluded2"))}, want: noDN},
		{n: "4.13.17 DN excluded, permitted below", path: []*link{ca(excludes(x1)), ca(permits(under())), ee(gw("excluded1"))}, want: noDN},
		{n: "4.13.18 DN excluded, permitted below", path: []*link{ca(excludes(x1)), ca(permits(under())), ee(gw())}},
		{n: "4.13.19 self-issued DN", path: []*link{ca(permits(p1)), ca().selfIssued(), ee(gw(top))}},
		{n: "4.13.20 self-issued DN at the end", path: []*link{ca(permits(p1)), ee().selfIssued()}, want: noDN},
		{n: "4.13.21 mail in subdomains", path: []*link{ca(permitsMail(".good.example")), ee(mail("a@b.good.example"))}},
		{n: "4.13.22 mail in subdomains", path: []*link{ca(permitsMail(".good.example")), ee(mail("a@good.example"))}, want: no},
		{n: "4.13.23 mail of a host", path: []*link{ca(permitsMail("good.example")), ee(mail("a@good.example"))}},
		{n: "4.13.24 mail of a host", path: []*link{ca(permitsMail("good.example")), ee(mail("a@b.good.example"))}, want: no},
		{n: "4.13.25 mail excluded", path: []*link{ca(excludedMail), ee(mail("a@b.good.example"))}, want: "excluded", deviates: "as 4.13.36"},
		{n: "4.13.26 mail excluded", path: []*link{ca(excludedMail), ee(mail("a@good.example"))}, want: "excluded"},
		{n: "4.13.27 DN and mail", path: []*link{ca(permits(p1)), ca(below(top), permitsMail("good.example")), ee(gw(top), mail("a@good.example"))}},
		{n: "4.13.28 DN and mail", path: []*link{ca(permits(p1)), ca(below(top), permitsMail("good.example")), ee(gw(top), mail("a@invalid.example"))}, want: no},
		{n: "4.13.29 mail in the DN", path: []*link{ca(permits(p1)), ca(below(top), permitsMail("good.example")), ee(withMail)}, want: noDN},
		{n: "4.13.30 DNS", path: []*link{ca(permitsHost), ee(host("gw.good.example"))}},
		{n: "4.13.31 DNS", path: []*link{ca(permitsHost), ee(host("gw.bad.example"))}, want: no},
		{n: "4.13.32 DNS excluded", path: []*link{ca(excludesHost), ee(host("gw.good.example"))}},
		{n: "4.13.33 DNS excluded", path: []*link{ca(excludesHost), ee(host("bad.example"))}, want: "excluded"},
		{n: "4.13.34 URI", path: []*link{ca(permitsURI), ee(uri("http://gw.good.example/index.html"))}},
		{n: "4.13.35 URI", path: []*link{ca(permitsURI), ee(uri("http://good.example/index.html"))}, want: no},
		{n: "4.13.36 URI excluded", path: []*link{ca(excludesURI), ee(uri("http://gw.bad.example/index.html"))}, want: "excluded",
			deviates: "a URI's host constraint without a leading dot excludes the hosts below, too: an exclusion that is too wide does no harm"},
		{n: "4.13.37 URI excluded", path: []*link{ca(excludesURI), ee(uri("ftp://bad.example:21/37/"))}, want: "excluded"},
		{n: "4.13.38 DNS is cut at dots", path: []*link{ca(permitsHost), ee(host("mygood.example"))}, want: no},
		// Beside NIST's: a constraint that is not critical counts as well, names are compared without regard to case, and whole relative names at a time.
		{n: "4.13.2 not critical", path: []*link{ca(nameConstraints(false, tree(p1), nil)), ee(gw("excluded1"))}, want: noDN},
		{n: "4.13.7 in other letters", path: []*link{ca(excludes(under("EXCLUDED1"))), ee(gw("excluded1"))}, want: noDN},
		{n: "4.13.2 the beginning of a unit", path: []*link{ca(permits(under("permitted"))), ee(gw(top))}, want: noDN},
		{n: "4.13.2 constraints of the middle one hold for authorities", path: []*link{ca(permits(p1)), ca(below("excluded1")), ee(gw(top))}, want: noDN},
		{n: "4.13 an unknown kind of name, critical", path: []*link{ca(nameConstraints(true, der(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true,
			Bytes: der(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 8, Bytes: []byte{42, 3}})}), nil)), ee(gw(top))}, want: "critical extension"},
	})
}
