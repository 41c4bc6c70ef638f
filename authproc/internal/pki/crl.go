package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trike-ipsec/trike/internal/plan"
)

var (
	oidDeltaCRL                 = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidReasonCode               = asn1.ObjectIdentifier{2, 5, 29, 21}
	oidInvalidityDate           = asn1.ObjectIdentifier{2, 5, 29, 24}
	oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
)

// List is one revocation list whose signature was checked.
type List struct {
	issuer  *x509.Certificate
	scope   scope
	revoked map[string]time.Time // serial number → since when
	From    time.Time
	Until   time.Time // zero: it does not say
}

// Lists are revocation lists by their issuer's key.
type Lists struct{ byIssuer map[string][]*List }

// Add reads a list, PEM or DER, that one of the issuers signed. A newer one takes the place of an older one that is about the same certificates.
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
	var about scope
	for _, e := range list.Extensions {
		whole := true
		if e.Id.Equal(oidIssuingDistributionPoint) {
			about, whole = readScope(e.Value)
		}
		switch {
		case e.Id.Equal(oidDeltaCRL):
			return nil, errors.New("it is a delta CRL, which is worth nothing without its base: give the complete list")
		case !whole:
			return nil, errors.New("the revocation list covers some reasons, or certificates of others, or a part that it does not name in full (RFC 5280 section 5.2.5): give the complete list")
		case e.Critical && !e.Id.Equal(oidIssuingDistributionPoint):
			return nil, fmt.Errorf("the revocation list has a critical extension that is not known (%v)", e.Id)
		}
	}
	for _, issuer := range issuers {
		if !bytes.Equal(list.RawIssuer, issuer.RawSubject) || list.CheckSignatureFrom(issuer) != nil {
			continue
		}
		out := &List{issuer: issuer, scope: about, revoked: make(map[string]time.Time, len(list.RevokedCertificateEntries)), From: list.ThisUpdate, Until: list.NextUpdate}
		for _, e := range list.RevokedCertificateEntries {
			if i := slices.IndexFunc(e.Extensions, unknownOfEntry); i >= 0 {
				return nil, fmt.Errorf("the revocation list has an entry with a critical extension that is not known (%v), so nothing that it says may count (RFC 5280 section 5.3)", e.Extensions[i].Id)
			}
			if e.ReasonCode == 8 || e.SerialNumber.Sign() < 0 { // removeFromCRL, of a hold that has ended; no certificate that we read has a negative number
				continue
			}
			out.revoked[string(e.SerialNumber.Bytes())] = e.RevocationTime
		}
		l.put(out)
		return out, nil
	}
	return nil, fmt.Errorf("the revocation list of %q is signed by none of the authorities that it was given for", list.Issuer.String())
}

// put adds a list, or puts it in the place of an older one.
func (l *Lists) put(n *List) {
	if l.byIssuer == nil {
		l.byIssuer = map[string][]*List{}
	}
	key := string(n.issuer.RawSubjectPublicKeyInfo)
	for i, old := range l.byIssuer[key] {
		if old.scope.id == n.scope.id {
			if !n.From.Before(old.From) {
				l.byIssuer[key][i] = n
			}
			return
		}
	}
	l.byIssuer[key] = append(l.byIssuer[key], n)
}

// unknownOfEntry is whether an entry's extension is critical and not understood. That a hold is one (reasonCode) and when a key was lost (invalidityDate) changes nothing.
func unknownOfEntry(e pkix.Extension) bool {
	return e.Critical && !e.Id.Equal(oidReasonCode) && !e.Id.Equal(oidInvalidityDate)
}

// Check holds each certificate of a chain but the anchor against its issuer's list.
func (l *Lists) Check(chain []*x509.Certificate, mode plan.Revocation, now time.Time) error {
	if mode == plan.RevocationOff {
		return nil
	}
	for i, c := range chain[:len(chain)-1] {
		var freshest *List
		for _, list := range l.byIssuer[string(chain[i+1].RawSubjectPublicKeyInfo)] {
			// Listed is revoked, whatever our clock says of the day, and whichever part the list is about: an issuer gives a number once.
			if since, yes := list.revoked[string(c.SerialNumber.Bytes())]; yes {
				return fmt.Errorf("certificate %s was revoked on %s", Title(c), since.UTC().Format(time.RFC3339))
			}
			if !list.scope.covers(c) {
				continue // what is not in it may be revoked all the same
			}
			if freshest == nil || list.Until.After(freshest.Until) {
				freshest = list
			}
		}
		switch {
		case mode != plan.RevocationRequire:
		case freshest == nil:
			return fmt.Errorf("certificate %s: nothing is known of whether its issuer revoked it, and the policy says `revocation: \"require\"`: give the authority's list in `crlFiles`", Title(c))
		case freshest.Until.IsZero() || now.After(freshest.Until):
			return fmt.Errorf("certificate %s: the revocation list of its issuer ended on %s, and the policy says `revocation: \"require\"`: fetch a newer one", Title(c), freshest.Until.UTC().Format(time.RFC3339))
		}
	}
	return nil
}
