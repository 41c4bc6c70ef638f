package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/pkitest"
)

var oneNumber = big.NewInt(1)

// lists makes a row's lists: the anchor's, and what the one authority below it says.
func listsOf(f func(w *walk) [][]byte) func(w *walk) [][]byte {
	return func(w *walk) [][]byte { return append([][]byte{list(w.pairs[0], nil)}, f(w)...) }
}

// one is a list of the authority below the anchor.
func one(change func(*x509.RevocationList), revokes bool) func(w *walk) [][]byte {
	return listsOf(func(w *walk) [][]byte {
		if revokes {
			return [][]byte{list(w.pairs[1], change, w.pairs[2])}
		}
		return [][]byte{list(w.pairs[1], change)}
	})
}

func listExtension(critical bool, value []byte, id ...int) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: value})
	}
}

func entryExtension(critical bool, id ...int) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(99), RevocationTime: now.Add(-time.Hour),
			ExtraExtensions: []pkix.Extension{{Id: id, Critical: critical, Value: []byte{5, 0}}}})
	}
}

func updates(from, until time.Time) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = from, until }
}

func serial(n *big.Int) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.SerialNumber = n }
}

func context(tag int, compound bool, b []byte) []byte {
	return der(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: compound, Bytes: b})
}

func sequence(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return der(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: b})
}

// fullName is a DistributionPointName with this URI.
func fullName(uri string) []byte {
	return context(0, true, context(0, true, context(6, false, []byte(uri))))
}

// relativeName is one whose name hangs below the issuer's.
func relativeName(cn string) []byte {
	b := der(struct {
		ID    asn1.ObjectIdentifier
		Value string
	}{asn1.ObjectIdentifier{2, 5, 4, 3}, cn})
	return context(0, true, context(1, true, b))
}

// idp is an issuingDistributionPoint.
func idp(parts ...[]byte) func(*x509.RevocationList) {
	return listExtension(true, sequence(parts...), 2, 5, 29, 28)
}

// at puts distribution points into a certificate.
func at(points ...[]byte) func(*x509.Certificate) {
	var all [][]byte
	for _, p := range points {
		all = append(all, sequence(p))
	}
	return extension(false, sequence(all...), 2, 5, 29, 31)
}

// Sections 4.4 (revocation), 4.5 (key rollover), 4.14 (distribution points) and 4.15 (delta CRLs), by `revocation: "require"`. A list that cannot be used is refused with a warning, and then
// nothing is known of what it would have covered.
func TestPKITSRevocation(t *testing.T) {
	const unknown, revoked = "nothing is known", "was revoked on"
	chain := []*link{ca(), ee()}
	yes := []byte{0xff}
	long, _ := new(big.Int).SetString("7f0102030405060708090a0b0c0d0e0f10111212", 16)
	longer := new(big.Int).Add(long, oneNumber)
	another := func(w *walk) *pkitest.Pair { // the same name, another key
		return pkitest.Issue(&x509.Certificate{RawSubject: w.pairs[1].Cert.RawSubject, Subject: w.pairs[1].Cert.Subject, KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{7}}, w.pairs[0], nil, now)
	}
	const separate = "a list is believed if the authority that issued the certificate signed it, and by the same key: a key for lists alone is refused, aloud"
	const delta = "delta CRLs are refused, aloud: complete lists are at hand wherever files are"
	runPKITS(t, []pkits{
		{n: "4.4.1 missing CRL", path: chain, lists: listsOf(func(*walk) [][]byte { return nil }), want: unknown},
		{n: "4.4.2 revoked CA", path: []*link{ca(), ca(), ee()}, lists: listsOf(func(w *walk) [][]byte { return [][]byte{list(w.pairs[1], nil, w.pairs[2]), list(w.pairs[2], nil)} }), want: revoked},
		{n: "4.4.3 revoked EE", path: chain, lists: one(nil, true), want: revoked},
		{n: "4.4.4 bad CRL signature", path: chain, lists: listsOf(func(w *walk) [][]byte { b := list(w.pairs[1], nil); b[len(b)-1] ^= 1; return [][]byte{b} }), want: unknown},
		{n: "4.4.5 bad CRL issuer name", path: chain, lists: listsOf(func(w *walk) [][]byte {
			return [][]byte{list(&pkitest.Pair{Cert: anchor.Cert, Key: w.pairs[1].Key}, nil)}
		}), want: unknown},
		{n: "4.4.6 wrong CRL", path: chain, lists: listsOf(func(*walk) [][]byte { return [][]byte{list(anchor, nil)} }), want: unknown},
		{n: "4.4.7 two CRLs", path: chain, lists: listsOf(func(w *walk) [][]byte { return [][]byte{list(w.pairs[1], nil), list(w.pairs[1], nil)} })},
		{n: "4.4.8 unknown critical CRL entry extension", path: chain, lists: one(entryExtension(true, 2, 16, 840, 1, 101, 2, 1, 12, 2), false), want: unknown},
		{n: "4.4.9 unknown critical CRL extension", path: chain, lists: one(listExtension(true, []byte{5, 0}, 2, 16, 840, 1, 101, 2, 1, 12, 2), true), want: unknown},
		{n: "4.4.10 unknown critical CRL extension", path: chain, lists: one(listExtension(true, []byte{5, 0}, 2, 16, 840, 1, 101, 2, 1, 12, 2), false), want: unknown},
		{n: "4.4.11 old CRL nextUpdate", path: chain, lists: one(updates(now.Add(-48*time.Hour), now.Add(-24*time.Hour)), false), want: "ended on"},
		{n: "4.4.12 pre2000 CRL nextUpdate", path: chain, lists: one(updates(time.Date(1998, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)), false), want: "ended on 1999"},
		{n: "4.4.13 GeneralizedTime CRL nextUpdate", path: chain, lists: one(updates(now.Add(-time.Hour), time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)), false)},
		// 4.4.14 and 4.4.15 are about negative serial numbers: TestNegativeSerials.
		{n: "4.4.16 long serial number", path: []*link{ca(), ee(serial(long))}, lists: one(nil, false)},
		{n: "4.4.17 long serial number", path: []*link{ca(), ee(serial(long))}, lists: one(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: longer, RevocationTime: now.Add(-time.Hour)}}
		}, false)},
		{n: "4.4.18 long serial number", path: []*link{ca(), ee(serial(long))}, lists: one(nil, true), want: revoked},
		{n: "4.4.19 separate certificate and CRL keys", path: chain, lists: listsOf(func(w *walk) [][]byte { return [][]byte{list(another(w), nil)} }), want: "signed by none", deviates: separate},
		{n: "4.4.20 separate certificate and CRL keys", path: chain, lists: listsOf(func(w *walk) [][]byte { return [][]byte{list(another(w), nil, w.pairs[2])} }), want: unknown},
		{n: "4.4.21 separate certificate and CRL keys", path: chain, lists: listsOf(func(w *walk) [][]byte { return [][]byte{list(another(w), nil)} }), want: unknown},
		{n: "4.4.3 revoked on a day to come", path: chain, lists: one(func(l *x509.RevocationList) { l.RevokedCertificateEntries[0].RevocationTime = now.Add(time.Hour) }, true), want: revoked},

		{n: "4.5.1 self-issued, old with new", path: []*link{ca(), ca().selfIssued(), ee()}, lists: listsOf(func(w *walk) [][]byte { return [][]byte{list(w.pairs[1], nil)} }), want: unknown, deviates: separate},
		{n: "4.5.1 a list of each key", path: []*link{ca(), ca().selfIssued(), ee()}, lists: listsOf(func(w *walk) [][]byte { return [][]byte{list(w.pairs[1], nil), list(w.pairs[2], nil)} })},
		{n: "4.5.2 self-issued, old with new", path: []*link{ca(), ca().selfIssued(), ee()}, lists: listsOf(func(w *walk) [][]byte { return [][]byte{list(w.pairs[1], nil, w.pairs[3])} }), want: unknown},
		{n: "4.5.3 self-issued, new with old", path: []*link{ca(), ca().selfIssued(), ee()}, lists: listsOf(func(w *walk) [][]byte { return [][]byte{list(w.pairs[1], nil), list(w.pairs[2], nil)} })},
		{n: "4.5.5 self-issued, new with old", path: []*link{ca(), ca().selfIssued(), ee()}, lists: listsOf(func(w *walk) [][]byte { return [][]byte{list(w.pairs[1], nil), list(w.pairs[2], nil, w.pairs[3])} }), want: revoked},
		{n: "4.5.6 self-issued CRL signing key", path: chain, lists: listsOf(func(w *walk) [][]byte { return [][]byte{list(another(w), nil)} }), want: unknown, deviates: separate},
		{n: "4.5.7 self-issued CRL signing key", path: chain, lists: listsOf(func(w *walk) [][]byte { return [][]byte{list(another(w), nil, w.pairs[2])} }), want: unknown},
		{n: "4.5.8 certificate by the CRL signing key", path: []*link{ca(), ca(usageOf(x509.KeyUsageCRLSign, true)).selfIssued(), ee()}, want: "no path"},
		{n: "4.7.4 keyUsage without cRLSign", path: []*link{ca(usageOf(x509.KeyUsageCertSign, true)), ee()}, lists: listsOf(withoutCRLSign), want: unknown},
		{n: "4.7.5 keyUsage without cRLSign, not critical", path: []*link{ca(usageOf(x509.KeyUsageCertSign, false)), ee()}, lists: listsOf(withoutCRLSign), want: unknown},

		{n: "4.14.1 distributionPoint", path: []*link{ca(), ee(at(fullName("http://crl.example/1")))}, lists: one(idp(fullName("http://crl.example/1")), false)},
		{n: "4.14.2 distributionPoint, revoked", path: []*link{ca(), ee(at(fullName("http://crl.example/1")))}, lists: one(idp(fullName("http://crl.example/1")), true), want: revoked},
		{n: "4.14.3 another distributionPoint", path: []*link{ca(), ee(at(fullName("http://crl.example/2")))}, lists: one(idp(fullName("http://crl.example/1")), false), want: unknown},
		{n: "4.14.4 one of two names", path: []*link{ca(), ee(at(fullName("http://crl.example/2"), fullName("http://crl.example/1")))}, lists: one(idp(fullName("http://crl.example/1")), false)},
		{n: "4.14.5 a name below the issuer's", path: []*link{ca(), ee(at(fullName("http://crl.example/1")))}, lists: one(idp(relativeName("1")), false), want: unknown,
			deviates: "points whose names hang below the issuer's are not looked at (RFC 5280 section 4.2.1.13 advises against them); a certificate with one is not read at all"},
		{n: "4.14.9 no distributionPoint in the certificate", path: chain, lists: one(idp(fullName("http://crl.example/1")), false), want: unknown},
		{n: "4.14.10 no issuingDistributionPoint", path: []*link{ca(), ee(at(fullName("http://crl.example/1")))}, lists: one(nil, false)},
		{n: "4.14.11 onlyContainsUserCerts", path: []*link{ca(), ca(signs)}, lists: one(idp(context(1, false, yes)), false), want: unknown},
		{n: "4.14.11 onlyContainsUserCerts, of a user", path: chain, lists: one(idp(context(1, false, yes)), false)},
		{n: "4.14.12 onlyContainsCACerts", path: chain, lists: one(idp(context(2, false, yes)), false), want: unknown},
		{n: "4.14.13 onlyContainsCACerts, of a CA", path: []*link{ca(), ca(signs)}, lists: one(idp(context(2, false, yes)), false)},
		{n: "4.14.14 onlyContainsAttributeCerts", path: chain, lists: one(idp(context(5, false, yes)), false), want: unknown},
		{n: "4.14.15 onlySomeReasons", path: chain, lists: one(idp(context(3, false, []byte{6, 0x40})), true), want: unknown},
		{n: "4.14.17 onlySomeReasons", path: chain, lists: one(idp(context(3, false, []byte{6, 0x40})), false), want: unknown},
		{n: "4.14.18 onlySomeReasons in two lists", path: chain, lists: listsOf(func(w *walk) [][]byte {
			return [][]byte{list(w.pairs[1], idp(context(3, false, []byte{6, 0x40}))), list(w.pairs[1], idp(context(3, false, []byte{7, 0x9f, 0x80})))}
		}), want: unknown, deviates: "lists of some reasons are refused, aloud: RFC 5280 section 5.2.5 has a complete list beside them"},
		{n: "4.14.22 indirect CRL", path: chain, lists: one(idp(context(4, false, yes)), false), want: unknown, deviates: "indirect CRLs are refused, aloud"},
		{n: "4.14.23 indirect CRL", path: chain, lists: one(idp(context(4, false, yes)), true), want: unknown},
		{n: "4.14.27 cRLIssuer", path: []*link{ca(), ee(at(append(fullName("http://crl.example/1"), context(2, true, dirName(acme("other")))...)))}, lists: one(idp(fullName("http://crl.example/1")), false), want: unknown},
		{n: "4.14 two parts", path: []*link{ca(), ee(at(fullName("http://crl.example/2")))}, lists: listsOf(func(w *walk) [][]byte {
			return [][]byte{list(w.pairs[1], idp(fullName("http://crl.example/2")), w.pairs[2]), list(w.pairs[1], idp(fullName("http://crl.example/1")))}
		}), want: revoked},
		{n: "4.15.1 delta CRL without base", path: chain, lists: one(listExtension(true, []byte{2, 1, 1}, 2, 5, 29, 27), false), want: unknown},
		{n: "4.15.2 delta CRL beside its base", path: chain, lists: listsOf(func(w *walk) [][]byte { return [][]byte{list(w.pairs[1], nil)} })},
		{n: "4.15.3 revoked in the base", path: chain, lists: one(nil, true), want: revoked},
		{n: "4.15.4 revoked in the delta", path: chain, lists: one(listExtension(true, []byte{2, 1, 1}, 2, 5, 29, 27), true), want: unknown, deviates: delta},
	})
}

// withoutCRLSign is a list of an authority that may sign none.
func withoutCRLSign(w *walk) [][]byte {
	c := *w.pairs[1].Cert
	c.KeyUsage |= x509.KeyUsageCRLSign
	return [][]byte{list(&pkitest.Pair{Cert: &c, Key: w.pairs[1].Key}, nil)}
}

// 4.4.14 and 4.4.15: no certificate with a negative serial number is read, and a list's entry with one revokes nobody else.
func TestNegativeSerials(t *testing.T) {
	w := build([]*link{ca(), ee(serial(big.NewInt(5)))})
	b := list(w.pairs[1], func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(-5), RevocationTime: now.Add(-time.Hour)}}
	})
	var l Lists
	if _, err := l.Add(b, []*x509.Certificate{w.pairs[1].Cert}); err != nil {
		t.Skip("this Go reads no list with a negative serial number: ", err)
	}
	wants(t, l.Check([]*x509.Certificate{w.pairs[2].Cert, w.pairs[1].Cert}, "require", now), "")
}
