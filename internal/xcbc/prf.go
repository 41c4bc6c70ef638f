package xcbc

import "hash"

// NewPRF returns AES-XCBC-PRF-128 keyed for several messages: a key of any length, shorter ones padded with zeros, longer ones
// replaced by their MAC under the zero key (RFC 4434 section 2).
func NewPRF(key []byte) hash.Hash {
	var k [Size]byte
	defer clear(k[:])
	if len(key) > Size {
		must(newXCBC(k[:])).into(&k, key)
	} else {
		copy(k[:], key)
	}
	return must(newXCBC(k[:]))
}

// NewCMACPRF returns AES-CMAC-PRF-128 keyed for several messages: a key of 16 octets is used as it is, any other is replaced by
// its MAC under the zero key (RFC 4615 section 3).
func NewCMACPRF(key []byte) hash.Hash {
	var k [Size]byte
	defer clear(k[:])
	if len(key) != Size {
		must(newCMAC(k[:])).into(&k, key)
	} else {
		copy(k[:], key)
	}
	return must(newCMAC(k[:]))
}

// PRF is AES-XCBC-PRF-128 over the concatenation of data.
func PRF(key []byte, data ...[]byte) [Size]byte { return sum(NewPRF(key), data) }

// CMACPRF is AES-CMAC-PRF-128 over the concatenation of data.
func CMACPRF(key []byte, data ...[]byte) [Size]byte { return sum(NewCMACPRF(key), data) }

func sum(h hash.Hash, data [][]byte) (out [Size]byte) {
	for _, d := range data {
		h.Write(d)
	}
	h.Sum(out[:0])
	return out
}

// into writes the MAC over data to k.
func (m *mac) into(k *[Size]byte, data []byte) {
	m.Write(data)
	m.Sum(k[:0])
}

// must holds because a key of 16 octets, which is all that comes here, is one that AES takes.
func must(m *mac, err error) *mac {
	if err != nil {
		panic("xcbc: " + err.Error())
	}
	return m
}
