// Package authproc is the process that holds the secrets. It answers ikeproc, which carries the peers' words and is believed in nothing: it signs as the plan's
// identity, checks a peer against the plan's, and gives grants, which xfrmproc asks for (package authn).
//
// Run is one loop with one owner of all state, which reads from two sides, each with a dispatch file of its own:
//
//	triked   Prepare, Commit, Abort, Link, StatusRequest, Shutdown  (triked.go)
//	ikeproc  Sign, Verify, Renew                                    (ikeproc.go)
//
// Secrets come as open descriptors with Prepare (files.go). One that cannot be used is a problem of the connections that need it, which Prepared, the
// status and TrustHints name; all others go on.
package authproc
