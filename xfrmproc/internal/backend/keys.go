package backend

import (
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
)

// KeyLengths is how many octets of key a transform takes each way: the cipher's, with its salt, and the integrity algorithm's. ok
// is false for what trike does not carry, for a key length that the cipher does not have, and for an AEAD with an integrity
// algorithm or another cipher without one.
func KeyLengths(t msg.Transform) (encr, integ int, ok bool) {
	switch t.Encr {
	case ikev2.ENCR_AES_GCM_16: // RFC 4106 section 8.1: four octets of salt
		encr = t.KeyBits/8 + 4
	case ikev2.ENCR_AES_CBC:
		encr = t.KeyBits / 8
	case ikev2.ENCR_CHACHA20_POLY1305: // RFC 7634 section 2: 256 bits and four octets of salt
		encr = 36
	case ikev2.ENCR_3DES:
		encr = 24
	default:
		return 0, 0, false
	}
	switch t.Encr {
	case ikev2.ENCR_AES_GCM_16, ikev2.ENCR_AES_CBC:
		if t.KeyBits != 128 && t.KeyBits != 192 && t.KeyBits != 256 {
			return 0, 0, false
		}
	default:
		if t.KeyBits != 0 {
			return 0, 0, false
		}
	}
	switch t.Integ {
	case ikev2.AUTH_NONE:
	case ikev2.AUTH_HMAC_SHA1_96:
		integ = 20
	case ikev2.AUTH_AES_XCBC_96:
		integ = 16
	case ikev2.AUTH_HMAC_SHA2_256_128:
		integ = 32
	case ikev2.AUTH_HMAC_SHA2_384_192:
		integ = 48
	case ikev2.AUTH_HMAC_SHA2_512_256:
		integ = 64
	default:
		return 0, 0, false
	}
	return encr, integ, t.Encr.IsAEAD() == (t.Integ == ikev2.AUTH_NONE)
}
