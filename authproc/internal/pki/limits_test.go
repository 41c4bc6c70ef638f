package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/pkitest"
)

// What x509-limbo asks beside PKITS, as far as IKE has it.
func TestOddCertificates(t *testing.T) {
	v := func(change ...func(*x509.Certificate)) *link { return ee(change...) }
	old := func(serialNumber *big.Int) func(*x509.Certificate) { return serial(serialNumber) }
	runPKITS(t, []pkits{
		{n: "an authority for mail only", path: []*link{ca(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }), v()}},
		{n: "a serial number of 20 octets", path: []*link{v(old(new(big.Int).Lsh(oneNumber, 158)))}},
		{n: "the last second", path: []*link{v(validity(now.Add(-time.Hour), now))}},
		{n: "a second too late", path: []*link{v(validity(now.Add(-time.Hour), now.Add(-time.Second)))}, want: "ended on"},
		{n: "a validity that ends before it begins", path: []*link{v(validity(now.Add(time.Hour), now.Add(-time.Hour)))}, want: "not valid before"},
		{n: "no subject, an alternative name that is not critical", path: []*link{v(subject(pkix.Name{}), extension(false, sequence(context(2, false, []byte("gw.example"))), 2, 5, 29, 17))}},
		{n: "name constraints in a peer's own certificate", path: []*link{v(permits(under("x")))}},
		{n: "an address that is not permitted", path: []*link{ca(ipRange), v(func(c *x509.Certificate) { c.IPAddresses = []net.IP{{192, 0, 3, 1}} })}, want: "not permitted"},
		{n: "an address that is permitted", path: []*link{ca(ipRange), v(func(c *x509.Certificate) { c.IPAddresses = []net.IP{{192, 0, 2, 1}} })}},
		{n: "a name where only addresses are permitted", path: []*link{ca(ipRange), v(host("gw.example"))}},
		{n: "a wildcard that reaches beyond what is permitted", path: []*link{ca(func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"gw.example"} }), v(host("*.example"))}, want: "not permitted"},
		{n: "a wildcard that reaches into what is excluded", path: []*link{ca(func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"gw.example"} }), v(host("*.example"))}, want: "excluded"},
	})
}

func ipRange(c *x509.Certificate) {
	c.PermittedIPRanges = []*net.IPNet{{IP: net.IP{192, 0, 2, 0}, Mask: net.CIDRMask(24, 32)}}
	c.PermittedDNSDomainsCritical = true
}

// 4.1.4 to 4.1.6: DSA is not served, and neither are keys on small curves.
func TestKeysNotServed(t *testing.T) {
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Verify(ders(pkitest.Leaf("gw.example", anchor, small, now)), trust(anchor), Rules{}, now)
	wants(t, err, "too small")
	// id-dsa with parameters of one octet each.
	c := pkitest.Leaf("gw.example", anchor, nil, now).Cert
	spki := sequence(sequence(der(asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}), sequence([]byte{2, 1, 23}, []byte{2, 1, 11}, []byte{2, 1, 4})), der(asn1.BitString{Bytes: []byte{2, 1, 8}, BitLength: 24}))
	signed := strings.Replace(string(c.RawTBSCertificate), string(c.RawSubjectPublicKeyInfo), string(spki), 1)
	tbs := sequence([]byte(signed)[headerOf(c.RawTBSCertificate):])
	digest := crypto.SHA256.New()
	digest.Write(tbs)
	sig, err := anchor.Key.Sign(rand.Reader, digest.Sum(nil), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	whole := sequence(tbs, sequence(der(asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2})), der(asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}))
	_, err = Verify([][]byte{whole}, trust(anchor), Rules{}, now)
	wants(t, err, "DSA")
}

// headerOf is how long the tag and the length before a value are.
func headerOf(b []byte) int {
	if b[1] < 0x80 {
		return 2
	}
	return 2 + int(b[1]&0x7f)
}

// 4.3.6: a unique identifier of version 2 is read over.
func TestUniqueIdentifiers(t *testing.T) {
	c := pkitest.Leaf("gw.example", anchor, nil, now).Cert
	tbs := c.RawTBSCertificate
	at := strings.Index(string(tbs), string(c.RawSubjectPublicKeyInfo)) + len(c.RawSubjectPublicKeyInfo)
	body := append(append(append([]byte{}, tbs[headerOf(tbs):at]...), context(2, false, []byte{0, 1, 2})...), tbs[at:]...)
	signed := sequence(body)
	digest := crypto.SHA256.New()
	digest.Write(signed)
	sig, err := anchor.Key.Sign(rand.Reader, digest.Sum(nil), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	whole := sequence(signed, sequence(der(asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2})), der(asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}))
	_, err = Verify([][]byte{whole}, trust(anchor), Rules{}, now)
	wants(t, err, "")
}

// huge is an RSA key as a peer may claim to have one: nobody has to know its factors.
func huge(bits int) *rsa.PublicKey {
	n := new(big.Int).Lsh(oneNumber, uint(bits-1))
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(12345)), E: 1<<31 - 1}
}

// claimed is an authority's certificate with a key of somebody's choice.
func claimed(name pkix.Name, issuer *pkitest.Pair, public crypto.PublicKey) *x509.Certificate {
	b, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: oneNumber, Subject: name, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true}, issuer.Cert, public, issuer.Key)
	if err != nil {
		panic(err)
	}
	c, err := x509.ParseCertificate(b)
	if err != nil {
		panic(err)
	}
	return c
}

// A peer sends authorities of its own with keys that take long to compute with: none of them is computed with.
func TestHugeKeysCostNothing(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	evil := pkitest.Issue(&x509.Certificate{Subject: acme("evil"), IsCA: true, BasicConstraintsValid: true}, nil, private, now)
	leaf := pkitest.Leaf("gw.example", evil, nil, now)
	sent := ders(leaf)
	for i := range MaxChain - 1 {
		sent = append(sent, claimed(acme("evil"), evil, huge(250_000-8*i)).Raw)
	}
	_, err = Verify(sent, trust(anchor), Rules{}, now)
	wants(t, err, "no path")
	if strings.Contains(fmt.Sprint(err), "crypto/rsa") { // what its signature check would say
		t.Errorf("a signature was checked with a key of 250,000 bits: %v", err)
	}
	_, err = Verify([][]byte{claimed(acme("gw"), anchor, huge(250_000)).Raw}, trust(anchor), Rules{}, now)
	wants(t, err, "is not served")
}

// Sixteen certificates can be chained in more ways than anybody can try: the tries are counted.
func TestPathsDoNotExplode(t *testing.T) {
	keys := []crypto.Signer{pkitest.NewKey(), pkitest.NewKey(), pkitest.NewKey(), pkitest.NewKey()}
	var sent [][]byte
	name := func(i int) pkix.Name { return acme(fmt.Sprint("cross", i)) }
	pair := func(i int) *pkitest.Pair {
		return pkitest.Issue(&x509.Certificate{Subject: name(i), IsCA: true, BasicConstraintsValid: true}, nil, keys[i], now)
	}
	for i := range keys { // every one has signed every other
		for j := range keys {
			if i != j {
				sent = append(sent, pkitest.Issue(&x509.Certificate{Subject: name(j), IsCA: true, BasicConstraintsValid: true, DNSNames: []string{fmt.Sprintf("%d.%d.example", i, j)}}, pair(i), keys[j], now).Cert.Raw)
			}
		}
	}
	leaf := pkitest.Leaf("gw.example", pair(0), nil, now)
	_, err := Verify(append([][]byte{leaf.Cert.Raw}, sent...), trust(anchor), Rules{}, now)
	wants(t, err, "limit reached")
	// One way out of the maze is found, and one is enough.
	out := pkitest.Issue(&x509.Certificate{Subject: name(0), IsCA: true, BasicConstraintsValid: true}, anchor, keys[0], now)
	chain, err := Verify(append([][]byte{leaf.Cert.Raw, out.Cert.Raw}, sent...), trust(anchor), Rules{}, now)
	if err != nil || len(chain) != 3 {
		t.Errorf("%d certificates, %v", len(chain), err)
	}
}

// An authority of ours may have more constraints, and a peer more names, than can be compared with each other.
func TestTenThousandConstraints(t *testing.T) {
	names := func(n int, suffix string) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("%d.%s", i, suffix))
		}
		return out
	}
	big := pkitest.Issue(&x509.Certificate{Subject: acme("big"), IsCA: true, BasicConstraintsValid: true, PermittedDNSDomains: names(10_000, "example")}, nil, nil, now)
	_, err := Verify(ders(pkitest.Issue(&x509.Certificate{Subject: acme("gw"), DNSNames: names(1000, "x.9.example")}, big, nil, now)), trust(big), Rules{}, now)
	wants(t, err, "")
	_, err = Verify(ders(pkitest.Issue(&x509.Certificate{Subject: acme("gw"), DNSNames: append(names(1000, "x.9.example"), "gw.other")}, big, nil, now)), trust(big), Rules{}, now)
	wants(t, err, "not permitted")
	var units []pkix.Name
	for i := range 10_000 {
		units = append(units, under(fmt.Sprint(i)))
	}
	of := pkitest.Issue(&x509.Certificate{Subject: acme("dn"), IsCA: true, BasicConstraintsValid: true, ExtraExtensions: ext(permits(units...))}, nil, nil, now)
	trusts := Trust{Anchors: []*x509.Certificate{of.Cert}}
	if err := handled(of.Cert); err != nil {
		t.Fatal(err)
	}
	_, err = Verify(ders(pkitest.Issue(&x509.Certificate{Subject: under("9999", "gw")}, of, nil, now)), trusts, Rules{}, now)
	wants(t, err, "")
	var also [][]byte
	for range 100 {
		also = append(also, dirName(under("9999")))
	}
	_, err = Verify(ders(pkitest.Issue(&x509.Certificate{Subject: under("9999", "gw"), ExtraExtensions: ext(extension(false, sequence(also...), 2, 5, 29, 17))}, of, nil, now)), trusts, Rules{}, now)
	wants(t, err, "cost more than is spent")
}

func ext(f func(*x509.Certificate)) []pkix.Extension {
	var c x509.Certificate
	f(&c)
	return c.ExtraExtensions
}

// A list of a million revoked certificates, 50 MB, is read within a bound of memory, and one that is too large is not read at all.
func TestLargeLists(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes a list of 50 MB")
	}
	var entries []byte
	padding := sequence(sequence(der(asn1.ObjectIdentifier{2, 5, 29, 21}), der([]byte{10, 1, 1})))
	when := der(now.Add(-time.Hour))
	n := 0
	for ; len(entries) < 50<<20; n++ {
		entries = append(entries, sequence(der(new(big.Int).Add(new(big.Int).Lsh(oneNumber, 62), big.NewInt(int64(n)))), when, padding)...)
	}
	algorithm := sequence(der(asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}))
	tbs := sequence([]byte{2, 1, 1}, algorithm, anchor.Cert.RawSubject, when, der(now.Add(time.Hour)), sequence(entries),
		context(0, true, sequence(sequence(der(asn1.ObjectIdentifier{2, 5, 29, 20}), der([]byte{2, 1, 1})), sequence(der(asn1.ObjectIdentifier{2, 5, 29, 35}), der(sequence(context(0, false, anchor.Cert.SubjectKeyId)))))))
	digest := crypto.SHA256.New()
	digest.Write(tbs)
	sig, err := anchor.Key.Sign(rand.Reader, digest.Sum(nil), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	b := sequence(tbs, algorithm, der(asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var l Lists
	if _, err := l.Add(b, []*x509.Certificate{anchor.Cert}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	t.Logf("%d entries, %d MB, cost %d MB of allocations, %d at once", n, len(b)>>20, (after.TotalAlloc-before.TotalAlloc)>>20, (after.HeapAlloc-before.HeapAlloc)>>20)
	if spent := after.TotalAlloc - before.TotalAlloc; spent > 40*uint64(len(b)) {
		t.Errorf("%d MB were spent on a list of %d MB", spent>>20, len(b)>>20)
	}
	last := build([]*link{ee(serial(new(big.Int).Add(new(big.Int).Lsh(oneNumber, 62), big.NewInt(int64(n-1)))))})
	good := build([]*link{ee()})
	wants(t, l.Check([]*x509.Certificate{last.pairs[1].Cert, anchor.Cert}, "require", now), "was revoked on")
	wants(t, l.Check([]*x509.Certificate{good.pairs[1].Cert, anchor.Cert}, "require", now), "")
	_, err = l.Add(make([]byte, MaxCRL+1), nil)
	wants(t, err, "at most")
}
