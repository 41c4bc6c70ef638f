package esp

import (
	"crypto/cipher"
	"encoding/binary"
)

// aeadTransform is AES-GCM-16 (RFC 4106) and ChaCha20-Poly1305 (RFC 7634): nonce = salt | IV, AAD = SPI | SN, or SPI | high | low with ESN.
//
// The IV is the full sequence number. An SA has one key and never repeats a sequence number, so it never repeats an IV
// (RFC 4106 section 3.1: the sender may generate it in any manner that ensures uniqueness).
type aeadTransform struct {
	aead  cipher.AEAD
	esn   bool
	nonce [12]byte
	aad   [12]byte
}

func (t *aeadTransform) ivLen() int  { return 8 }
func (t *aeadTransform) icvLen() int { return 16 }
func (t *aeadTransform) align() int  { return 4 }

func (t *aeadTransform) seal(pkt []byte, seq uint64) {
	binary.BigEndian.PutUint64(pkt[headerLen:], seq)
	text := headerLen + t.ivLen()
	copy(t.nonce[saltLen:], pkt[headerLen:text])
	t.aead.Seal(pkt[text:text], t.nonce[:], pkt[text:len(pkt)-t.icvLen()], t.associated(pkt, seq))
}

func (t *aeadTransform) open(dst, pkt []byte, seq uint64) bool {
	text := headerLen + t.ivLen()
	copy(t.nonce[saltLen:], pkt[headerLen:text])
	_, err := t.aead.Open(dst[:0], t.nonce[:], pkt[text:], t.associated(pkt, seq))
	return err == nil
}

func (t *aeadTransform) associated(pkt []byte, seq uint64) []byte {
	if !t.esn {
		return pkt[:headerLen]
	}
	copy(t.aad[:4], pkt[:4])
	binary.BigEndian.PutUint64(t.aad[4:], seq)
	return t.aad[:]
}
