package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/pkitest"
	"github.com/trike-ipsec/trike/internal/plan"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ders(pairs ...*pkitest.Pair) (out [][]byte) {
	for _, p := range pairs {
		out = append(out, p.Cert.Raw)
	}
	return out
}

func trust(pairs ...*pkitest.Pair) (t Trust) {
	for _, p := range pairs {
		t.Anchors = append(t.Anchors, p.Cert)
	}
	return t
}

func wants(t *testing.T, err error, why string) {
	t.Helper()
	if (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
		t.Errorf("got %v, want %q", err, why)
	}
}

// Path validation (RFC 5280 section 6, RFC 4945 section 5.1): one row a rule. Only what the anchors vouch for is believed.
func TestPaths(t *testing.T) {
	root, other := pkitest.CA("root", nil, now), pkitest.CA("other", nil, now)
	sub := pkitest.CA("sub", root, now)
	subsub := pkitest.CA("subsub", sub, now)
	leaf := pkitest.Leaf("gw.example", subsub, nil, now)
	with := func(parent *pkitest.Pair, change func(*x509.Certificate)) *pkitest.Pair {
		c := &x509.Certificate{Subject: pkix.Name{CommonName: "gw.example"}, DNSNames: []string{"gw.example"}, KeyUsage: x509.KeyUsageDigitalSignature}
		change(c)
		return pkitest.Issue(c, parent, nil, now)
	}
	ca := func(parent *pkitest.Pair, change func(*x509.Certificate)) *pkitest.Pair {
		c := &x509.Certificate{Subject: pkix.Name{CommonName: "limited"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
		change(c)
		return pkitest.Issue(c, parent, nil, now)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	noCA := with(root, func(*x509.Certificate) {})
	noSign := ca(root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	short := ca(root, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	shortSub := pkitest.CA("below", short, now)
	named := ca(root, func(c *x509.Certificate) {
		c.PermittedDNSDomains = []string{"inside.example"}
		c.PermittedDNSDomainsCritical = true
	})
	old := ca(root, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	forged := pkitest.Leaf("gw.example", pkitest.CA("root", nil, now), nil, now)
	critical := pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}
	for name, c := range map[string]struct {
		sent  [][]byte
		trust Trust
		why   string
	}{
		"a chain of three":                     {ders(leaf, subsub, sub), trust(root), ""},
		"in any order":                         {ders(leaf, sub, subsub), trust(root), ""},
		"with the root":                        {ders(leaf, subsub, sub, root), trust(root), ""},
		"our own intermediates":                {ders(leaf), Trust{Anchors: trust(root).Anchors, Intermediates: trust(sub, subsub).Anchors}, ""},
		"an anchor in the middle":              {ders(leaf, subsub), trust(sub), ""},
		"a pinned certificate":                 {ders(noCA), trust(noCA), ""},
		"malformed company":                    {append(ders(leaf, subsub, sub), []byte{1, 2, 3}), trust(root), ""},
		"an intermediate is missing":           {ders(leaf, sub), trust(root), "no path"},
		"another authority":                    {ders(leaf, subsub, sub), trust(other), "no path"},
		"no authority":                         {ders(leaf), Trust{}, "(none)"},
		"nothing":                              {nil, trust(root), "sent no certificate"},
		"malformed":                            {[][]byte{{1, 2, 3}}, trust(root), "malformed"},
		"too large":                            {[][]byte{make([]byte, MaxCertificate+1)}, trust(root), "octets"},
		"too many":                             {make([][]byte, MaxChain+1), trust(root), "17 certificates"},
		"it has ended":                         {ders(with(root, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) })), trust(root), "ended on"},
		"it has not begun":                     {ders(with(root, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) })), trust(root), "not valid before"},
		"an intermediate has ended":            {ders(with(old, func(*x509.Certificate) {}), old), trust(root), "ended on"},
		"a forged signature":                   {ders(forged), trust(root), "no path"},
		"an issuer that is no CA":              {ders(with(noCA, func(*x509.Certificate) {}), noCA), trust(root), "cannot sign this kind of certificate"},
		"an issuer that may not sign":          {ders(with(noSign, func(*x509.Certificate) {}), noSign), trust(root), "no path"},
		"a path that is too long":              {ders(with(shortSub, func(*x509.Certificate) {}), shortSub, short), trust(root), "too many intermediates"},
		"a name that the CA may not give":      {ders(with(named, func(*x509.Certificate) {}), named), trust(root), "not permitted"},
		"a name that the CA may give":          {ders(with(named, func(c *x509.Certificate) { c.DNSNames = []string{"a.inside.example"} }), named), trust(root), ""},
		"an unknown critical extension":        {ders(with(root, func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{critical} })), trust(root), "critical extension"},
		"key usage for encryption":             {ders(with(root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })), trust(root), "may not sign"},
		"key usage for nonRepudiation":         {ders(with(root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageContentCommitment })), trust(root), ""},
		"no key usage":                         {ders(with(root, func(c *x509.Certificate) { c.KeyUsage = 0 })), trust(root), ""},
		"extended usage for mail":              {ders(with(root, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })), trust(root), "not for IKE"},
		"extended usage for TLS":               {ders(with(root, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })), trust(root), ""},
		"extended usage ipsecIKE":              {ders(with(root, func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidIPsecIKE} })), trust(root), ""},
		"extended usage ikeIntermediate alone": {ders(with(root, func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidIKEIntermediate} })), trust(root), ""},
		"a weak key":                           {ders(pkitest.Leaf("gw.example", root, weak, now)), trust(root), "1024 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			chain, err := Verify(c.sent, c.trust, Rules{}, now)
			wants(t, err, c.why)
			if err == nil && (!bytes.Equal(chain[0].Raw, c.sent[0]) || len(chain) < 1) {
				t.Errorf("chain %d", len(chain))
			}
		})
	}
}

// Cross-certified authorities in a loop, and ten thousand constraints, cost little.
func TestLoopsAndExplosionsEnd(t *testing.T) {
	key := pkitest.NewKey()
	a := pkitest.CA("a", nil, now)
	var sent [][]byte
	prev := a
	for i := range MaxChain - 1 {
		c := pkitest.Issue(&x509.Certificate{Subject: pkix.Name{CommonName: fmt.Sprint(i % 3)}, IsCA: true, BasicConstraintsValid: true}, prev, key, now)
		sent, prev = append(sent, c.Cert.Raw), c
	}
	leaf := pkitest.Leaf("gw.example", prev, nil, now)
	if _, err := Verify(append([][]byte{leaf.Cert.Raw}, sent...), trust(pkitest.CA("b", nil, now)), Rules{}, now); err == nil {
		t.Error("a loop was believed")
	}
	var domains []string
	for i := range 10_000 {
		domains = append(domains, fmt.Sprintf("%d.example", i))
	}
	big := pkitest.Issue(&x509.Certificate{Subject: pkix.Name{CommonName: "big"}, IsCA: true, BasicConstraintsValid: true, PermittedDNSDomains: domains}, a, nil, now)
	many := pkitest.Issue(&x509.Certificate{Subject: pkix.Name{CommonName: "many"}, DNSNames: domains}, big, nil, now)
	if _, err := Verify(ders(many, big), trust(a), Rules{}, now); err == nil {
		t.Error("10,000 names under 10,000 constraints were gone through")
	}
}

// RFC 4945 section 3.1: each type of identity has its place in the certificate.
func TestNames(t *testing.T) {
	root := pkitest.CA("root", nil, now)
	c := pkitest.Issue(&x509.Certificate{Subject: pkix.Name{CommonName: "gw", Organization: []string{"Acme"}, Country: []string{"DE"}}, DNSNames: []string{"gw.example", "*.wild.example"},
		EmailAddresses: []string{"Admin@Example.org"}, IPAddresses: []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("2001:db8::1")}}, root, nil, now).Cert
	dn := func(s string) []byte {
		d, err := ParseDN(s)
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.DER()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, x := range []struct {
		kind ikev2.IDType
		data string
		ok   bool
	}{
		{ikev2.ID_FQDN, "gw.example", true}, {ikev2.ID_FQDN, "GW.example", true}, {ikev2.ID_FQDN, "gw.example.", true}, {ikev2.ID_FQDN, "a.wild.example", true},
		{ikev2.ID_FQDN, "a.b.wild.example", false}, {ikev2.ID_FQDN, "wild.example", false}, {ikev2.ID_FQDN, "example", false}, {ikev2.ID_FQDN, "", false}, {ikev2.ID_FQDN, "gw", false},
		{ikev2.ID_RFC822_ADDR, "Admin@example.org", true}, {ikev2.ID_RFC822_ADDR, "admin@example.org", false}, {ikev2.ID_RFC822_ADDR, "@", false},
		{ikev2.ID_IPV4_ADDR, "\xc0\x00\x02\x01", true}, {ikev2.ID_IPV4_ADDR, "\xc0\x00\x02\x02", false}, {ikev2.ID_IPV4_ADDR, "", false},
		{ikev2.ID_IPV6_ADDR, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", true},
		{ikev2.ID_DER_ASN1_DN, string(dn("C=DE, O=Acme, CN=gw")), true}, {ikev2.ID_DER_ASN1_DN, string(dn("C=de, O=  ACME , CN=GW")), true},
		{ikev2.ID_DER_ASN1_DN, string(dn("O=Acme, C=DE, CN=gw")), false}, {ikev2.ID_DER_ASN1_DN, string(dn("C=DE, O=Acme, CN=*")), false}, {ikev2.ID_DER_ASN1_DN, "x", false},
		{ikev2.ID_KEY_ID, "gw.example", false},
	} {
		if err := Names(c, msg.ID{Type: x.kind, Data: []byte(x.data)}); (err == nil) != x.ok {
			t.Errorf("%v %q: %v", x.kind, x.data, err)
		} else if err != nil && !strings.Contains(err.Error(), `"gw.example"`) {
			t.Errorf("%v does not say what the certificate names", err)
		}
	}
}

func TestDNText(t *testing.T) {
	for text, again := range map[string]string{"C=DE, O=Acme, CN=gw1": "", "c=DE,o=Acme ,CN = gw1": "C=DE, O=Acme, CN=gw1", `O=Acme\, Inc, CN=a\+b`: "", "CN=x + UID=7, DC=example": "",
		"E=a@b.example": "", "CN=": "!", "=x": "!", "gw1": "!", "": "!", "FOO=x": "!", "CN=a,,CN=b": "!"} {
		d, err := ParseDN(text)
		if (err != nil) != (again == "!") {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if err != nil {
			continue
		}
		if again == "" {
			again = text
		}
		der, err := d.DER()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ReadDN(der)
		if err != nil || d.String() != again || back.String() != again || !d.Matches(back) {
			t.Errorf("%q is %q, in DER %q (%v)", text, d, back, err)
		}
	}
	p, _ := ParseDN("C=DE, O=Acme, CN=*")
	yes, _ := ParseDN("C=DE, O=acme, CN=anybody")
	no, _ := ParseDN("C=DE, O=Other, CN=anybody")
	if !p.Pattern() || !p.Matches(yes) || p.Matches(no) || p.Matches(yes[:2]) {
		t.Error("a pattern does not mean what it says")
	}
}

func TestRevocationLists(t *testing.T) {
	root, other := pkitest.CA("root", nil, now), pkitest.CA("root", nil, now)
	good, bad := pkitest.Leaf("good.example", root, nil, now), pkitest.Leaf("bad.example", root, nil, now)
	chain := func(p *pkitest.Pair) []*x509.Certificate { return []*x509.Certificate{p.Cert, root.Cert} }
	var none, have Lists
	wants(t, none.Check(chain(good), plan.RevocationPrefer, now), "")
	wants(t, none.Check(chain(good), plan.RevocationRequire, now), "nothing is known")
	if _, err := have.Add(root.CRL(now, bad), []*x509.Certificate{other.Cert, root.Cert}); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []plan.Revocation{plan.RevocationPrefer, plan.RevocationRequire} {
		wants(t, have.Check(chain(good), mode, now), "")
		wants(t, have.Check(chain(bad), mode, now), "was revoked")
		wants(t, have.Check(chain(bad), mode, now.Add(48*time.Hour)), "was revoked") // an old list still knows
	}
	wants(t, have.Check(chain(bad), plan.RevocationOff, now), "")
	wants(t, have.Check(chain(good), plan.RevocationRequire, now.Add(48*time.Hour)), "ended on")
	_, err := have.Add(other.CRL(now), []*x509.Certificate{root.Cert})
	wants(t, err, "signed by none")
	_, err = have.Add([]byte("-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n"), nil)
	wants(t, err, "malformed")
	// An older list does not undo a newer one.
	if _, err := have.Add(root.CRL(now.Add(-time.Hour)), []*x509.Certificate{root.Cert}); err != nil {
		t.Fatal(err)
	}
	wants(t, have.Check(chain(bad), plan.RevocationPrefer, now), "was revoked")
	for name, ext := range map[string]pkix.Extension{
		"delta": {Id: oidDeltaCRL, Critical: true, Value: []byte{2, 1, 1}},
		"part":  {Id: oidIssuingDistributionPoint, Critical: true, Value: []byte{0x30, 3, 0x84, 1, 0xff}},
		"known": {Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}},
	} {
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour), ExtraExtensions: []pkix.Extension{ext}}, root.Cert, root.Key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = have.Add(der, []*x509.Certificate{root.Cert})
		wants(t, err, name)
	}
}

// Keys as OpenSSL writes them.
func TestKeysOfOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not here")
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(openssl, args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	for name, args := range map[string][]string{
		"rsa": {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"}, "p384": {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"},
		"ed25519": {"-algorithm", "ED25519"}, "ed448": {"-algorithm", "ED448"}} {
		run(append([]string{"genpkey", "-out", file(name)}, args...)...)
		run("pkey", "-in", file(name), "-pubout", "-out", file(name+".pub"))
		run("pkcs8", "-topk8", "-in", file(name), "-out", file(name+".enc"), "-passout", "pass:open sesame")
		run("pkey", "-in", file(name), "-outform", "DER", "-out", file(name+".der"))
		pub, err := os.ReadFile(file(name + ".pub"))
		if err != nil {
			t.Fatal(err)
		}
		public, err := PublicKey(pub)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if spki, err := MarshalSPKI(public); err != nil || !bytes.Equal(spki, SPKI(pub)) {
			t.Errorf("%s: %x, %v", name, spki, err)
		}
		for _, form := range []string{"", ".enc", ".der"} {
			b, err := os.ReadFile(file(name + form))
			if err != nil {
				t.Fatal(err)
			}
			k, err := Key(b, []byte("open sesame"))
			if err != nil || !Matches(k, public) {
				t.Errorf("%s%s: %v", name, form, err)
			}
			if form == ".enc" {
				_, err := Key(b, []byte("wrong"))
				if err == nil || strings.Contains(err.Error(), "wrong") {
					t.Errorf("a wrong passphrase: %v", err)
				}
				_, err = Key(b, nil)
				wants(t, err, "passphrase")
			}
		}
	}
	run("ecparam", "-name", "prime256v1", "-genkey", "-out", file("sec1"))
	b, err := os.ReadFile(file("sec1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Key(b, nil); err != nil {
		t.Errorf("SEC 1 with parameters in front: %v", err)
	}
}

func FuzzFiles(f *testing.F) {
	root := pkitest.CA("root", nil, now)
	leaf := pkitest.Leaf("gw.example", root, nil, now)
	f.Add(pkitest.PEM(leaf, root))
	f.Add(leaf.KeyPEM())
	f.Add(root.CRL(now, leaf))
	f.Add(leaf.Cert.Raw)
	f.Add(leaf.Cert.RawSubject)
	f.Fuzz(func(t *testing.T, b []byte) {
		if cs, err := Certificates(b); err == nil && len(cs) == 0 {
			t.Fatal("no certificate, and no error")
		}
		_, _ = Key(b, []byte("x"))
		_, _ = PublicKey(b)
		var l Lists
		_, _ = l.Add(b, []*x509.Certificate{root.Cert})
		if _, err := Verify([][]byte{b}, trust(root), Rules{}, now); err == nil && !bytes.Equal(b, leaf.Cert.Raw) && !bytes.Equal(b, root.Cert.Raw) {
			if block, _ := pem.Decode(b); block == nil {
				t.Fatal("a forged certificate was believed")
			}
		}
		if d, err := ReadDN(b); err == nil {
			_, _ = d.DER() // a value that our string type cannot hold is an error, and nothing worse
		}
	})
}
