package pki

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trike-ipsec/trike/authproc/internal/signature"
)

// Trust is what a chain may end and go through.
type Trust struct {
	Anchors       []*x509.Certificate
	Intermediates []*x509.Certificate // of our own
}

// Rules are what is wanted of every certificate in a chain.
type Rules struct {
	MinRSABits int // 0: signature.MinRSABits
}

// What RFC 4945 section 5.1.3.12 and practice take for IKE.
var (
	oidAny             = asn1.ObjectIdentifier{2, 5, 29, 37, 0}
	oidIKEIntermediate = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 8, 2, 2}
	oidIPsecIKE        = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 17}
)

// Verify builds a path from the peer's first certificate to an anchor. The chain that it gives ends with the anchor.
func Verify(ders [][]byte, trust Trust, r Rules, now time.Time) ([]*x509.Certificate, error) {
	if len(ders) == 0 {
		return nil, errors.New("the peer sent no certificate, and the policy has none of it")
	}
	if len(ders) > MaxChain {
		return nil, fmt.Errorf("the peer sent %d certificates, at most %d are looked at", len(ders), MaxChain)
	}
	leaf, err := Certificate(ders[0])
	if err != nil {
		return nil, err
	}
	if err := affordable(leaf); err != nil {
		return nil, fmt.Errorf("certificate %s: %w", Title(leaf), err)
	}
	if err := usage(leaf); err != nil {
		return nil, err
	}
	between, roots := x509.NewCertPool(), x509.NewCertPool()
	for _, d := range ders[1:] {
		if c, err := Certificate(d); err == nil && affordable(c) == nil { // one that is not needed may be anything
			between.AddCert(c)
		}
	}
	for _, c := range trust.Intermediates {
		between.AddCert(c)
	}
	for _, c := range trust.Anchors {
		roots.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil, explain(leaf, trust, err, now)
	}
	var fault error
	for _, chain := range chains[:min(len(chains), 16)] {
		if fault = strong(chain, r); fault == nil {
			fault = within(chain)
		}
		if fault != nil {
			continue
		}
		return chain, nil
	}
	return nil, fault
}

// maxClaimedBits bounds the RSA key of an authority that a peer sends: crypto/tls has the same bound.
const maxClaimedBits = 8192

// affordable is whether a key that a peer claims is one to compute with: up to a hundred signatures are checked by it before anybody has vouched for it.
func affordable(c *x509.Certificate) error {
	if k, ok := c.PublicKey.(*rsa.PublicKey); ok && c.IsCA && k.N.BitLen() > maxClaimedBits {
		return fmt.Errorf("an authority's RSA key of %d bits is not served unless the policy has it", k.N.BitLen())
	}
	return signature.Rules{MinRSABits: 1}.Key(c.PublicKey)
}

// usage is whether a certificate may be used for IKE (RFC 4945 sections 5.1.3.2 and 5.1.3.12).
func usage(c *x509.Certificate) error {
	if c.KeyUsage != 0 && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return fmt.Errorf("certificate %s may not sign: its key usage has neither digitalSignature nor nonRepudiation (RFC 4945 section 5.1.3.2)", Title(c))
	}
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 {
		return nil
	}
	for _, u := range []x509.ExtKeyUsage{x509.ExtKeyUsageAny, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageIPSECTunnel, x509.ExtKeyUsageIPSECEndSystem, x509.ExtKeyUsageIPSECUser} {
		if slices.Contains(c.ExtKeyUsage, u) {
			return nil
		}
	}
	for _, o := range c.UnknownExtKeyUsage {
		if o.Equal(oidAny) || o.Equal(oidIKEIntermediate) || o.Equal(oidIPsecIKE) {
			return nil
		}
	}
	return fmt.Errorf("certificate %s is not for IKE: its extended key usage has none of ipsecIKE, ikeIntermediate, serverAuth, clientAuth and any (RFC 4945 section 5.1.3.12)", Title(c))
}

// strong holds each key and signature of a chain against the rules. The anchor's own signature says nothing, so it does not count.
func strong(chain []*x509.Certificate, r Rules) error {
	rules := signature.Rules{MinRSABits: r.MinRSABits}
	for i, c := range chain {
		if c.PublicKeyAlgorithm == x509.DSA {
			return fmt.Errorf("certificate %s: its key is for DSA, which is not served (RFC 8247 section 3)", Title(c))
		}
		switch k := c.PublicKey.(type) {
		case *rsa.PublicKey:
			if err := rules.Key(k); err != nil {
				return fmt.Errorf("certificate %s: %w", Title(c), err)
			}
		case *ecdsa.PublicKey:
			if k.Curve.Params().BitSize < 256 {
				return fmt.Errorf("certificate %s: its key is on %s, which is too small", Title(c), k.Curve.Params().Name)
			}
		}
		if i == len(chain)-1 {
			break
		}
		switch c.SignatureAlgorithm {
		case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.DSAWithSHA256:
			return fmt.Errorf("certificate %s is signed by %v, which is not safe", Title(c), c.SignatureAlgorithm)
		}
	}
	return nil
}

// explain says why there is no path, in terms that lead to what is to be done.
func explain(leaf *x509.Certificate, trust Trust, err error, now time.Time) error {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.Before(invalid.Cert.NotBefore):
		return fmt.Errorf("certificate %s is not valid before %s: look at the clocks", Title(invalid.Cert), invalid.Cert.NotBefore.UTC().Format(time.RFC3339))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("certificate %s ended on %s", Title(invalid.Cert), invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	case errors.As(err, &invalid):
		return fmt.Errorf("certificate %s: %w", Title(invalid.Cert), err)
	case errors.As(err, &unknown):
		var names []string
		for _, a := range trust.Anchors[:min(len(trust.Anchors), 8)] {
			names = append(names, fmt.Sprintf("%q", a.Subject.String()))
		}
		return fmt.Errorf("no path from certificate %s to an authority that the policy trusts for it (%s): %w", Title(leaf), join(names), err)
	}
	return fmt.Errorf("certificate %s: %w", Title(leaf), err)
}

func join(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	out := names[0]
	for _, n := range names[1:] {
		out += ", " + n
	}
	return out
}
