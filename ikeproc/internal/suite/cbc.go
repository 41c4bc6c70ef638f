package suite

import (
	"crypto/cipher"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/trike-ipsec/trike/internal/secret"
)

// cbc is a block cipher in CBC mode, then a MAC over prefix, IV and ciphertext (RFC 7296 section 3.14).
type cbc struct {
	block cipher.Block
	mac   hash.Hash
	icv   int
	iv    io.Reader
	sum   [64]byte
}

func newCBC(c Chosen, ske, ska secret.Bytes, iv io.Reader) (*Protector, error) {
	b, err := newCipher(c.Encr, ske.Reveal())
	if err != nil {
		return nil, err
	}
	m, err := newMAC(c.Integ, ska.Reveal())
	if err != nil {
		return nil, err
	}
	p := &cbc{block: b, mac: m, icv: IntegICVLen(c.Integ), iv: iv}
	return &Protector{p: p, block: b.BlockSize(), overhead: b.BlockSize() + p.icv}, nil
}

func (p *cbc) seal(prefix, plaintext []byte) ([]byte, error) {
	if p.iv == nil {
		return nil, errors.New("seal encrypted payload: made without a source of IVs, it only opens")
	}
	n := p.block.BlockSize()
	body := make([]byte, n+len(plaintext), n+len(plaintext)+p.icv)
	if _, err := io.ReadFull(p.iv, body[:n]); err != nil {
		return nil, fmt.Errorf("seal encrypted payload: no randomness for the IV: %w", err)
	}
	cipher.NewCBCEncrypter(p.block, body[:n]).CryptBlocks(body[n:], plaintext)
	return append(body, p.tag(prefix, body)...), nil
}

func (p *cbc) open(prefix, body []byte) ([]byte, error) {
	n, end := p.block.BlockSize(), len(body)-p.icv
	if subtle.ConstantTimeCompare(p.tag(prefix, body[:end]), body[end:]) != 1 {
		return nil, ErrICV
	}
	plain := make([]byte, end-n)
	cipher.NewCBCDecrypter(p.block, body[:n]).CryptBlocks(plain, body[n:end])
	return plain, nil
}

func (p *cbc) tag(prefix, covered []byte) []byte {
	p.mac.Reset()
	p.mac.Write(prefix)
	p.mac.Write(covered)
	return p.mac.Sum(p.sum[:0])[:p.icv]
}
