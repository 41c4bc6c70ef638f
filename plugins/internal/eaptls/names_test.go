package eaptls

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/pkitest"
)

func certificate(t testing.TB, l pkitest.Leaf) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(pkitest.New("root", pkitest.ECDSA).Issue(l).Chain)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestWhoACertificateNames(t *testing.T) {
	full := certificate(t, pkitest.Leaf{CN: "Alice Liddell", DNS: "laptop.example.org", Email: "alice@example.org"})
	windows := certificate(t, pkitest.Leaf{CN: "Alice Liddell", UPN: "alice@corp.example"})
	for _, c := range []struct {
		name          string
		cert          *x509.Certificate
		from, claimed string
		want, err     string
	}{
		{"common name, as claimed", full, "", "Alice Liddell", "Alice Liddell", ""},
		{"a common name has case", full, "", "alice liddell", "", `calls itself "alice liddell"`},
		{"mail, as claimed", full, "", "alice@example.org", "alice@example.org", ""},
		{"a mail's domain has no case", full, "", "alice@EXAMPLE.org", "alice@example.org", ""},
		{"a mail's user has", full, "", "Alice@example.org", "", `email "alice@example.org"`},
		{"a host has no case", full, "", "LAPTOP.example.org", "laptop.example.org", ""},
		{"a Windows machine", full, "", "host/laptop.example.org", "laptop.example.org", ""},
		{"principal", windows, "", "alice@corp.example", "alice@corp.example", ""},
		{"somebody else", full, "", "bob", "", `calls itself "bob", and its certificate is for cn "Alice Liddell", email "alice@example.org", dns "laptop.example.org"`},
		{"a prefix is nobody", full, "", "alice", "", "calls itself"},
		{"the mail, whatever is claimed", full, "email", "anonymous", "alice@example.org", ""},
		{"the principal, whatever is claimed", windows, "upn", "", "alice@corp.example", ""},
		{"no principal", full, "upn", "alice@example.org", "", "no upn name"},
		{"no mail", windows, "email", "alice@corp.example", "", "no email name"},
	} {
		got, err := Who(c.cert, c.from, c.claimed)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q, %v; want %q, %q", c.name, got, err, c.want, c.err)
		}
	}
	for _, l := range []pkitest.Leaf{{CN: "alice\x00.example"}, {CN: "alice\nroot logged in"}, {CN: strings.Repeat("a", 5000)}} {
		if names := Names(certificate(t, l)); len(names) != 0 {
			t.Errorf("%.40q is taken for a name", names[0].Value)
		}
	}
}

func TestWeakKeysAreRefused(t *testing.T) {
	for kind, ok := range map[string]bool{pkitest.ECDSA: true, pkitest.RSA: true, pkitest.RSA1024: false} {
		err := strong(certificate(t, pkitest.Leaf{CN: "alice", Kind: kind}))
		if (err == nil) != ok || !ok && !strings.Contains(err.Error(), "RSA key of 1024 bits; 2048 is the least") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	pair := pkitest.New("root", pkitest.ECDSA).Issue(pkitest.Leaf{CN: "alice", Kind: pkitest.RSA1024})
	_, err := ParseCredentials(eapsdk.Config{Secrets: map[string][]byte{"certificate": pair.Chain, "key": pair.Key}})
	if err == nil || !strings.Contains(err.Error(), "1024") {
		t.Errorf("our own weak key: %v", err)
	}
}

func TestNamesThatAServerMustHave(t *testing.T) {
	cert := certificate(t, pkitest.Leaf{CN: "gw", DNS: "gw.example", Email: "ops@example.org", Server: true})
	for name, ok := range map[string]bool{
		"gw.example": true, "GW.example": true, "ops@EXAMPLE.org": true, "CN=gw": true,
		"gw": false, "example": false, "other.example": false, "192.0.2.1": false, "CN=gw,O=x": false, "root@example.org": false, "*": false, "": false,
	} {
		if err := named(cert, name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestDistinguishedNamesInEitherOrder(t *testing.T) {
	subject := `CN=gw\, the first,O=Example,C=CH` // as crypto/x509 writes C=CH, O=Example, CN=gw, the first
	for name, same := range map[string]bool{
		subject:                                true,
		`C=CH, O=Example, CN=gw\, the first`:   true,
		`C=CH,O=Example,CN=gw\, the first`:     true,
		`O=Example, C=CH, CN=gw\, the first`:   false,
		`C=CH, O=Example`:                      false,
		`C=CH, O=Example, CN=gw, CN=the first`: false,
		`CN=gw\, the first`:                    false,
	} {
		if sameDN(subject, name) != same {
			t.Errorf("%s: %v", name, !same)
		}
	}
}

func FuzzPrincipals(f *testing.F) {
	for _, e := range certificate(f, pkitest.Leaf{CN: "a", UPN: "alice@corp.example"}).Extensions {
		if e.Id.Equal(oidAltName) {
			f.Add(e.Value)
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		total := 0
		for _, name := range parsePrincipals(der) {
			total += len(name)
		}
		if total > len(der) {
			t.Errorf("%d octets of names came of %d", total, len(der))
		}
	})
}
