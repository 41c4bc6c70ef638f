package wire

import (
	"fmt"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// Error says why a peer's octets are not a message, and which notify the RFC wants for it.
// It is the peer's fault by definition: log it low, answer it or drop the message.
type Error struct {
	// Notify is what a request with this fault is answered with, where an answer is allowed at all (RFC 7296 section
	// 2.21): INVALID_SYNTAX, UNSUPPORTED_CRITICAL_PAYLOAD or INVALID_MAJOR_VERSION. 0 means: drop it without a word.
	Notify ikev2.NotifyType
	// Payload is the type of the payload at fault, 0 for the header or the chain.
	Payload ikev2.PayloadType
	// CriticalType is the unknown critical payload's type when Notify is UNSUPPORTED_CRITICAL_PAYLOAD.
	CriticalType ikev2.PayloadType
	// Offset is where the fault stands, in octets from the start of what was parsed: the message, or the decrypted
	// chain of payloads.
	Offset int
	// Text says what is wrong. It quotes lengths and numbers, never the peer's octets.
	Text string
}

// Error gives the fault with its place, for the log.
func (e *Error) Error() string {
	if e.Payload != 0 {
		return fmt.Sprintf("ike message: %s payload at octet %d: %s", e.Payload, e.Offset, e.Text)
	}
	return fmt.Sprintf("ike message: at octet %d: %s", e.Offset, e.Text)
}

// Reply gives the notify payload that answers a request with this fault, or nil when it is dropped silently.
// The data of UNSUPPORTED_CRITICAL_PAYLOAD is the one-octet payload type (RFC 7296 section 2.5).
func (e *Error) Reply() *Notify {
	switch e.Notify {
	case 0:
		return nil
	case ikev2.UNSUPPORTED_CRITICAL_PAYLOAD:
		return &Notify{Type: e.Notify, Data: []byte{byte(e.CriticalType)}}
	}
	return &Notify{Type: e.Notify}
}

// syntax is a fault that INVALID_SYNTAX answers.
func syntax(p ikev2.PayloadType, offset int, format string, args ...any) *Error {
	return &Error{Notify: ikev2.INVALID_SYNTAX, Payload: p, Offset: offset, Text: fmt.Sprintf(format, args...)}
}

// drop is a fault that is not answered.
func drop(offset int, format string, args ...any) *Error {
	return &Error{Offset: offset, Text: fmt.Sprintf(format, args...)}
}
