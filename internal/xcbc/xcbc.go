// Package xcbc holds the MACs and pseudorandom functions that IKEv2 and ESP build on AES-128 alone: AES-XCBC-MAC
// (RFC 3566) and AES-XCBC-PRF-128 (RFC 4434), AES-CMAC (RFC 4493) and AES-CMAC-PRF-128 (RFC 4615).
//
// The MACs are hash.Hash values of 16 octets; AES-XCBC-MAC-96 and AES-CMAC-96 are their first 12, which the caller cuts off.
// A MAC that is written to, summed and reset allocates nothing.
//
//	m, err := xcbc.New(key)             // 16 octets
//	m.Write(packet)
//	icv := m.Sum(buf[:0])[:12]
//	m.Reset()
//
//	k := xcbc.PRF(secret, data...)      // any key length
package xcbc

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"fmt"
	"hash"
)

// Size is the length of key, block, MAC and PRF output in octets.
const Size = 16

// Size96 is the length of the truncated MACs AES-XCBC-MAC-96 and AES-CMAC-96 in octets.
const Size96 = 12

// mac is CBC-MAC whose last block is masked, with one key when it is full and another when it had to be padded. XCBC and CMAC
// differ only in where the three keys come from.
type mac struct {
	block        cipher.Block
	full, padded [Size]byte // masks of the last block
	state        [Size]byte // chaining value over all blocks that are not the last
	buf          [Size]byte // what was written and not yet chained; the last block is held back until Sum
	n            int        // octets in buf
	out          [Size]byte // Sum works here, so that nothing escapes to the heap
}

// New returns AES-XCBC-MAC (RFC 3566 section 4) with a key of 16 octets.
func New(key []byte) (hash.Hash, error) {
	if len(key) != Size {
		return nil, fmt.Errorf("AES-XCBC-MAC: key of %d octets, needs %d", len(key), Size)
	}
	return newXCBC(key)
}

// newXCBC derives K1, K2 and K3: the key's encryptions of blocks of 0x01, 0x02 and 0x03 (RFC 3566 section 4, step 1).
func newXCBC(key []byte) (*mac, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	m := &mac{}
	var k1 [Size]byte
	defer clear(k1[:])
	for i, k := range []*[Size]byte{&k1, &m.full, &m.padded} {
		for j := range k {
			k[j] = byte(i + 1)
		}
		b.Encrypt(k[:], k[:])
	}
	m.block, err = aes.NewCipher(k1[:])
	return m, err
}

// NewCMAC returns AES-CMAC (RFC 4493) with a key of 16 octets.
func NewCMAC(key []byte) (hash.Hash, error) {
	if len(key) != Size {
		return nil, fmt.Errorf("AES-CMAC: key of %d octets, needs %d", len(key), Size)
	}
	return newCMAC(key)
}

// newCMAC derives the two masks by doubling the encryption of zero in GF(2^128) (RFC 4493 section 2.3).
func newCMAC(key []byte) (*mac, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	m := &mac{block: b}
	var l [Size]byte
	b.Encrypt(l[:], l[:])
	m.full = double(l)
	m.padded = double(m.full)
	clear(l[:])
	return m, nil
}

// double multiplies by x in GF(2^128), without a branch on the secret top bit.
func double(in [Size]byte) (out [Size]byte) {
	for i := range out {
		out[i] = in[i] << 1
		if i+1 < Size {
			out[i] |= in[i+1] >> 7
		}
	}
	out[Size-1] ^= 0x87 & -(in[0] >> 7)
	return out
}

// Write takes more of the message. It never fails.
func (m *mac) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		if m.n == Size {
			m.chain()
		}
		k := copy(m.buf[m.n:], p)
		m.n += k
		p = p[k:]
	}
	return written, nil
}

func (m *mac) chain() {
	subtle.XORBytes(m.state[:], m.state[:], m.buf[:])
	m.block.Encrypt(m.state[:], m.state[:])
	m.n = 0
}

// Sum appends the 16 octets of the MAC over what was written so far, and changes nothing.
func (m *mac) Sum(b []byte) []byte {
	mask := &m.full
	m.out = m.buf
	if m.n < Size {
		mask = &m.padded
		m.out[m.n] = 0x80
		clear(m.out[m.n+1:])
	}
	subtle.XORBytes(m.out[:], m.out[:], m.state[:])
	subtle.XORBytes(m.out[:], m.out[:], mask[:])
	m.block.Encrypt(m.out[:], m.out[:])
	return append(b, m.out[:]...)
}

// Reset begins a new message under the same key.
func (m *mac) Reset() {
	clear(m.state[:])
	clear(m.buf[:])
	m.n = 0
}

// Size is 16 octets.
func (m *mac) Size() int { return Size }

// BlockSize is 16 octets.
func (m *mac) BlockSize() int { return Size }
