package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

var errICV = errors.New("icv does not match")

// gcmProtector is an AEAD as RFC 5282 frames it: 8 octets of IV, 16 of ICV, no alignment.
type gcmProtector struct {
	aead cipher.AEAD
	iv   uint64
}

func newGCM() *gcmProtector {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return &gcmProtector{aead: aead}
}

func (p *gcmProtector) SealSK(prefix, plaintext []byte) ([]byte, error) {
	p.iv++
	nonce := binary.BigEndian.AppendUint64([]byte("salt"), p.iv)
	return p.aead.Seal(nonce[4:12:12], nonce, plaintext, prefix), nil
}

func (p *gcmProtector) OpenSK(prefix, body []byte) ([]byte, error) {
	nonce := append([]byte("salt"), body[:8]...)
	plain, err := p.aead.Open(nil, nonce, body[8:], prefix)
	if err != nil {
		return nil, errICV
	}
	return plain, nil
}

func (*gcmProtector) BlockSize() int { return 1 }
func (*gcmProtector) Overhead() int  { return 24 }

// cbcProtector is AES-CBC with HMAC-SHA2-256-128: 16 octets of IV, 16 of ICV over the whole message before it.
type cbcProtector struct{ iv uint64 }

func (p *cbcProtector) SealSK(prefix, plaintext []byte) ([]byte, error) {
	if len(plaintext)%16 != 0 {
		return nil, errors.New("plaintext is not padded")
	}
	p.iv++
	body := binary.BigEndian.AppendUint64(make([]byte, 8), p.iv)
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return nil, err
	}
	body = append(body, plaintext...)
	cipher.NewCBCEncrypter(block, body[:16]).CryptBlocks(body[16:], body[16:])
	return append(body, cbcMAC(prefix, body)...), nil
}

func (p *cbcProtector) OpenSK(prefix, body []byte) ([]byte, error) {
	n := len(body) - 16
	if !hmac.Equal(cbcMAC(prefix, body[:n]), body[n:]) || n < 16 || n%16 != 0 {
		return nil, errICV
	}
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return nil, err
	}
	plain := make([]byte, n-16)
	cipher.NewCBCDecrypter(block, body[:16]).CryptBlocks(plain, body[16:n])
	return plain, nil
}

func cbcMAC(prefix, body []byte) []byte {
	m := hmac.New(sha256.New, []byte("key"))
	m.Write(prefix)
	m.Write(body)
	return m.Sum(nil)[:16]
}

func (*cbcProtector) BlockSize() int { return 16 }
func (*cbcProtector) Overhead() int  { return 32 }
