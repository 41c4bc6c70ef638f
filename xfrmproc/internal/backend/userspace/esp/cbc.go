package esp

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"hash"
)

// ivPool is how many octets of randomness are fetched at once for the IVs of CBC.
const ivPool = 512

// cbcTransform is a block cipher in CBC mode with a separate MAC over SPI through Next Header, and the high half of the sequence number after
// it with ESN (RFC 4303 section 3.3.2.1). CBC's IV must be unpredictable (RFC 3602 section 3): it is drawn from the system's generator.
type cbcTransform struct {
	enc, dec cbcMode
	mac      hash.Hash
	block    int
	icv      int
	esn      bool
	high     [4]byte
	sum      [64]byte
	pool     [ivPool]byte
	poolLeft int
}

// cbcMode is a CBC mode that can begin anew without being made anew, as those of crypto/cipher can.
type cbcMode interface {
	cipher.BlockMode
	SetIV([]byte)
}

func newCBC(b cipher.Block, mac hash.Hash, icv int, esn bool) *cbcTransform {
	zero := make([]byte, b.BlockSize())
	return &cbcTransform{
		enc: resettable(b, cipher.NewCBCEncrypter(b, zero), cipher.NewCBCEncrypter),
		dec: resettable(b, cipher.NewCBCDecrypter(b, zero), cipher.NewCBCDecrypter),
		mac: mac, block: b.BlockSize(), icv: icv, esn: esn,
	}
}

// resettable returns m itself where it has SetIV, which no Go release promises, or a mode that makes a new one for each IV.
func resettable(b cipher.Block, m cipher.BlockMode, make func(cipher.Block, []byte) cipher.BlockMode) cbcMode {
	if r, ok := m.(cbcMode); ok {
		return r
	}
	return &remade{BlockMode: m, block: b, make: make}
}

type remade struct {
	cipher.BlockMode
	block cipher.Block
	make  func(cipher.Block, []byte) cipher.BlockMode
}

func (r *remade) SetIV(iv []byte) { r.BlockMode = r.make(r.block, iv) }

func (t *cbcTransform) ivLen() int  { return t.block }
func (t *cbcTransform) icvLen() int { return t.icv }
func (t *cbcTransform) align() int  { return t.block }

func (t *cbcTransform) seal(pkt []byte, seq uint64) {
	text, end := headerLen+t.block, len(pkt)-t.icv
	t.freshIV(pkt[headerLen:text])
	t.enc.SetIV(pkt[headerLen:text])
	t.enc.CryptBlocks(pkt[text:end], pkt[text:end])
	copy(pkt[end:], t.tag(pkt[:end], seq))
}

func (t *cbcTransform) open(dst, pkt []byte, seq uint64) bool {
	text, end := headerLen+t.block, len(pkt)-t.icv
	if subtle.ConstantTimeCompare(t.tag(pkt[:end], seq), pkt[end:]) != 1 {
		return false
	}
	t.dec.SetIV(pkt[headerLen:text])
	t.dec.CryptBlocks(dst, pkt[text:end])
	return true
}

func (t *cbcTransform) tag(covered []byte, seq uint64) []byte {
	t.mac.Reset()
	t.mac.Write(covered)
	if t.esn {
		binary.BigEndian.PutUint32(t.high[:], uint32(seq>>32))
		t.mac.Write(t.high[:])
	}
	return t.mac.Sum(t.sum[:0])[:t.icv]
}

func (t *cbcTransform) freshIV(iv []byte) {
	if t.poolLeft < len(iv) {
		rand.Read(t.pool[:]) // never fails: crypto/rand ends the process rather than return an error
		t.poolLeft = len(t.pool)
	}
	from := t.pool[len(t.pool)-t.poolLeft:][:len(iv)]
	copy(iv, from)
	clear(from)
	t.poolLeft -= len(iv)
}
