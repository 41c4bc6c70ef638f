// Package mschap is the arithmetic of MS-CHAPv2 (RFC 2759) and of the keys made from it (RFC 3079), for every method that carries it: EAP-MSCHAPv2, PEAP and
// TTLS. It keeps no state and knows no packets.
//
//	hash, err := mschap.HashPassword(password)                            // both sides
//	nt := mschap.Response(hash, authenticator, peer, name)                // the client's answer
//	proof := mschap.AuthenticatorResponse(hash, nt, authenticator, peer, name) // the server's answer to that
//	msk := mschap.MSK(hash, nt)                                           // both sides
//
// MD4 and DES are what the protocol is made of. Who has seen one exchange finds the password by trying 2^56 keys at the most, so it belongs inside IKE or TLS, where
// only the server sees it.
package mschap

import (
	"crypto/des"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	//lint:ignore SA1019 RFC 2759 section 8.3 is MD4 and nothing else
	"golang.org/x/crypto/md4"
)

// Sizes in octets.
const (
	HashSize      = 16
	ChallengeSize = 16
	ResponseSize  = 24
	MSKSize       = 64
)

// MaxPassword is the longest password, in UTF-16 code units (RFC 2759 section 8.3).
const MaxPassword = 256

// Challenge is the authenticator's or the peer's random number.
type Challenge [ChallengeSize]byte

// NTResponse is the client's proof (RFC 2759 section 8.1).
type NTResponse [ResponseSize]byte

// Hash is NtPasswordHash of a password. It is as good as the password itself, and so prints as [redacted].
type Hash [HashSize]byte

// Format implements fmt.Formatter, so that no verb shows the hash.
func (Hash) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// MarshalText keeps encoders from seeing the hash.
func (Hash) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// Errors of HashPassword. Neither shows the password.
var (
	ErrPasswordLong = fmt.Errorf("a password of MS-CHAPv2 has at most %d characters", MaxPassword)
	ErrPasswordText = errors.New("a password of MS-CHAPv2 has to be UTF-8")
)

// HashPassword is NtPasswordHash (RFC 2759 section 8.3): MD4 of the password in UTF-16, little end first.
func HashPassword(password string) (Hash, error) {
	if !utf8.ValidString(password) {
		return Hash{}, ErrPasswordText
	}
	units := utf16.Encode([]rune(password))
	if len(units) > MaxPassword {
		return Hash{}, ErrPasswordLong
	}
	wide := make([]byte, 0, 2*len(units))
	for _, u := range units {
		wide = append(wide, byte(u), byte(u>>8))
	}
	defer clear(wide)
	return md4Sum(wide), nil
}

// hashHash is HashNtPasswordHash (RFC 2759 section 8.4).
func hashHash(h Hash) Hash { return md4Sum(h[:]) }

func md4Sum(b []byte) Hash {
	m := md4.New()
	m.Write(b)
	return Hash(m.Sum(nil))
}

// challengeHash is ChallengeHash (RFC 2759 section 8.2). name is as the client sent it; the domain before a backslash does not count (section 4).
func challengeHash(authenticator, peer Challenge, name string) [8]byte {
	s := sha1.New()
	s.Write(peer[:])
	s.Write(authenticator[:])
	s.Write([]byte(WithoutDomain(name)))
	return [8]byte(s.Sum(nil)[:8])
}

// WithoutDomain takes "DOMAIN\user" down to "user". It is what the hashes are made of (RFC 2759 section 4: "the domain name is not included").
func WithoutDomain(name string) string {
	if _, user, ok := strings.Cut(name, `\`); ok {
		return user
	}
	return name
}

// Response is GenerateNTResponse (RFC 2759 section 8.1).
func Response(h Hash, authenticator, peer Challenge, name string) NTResponse {
	return desResponse(h, challengeHash(authenticator, peer, name))
}

// desResponse is ChallengeResponse (RFC 2759 section 8.5).
func desResponse(h Hash, challenge [8]byte) (r NTResponse) {
	var padded [21]byte
	copy(padded[:], h[:])
	defer clear(padded[:])
	for i := range 3 {
		key := desKey([7]byte(padded[7*i : 7*i+7]))
		block, err := des.NewCipher(key[:])
		if err != nil {
			panic(err) // eight octets are always a key
		}
		block.Encrypt(r[8*i:], challenge[:])
	}
	return r
}

// desKey spreads 56 bits over eight octets, with odd parity in the lowest bit of each (RFC 2759 section 9.3).
func desKey(raw [7]byte) (key [8]byte) {
	var bits uint64
	for _, b := range raw {
		bits = bits<<8 | uint64(b)
	}
	for i := range key {
		b := byte(bits>>(49-7*i)) << 1
		parity := b ^ b>>4
		parity ^= parity >> 2
		parity ^= parity >> 1
		key[i] = b | ^parity&1
	}
	return key
}

// Equal compares proofs in constant time.
func (r NTResponse) Equal(o NTResponse) bool { return subtle.ConstantTimeCompare(r[:], o[:]) == 1 }

// AuthenticatorResponse is GenerateAuthenticatorResponse (RFC 2759 section 8.7): "S=" and 40 hexadecimal digits in upper case.
func AuthenticatorResponse(h Hash, nt NTResponse, authenticator, peer Challenge, name string) string {
	hh := hashHash(h)
	s := sha1.New()
	s.Write(hh[:])
	s.Write(nt[:])
	s.Write([]byte("Magic server to client signing constant"))
	digest := s.Sum(nil)
	challenge := challengeHash(authenticator, peer, name)
	s.Reset()
	s.Write(digest)
	s.Write(challenge[:])
	s.Write([]byte("Pad to make it do more than one iteration"))
	return "S=" + strings.ToUpper(hex.EncodeToString(s.Sum(nil)))
}

// CheckAuthenticatorResponse is RFC 2759 section 8.8, in constant time. Case of the digits does not matter.
func CheckAuthenticatorResponse(h Hash, nt NTResponse, authenticator, peer Challenge, name, received string) bool {
	want := AuthenticatorResponse(h, nt, authenticator, peer, name)
	return subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToUpper(received))) == 1
}
