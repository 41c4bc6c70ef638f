package msg

import (
	"errors"
	"fmt"
)

// Process names an end of a link.
type Process string

const (
	Triked   Process = "triked"
	IKEProc  Process = "ikeproc"
	AuthProc Process = "authproc"
	XFRMProc Process = "xfrmproc"
	// FetchProc gets revocation lists and OCSP answers for authproc. It holds nothing.
	FetchProc Process = "fetchproc"
)

// Message is one of the structs of this package, by pointer.
type Message interface {
	Kind() Kind
	append(b []byte) []byte
	read(r *reader)
}

// Kind numbers the messages on the wire. Numbers are never used again for something else.
type Kind uint8

const (
	KindHello Kind = iota + 1
	KindPrepare
	KindPrepared
	KindNotPrepared
	KindCommit
	KindCommitted
	KindAbort
	KindLink
	KindControl
	KindControlled
	KindStatusRequest
	KindStatusReply
	KindLog
	KindShutdown
	KindSign
	KindSigned
	KindVerify
	KindVerified
	KindRenew
	KindRenewed
	KindTrustHints
	KindAllocSPI
	KindSPI
	KindInstallChild
	KindInstalled
	KindRefused
	KindUpdateChild
	KindRemoveChild
	KindQueryChild
	KindCounters
	KindAcquire
	KindExpire
	KindMapping
	KindInventory
	KindReloadDone
	KindEAPStart
	KindEAPPacket
	KindEAPReply
	KindForget
	KindUsage
	KindTerminate
	KindPluginExec
	KindPluginStarted
	KindPluginEnd
	KindPluginExited
	KindFetch
	KindFetched
	KindAssign
	KindPluginDial
	KindPluginDialed
	kindEnd
)

// String is the message's name.
func (k Kind) String() string {
	if r := routeOf(k); r != nil {
		return r.name
	}
	return fmt.Sprintf("message kind %d", uint8(k))
}

// ErrMalformed is what Decode says of octets that are no message of the kind: too short, too long, or not as Encode writes them.
var ErrMalformed = errors.New("malformed message")

// Encode writes a message's payload, without the frame round it.
func Encode(m Message) []byte { return m.append(nil) }

// Append is Encode into a buffer of the caller's.
func Append(b []byte, m Message) []byte { return m.append(b) }

// Decode reads the payload of one message. It refuses what Encode would have written otherwise, trailing octets among it. The message keeps
// no reference to b.
func Decode(k Kind, b []byte) (Message, error) {
	route := routeOf(k)
	if route == nil {
		return nil, fmt.Errorf("%w: unknown kind %d", ErrMalformed, uint8(k))
	}
	if len(b) > route.max {
		return nil, fmt.Errorf("%w: %s of %d octets, at most %d are allowed", ErrMalformed, route.name, len(b), route.max)
	}
	m := route.make()
	r := reader{b: b}
	m.read(&r)
	if r.bad || len(r.b) != 0 {
		return nil, fmt.Errorf("%w: %s", ErrMalformed, route.name)
	}
	return m, nil
}
