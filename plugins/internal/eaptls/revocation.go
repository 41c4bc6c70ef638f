package eaptls

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"sync"
	"time"
)

// revocations is a list that has been read.
type revocations struct {
	list *x509.RevocationList
	// on says when a serial number, in octets, was revoked.
	on map[string]time.Time

	// mu: sessions run side by side. signer is the certificate that the list was last seen to be signed by, since a long list takes long to check.
	mu     sync.Mutex
	signer []byte
}

// by reports whether the issuer has signed the list.
func (r *revocations) by(issuer *x509.Certificate) bool {
	if !bytes.Equal(r.list.RawIssuer, issuer.RawSubject) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if bytes.Equal(r.signer, issuer.Raw) {
		return true
	}
	if r.list.CheckSignatureFrom(issuer) != nil {
		return false
	}
	r.signer = issuer.Raw
	return true
}

func revocationLists(b []byte) ([]*revocations, error) {
	if len(b) == 0 {
		return nil, nil
	}
	ders, err := blocks(b, "X509 CRL", maxCRL)
	if err != nil {
		return nil, err
	}
	var lists []*revocations
	for i, der := range ders {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("list %d: %w", i+1, err)
		}
		// RFC 5280 section 5.2: a list with a critical extension that is not understood (a part of a list, a delta) must not be used.
		for _, e := range list.Extensions {
			if e.Critical && !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 20}) && !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 35}) {
				return nil, fmt.Errorf("list %d, of %q, is partial or has another critical extension (%v); give the whole list", i+1, list.Issuer, e.Id)
			}
		}
		r := &revocations{list: list, on: make(map[string]time.Time, len(list.RevokedCertificateEntries))}
		for _, entry := range list.RevokedCertificateEntries {
			r.on[string(entry.SerialNumber.Bytes())] = entry.RevocationTime
		}
		list.RevokedCertificateEntries = nil
		lists = append(lists, r)
	}
	return lists, nil
}

// revoked checks every certificate below the authority against the lists, if there are any. A certificate without a current list is not acceptable.
func (c *Credentials) revoked(chain []*x509.Certificate) error {
	if len(c.lists) == 0 {
		return nil
	}
	for i, cert := range chain[:len(chain)-1] {
		if err := c.clear(cert, chain[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (c *Credentials) clear(cert, issuer *x509.Certificate) error {
	stale, found := false, false
	for _, r := range c.lists {
		if !r.by(issuer) {
			continue
		}
		if at, ok := r.on[string(cert.SerialNumber.Bytes())]; ok {
			return fmt.Errorf("the certificate of %q (serial %v) was revoked on %s", cert.Subject, cert.SerialNumber, at.UTC().Format("2006-01-02"))
		}
		if now := c.now(); now.Before(r.list.ThisUpdate) || !r.list.NextUpdate.IsZero() && now.After(r.list.NextUpdate) {
			stale = true
		} else {
			found = true
		}
	}
	switch {
	case found:
		return nil
	case stale:
		return fmt.Errorf("the revocation list of %q is not current, so nobody can say of the certificate of %q: give %s a new one", issuer.Subject, cert.Subject, SettingCRL)
	}
	return fmt.Errorf("no revocation list of %q is given, so nobody can say of the certificate of %q: add it to %s", issuer.Subject, cert.Subject, SettingCRL)
}
