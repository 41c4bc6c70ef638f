// Package secret carries key material through the program without letting it out by accident.
//
// Bytes prints as [redacted] under every fmt verb, in JSON and in text, compares in constant time, and is
// zeroed by Close. A struct that holds keys holds them as Bytes, so that logging the struct is harmless.
package secret

import (
	"crypto/subtle"
	"fmt"
)

// Bytes is key material. The zero value is an empty secret.
type Bytes struct {
	// b is behind pointers because fmt asks no method of a field that is not exported: what it prints of a struct with such a Bytes is then an address. It follows one
	// pointer, under a verb that it does not know, and not two.
	b **[]byte
}

// Redacted is what every secret prints as.
const Redacted = "[redacted]"

// New takes ownership of b: the caller must not keep or change it afterwards.
func New(b []byte) Bytes {
	if b == nil {
		return Bytes{}
	}
	p := &b
	return Bytes{&p}
}

// Copy makes a secret of its own from b, which stays the caller's to wipe.
func Copy(b []byte) Bytes { return New(append([]byte(nil), b...)) }

// Reveal returns the key itself, not a copy, for the one call that needs it. Never store or print the result.
func (s Bytes) Reveal() []byte {
	if s.b == nil {
		return nil
	}
	return **s.b
}

// Len is the length of the key in octets.
func (s Bytes) Len() int { return len(s.Reveal()) }

// Equal compares in time that depends on the lengths alone.
func (s Bytes) Equal(o Bytes) bool { return subtle.ConstantTimeCompare(s.Reveal(), o.Reveal()) == 1 }

// Close overwrites the key with zeros. Every copy of s that shares its memory is wiped with it.
func (s *Bytes) Close() {
	clear(s.Reveal())
	s.b = nil
}

// Format implements fmt.Formatter, so that no verb, not even %x or %#v, shows the key.
func (s Bytes) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// MarshalText keeps encoding/json and friends from seeing the key.
func (s Bytes) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
