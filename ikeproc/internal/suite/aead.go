package suite

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"math"

	"github.com/trike-ipsec/trike/internal/secret"
)

// aeadIV is the length of the explicit IV of every AEAD here, in octets (RFC 5282 section 3, RFC 7634 section 2).
const aeadIV = 8

// aead is AES-GCM or ChaCha20-Poly1305 as RFC 5282 frames them: nonce = salt | IV, associated data = prefix. IVs count from 1.
type aead struct {
	aead  cipher.AEAD
	nonce [12]byte // salt, then the last IV sent
	iv    uint64
}

func newAEAD(c Chosen, ske secret.Bytes) (*Protector, error) {
	info, _ := CipherOf(c.Encr)
	key := ske.Reveal()[:ske.Len()-info.Salt]
	a, err := newAEADCipher(c.Encr, key)
	if err != nil {
		return nil, err
	}
	p := &aead{aead: a}
	copy(p.nonce[:], ske.Reveal()[len(key):])
	return &Protector{p: p, block: info.Block, overhead: info.IV + info.ICV}, nil
}

func (p *aead) seal(prefix, plaintext []byte) ([]byte, error) {
	if p.iv == math.MaxUint64 {
		return nil, errors.New("seal encrypted payload: the key has used up its IVs; the IKE SA must be rekeyed")
	}
	p.iv++
	binary.BigEndian.PutUint64(p.nonce[len(p.nonce)-aeadIV:], p.iv)
	body := make([]byte, aeadIV, aeadIV+len(plaintext)+p.aead.Overhead())
	copy(body, p.nonce[len(p.nonce)-aeadIV:])
	return p.aead.Seal(body, p.nonce[:], plaintext, prefix), nil
}

func (p *aead) open(prefix, body []byte) ([]byte, error) {
	nonce := p.nonce
	copy(nonce[len(nonce)-aeadIV:], body)
	plain, err := p.aead.Open(nil, nonce[:], body[aeadIV:], prefix)
	if err != nil {
		return nil, ErrICV
	}
	return plain, nil
}
