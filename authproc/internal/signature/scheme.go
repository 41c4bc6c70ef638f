package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha1" // the hash of method 1, for peers that the policy allows it to
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/asn1"
	"fmt"
	"slices"

	"github.com/cloudflare/circl/sign/ed448"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
)

type family uint8

const (
	familyRSA family = iota + 1
	familyPSS
	familyECDSA
	familyEd25519
	familyEd448
)

// scheme is what one plan.Scheme means.
type scheme struct {
	name   plan.Scheme
	family family
	hash   crypto.Hash  // 0: the octets are signed as they are
	id     ikev2.HashID // by which SIGNATURE_HASH_ALGORITHMS names it
	curve  elliptic.Curve
	// raw is the method of RFC 7296 or RFC 4754 for peers without RFC 7427; 0: there is none.
	raw ikev2.AuthMethod
}

func schemes() []scheme {
	return []scheme{
		{name: plan.SchemeEd25519, family: familyEd25519, id: ikev2.HashIdentity},
		{name: plan.SchemeEd448, family: familyEd448, id: ikev2.HashIdentity},
		{name: plan.SchemeECDSA256, family: familyECDSA, hash: crypto.SHA256, id: ikev2.HashSHA2_256, curve: elliptic.P256(), raw: ikev2.AuthECDSA256},
		{name: plan.SchemeECDSA384, family: familyECDSA, hash: crypto.SHA384, id: ikev2.HashSHA2_384, curve: elliptic.P384(), raw: ikev2.AuthECDSA384},
		{name: plan.SchemeECDSA512, family: familyECDSA, hash: crypto.SHA512, id: ikev2.HashSHA2_512, curve: elliptic.P521(), raw: ikev2.AuthECDSA521},
		{name: plan.SchemePSS256, family: familyPSS, hash: crypto.SHA256, id: ikev2.HashSHA2_256},
		{name: plan.SchemePSS384, family: familyPSS, hash: crypto.SHA384, id: ikev2.HashSHA2_384},
		{name: plan.SchemePSS512, family: familyPSS, hash: crypto.SHA512, id: ikev2.HashSHA2_512},
		{name: plan.SchemeRSA256, family: familyRSA, hash: crypto.SHA256, id: ikev2.HashSHA2_256},
		{name: plan.SchemeRSA384, family: familyRSA, hash: crypto.SHA384, id: ikev2.HashSHA2_384},
		{name: plan.SchemeRSA512, family: familyRSA, hash: crypto.SHA512, id: ikev2.HashSHA2_512},
		{name: plan.SchemeRSALegacy, family: familyRSA, hash: crypto.SHA1, id: ikev2.HashSHA1, raw: ikev2.AuthRSA},
	}
}

// fits tells whether a key of ours is used with the scheme. RFC 7427 leaves curve and hash free; we take the hash that is as strong as the curve, as RFC 4754 does.
func (s scheme) fits(public crypto.PublicKey) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return s.family == familyRSA || s.family == familyPSS
	case *ecdsa.PublicKey:
		return s.family == familyECDSA && k.Curve == s.curve
	case ed25519.PublicKey:
		return s.family == familyEd25519
	case ed448.PublicKey:
		return s.family == familyEd448
	}
	return false
}

// suits tells whether a peer may use its key with the scheme: a hash that is stronger than the curve does no harm, and Libreswan takes the longest that we announce.
func (s scheme) suits(public crypto.PublicKey) bool {
	k, ok := public.(*ecdsa.PublicKey)
	if !ok || s.family != familyECDSA {
		return s.fits(public)
	}
	bits := k.Curve.Params().BitSize
	return bits >= 256 && s.curve.Params().BitSize >= bits
}

// Describe names a public key for the operator.
func Describe(public crypto.PublicKey) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA of %d bits", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA on " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case ed448.PublicKey:
		return "Ed448"
	}
	return fmt.Sprintf("a key of an unknown kind (%T)", public)
}

// chosen are the schemes of a list, in its order; the default for an empty one.
func chosen(allowed []plan.Scheme) (out []scheme) {
	if len(allowed) == 0 {
		allowed = Default()
	}
	all := schemes()
	for _, name := range allowed {
		if i := slices.IndexFunc(all, func(s scheme) bool { return s.name == name }); i >= 0 {
			out = append(out, all[i])
		}
	}
	return out
}

// The object identifiers of RFC 7427 appendix A and RFC 8420 appendix A.
var (
	oidPSS     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidMGF1    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
	oidRSA     = map[crypto.Hash]asn1.ObjectIdentifier{crypto.SHA1: {1, 2, 840, 113549, 1, 1, 5}, crypto.SHA256: {1, 2, 840, 113549, 1, 1, 11}, crypto.SHA384: {1, 2, 840, 113549, 1, 1, 12}, crypto.SHA512: {1, 2, 840, 113549, 1, 1, 13}}
	oidECDSA   = map[crypto.Hash]asn1.ObjectIdentifier{crypto.SHA256: {1, 2, 840, 10045, 4, 3, 2}, crypto.SHA384: {1, 2, 840, 10045, 4, 3, 3}, crypto.SHA512: {1, 2, 840, 10045, 4, 3, 4}}
	oidHash    = map[crypto.Hash]asn1.ObjectIdentifier{crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1}, crypto.SHA384: {2, 16, 840, 1, 101, 3, 4, 2, 2}, crypto.SHA512: {2, 16, 840, 1, 101, 3, 4, 2, 3}}
	oidEd25519 = asn1.ObjectIdentifier{1, 3, 101, 112}
	oidEd448   = asn1.ObjectIdentifier{1, 3, 101, 113}
)

var null = asn1.RawValue{FullBytes: []byte{5, 0}}

type algorithm struct {
	OID        asn1.ObjectIdentifier
	Parameters asn1.RawValue `asn1:"optional"`
}

type pssParameters struct {
	Hash       algorithm `asn1:"explicit,tag:0"`
	MGF        algorithm `asn1:"explicit,tag:1"`
	SaltLength int       `asn1:"explicit,tag:2"`
	Trailer    int       `asn1:"optional,explicit,tag:3"` // 1 is the default, which DER leaves out and RFC 7427's own example does not
}

// identifiers are the DER forms of the scheme's AlgorithmIdentifier: the first is the one that we send; the others differ in whether an absent parameter is
// written as NULL (RFC 4055 section 2.1 lets either be read).
func (s scheme) identifiers() (out [][]byte) {
	switch s.family {
	case familyEd25519:
		return [][]byte{der(algorithm{OID: oidEd25519})}
	case familyEd448:
		return [][]byte{der(algorithm{OID: oidEd448})}
	case familyECDSA:
		return [][]byte{der(algorithm{OID: oidECDSA[s.hash]})}
	case familyRSA:
		return [][]byte{der(algorithm{oidRSA[s.hash], null}), der(algorithm{OID: oidRSA[s.hash]})}
	}
	with, without := algorithm{oidHash[s.hash], null}, algorithm{OID: oidHash[s.hash]}
	for _, hash := range []algorithm{with, without} {
		for _, mask := range []algorithm{with, without} {
			mgf := algorithm{oidMGF1, asn1.RawValue{FullBytes: der(mask)}}
			for trailer := range 2 {
				params := der(pssParameters{hash, mgf, s.hash.Size(), trailer})
				out = append(out, der(algorithm{oidPSS, asn1.RawValue{FullBytes: params}}))
			}
		}
	}
	return out
}

func der(v any) []byte {
	b, err := asn1.Marshal(v)
	if err != nil {
		panic("signature: " + err.Error()) // only our own constants are marshalled
	}
	return b
}
