package authn

import (
	"crypto/hmac"
	"crypto/sha1" // PRF_HMAC_SHA1 of VPN-A, for peers that policy allows by name as legacy
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/xcbc"
)

// prf is a pseudorandom function (RFC 7296 section 2.13); size is its output's length in octets, which is also that of SK_pi and SK_pr.
type prf struct {
	id   ikev2.PRFID
	size int
	new  func(key []byte) hash.Hash
}

var prfs = [...]prf{
	{ikev2.PRF_HMAC_SHA1, sha1.Size, func(k []byte) hash.Hash { return hmac.New(sha1.New, k) }},
	{ikev2.PRF_AES128_XCBC, xcbc.Size, xcbc.NewPRF},
	{ikev2.PRF_HMAC_SHA2_256, sha256.Size, func(k []byte) hash.Hash { return hmac.New(sha256.New, k) }},
	{ikev2.PRF_HMAC_SHA2_384, sha512.Size384, func(k []byte) hash.Hash { return hmac.New(sha512.New384, k) }},
	{ikev2.PRF_HMAC_SHA2_512, sha512.Size, func(k []byte) hash.Hash { return hmac.New(sha512.New, k) }},
	{ikev2.PRF_AES128_CMAC, xcbc.Size, xcbc.NewCMACPRF},
}

func prfOf(id ikev2.PRFID) (prf, bool) {
	for _, p := range prfs {
		if p.id == id {
			return p, true
		}
	}
	return prf{}, false
}

// sum is prf(key, data), data joined.
func (p prf) sum(key []byte, data ...[]byte) []byte {
	h := p.new(key)
	for _, d := range data {
		h.Write(d)
	}
	return h.Sum(make([]byte, 0, p.size))
}
