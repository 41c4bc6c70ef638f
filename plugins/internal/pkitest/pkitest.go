// Package pkitest makes authorities and certificates for the tests of the TLS based methods. What goes wrong in it panics: it has no input but the tests' own.
package pkitest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Kinds of key.
const (
	ECDSA   = "ecdsa"
	RSA     = "rsa"
	RSA1024 = "rsa1024"
)

// Authority signs certificates.
type Authority struct {
	cert  *x509.Certificate
	key   crypto.Signer
	above *Authority
	kind  string
}

// Leaf is a certificate that is wanted. Zero values: ECDSA, valid now, for clients.
type Leaf struct {
	CN, DNS, Email, UPN string
	Server              bool
	Kind                string
	Expired             bool
	// Bulk is octets of an extension that nobody understands, to make the certificate long.
	Bulk int
}

// Pair is a certificate with its key, in PEM; the chain holds what is between it and the authority at the top.
type Pair struct {
	Chain, Key []byte
	Serial     *big.Int
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newKey(kind string) crypto.Signer {
	switch kind {
	case RSA:
		return must(rsa.GenerateKey(rand.Reader, 2048))
	case RSA1024:
		return must(rsa.GenerateKey(rand.Reader, 1024))
	}
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

// New makes an authority that signs itself, with keys of the kind.
func New(name, kind string) *Authority { return (&Authority{kind: kind}).sub(name, nil) }

// Sub makes an authority below a.
func (a *Authority) Sub(name string) *Authority { return a.sub(name, a) }

func (a *Authority) sub(name string, above *Authority) *Authority {
	key := newKey(a.kind)
	now := time.Now()
	want := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	parent, signer := want, key
	if above != nil {
		parent, signer = above.cert, above.key
	}
	der := must(x509.CreateCertificate(rand.Reader, want, parent, key.Public(), signer))
	return &Authority{cert: must(x509.ParseCertificate(der)), key: key, above: above, kind: a.kind}
}

func serial() *big.Int { return must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))) }

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte { return encode("CERTIFICATE", a.cert.Raw) }

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Issue makes the certificate.
func (a *Authority) Issue(l Leaf) Pair {
	key := newKey(l.Kind)
	now := time.Now()
	want := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: l.CN}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if l.Expired {
		want.NotAfter = now.Add(-time.Minute)
	}
	if l.Server {
		want.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	if l.DNS != "" {
		want.DNSNames = []string{l.DNS}
	}
	if l.Email != "" {
		want.EmailAddresses = []string{l.Email}
	}
	if l.UPN != "" {
		want.ExtraExtensions = append(want.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: principal(l.UPN)})
	}
	if l.Bulk > 0 {
		want.ExtraExtensions = append(want.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1}, Value: make([]byte, l.Bulk)})
	}
	der := must(x509.CreateCertificate(rand.Reader, want, a.cert, key.Public(), a.key))
	chain := encode("CERTIFICATE", der)
	for up := a; up.above != nil; up = up.above {
		chain = append(chain, up.PEM()...)
	}
	return Pair{Chain: chain, Key: encode("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))), Serial: want.SerialNumber}
}

// principal is a subject alternative name with a user principal name alone.
func principal(name string) []byte {
	type other struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	text := must(asn1.MarshalWithParams(name, "utf8"))
	wrapped := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: text}
	value := must(asn1.MarshalWithParams(other{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}, wrapped}, "tag:0"))
	return must(asn1.Marshal([]asn1.RawValue{{FullBytes: value}}))
}

// CRL is a revocation list, which the next one follows at next.
func (a *Authority) CRL(next time.Time, revoked ...*big.Int) []byte {
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: next}
	for _, s := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: s, RevocationTime: time.Now().Add(-time.Hour)})
	}
	return encode("X509 CRL", must(x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)))
}

// Response is an OCSP response about a certificate, signed by the authority itself, until next.
func (a *Authority) Response(serial *big.Int, status int, next time.Time) []byte {
	return must(ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{Status: status, SerialNumber: serial, ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: next,
		RevokedAt: time.Now().Add(-time.Hour)}, a.key))
}
