// Package pkitest makes authorities and certificates for tests.
package pkitest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

// Pair is a certificate with its key.
type Pair struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// NewKey makes a key on P-256.
func NewKey() crypto.Signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

// Issue makes a certificate of a template; parent nil makes it sign itself. Zero fields get values: serial number, validity round now, and for key nil a new one.
func Issue(template *x509.Certificate, parent *Pair, key crypto.Signer, now time.Time) *Pair {
	t := *template
	if t.SerialNumber == nil {
		t.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	}
	if t.NotBefore.IsZero() {
		t.NotBefore = now.Add(-time.Hour)
	}
	if t.NotAfter.IsZero() {
		t.NotAfter = now.Add(365 * 24 * time.Hour)
	}
	if key == nil {
		key = NewKey()
	}
	signer, issuer := key, &t
	if parent != nil {
		signer, issuer = parent.Key, parent.Cert
	}
	der, err := x509.CreateCertificate(rand.Reader, &t, issuer, key.Public(), signer)
	if err != nil {
		panic(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &Pair{c, key}
}

// CA makes an authority.
func CA(name string, parent *Pair, now time.Time) *Pair {
	return Issue(&x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{"Acme"}, Country: []string{"DE"}}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}, parent, nil, now)
}

// Leaf makes a gateway's certificate for a DNS name, which is its common name too.
func Leaf(dns string, parent *Pair, key crypto.Signer, now time.Time) *Pair {
	return Issue(&x509.Certificate{Subject: pkix.Name{CommonName: dns, Organization: []string{"Acme"}, Country: []string{"DE"}}, DNSNames: []string{dns},
		KeyUsage: x509.KeyUsageDigitalSignature}, parent, key, now)
}

// PEM writes certificates, one after another.
func PEM(pairs ...*Pair) []byte {
	var out []byte
	for _, p := range pairs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Cert.Raw})...)
	}
	return out
}

// KeyPEM writes the key as PKCS #8.
func (p *Pair) KeyPEM() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// PublicPEM writes the public key alone.
func (p *Pair) PublicPEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(p.Key.Public())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// CRL revokes certificates of the pair's issuing.
func (p *Pair) CRL(now time.Time, revoked ...*Pair) []byte {
	t := &x509.RevocationList{Number: big.NewInt(now.Unix()), ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(24 * time.Hour)}
	for _, r := range revoked {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: r.Cert.SerialNumber, RevocationTime: now.Add(-time.Minute)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, t, p.Cert, p.Key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}
