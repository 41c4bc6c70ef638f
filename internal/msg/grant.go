package msg

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"github.com/trike-ipsec/trike/internal/secret"
)

// grantDomain keeps a grant's MAC apart from any other use of the same key.
const grantDomain = "trike grant v1\x00"

// MACGrant is the MAC that belongs into g.MAC: HMAC-SHA-256 by key over the domain, then serial, connection, peer identity and
// expiry. Variable fields carry their length, so that no two grants share an input. g.MAC itself is not read.
func MACGrant(key secret.Bytes, g Grant) [32]byte {
	b := make([]byte, 0, len(grantDomain)+8+8+len(g.Connection)+1+8+len(g.PeerID.Data)+8)
	b = append(b, grantDomain...)
	b = binary.BigEndian.AppendUint64(b, g.Serial)
	b = binary.BigEndian.AppendUint64(b, uint64(len(g.Connection)))
	b = append(b, g.Connection...)
	b = append(b, byte(g.PeerID.Type))
	b = binary.BigEndian.AppendUint64(b, uint64(len(g.PeerID.Data)))
	b = append(b, g.PeerID.Data...)
	b = binary.BigEndian.AppendUint64(b, uint64(g.Expiry))
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
