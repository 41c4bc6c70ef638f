// Package ikeproc is the process that speaks IKEv2 with the world. It has no secret but what a key exchange made, and it is assumed to be taken over one day: who a peer
// is decides authproc, what is installed xfrmproc.
//
// All of the protocol is in package engine, a pure state machine. Run is the loop around it: one goroutine owns the engine, hands it what happened and does what it says,
// in order. What happens comes from
//
//	triked    Prepare, Commit, Abort, Link, Control, StatusRequest, Shutdown  (triked.go)
//	authproc  Signed, Verified, Renewed, TrustHints                           (authproc.go)
//	xfrmproc  SPI, Installed, Refused, Counters, Acquire, Expire, …           (xfrmproc.go)
//	workers   that do the engine's public-key work on every core              (work.go)
//	sockets   read and written by a goroutine each                            (sockets.go)
//	the clock
//
// in this order of precedence: a flood of datagrams starves no link (turn.go), and of the datagrams those that would begin an IKE SA wait longest and are
// dropped first.
package ikeproc
