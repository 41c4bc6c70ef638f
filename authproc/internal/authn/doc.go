// Package authn decides who may be believed: it makes our AUTH and checks the peer's, for pre-shared keys (RFC 7296 section 2.15), and
// writes the grants that xfrmproc wants to see before it installs anything.
//
// It is pure: no file, socket or clock. Who asks is ikeproc, which is assumed to be taken over, so nothing that it says is signed as it is:
//
//	s, problems := authn.New(view, secrets)     // one plan's credentials
//	signed := s.Sign(m, authn.With{})           // never fails by crashing: an error is for the operator
//	verified := s.Verify(m, authn.With{Issuer: issuer, Now: now})
//
// # No signing oracle
//
// With a pre-shared key both ends sign with the same key. What keeps a hostile ikeproc from having us sign what it then shows us as the peer's is the
// form of the signed octets, RealMessage | Nonce | prf(SK_p, ID') | IntAuth:
//
//   - RealMessage names its own length and the role of who signs it, so it ends where we say, and what an initiator signs is never what a responder signs.
//   - ID' comes from the plan: ours when we sign, the peer's when we check. No identity is ours in one connection and the peer's in another with the same key.
//   - The nonce is the other side's. Our own nonces have NonceLen octets; a peer's nonce that could be taken for one of ours followed by what comes after
//     it is not signed. So octets that we sign are octets that we check only where prf(SK_p, ID') is the same for both identities.
package authn

// NonceLen is the length in octets of the nonces that our own engine makes in IKE_SA_INIT, and therefore of the nonce in every peer's signed octets.
const NonceLen = 32

// GrantLife is how long a grant holds, in seconds. The engine renews it at half its life.
const GrantLife = 24 * 60 * 60

// Bounds on what ikeproc may have us work on.
const (
	minMessage = 28 // an IKE header
	maxMessage = 65535
	minNonce   = 16 // RFC 7296 section 3.9
	maxNonce   = 256
	maxID      = 1024
	maxKeys    = 16 // different secrets that one Verify tries
	maxGrants  = 64 // that one Verify gives
	maxTold    = 8  // connections that an error speaks of
)
