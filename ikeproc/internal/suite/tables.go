package suite

import (
	"fmt"
	"slices"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// Cipher is what the registry and the RFCs say of one ENCR transform.
type Cipher struct {
	ID ikev2.EncrID
	// KeyAttr: the Key Length attribute must stand in the proposal; without it, it must not (RFC 7296 section 3.3.5).
	KeyAttr bool
	// Salt is what the key material holds after the key, in octets: the fixed part of a nonce.
	Salt int
	// IV is what each packet carries in octets. ICV is 0 where an INTEG transform makes it.
	IV, ICV int
	// Block is the alignment of the plaintext in octets, 1 for none (IKE; ESP aligns to 4 at least).
	Block int
	// AEAD: no INTEG transform goes with it. ENCR_NULL_AUTH_AES_GMAC counts: it authenticates and encrypts nothing.
	AEAD bool
	// IKE: this package protects an IKE SA with it.
	IKE bool
	// Legacy: not to be used unless the policy allows it by name (RFC 8247, RFC 8221).
	Legacy bool

	bits []int // key lengths; the only one where there is no attribute
}

var aesBits = []int{128, 192, 256}

// ciphers follows the registry's order. Key sizes and salts: RFC 2451, 2410, 3602, 3686, 4309, 4106, 4543, 7634.
var ciphers = []Cipher{
	{ID: ikev2.ENCR_3DES, IV: 8, Block: 8, IKE: true, Legacy: true, bits: []int{192}},
	{ID: ikev2.ENCR_NULL, Block: 1, bits: []int{0}},
	{ID: ikev2.ENCR_AES_CBC, KeyAttr: true, IV: 16, Block: 16, IKE: true, bits: aesBits},
	{ID: ikev2.ENCR_AES_CTR, KeyAttr: true, Salt: 4, IV: 8, Block: 1, bits: aesBits},
	{ID: ikev2.ENCR_AES_CCM_8, KeyAttr: true, Salt: 3, IV: 8, ICV: 8, Block: 1, AEAD: true, bits: aesBits},
	{ID: ikev2.ENCR_AES_CCM_12, KeyAttr: true, Salt: 3, IV: 8, ICV: 12, Block: 1, AEAD: true, bits: aesBits},
	{ID: ikev2.ENCR_AES_CCM_16, KeyAttr: true, Salt: 3, IV: 8, ICV: 16, Block: 1, AEAD: true, bits: aesBits},
	{ID: ikev2.ENCR_AES_GCM_8, KeyAttr: true, Salt: 4, IV: 8, ICV: 8, Block: 1, AEAD: true, bits: aesBits},
	{ID: ikev2.ENCR_AES_GCM_12, KeyAttr: true, Salt: 4, IV: 8, ICV: 12, Block: 1, AEAD: true, bits: aesBits},
	{ID: ikev2.ENCR_AES_GCM_16, KeyAttr: true, Salt: 4, IV: 8, ICV: 16, Block: 1, AEAD: true, IKE: true, bits: aesBits},
	{ID: ikev2.ENCR_NULL_AUTH_GMAC, KeyAttr: true, Salt: 4, IV: 8, ICV: 16, Block: 1, AEAD: true, bits: aesBits},
	{ID: ikev2.ENCR_CHACHA20_POLY1305, Salt: 4, IV: 8, ICV: 16, Block: 1, AEAD: true, IKE: true, bits: []int{256}},
}

// CipherOf looks a cipher up.
func CipherOf(id ikev2.EncrID) (Cipher, bool) {
	i := slices.IndexFunc(ciphers, func(c Cipher) bool { return c.ID == id })
	if i < 0 {
		return Cipher{}, false
	}
	return ciphers[i], true
}

// KeyBits turns the Key Length attribute, 0 for none, into the key's length in bits, or says why the attribute is illegal: absent where it is
// required, present where the length is fixed, or a length that the cipher does not have (RFC 7296 section 3.3.5).
func (c Cipher) KeyBits(attr int) (int, error) {
	switch {
	case c.KeyAttr && attr == 0:
		return 0, fmt.Errorf("%v without the Key Length attribute that it requires: %w", c.ID, errKeyBits)
	case !c.KeyAttr && attr != 0:
		return 0, fmt.Errorf("%v with a Key Length attribute, which its fixed length forbids: %w", c.ID, errKeyBits)
	case c.KeyAttr && !slices.Contains(c.bits, attr):
		return 0, fmt.Errorf("%v with a key of %d bits: %w", c.ID, attr, errKeyBits)
	case c.KeyAttr:
		return attr, nil
	}
	return c.bits[0], nil
}

// integrity is what the RFCs say of one INTEG transform. None of them has a Key Length attribute.
type integrity struct {
	id       ikev2.IntegID
	key, icv int // octets
	ike      bool
}

// RFC 2403, 2404, 3566, 4494 and 4868 section 2.6.
var integrities = []integrity{
	{ikev2.AUTH_HMAC_MD5_96, 16, 12, false},
	{ikev2.AUTH_HMAC_SHA1_96, 20, 12, true},
	{ikev2.AUTH_AES_XCBC_96, 16, 12, true},
	{ikev2.AUTH_AES_CMAC_96, 16, 12, true},
	{ikev2.AUTH_HMAC_SHA2_256_128, 32, 16, true},
	{ikev2.AUTH_HMAC_SHA2_384_192, 48, 24, true},
	{ikev2.AUTH_HMAC_SHA2_512_256, 64, 32, true},
}

func integrityOf(id ikev2.IntegID) (integrity, bool) {
	i := slices.IndexFunc(integrities, func(a integrity) bool { return a.id == id })
	if i < 0 {
		return integrity{}, false
	}
	return integrities[i], true
}

// IntegKeyLen is the length of an integrity algorithm's key in octets, 0 for NONE and for what is not known.
func IntegKeyLen(id ikev2.IntegID) int {
	a, _ := integrityOf(id)
	return a.key
}

// IntegICVLen is the length of the Integrity Checksum Data in octets, 0 for NONE and for what is not known.
func IntegICVLen(id ikev2.IntegID) int {
	a, _ := integrityOf(id)
	return a.icv
}

// Supported reports whether this package can do a transform in an IKE SA. keyBits is the Key Length attribute, 0 for none; a wrong one, or one
// on a transform that has none, makes the transform unsupported (RFC 7296 section 3.3.6). NONE is supported as INTEG, where an AEAD
// must go with it, and as ADDKE; never as KE of an IKE SA.
func Supported(kind ikev2.TransformType, id uint16, keyBits int) bool {
	if kind == ikev2.TransformENCR {
		c, ok := CipherOf(ikev2.EncrID(id))
		if !ok || !c.IKE {
			return false
		}
		_, err := c.KeyBits(keyBits)
		return err == nil
	}
	if keyBits != 0 {
		return false
	}
	switch {
	case kind == ikev2.TransformPRF:
		return PRFKeyLen(ikev2.PRFID(id)) != 0
	case kind == ikev2.TransformINTEG:
		a, ok := integrityOf(ikev2.IntegID(id))
		return ok && a.ike || ikev2.IntegID(id) == ikev2.AUTH_NONE
	case kind == ikev2.TransformKE:
		return PublicLen(ikev2.KEID(id), false) != 0
	case kind >= ikev2.TransformADDKE1 && kind <= ikev2.TransformADDKE7:
		return ikev2.KEID(id) == ikev2.KE_NONE || PublicLen(ikev2.KEID(id), false) != 0
	}
	return false
}
