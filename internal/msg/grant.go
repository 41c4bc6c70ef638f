package msg

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/trike-ipsec/trike/internal/secret"
)

// grantDomain keeps a grant's MAC apart from any other use of the same key.
const grantDomain = "trike grant v2\x00"

// MACGrant is the MAC that belongs into g.MAC: HMAC-SHA-256 by key over the domain and every other field. Variable fields carry their length, so that no two grants share an
// input. g.MAC itself is not read.
func MACGrant(key secret.Bytes, g Grant) [32]byte {
	g.MAC = [32]byte{}
	b := putGrant(append(make([]byte, 0, 256), grantDomain...), &g)
	h := hmac.New(sha256.New, key.Reveal())
	h.Write(b)
	var mac [32]byte
	h.Sum(mac[:0])
	return mac
}

// GrantMAC reports, in constant time, whether g carries the MAC that key gives it. An empty key vouches for nothing.
func GrantMAC(key secret.Bytes, g Grant) bool {
	if key.Len() == 0 {
		return false
	}
	want := MACGrant(key, g)
	return hmac.Equal(want[:], g.MAC[:])
}
