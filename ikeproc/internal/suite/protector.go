package suite

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/sha1" // AUTH_HMAC_SHA1_96 of VPN-A, for peers that policy allows by name as legacy
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/xcbc"
)

// ErrICV says that an encrypted payload is not from who has the keys, or was changed, or has a length that no sealed payload has. Nothing
// more is told, nor in how long.
var ErrICV = errors.New("encrypted payload fails its integrity check")

// Protector seals and opens the encrypted payloads of one direction of an IKE SA (RFC 7296 section 3.14, RFC 5282). There must be one for each key
// and no second: an AEAD's IVs are its counter. It is not for concurrent use.
type Protector struct {
	p interface {
		seal(prefix, plaintext []byte) ([]byte, error)
		open(prefix, body []byte) ([]byte, error)
	}
	block, overhead int
}

// NewProtector keys the cipher and the MAC of c with one direction's SK_e and SK_a, which are copied. iv gives the unpredictable IVs that CBC
// needs; it is not read for an AEAD, and may be nil where the Protector only opens.
func NewProtector(c Chosen, ske, ska secret.Bytes, iv io.Reader) (*Protector, error) {
	e, a, err := c.keyLens()
	if err != nil {
		return nil, err
	}
	if ske.Len() != e || ska.Len() != a {
		return nil, fmt.Errorf("suite %v: SK_e of %d and SK_a of %d octets where %d and %d are due", c, ske.Len(), ska.Len(), e, a)
	}
	if c.Encr.IsAEAD() {
		return newAEAD(c, ske)
	}
	return newCBC(c, ske, ska, iv)
}

// SealSK encrypts plaintext, which is a multiple of BlockSize long and ends with its Pad Length octet, and returns IV | ciphertext | ICV. prefix is
// the message up to there, its lengths filled in. An error means that nothing may be sent under this key any more.
func (p *Protector) SealSK(prefix, plaintext []byte) (body []byte, err error) {
	if p.p == nil {
		return nil, errors.New("seal encrypted payload: the keys are closed")
	}
	if len(plaintext) == 0 || len(plaintext)%p.block != 0 {
		return nil, fmt.Errorf("seal encrypted payload: plaintext of %d octets, needs a multiple of %d", len(plaintext), p.block)
	}
	return p.p.seal(prefix, plaintext)
}

// OpenSK checks the ICV and decrypts body = IV | ciphertext | ICV. The only error that a peer can cause is ErrICV. Neither argument is changed
// or kept.
func (p *Protector) OpenSK(prefix, body []byte) (plaintext []byte, err error) {
	if p.p == nil {
		return nil, errors.New("open encrypted payload: the keys are closed")
	}
	n := len(body) - p.overhead
	if n < 1 || n%p.block != 0 {
		return nil, ErrICV
	}
	return p.p.open(prefix, body)
}

// BlockSize is what the plaintext's length must be a multiple of, in octets: 1 for AEADs.
func (p *Protector) BlockSize() int { return p.block }

// Overhead is the length of IV and ICV together in octets.
func (p *Protector) Overhead() int { return p.overhead }

// Close forgets the keys. What the standard library's ciphers expanded from them is left to the garbage collector.
func (p *Protector) Close() { p.p = nil }

func newMAC(id ikev2.IntegID, key []byte) (hash.Hash, error) {
	switch id {
	case ikev2.AUTH_HMAC_SHA1_96:
		return hmac.New(sha1.New, key), nil
	case ikev2.AUTH_AES_XCBC_96:
		return xcbc.New(key)
	case ikev2.AUTH_AES_CMAC_96:
		return xcbc.NewCMAC(key)
	case ikev2.AUTH_HMAC_SHA2_256_128:
		return hmac.New(sha256.New, key), nil
	case ikev2.AUTH_HMAC_SHA2_384_192:
		return hmac.New(sha512.New384, key), nil
	case ikev2.AUTH_HMAC_SHA2_512_256:
		return hmac.New(sha512.New, key), nil
	}
	return nil, fmt.Errorf("%v is not supported", id)
}

func newCipher(id ikev2.EncrID, key []byte) (cipher.Block, error) {
	if id == ikev2.ENCR_3DES {
		return des.NewTripleDESCipher(key)
	}
	return aes.NewCipher(key)
}

func newAEADCipher(id ikev2.EncrID, key []byte) (cipher.AEAD, error) {
	if id == ikev2.ENCR_CHACHA20_POLY1305 {
		return chacha20poly1305.New(key)
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}
