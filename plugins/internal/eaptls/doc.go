// Package eaptls is what the TLS based EAP methods share: EAP-TLS (RFC 5216, RFC 9190), TTLS (RFC 5281) and PEAP, with TLS 1.2 and, by RFC 9427, 1.3.
//
// A method brings an Inner, which is what is said inside the tunnel, and starts a session:
//
//	creds, err := eaptls.ParseCredentials(config)
//	conf, err := creds.TLSFor(begin, true)
//	session, step, err := eaptls.Start(ctx, eaptls.Config{Type: eapsdk.TypeTLS, TLS: conf, Label12: eaptls.Label12}, begin, inner)
//
// Session does the rest: flags, fragments and acknowledgements, the handshake, alerts, keys. It runs only within Next; crypto/tls's handshake is a coroutine that Abort, the end
// and the time limit stop. TLS below 1.2, tickets and renegotiation there are not.
package eaptls
