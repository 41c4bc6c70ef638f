package suite

import (
	"errors"
	"fmt"
	"strings"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// Chosen is the suite that an IKE SA negotiated.
type Chosen struct {
	Encr    ikev2.EncrID
	KeyBits int // of the cipher without salt; 0 where the cipher has one length and sends no attribute
	PRF     ikev2.PRFID
	Integ   ikev2.IntegID // AUTH_NONE with an AEAD
	KE      ikev2.KEID
	// AddKE are the additional key exchanges that take place, in the order of their transform types; slots that were
	// not negotiated or came out as NONE are left out (RFC 9370 section 2.2.1).
	AddKE []ikev2.KEID
}

// String names the suite as logs and status write it: "ENCR_AES_GCM_16-256/PRF_HMAC_SHA2_512/CURVE25519+ML_KEM_768".
func (c Chosen) String() string {
	var b strings.Builder
	b.WriteString(encrText(c.Encr, c.KeyBits))
	if c.Integ != ikev2.AUTH_NONE {
		fmt.Fprintf(&b, "/%v", c.Integ)
	}
	fmt.Fprintf(&b, "/%v/%v", c.PRF, c.KE)
	for _, k := range c.AddKE {
		fmt.Fprintf(&b, "+%v", k)
	}
	return b.String()
}

func encrText(id ikev2.EncrID, bits int) string {
	if bits == 0 {
		return id.String()
	}
	return fmt.Sprintf("%v-%d", id, bits)
}

// Check says why the suite cannot protect an IKE SA, or nil: an algorithm that is not here, a key length that the cipher does not have,
// an AEAD with an integrity algorithm (RFC 5282 section 8) or a plain cipher without one, or the same key exchange twice (RFC 9370 section 2.2.1).
func (c Chosen) Check() error {
	for _, t := range []struct {
		kind ikev2.TransformType
		id   uint16
		bits int
	}{
		{ikev2.TransformENCR, uint16(c.Encr), c.KeyBits}, {ikev2.TransformPRF, uint16(c.PRF), 0}, {ikev2.TransformKE, uint16(c.KE), 0},
	} {
		if !Supported(t.kind, t.id, t.bits) {
			return fmt.Errorf("suite %v: no such %v", c, t.kind)
		}
	}
	switch aead := c.Encr.IsAEAD(); {
	case aead && c.Integ != ikev2.AUTH_NONE:
		return fmt.Errorf("suite %v: %v carries its own integrity, no other goes with it", c, c.Encr)
	case !aead && (c.Integ == ikev2.AUTH_NONE || !Supported(ikev2.TransformINTEG, uint16(c.Integ), 0)):
		return fmt.Errorf("suite %v: %v needs an integrity algorithm", c, c.Encr)
	case len(c.AddKE) > 7:
		return fmt.Errorf("suite %v: %d additional key exchanges, at most 7", c, len(c.AddKE))
	}
	for i, k := range c.AddKE {
		if k == ikev2.KE_NONE || !Supported(ikev2.TransformADDKE1, uint16(k), 0) {
			return fmt.Errorf("suite %v: no additional key exchange %v", c, k)
		}
		for _, before := range append([]ikev2.KEID{c.KE}, c.AddKE[:i]...) {
			if before == k {
				return fmt.Errorf("suite %v: %v twice", c, k)
			}
		}
	}
	return nil
}

// ESP is what a child's keys depend on.
type ESP struct {
	Encr    ikev2.EncrID
	KeyBits int           // of the cipher without salt; 0 where the cipher has one length and sends no attribute
	Integ   ikev2.IntegID // AUTH_NONE with an AEAD
}

// String names the transforms: "ENCR_AES_CBC-128/AUTH_HMAC_SHA2_256_128".
func (e ESP) String() string {
	if e.Integ == ikev2.AUTH_NONE {
		return encrText(e.Encr, e.KeyBits)
	}
	return encrText(e.Encr, e.KeyBits) + "/" + e.Integ.String()
}

// KeyLens gives the lengths of the keys of one direction in octets: the cipher's with its salt or nonce (RFC 3686, 4106, 4309, 4543, 7634),
// and the integrity algorithm's. It knows every ESP cipher that ikev2 names; which of them the datapath carries is not its business.
func (e ESP) KeyLens() (encr, integ int, err error) {
	c, ok := CipherOf(e.Encr)
	if !ok {
		return 0, 0, fmt.Errorf("ESP %v: cipher not known", e)
	}
	bits, err := c.KeyBits(e.KeyBits)
	if err != nil {
		return 0, 0, fmt.Errorf("ESP %v: %w", e, err)
	}
	encr = bits/8 + c.Salt
	if e.Integ == ikev2.AUTH_NONE {
		if !c.AEAD {
			return 0, 0, fmt.Errorf("ESP %v: a cipher without integrity", e)
		}
		return encr, 0, nil
	}
	if c.AEAD {
		return 0, 0, fmt.Errorf("ESP %v: the cipher carries its own integrity", e)
	}
	if integ = IntegKeyLen(e.Integ); integ == 0 {
		return 0, 0, fmt.Errorf("ESP %v: integrity algorithm not known", e)
	}
	return encr, integ, nil
}

var errKeyBits = errors.New("no such key length")
