package suite

import (
	"errors"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// IN-13: the Key Length attribute is obligatory for AES and forbidden where the length is fixed.
func TestKeyLengthAttribute(t *testing.T) {
	for _, c := range []struct {
		id   ikev2.EncrID
		attr int
		want int // 0: illegal
	}{
		{ikev2.ENCR_AES_CBC, 128, 128}, {ikev2.ENCR_AES_CBC, 192, 192}, {ikev2.ENCR_AES_CBC, 256, 256},
		{ikev2.ENCR_AES_CBC, 0, 0}, {ikev2.ENCR_AES_CBC, 512, 0}, {ikev2.ENCR_AES_CBC, -128, 0},
		{ikev2.ENCR_AES_GCM_16, 256, 256}, {ikev2.ENCR_AES_GCM_16, 0, 0}, {ikev2.ENCR_AES_GCM_16, 160, 0},
		{ikev2.ENCR_CHACHA20_POLY1305, 0, 256}, {ikev2.ENCR_CHACHA20_POLY1305, 256, 0},
		{ikev2.ENCR_3DES, 0, 192}, {ikev2.ENCR_3DES, 192, 0},
	} {
		info, ok := CipherOf(c.id)
		if !ok {
			t.Fatal(c.id)
		}
		bits, err := info.KeyBits(c.attr)
		if bits != c.want || (err == nil) != (c.want != 0) || err != nil && !errors.Is(err, errKeyBits) {
			t.Errorf("%v with attribute %d: %d bits, %v", c.id, c.attr, bits, err)
		}
		if Supported(ikev2.TransformENCR, uint16(c.id), c.attr) != (c.want != 0) {
			t.Errorf("%v with attribute %d: Supported says otherwise", c.id, c.attr)
		}
	}
}

// IN-12, AL-01 to AL-04: what is there, what is not, and that an attribute on anything but a cipher spoils it.
func TestSupported(t *testing.T) {
	for _, c := range []struct {
		kind ikev2.TransformType
		id   uint16
		want bool
	}{
		{ikev2.TransformENCR, uint16(ikev2.ENCR_NULL), false},
		{ikev2.TransformENCR, 2, false}, // DES
		{ikev2.TransformPRF, uint16(ikev2.PRF_HMAC_MD5), false},
		{ikev2.TransformPRF, uint16(ikev2.PRF_HMAC_SHA1), true},
		{ikev2.TransformPRF, uint16(ikev2.PRF_AES128_XCBC), true},
		{ikev2.TransformPRF, 0, false},
		{ikev2.TransformINTEG, uint16(ikev2.AUTH_HMAC_MD5_96), false},
		{ikev2.TransformINTEG, uint16(ikev2.AUTH_HMAC_SHA2_384_192), true},
		{ikev2.TransformINTEG, uint16(ikev2.AUTH_NONE), true},
		{ikev2.TransformINTEG, 999, false},
		{ikev2.TransformKE, uint16(ikev2.KE_MODP768), false},
		{ikev2.TransformKE, uint16(ikev2.KE_MODP2048), true},
		{ikev2.TransformKE, uint16(ikev2.KE_MLKEM512), true},
		{ikev2.TransformKE, uint16(ikev2.KE_NONE), false},
		{ikev2.TransformADDKE1, uint16(ikev2.KE_NONE), true},
		{ikev2.TransformADDKE7, uint16(ikev2.KE_MLKEM1024), true},
		{ikev2.TransformADDKE7 + 1, uint16(ikev2.KE_MLKEM1024), false},
		{ikev2.TransformSN, uint16(ikev2.SN_ESN), false}, // of children only
		{241, 1, false},
	} {
		if got := Supported(c.kind, c.id, 0); got != c.want {
			t.Errorf("%v %d: %v", c.kind, c.id, got)
		}
		if c.kind != ikev2.TransformENCR && Supported(c.kind, c.id, 128) {
			t.Errorf("%v %d is supported with a Key Length attribute", c.kind, c.id)
		}
	}
}

// IN-14, IN-15, MK-02: suites that no IKE SA may have.
func TestCheck(t *testing.T) {
	good := Chosen{ikev2.ENCR_AES_GCM_16, 256, ikev2.PRF_HMAC_SHA2_512, ikev2.AUTH_NONE, ikev2.KE_CURVE25519, []ikev2.KEID{ikev2.KE_MLKEM768}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	if s := good.String(); s != "ENCR_AES_GCM_16-256/PRF_HMAC_SHA2_512/CURVE25519+ML_KEM_768" {
		t.Error(s)
	}
	if s := aes128sha1(ikev2.PRF_HMAC_SHA1).String(); s != "ENCR_AES_CBC-128/AUTH_HMAC_SHA1_96/PRF_HMAC_SHA1/MODP2048" {
		t.Error(s)
	}
	for name, spoil := range map[string]func(*Chosen){
		"AEAD with a MAC":           func(c *Chosen) { c.Integ = ikev2.AUTH_HMAC_SHA2_256_128 },
		"CBC without a MAC":         func(c *Chosen) { c.Encr = ikev2.ENCR_AES_CBC },
		"CBC with MD5":              func(c *Chosen) { c.Encr, c.Integ = ikev2.ENCR_AES_CBC, ikev2.AUTH_HMAC_MD5_96 },
		"NULL":                      func(c *Chosen) { c.Encr, c.KeyBits = ikev2.ENCR_NULL, 0 },
		"GCM_8":                     func(c *Chosen) { c.Encr = ikev2.ENCR_AES_GCM_8 },
		"no key length":             func(c *Chosen) { c.KeyBits = 0 },
		"no PRF":                    func(c *Chosen) { c.PRF = 0 },
		"no key exchange":           func(c *Chosen) { c.KE = 0 },
		"an additional NONE":        func(c *Chosen) { c.AddKE = []ikev2.KEID{ikev2.KE_NONE} },
		"the same key exchange":     func(c *Chosen) { c.AddKE = []ikev2.KEID{ikev2.KE_CURVE25519} },
		"twice the same additional": func(c *Chosen) { c.AddKE = []ikev2.KEID{ikev2.KE_MLKEM768, ikev2.KE_ECP256, ikev2.KE_MLKEM768} },
		"one that is not there":     func(c *Chosen) { c.AddKE = []ikev2.KEID{ikev2.KE_MODP768} },
		"eight":                     func(c *Chosen) { c.AddKE = make([]ikev2.KEID, 8) },
	} {
		c := good
		spoil(&c)
		err := c.Check()
		if err == nil || !strings.Contains(err.Error(), c.String()) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := DeriveIKEKeys(c, key(fill(32, 1)), nil, nil, 1, 2); err == nil {
			t.Errorf("%s: keys are derived", name)
		}
	}
}

// KD-04, KD-06, AG-01 to AG-06: how much KEYMAT each ESP transform takes.
func TestESPKeyLengths(t *testing.T) {
	const sha256 = ikev2.AUTH_HMAC_SHA2_256_128
	for _, c := range []struct {
		esp         ESP
		encr, integ int // encr -1: refused
	}{
		{ESP{ikev2.ENCR_AES_GCM_16, 128, 0}, 20, 0}, {ESP{ikev2.ENCR_AES_GCM_12, 192, 0}, 28, 0}, {ESP{ikev2.ENCR_AES_GCM_8, 256, 0}, 36, 0},
		{ESP{ikev2.ENCR_AES_CCM_8, 128, 0}, 19, 0}, {ESP{ikev2.ENCR_AES_CCM_12, 192, 0}, 27, 0}, {ESP{ikev2.ENCR_AES_CCM_16, 256, 0}, 35, 0},
		{ESP{ikev2.ENCR_NULL_AUTH_GMAC, 128, 0}, 20, 0}, {ESP{ikev2.ENCR_CHACHA20_POLY1305, 0, 0}, 36, 0},
		{ESP{ikev2.ENCR_AES_CBC, 128, ikev2.AUTH_HMAC_SHA1_96}, 16, 20}, {ESP{ikev2.ENCR_AES_CBC, 256, ikev2.AUTH_HMAC_SHA2_512_256}, 32, 64},
		{ESP{ikev2.ENCR_AES_CTR, 128, ikev2.AUTH_AES_XCBC_96}, 20, 16}, {ESP{ikev2.ENCR_3DES, 0, ikev2.AUTH_HMAC_SHA1_96}, 24, 20},
		{ESP{ikev2.ENCR_NULL, 0, sha256}, 0, 32}, {ESP{ikev2.ENCR_AES_CBC, 192, ikev2.AUTH_HMAC_SHA2_384_192}, 24, 48},
		{ESP{ikev2.ENCR_AES_CBC, 128, ikev2.AUTH_AES_CMAC_96}, 16, 16}, {ESP{ikev2.ENCR_AES_CBC, 128, ikev2.AUTH_HMAC_MD5_96}, 16, 16},
		{ESP{ikev2.ENCR_AES_CBC, 128, 0}, -1, 0}, {ESP{ikev2.ENCR_NULL, 0, 0}, -1, 0}, {ESP{ikev2.ENCR_AES_GCM_16, 128, sha256}, -1, 0},
		{ESP{ikev2.ENCR_AES_CBC, 0, sha256}, -1, 0}, {ESP{ikev2.ENCR_3DES, 192, sha256}, -1, 0}, {ESP{ikev2.ENCR_AES_CBC, 128, 999}, -1, 0},
		{ESP{999, 0, sha256}, -1, 0},
	} {
		e, i, err := c.esp.KeyLens()
		if (err != nil) != (c.encr < 0) || err == nil && (e != c.encr || i != c.integ) {
			t.Errorf("%v: %d and %d octets, %v", c.esp, e, i, err)
		}
	}
	if s := (ESP{ikev2.ENCR_AES_CBC, 128, sha256}).String(); s != "ENCR_AES_CBC-128/AUTH_HMAC_SHA2_256_128" {
		t.Error(s)
	}
}

func TestIntegrityTable(t *testing.T) {
	for _, a := range integrities {
		if IntegKeyLen(a.id) != a.key || IntegICVLen(a.id) != a.icv {
			t.Error(a)
		}
		if !a.ike {
			continue
		}
		h, err := newMAC(a.id, make([]byte, a.key))
		if err != nil || h.Size() < a.icv {
			t.Errorf("%v: %v", a.id, err)
		}
	}
	if IntegKeyLen(ikev2.AUTH_NONE) != 0 || IntegICVLen(999) != 0 {
		t.Error("NONE has a key")
	}
	for _, p := range prfs {
		if h := p.keyed(make([]byte, p.key)); h.Size() != p.key || PRFKeyLen(p.id) != p.key {
			t.Errorf("%v: output of %d octets, key of %d", p.id, h.Size(), p.key)
		}
	}
}
