package eaptls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// maxStaple is the most octets of an OCSP response.
const maxStaple = 16 << 10

// ownStaple looks at the response that goes along with our certificate, as far as that can be done without its issuer.
func (c *Credentials) ownStaple() error {
	if len(c.Certificate.OCSPStaple) > maxStaple {
		return fmt.Errorf("is longer than %d octets", maxStaple)
	}
	response, err := ocsp.ParseResponse(c.Certificate.OCSPStaple, nil)
	switch {
	case err != nil:
		return fmt.Errorf("is no OCSP response in DER: %w", err)
	case response.SerialNumber.Cmp(c.Certificate.Leaf.SerialNumber) != 0:
		return errors.New("is about another certificate than ours")
	}
	return nil
}

// stapled checks what came along with the server's certificate (RFC 9190 section 5.4, RFC 6066 section 8). One that is not right is as bad as one that says revoked: somebody
// wants us to take it.
func (c *Credentials) stapled(state tls.ConnectionState) error {
	leaf := state.PeerCertificates[0]
	if len(state.OCSPResponse) == 0 {
		if c.ocsp {
			return fmt.Errorf("the server sends no OCSP response along with its certificate, which %s requires", SettingOCSP)
		}
		return nil
	}
	if len(state.OCSPResponse) > maxStaple {
		return fmt.Errorf("the OCSP response has more than %d octets", maxStaple)
	}
	issuer, err := c.issuer(state)
	if err != nil {
		return err
	}
	response, err := ocsp.ParseResponseForCert(state.OCSPResponse, leaf, issuer)
	if err != nil {
		return fmt.Errorf("the OCSP response about the certificate of %q: %w", leaf.Subject, err)
	}
	now := c.now()
	switch {
	case response.Certificate != nil && !response.Certificate.Equal(issuer) && !mayRespond(response.Certificate, now):
		return fmt.Errorf("the OCSP response about the certificate of %q is by %q, who may not give any", leaf.Subject, response.Certificate.Subject)
	case response.Status == ocsp.Revoked:
		return fmt.Errorf("the certificate of %q was revoked on %s, says OCSP", leaf.Subject, response.RevokedAt.UTC().Format("2006-01-02"))
	case response.Status != ocsp.Good:
		return fmt.Errorf("OCSP does not know the certificate of %q", leaf.Subject)
	case now.Before(response.ThisUpdate), response.NextUpdate.IsZero(), now.After(response.NextUpdate):
		return fmt.Errorf("the OCSP response about the certificate of %q is not current (%s to %s)", leaf.Subject,
			response.ThisUpdate.UTC().Format("2006-01-02 15:04"), response.NextUpdate.UTC().Format("2006-01-02 15:04"))
	}
	return nil
}

// issuer is who signed the server's certificate, from the paths that verify accepted.
func (c *Credentials) issuer(state tls.ConnectionState) (*x509.Certificate, error) {
	chains, err := c.paths(state, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return nil, err
	}
	return chains[0][min(1, len(chains[0])-1)], nil
}

// mayRespond reports whether the certificate, which the issuer signed, is for OCSP responses (RFC 6960 section 4.2.2.2) and valid.
func mayRespond(cert *x509.Certificate, now time.Time) bool {
	return slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) && !now.Before(cert.NotBefore) && !now.After(cert.NotAfter)
}
