// Package pki reads certificates and keys, and decides whether a chain may be believed (RFC 5280, as RFC 4945 profiles it for IKE), whom it names, and whether it was
// revoked. It is pure: no file, no network, no clock.
//
//	chain, err := pki.Verify(peersCertificates, pki.Trust{Anchors: …, Intermediates: …}, rules, now)
//	err = pki.Names(chain[0], id)          // RFC 4945 section 3.1: the identity is in the certificate
//	err = lists.Check(chain, mode, now)    // revocation lists
//
// Path building, basic constraints, policies and constraints of host names and addresses are crypto/x509's, which bounds its own work; constraints of directory names and of mail
// are looked at here, and what a peer may hand over is bounded here.
package pki

// Bounds on what a peer, or a file, may hold.
const (
	MaxCertificate = 32 << 10 // octets of one certificate
	MaxChain       = 16       // certificates of a peer
	MaxBundle      = 4096     // certificates of a file
	MaxCRL         = 64 << 20 // octets of a revocation list
)
