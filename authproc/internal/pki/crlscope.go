package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var oidDistributionPoints = asn1.ObjectIdentifier{2, 5, 29, 31}

// scope is the part of its issuer's certificates that a list is about (RFC 5280 section 5.2.5). Zero: all.
type scope struct {
	id         string   // tells lists of one issuer apart
	points     [][]byte // GeneralNames in DER, one of which a certificate's distribution points must have
	users, cas bool     // the certificates of one kind only
}

// readScope reads an IssuingDistributionPoint. It is not ok where the list is about less than whole certificates, or those of others, or a name says it in a way that nobody should use.
func readScope(value []byte) (s scope, ok bool) {
	var p struct {
		Point    asn1.RawValue  `asn1:"optional,tag:0"`
		Users    bool           `asn1:"optional,tag:1"`
		CAs      bool           `asn1:"optional,tag:2"`
		Reasons  asn1.BitString `asn1:"optional,tag:3"`
		Indirect bool           `asn1:"optional,tag:4"`
		Attr     bool           `asn1:"optional,tag:5"`
	}
	rest, err := asn1.Unmarshal(value, &p)
	if err != nil || len(rest) > 0 || p.Reasons.BitLength > 0 || p.Indirect || p.Attr || p.Users && p.CAs {
		return scope{}, false
	}
	s = scope{id: string(value), users: p.Users, cas: p.CAs}
	if len(p.Point.FullBytes) > 0 {
		s.points, ok = fullNames(p.Point.FullBytes)
		return s, ok && len(s.points) > 0
	}
	return s, true
}

// fullNames takes the names of a DistributionPointName apart. One that hangs below the issuer's name has none.
func fullNames(name []byte) (out [][]byte, ok bool) {
	in := cryptobyte.String(name)
	var choice, names cryptobyte.String
	full := cbasn1.Tag(0).ContextSpecific().Constructed()
	if !in.ReadASN1(&choice, full) {
		return nil, false
	}
	if !choice.PeekASN1Tag(full) {
		return nil, choice.PeekASN1Tag(cbasn1.Tag(1).ContextSpecific().Constructed())
	}
	if !choice.ReadASN1(&names, full) {
		return nil, false
	}
	for !names.Empty() {
		var n cryptobyte.String
		var tag cbasn1.Tag
		if !names.ReadAnyASN1Element(&n, &tag) {
			return nil, false
		}
		out = append(out, n)
	}
	return out, true
}

// covers tells whether a list of this scope would have the certificate if it were revoked (RFC 5280 section 6.3.3 (b)).
func (s *scope) covers(c *x509.Certificate) bool {
	if s.users && c.IsCA || s.cas && !c.IsCA {
		return false
	}
	return s.points == nil || slices.ContainsFunc(distributionPoints(c), func(n []byte) bool {
		return slices.ContainsFunc(s.points, func(m []byte) bool { return bytes.Equal(n, m) })
	})
}

// distributionPoints are the names of a certificate's points that its own issuer answers for.
func distributionPoints(c *x509.Certificate) (out [][]byte) {
	in := cryptobyte.String(extensionOf(c, oidDistributionPoints))
	var points cryptobyte.String
	if !in.ReadASN1(&points, cbasn1.SEQUENCE) {
		return nil
	}
	for !points.Empty() {
		var p, name, rest cryptobyte.String
		var hasName, hasReasons, hasIssuer bool
		if !points.ReadASN1(&p, cbasn1.SEQUENCE) {
			return nil
		}
		if p.PeekASN1Tag(cbasn1.Tag(0).ContextSpecific().Constructed()) {
			hasName = p.ReadASN1Element(&name, cbasn1.Tag(0).ContextSpecific().Constructed())
		}
		if !p.ReadOptionalASN1(&rest, &hasReasons, cbasn1.Tag(1).ContextSpecific()) || !p.ReadOptionalASN1(&rest, &hasIssuer, cbasn1.Tag(2).ContextSpecific().Constructed()) || !hasName || hasIssuer {
			continue
		}
		if names, ok := fullNames(name); ok {
			out = append(out, names...)
		}
	}
	return out
}
