package suite

import (
	"crypto/hmac"
	"crypto/sha1" // PRF_HMAC_SHA1 of VPN-A, for peers that policy allows by name as legacy
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/xcbc"
)

// prf is a pseudorandom function of RFC 7296 section 2.13.
type prf struct {
	id ikev2.PRFID
	// key is the preferred key length, which is also the output's, in octets.
	key int
	// fixed: made for keys of one length, so that SKEYSEED takes half of it from each nonce (section 2.14).
	fixed bool
	keyed func(key []byte) hash.Hash
}

var prfs = []prf{
	{ikev2.PRF_HMAC_SHA1, sha1.Size, false, func(k []byte) hash.Hash { return hmac.New(sha1.New, k) }},
	{ikev2.PRF_AES128_XCBC, xcbc.Size, true, xcbc.NewPRF},
	{ikev2.PRF_HMAC_SHA2_256, sha256.Size, false, func(k []byte) hash.Hash { return hmac.New(sha256.New, k) }},
	{ikev2.PRF_HMAC_SHA2_384, sha512.Size384, false, func(k []byte) hash.Hash { return hmac.New(sha512.New384, k) }},
	{ikev2.PRF_HMAC_SHA2_512, sha512.Size, false, func(k []byte) hash.Hash { return hmac.New(sha512.New, k) }},
	{ikev2.PRF_AES128_CMAC, xcbc.Size, true, xcbc.NewCMACPRF},
}

func prfOf(id ikev2.PRFID) (prf, error) {
	for _, p := range prfs {
		if p.id == id {
			return p, nil
		}
	}
	return prf{}, fmt.Errorf("%v is not supported", id)
}

// PRFKeyLen is the preferred key length of a PRF in octets, which is also the length of its output; 0 for one that is not supported.
// SK_d, SK_pi and SK_pr are as long.
func PRFKeyLen(id ikev2.PRFID) int {
	p, err := prfOf(id)
	if err != nil {
		return 0
	}
	return p.key
}

// PRF is prf(key, data), data joined (RFC 7296 section 2.13). A key of any length is taken, as the PRF's own RFC says.
func PRF(id ikev2.PRFID, key secret.Bytes, data ...[]byte) (secret.Bytes, error) {
	p, err := prfOf(id)
	if err != nil {
		return secret.Bytes{}, err
	}
	return p.sum(key.Reveal(), data...), nil
}

// PRFPlus is the first n octets of prf+(key, seed), seed joined (RFC 7296 section 2.13). More than 255 blocks do not exist.
func PRFPlus(id ikev2.PRFID, key secret.Bytes, n int, seed ...[]byte) (secret.Bytes, error) {
	p, err := prfOf(id)
	if err != nil {
		return secret.Bytes{}, err
	}
	return p.plus(key.Reveal(), n, seed...)
}

func (p prf) sum(key []byte, data ...[]byte) secret.Bytes {
	h := p.keyed(key)
	for _, d := range data {
		h.Write(d)
	}
	return secret.New(h.Sum(make([]byte, 0, p.key)))
}

// plus computes T1 | T2 | …, where Tn = prf(key, Tn-1 | seed | n) and n is one octet.
func (p prf) plus(key []byte, n int, seed ...[]byte) (secret.Bytes, error) {
	blocks := (n + p.key - 1) / p.key
	if n < 0 || blocks > 255 {
		return secret.Bytes{}, fmt.Errorf("prf+ with %v: %d octets asked for, at most %d exist", p.id, n, 255*p.key)
	}
	h := p.keyed(key)
	out := make([]byte, 0, blocks*p.key) // never grows: no copy of the keys stays behind
	for i := 1; i <= blocks; i++ {
		if i > 1 {
			h.Reset()
			h.Write(out[len(out)-p.key:])
		}
		for _, s := range seed {
			h.Write(s)
		}
		h.Write([]byte{byte(i)})
		out = h.Sum(out)
	}
	clear(out[n:])
	return secret.New(out[:n:n]), nil
}
