package peap

import (
	"crypto/hmac"
	"crypto/sha1"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/eaptls"
)

// Sizes in octets of the keys of [MS-PEAP] section 3.1.5.5.2.
const (
	tunnelKey = 40 // of TK, that IPMK is made with
	innerKey  = 32 // ISK
	ipmkSize  = 40
	cmkSize   = 20
)

// compound are the keys of a tunnel and an inner method together.
type compound struct{ ipmk, cmk []byte }

// bind makes them. inner is the inner method's MSK, or nothing when it makes none.
func bind(t *eaptls.Tunnel, inner []byte) (compound, error) {
	tk, err := eaptls.KeyMaterial(t, eapsdk.TypePEAP, eaptls.Label12)
	if err != nil {
		return compound{}, err
	}
	isk := make([]byte, innerKey)
	copy(isk, inner)
	both := prfPlus(tk[:tunnelKey], "Inner Methods Compound Keys", isk, ipmkSize+cmkSize)
	return compound{both[:ipmkSize], both[ipmkSize:]}, nil
}

// msk is the first half of CSK ([MS-PEAP] section 3.1.5.7). Its label has a zero at its end, and the other has none.
func (c compound) msk() []byte {
	return prfPlus(c.ipmk, "Session Key Generating Function\x00", nil, 2*eapsdk.MaxMSK)[:eapsdk.MaxMSK:eapsdk.MaxMSK]
}

// prfPlus is PRF+ of IKEv2 with HMAC-SHA1, and two zeros behind each counter, as [MS-PEAP] section 3.1.5.5.2.2 has it.
func prfPlus(key []byte, label string, seed []byte, n int) []byte {
	var out, last []byte
	for i := byte(1); len(out) < n; i++ {
		h := hmac.New(sha1.New, key)
		h.Write(last)
		h.Write([]byte(label))
		h.Write(seed)
		h.Write([]byte{i, 0, 0})
		last = h.Sum(nil)
		out = append(out, last...)
	}
	return out[:n]
}
