package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/cloudflare/circl/sign/ed448"
)

var (
	oidEd448 = asn1.ObjectIdentifier{1, 3, 101, 113}
	errNoKey = errors.New("it holds no private key: want PKCS #8, PKCS #1 or SEC 1, in PEM or DER")
)

// Certificates reads a file of certificates, PEM or one in DER.
func Certificates(b []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	if !bytes.Contains(b, []byte("-----BEGIN ")) {
		c, err := Certificate(b)
		if err != nil {
			return nil, err
		}
		return []*x509.Certificate{c}, nil
	}
	for rest := b; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" && block.Type != "X509 CERTIFICATE" {
			continue
		}
		c, err := Certificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(out)+1, err)
		}
		if out = append(out, c); len(out) > MaxBundle {
			return nil, fmt.Errorf("more than %d certificates", MaxBundle)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("it holds no certificate: want PEM (-----BEGIN CERTIFICATE-----) or DER")
	}
	return out, nil
}

// Certificate reads one in DER.
func Certificate(der []byte) (*x509.Certificate, error) {
	if len(der) > MaxCertificate {
		return nil, fmt.Errorf("a certificate of %d octets, at most %d are read", len(der), MaxCertificate)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("a certificate is malformed: %w", err)
	}
	if err := handled(c); err != nil {
		return nil, fmt.Errorf("a certificate is malformed: %w", err)
	}
	return c, nil
}

// Public is a certificate's key, Ed448 included.
func Public(c *x509.Certificate) (crypto.PublicKey, error) {
	if c.PublicKey != nil {
		return c.PublicKey, nil
	}
	return PublicKey(c.RawSubjectPublicKeyInfo)
}

// PublicKey reads a SubjectPublicKeyInfo in DER, or PEM "PUBLIC KEY".
func PublicKey(b []byte) (crypto.PublicKey, error) {
	if block, _ := pem.Decode(b); block != nil {
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("a PEM %q where a PUBLIC KEY belongs", block.Type)
		}
		b = block.Bytes
	}
	if len(b) > MaxCertificate {
		return nil, fmt.Errorf("a public key of %d octets", len(b))
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if rest, err := asn1.Unmarshal(b, &info); err == nil && len(rest) == 0 && info.Algorithm.Algorithm.Equal(oidEd448) {
		if len(info.Key.Bytes) != ed448.PublicKeySize || info.Key.BitLength != 8*ed448.PublicKeySize {
			return nil, errors.New("an Ed448 key of the wrong size")
		}
		return ed448.PublicKey(info.Key.Bytes), nil
	}
	k, err := x509.ParsePKIXPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("a public key is malformed: %w", err)
	}
	return k, nil
}

// Key reads a private key. No error quotes it.
func Key(b, passphrase []byte) (crypto.Signer, error) {
	der := b
	if block, _ := pem.Decode(b); block != nil {
		for rest := b; block != nil && block.Type == "EC PARAMETERS"; {
			_, rest = pem.Decode(rest)
			block, _ = pem.Decode(rest)
		}
		if block == nil {
			return nil, errNoKey
		}
		if block.Headers["DEK-Info"] != "" {
			return nil, errors.New("it is encrypted in OpenSSL's old way, which any password guesser opens: convert it with `openssl pkcs8 -topk8`")
		}
		der = block.Bytes
	}
	if plain, encrypted, err := decrypt(der, passphrase); err != nil {
		return nil, err
	} else if encrypted {
		defer clear(plain)
		der = plain
	}
	return parseKey(der)
}

func parseKey(der []byte) (crypto.Signer, error) {
	if k, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		switch k := k.(type) {
		case *rsa.PrivateKey:
			return k, nil
		case *ecdsa.PrivateKey:
			return k, nil
		case ed25519.PrivateKey:
			return k, nil
		}
		return nil, errors.New("it holds a key that cannot sign")
	}
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k, nil
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k, nil
	}
	var p struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}
	if _, err := asn1.Unmarshal(der, &p); err == nil && p.Algorithm.Algorithm.Equal(oidEd448) {
		var seed []byte
		if rest, err := asn1.Unmarshal(p.Key, &seed); err == nil && len(rest) == 0 && len(seed) == ed448.SeedSize {
			return ed448.NewKeyFromSeed(seed), nil
		}
	}
	return nil, errNoKey
}

// Matches tells whether a private key is a public key's.
func Matches(key crypto.Signer, public crypto.PublicKey) bool {
	p, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && p.Equal(public)
}

// Title names a certificate for the operator.
func Title(c *x509.Certificate) string {
	subject := c.Subject.String()
	if subject == "" {
		subject = "(no subject)"
	}
	if len(subject) > 200 {
		subject = subject[:200] + "…"
	}
	return fmt.Sprintf("%q (serial %x, of %q)", subject, c.SerialNumber, c.Issuer.CommonName)
}

// SPKI is the DER of a file with a public key that PublicKey reads.
func SPKI(b []byte) []byte {
	if block, _ := pem.Decode(b); block != nil {
		return block.Bytes
	}
	return b
}

// MarshalSPKI writes a SubjectPublicKeyInfo (RFC 7670 section 3).
func MarshalSPKI(public crypto.PublicKey) ([]byte, error) {
	if k, ok := public.(ed448.PublicKey); ok {
		return asn1.Marshal(struct {
			Algorithm struct{ OID asn1.ObjectIdentifier }
			Key       asn1.BitString
		}{struct{ OID asn1.ObjectIdentifier }{oidEd448}, asn1.BitString{Bytes: k, BitLength: 8 * len(k)}})
	}
	return x509.MarshalPKIXPublicKey(public)
}
