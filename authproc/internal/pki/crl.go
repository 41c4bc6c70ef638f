package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/internal/plan"
)

var (
	oidDeltaCRL                 = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
)

// List is one revocation list whose signature was checked.
type List struct {
	issuer  *x509.Certificate
	revoked map[string]time.Time // serial number → since when
	From    time.Time
	Until   time.Time // zero: it does not say
}

// Lists are revocation lists by their issuer's key.
type Lists struct{ byIssuer map[string]*List }

// Add reads a list, PEM or DER, that one of the issuers signed. A newer one takes an older one's place.
func (l *Lists) Add(b []byte, issuers []*x509.Certificate) (*List, error) {
	if len(b) > MaxCRL {
		return nil, fmt.Errorf("a revocation list of %d octets, at most %d are read", len(b), MaxCRL)
	}
	if block, _ := pem.Decode(b); block != nil {
		if block.Type != "X509 CRL" {
			return nil, fmt.Errorf("a PEM %q where an X509 CRL belongs", block.Type)
		}
		b = block.Bytes
	}
	list, err := x509.ParseRevocationList(b)
	if err != nil {
		return nil, fmt.Errorf("a revocation list is malformed: %w", err)
	}
	for _, e := range list.Extensions {
		switch {
		case e.Id.Equal(oidDeltaCRL):
			return nil, errors.New("it is a delta CRL, which is worth nothing without its base: give the complete list")
		case e.Id.Equal(oidIssuingDistributionPoint) && partial(e.Value):
			return nil, errors.New("the revocation list covers a part of its issuer's certificates, or those of others (RFC 5280 section 5.2.5): give the complete list")
		case e.Critical && !e.Id.Equal(oidIssuingDistributionPoint):
			return nil, fmt.Errorf("the revocation list has a critical extension that is not known (%v)", e.Id)
		}
	}
	for _, issuer := range issuers {
		if !bytes.Equal(list.RawIssuer, issuer.RawSubject) || list.CheckSignatureFrom(issuer) != nil {
			continue
		}
		out := &List{issuer: issuer, revoked: make(map[string]time.Time, len(list.RevokedCertificateEntries)), From: list.ThisUpdate, Until: list.NextUpdate}
		for _, e := range list.RevokedCertificateEntries {
			if e.ReasonCode == 8 { // removeFromCRL, of a hold that has ended
				continue
			}
			out.revoked[string(e.SerialNumber.Bytes())] = e.RevocationTime
		}
		if l.byIssuer == nil {
			l.byIssuer = map[string]*List{}
		}
		if old := l.byIssuer[string(issuer.RawSubjectPublicKeyInfo)]; old == nil || !out.From.Before(old.From) {
			l.byIssuer[string(issuer.RawSubjectPublicKeyInfo)] = out
		}
		return out, nil
	}
	return nil, fmt.Errorf("the revocation list of %q is signed by none of the authorities that it was given for", list.Issuer.String())
}

// partial tells whether an IssuingDistributionPoint narrows what a list covers. One that only says where the list is to be had does not.
func partial(der []byte) bool {
	var p struct {
		Point    asn1.RawValue  `asn1:"optional,tag:0"`
		Users    bool           `asn1:"optional,tag:1"`
		CAs      bool           `asn1:"optional,tag:2"`
		Reasons  asn1.BitString `asn1:"optional,tag:3"`
		Indirect bool           `asn1:"optional,tag:4"`
		Attr     bool           `asn1:"optional,tag:5"`
	}
	rest, err := asn1.Unmarshal(der, &p)
	return err != nil || len(rest) > 0 || p.Users || p.CAs || p.Reasons.BitLength > 0 || p.Indirect || p.Attr
}

// Check holds each certificate of a chain but the anchor against its issuer's list.
func (l *Lists) Check(chain []*x509.Certificate, mode plan.Revocation, now time.Time) error {
	if mode == plan.RevocationOff {
		return nil
	}
	for i, c := range chain[:len(chain)-1] {
		list := l.byIssuer[string(chain[i+1].RawSubjectPublicKeyInfo)]
		switch {
		case list == nil && mode == plan.RevocationRequire:
			return fmt.Errorf("certificate %s: nothing is known of whether its issuer revoked it, and the policy says `revocation: \"require\"`: give the authority's list in `crlFiles`", Title(c))
		case list == nil:
			continue
		}
		if since, yes := list.revoked[string(c.SerialNumber.Bytes())]; yes && !since.After(now) {
			return fmt.Errorf("certificate %s was revoked on %s", Title(c), since.UTC().Format(time.RFC3339))
		}
		if mode == plan.RevocationRequire && (list.Until.IsZero() || now.After(list.Until)) {
			return fmt.Errorf("certificate %s: the revocation list of its issuer ended on %s, and the policy says `revocation: \"require\"`: fetch a newer one", Title(c), list.Until.UTC().Format(time.RFC3339))
		}
	}
	return nil
}
