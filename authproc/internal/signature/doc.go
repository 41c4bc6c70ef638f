// Package signature signs and verifies the octets of an AUTH payload with a public key: methods 1 and 9 to 11 of RFC 7296 and RFC 4754, and method 14 of RFC 7427 with
// RSA PKCS #1 v1.5, RSASSA-PSS, ECDSA, Ed25519 and Ed448 (RFC 8420).
//
//	method, data, err := signature.Sign(key, peersHashes, allowed, octets)
//	scheme, err := signature.Verify(public, method, data, octets, signature.Rules{…})
//
// An AlgorithmIdentifier is compared as a whole with those that are known: nothing of it is interpreted, so there is nothing to get wrong in parsing it.
package signature

import "github.com/trike-ipsec/trike/internal/plan"

// Default are the schemes that are used and accepted where the policy names none, best first.
func Default() []plan.Scheme {
	return []plan.Scheme{plan.SchemeEd25519, plan.SchemeEd448, plan.SchemeECDSA256, plan.SchemeECDSA384, plan.SchemeECDSA512,
		plan.SchemePSS256, plan.SchemePSS384, plan.SchemePSS512, plan.SchemeRSA256, plan.SchemeRSA384, plan.SchemeRSA512}
}
