package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/sha1" // HMAC-SHA1-96 of RFC 2404, for peers that policy allows by name as legacy
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/xcbc"
)

// Suite names the algorithms of an SA.
type Suite struct {
	Encr    ikev2.EncrID
	KeyBits int // of the cipher without salt; 0 for ChaCha20-Poly1305 and 3DES
	Integ   ikev2.IntegID
	ESN     bool // 64-bit sequence numbers, of which the low half is sent (RFC 4303 section 2.2.1)
}

// Mutable parts of transforms make them as single-threaded as the SA that owns them.
type transform interface {
	ivLen() int
	icvLen() int
	// align is what payload, padding and trailer together must be a multiple of (RFC 4303 section 2.4).
	align() int
	// seal takes SPI | SN | IV | plaintext | ICV with the header and plaintext filled in, and fills in the rest.
	seal(pkt []byte, seq uint64)
	// open checks the ICV in constant time and decrypts into dst, which has room for the text and is apart from pkt or starts where the text
	// does; false leaves nothing of the plaintext (RFC 4303 section 3.4.4).
	open(dst, pkt []byte, seq uint64) bool
}

// saltLen is the part of an AEAD's key that goes into the nonce (RFC 4106 section 8.1, RFC 7634 section 2).
const saltLen = 4

// Sizes tells the key lengths of a suite in octets, the salt included, or why the suite is none that this package speaks.
func (s Suite) Sizes() (encrKey, integKey int, err error) {
	switch s.Encr {
	case ikev2.ENCR_AES_GCM_16:
		if err := s.aesBits(); err != nil {
			return 0, 0, err
		}
		encrKey = s.KeyBits/8 + saltLen
	case ikev2.ENCR_CHACHA20_POLY1305:
		encrKey = chacha20poly1305.KeySize + saltLen
	case ikev2.ENCR_AES_CBC:
		if err := s.aesBits(); err != nil {
			return 0, 0, err
		}
		encrKey = s.KeyBits / 8
	case ikev2.ENCR_3DES:
		encrKey = 24
	default:
		return 0, 0, fmt.Errorf("%v is not available in the userspace datapath", s.Encr)
	}
	if s.Encr.IsAEAD() {
		if s.Integ != ikev2.AUTH_NONE {
			return 0, 0, fmt.Errorf("%v carries its own integrity: %v cannot go with it", s.Encr, s.Integ)
		}
		return encrKey, 0, nil
	}
	size, _ := integSizes(s.Integ)
	if size == 0 {
		// RFC 8221 section 6: a cipher without integrity is not ESP that anybody should speak.
		return 0, 0, fmt.Errorf("%v needs an integrity algorithm that the userspace datapath has: %v is none", s.Encr, s.Integ)
	}
	return encrKey, size, nil
}

func (s Suite) aesBits() error {
	if s.KeyBits == 128 || s.KeyBits == 192 || s.KeyBits == 256 {
		return nil
	}
	return fmt.Errorf("%v has no key of %d bits", s.Encr, s.KeyBits)
}

// integSizes gives key and ICV lengths in octets (RFC 2404, RFC 3566, RFC 4868 section 2.6); zero for what is not available.
func integSizes(id ikev2.IntegID) (key, icv int) {
	switch id {
	case ikev2.AUTH_HMAC_SHA1_96:
		return 20, 12
	case ikev2.AUTH_AES_XCBC_96:
		return 16, 12
	case ikev2.AUTH_HMAC_SHA2_256_128:
		return 32, 16
	case ikev2.AUTH_HMAC_SHA2_384_192:
		return 48, 24
	case ikev2.AUTH_HMAC_SHA2_512_256:
		return 64, 32
	}
	return 0, 0
}

// newTransform keys a suite. The keys are used, not kept; the ciphers hold their own schedules.
func newTransform(s Suite, encrKey, integKey []byte) (transform, error) {
	wantEncr, wantInteg, err := s.Sizes()
	if err != nil {
		return nil, err
	}
	if len(encrKey) != wantEncr || len(integKey) != wantInteg {
		return nil, fmt.Errorf("%v %v: keys of %d and %d octets where %d and %d are due", s.Encr, s.Integ, len(encrKey), len(integKey), wantEncr, wantInteg)
	}
	if s.Encr.IsAEAD() {
		key, salt := encrKey[:wantEncr-saltLen], encrKey[wantEncr-saltLen:]
		a, err := newAEAD(s.Encr, key)
		if err != nil {
			return nil, err
		}
		t := &aeadTransform{aead: a, esn: s.ESN}
		copy(t.nonce[:saltLen], salt)
		return t, nil
	}
	b, err := newBlock(s.Encr, encrKey)
	if err != nil {
		return nil, err
	}
	m, err := newMAC(s.Integ, integKey)
	if err != nil {
		return nil, err
	}
	_, icv := integSizes(s.Integ)
	return newCBC(b, m, icv, s.ESN), nil
}

func newAEAD(id ikev2.EncrID, key []byte) (cipher.AEAD, error) {
	if id == ikev2.ENCR_CHACHA20_POLY1305 {
		return chacha20poly1305.New(key)
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

func newBlock(id ikev2.EncrID, key []byte) (cipher.Block, error) {
	if id == ikev2.ENCR_3DES {
		return des.NewTripleDESCipher(key)
	}
	return aes.NewCipher(key)
}

func newMAC(id ikev2.IntegID, key []byte) (hash.Hash, error) {
	switch id {
	case ikev2.AUTH_HMAC_SHA1_96:
		return hmac.New(sha1.New, key), nil
	case ikev2.AUTH_HMAC_SHA2_256_128:
		return hmac.New(sha256.New, key), nil
	case ikev2.AUTH_HMAC_SHA2_384_192:
		return hmac.New(sha512.New384, key), nil
	case ikev2.AUTH_HMAC_SHA2_512_256:
		return hmac.New(sha512.New, key), nil
	}
	return xcbc.New(key)
}
