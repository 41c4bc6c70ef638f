package suite

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/xcbc"
)

// KD-01, KD-02: the CAVP samples, each PRF by itself.
func TestCAVP(t *testing.T) {
	var file struct {
		Vectors []struct {
			Name     string
			PRF      ikev2.PRFID
			Function string
			NiNr     octets `json:"prf_key_Ni_Nr"`
			Gir      octets `json:"prf_data_gir"`
			SKEYSEED octets `json:"out_SKEYSEED"`
			Key      octets
			Seed     octets
			Out      octets
		}
	}
	load(t, "kdf/ikev2-kdf-cavp.json", &file)
	if len(file.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range file.Vectors {
		if v.Function == "prf" {
			half := len(v.NiNr) / 2
			got, err := InitialSKEYSEED(v.PRF, key(v.Gir), v.NiNr[:half], v.NiNr[half:])
			if err != nil {
				t.Fatal(v.Name, err)
			}
			same(t, v.Name, got.Reveal(), v.SKEYSEED)
			continue
		}
		got, err := PRFPlus(v.PRF, key(v.Key), len(v.Out), v.Seed[:3], v.Seed[3:])
		if err != nil {
			t.Fatal(v.Name, err)
		}
		same(t, v.Name, got.Reveal(), v.Out)
	}
}

// KD-02, KD-05, KD-06, KD-07: one chain from SKEYSEED to the rekey, cut as RFC 7296 section 2.14 says.
func TestWholeChain(t *testing.T) {
	var v struct {
		Ni, Nr     octets
		Gir        octets `json:"g_ir"`
		GirNew     octets `json:"g_ir_new"`
		SPIi, SPIr octets
		SKEYSEED   octets
		DKM        octets `json:"DKM_132"`
		Child      octets `json:"DKM_child_132"`
		ChildDH    octets `json:"DKM_child_DH_132"`
		Rekey      octets `json:"SKEYSEED_rekey"`
	}
	load(t, "kdf/ikev2-kdf-full-sha1.json", &v)
	seed, err := InitialSKEYSEED(ikev2.PRF_HMAC_SHA1, key(v.Gir), v.Ni, v.Nr)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "SKEYSEED", seed.Reveal(), v.SKEYSEED)

	k, err := DeriveIKEKeys(aes128sha1(ikev2.PRF_HMAC_SHA1), seed, v.Ni, v.Nr, binary.BigEndian.Uint64(v.SPIi), binary.BigEndian.Uint64(v.SPIr))
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, c := range []struct {
		name string
		key  secret.Bytes
		len  int
	}{{"SK_d", k.SKd, 20}, {"SK_ai", k.SKai, 20}, {"SK_ar", k.SKar, 20}, {"SK_ei", k.SKei, 16}, {"SK_er", k.SKer, 16}, {"SK_pi", k.SKpi, 20}, {"SK_pr", k.SKpr, 20}} {
		same(t, c.name, c.key.Reveal(), v.DKM[at:at+c.len])
		at += c.len
	}

	esp := ESP{ikev2.ENCR_AES_CBC, 256, ikev2.AUTH_HMAC_SHA1_96}
	for _, c := range []struct {
		name   string
		shared []secret.Bytes
		want   octets
	}{{"child", nil, v.Child}, {"child with PFS", []secret.Bytes{key(v.GirNew)}, v.ChildDH}} {
		got, err := ChildKeys(ikev2.PRF_HMAC_SHA1, k.SKd, c.shared, v.Ni, v.Nr, esp)
		if err != nil {
			t.Fatal(err)
		}
		same(t, c.name, bytes.Join([][]byte{got.EncrI.Reveal(), got.IntegI.Reveal(), got.EncrR.Reveal(), got.IntegR.Reveal()}, nil), c.want[:104])
	}

	again, err := RekeySKEYSEED(ikev2.PRF_HMAC_SHA1, k.SKd, []secret.Bytes{key(v.GirNew)}, v.Ni, v.Nr)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "SKEYSEED of the rekey", again.Reveal(), v.Rekey)
}

// KD-01, KD-08: XCBC and CMAC take 64 bits of each nonce for the first SKEYSEED, and whole nonces everywhere else.
func TestFixedKeyPRFs(t *testing.T) {
	ni, nr, gir := fill(32, 1), fill(48, 2), fill(32, 3)
	for id, prf := range map[ikev2.PRFID]func([]byte, ...[]byte) [16]byte{ikev2.PRF_AES128_XCBC: xcbc.PRF, ikev2.PRF_AES128_CMAC: xcbc.CMACPRF} {
		s, err := InitialSKEYSEED(id, key(gir), ni, nr)
		if err != nil {
			t.Fatal(err)
		}
		want := prf(append(append([]byte(nil), ni[:8]...), nr[:8]...), gir)
		same(t, "SKEYSEED", s.Reveal(), want[:])

		k, err := DeriveIKEKeys(aes128sha1(id), s, ni, nr, 5, 6)
		if err != nil {
			t.Fatal(err)
		}
		want = prf(s.Reveal(), ni, nr, []byte{0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6, 1})
		same(t, "SK_d", k.SKd.Reveal(), want[:])

		r, err := RekeySKEYSEED(id, k.SKd, []secret.Bytes{key(gir)}, ni, nr)
		if err != nil {
			t.Fatal(err)
		}
		want = prf(k.SKd.Reveal(), gir, ni, nr)
		same(t, "SKEYSEED of the rekey", r.Reveal(), want[:])
	}
	// Nonces are never shorter than 16 octets on the wire (IN-02), but a short one is no crash.
	if _, err := InitialSKEYSEED(ikev2.PRF_AES128_XCBC, key(gir), nil, nr); err != nil {
		t.Error(err)
	}
}

// KD-03: the counter is one octet, so prf+ ends after 255 blocks.
func TestPRFPlusEnds(t *testing.T) {
	k := key(fill(32, 1))
	all, err := PRFPlus(ikev2.PRF_HMAC_SHA2_256, k, 255*32, []byte("seed"))
	if err != nil {
		t.Fatal(err)
	}
	// T255 = prf(K, T254 | seed | 0xff)
	h := hmac.New(sha256.New, k.Reveal())
	h.Write(all.Reveal()[253*32 : 254*32])
	h.Write([]byte("seed\xff"))
	same(t, "T255", all.Reveal()[254*32:], h.Sum(nil))
	for _, n := range []int{255*32 + 1, 1 << 30, -1} {
		if _, err := PRFPlus(ikev2.PRF_HMAC_SHA2_256, k, n, nil); err == nil {
			t.Errorf("prf+ gives %d octets", n)
		}
	}
	some, err := PRFPlus(ikev2.PRF_HMAC_SHA2_256, k, 100, []byte("seed"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "a shorter prf+", some.Reveal(), all.Reveal()[:100])
	if none, err := PRFPlus(ikev2.PRF_HMAC_SHA2_256, k, 0, nil); err != nil || none.Len() != 0 {
		t.Error("prf+ of nothing", none.Len(), err)
	}
}

// KD-10: HMAC PRFs take keys of any length (RFC 4231, whose case 6 and 7 have keys of 131 octets).
func TestHMACPRFs(t *testing.T) {
	var file struct {
		Vectors []struct {
			Case      int
			Key, Data octets
			SHA256    octets `json:"HMAC-SHA-256"`
			SHA384    octets `json:"HMAC-SHA-384"`
			SHA512    octets `json:"HMAC-SHA-512"`
		}
	}
	load(t, "rfc/rfc4231.json", &file)
	for _, v := range file.Vectors {
		for id, want := range map[ikev2.PRFID]octets{ikev2.PRF_HMAC_SHA2_256: v.SHA256, ikev2.PRF_HMAC_SHA2_384: v.SHA384, ikev2.PRF_HMAC_SHA2_512: v.SHA512} {
			got, err := PRF(id, key(v.Key), v.Data)
			if err != nil {
				t.Fatal(err)
			}
			same(t, fmt.Sprintf("case %d %v", v.Case, id), got.Reveal()[:len(want)], want)
		}
	}
	long, err := PRF(ikev2.PRF_HMAC_SHA2_256, key(fill(200, 9)), []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	hashed := sha256.Sum256(fill(200, 9))
	short, err := PRF(ikev2.PRF_HMAC_SHA2_256, key(hashed[:]), []byte("data"))
	if err != nil || !long.Equal(short) {
		t.Error("a key of 200 octets is not hashed first", err)
	}
}

// MK-05, MK-06: how further shared secrets come in (RFC 9370 sections 2.2.2 and 2.2.4).
func TestAdditionalKeyExchanges(t *testing.T) {
	ni, nr, skd := fill(32, 1), fill(32, 2), key(fill(32, 3))
	s0, s1, s2 := key(fill(32, 4)), key(fill(48, 5)), key(fill(66, 6))
	direct := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, skd.Reveal())
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	id := ikev2.PRF_HMAC_SHA2_256
	got, err := IntermediateSKEYSEED(id, skd, s1, ni, nr)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "SKEYSEED(1)", got.Reveal(), direct(s1.Reveal(), ni, nr))
	if got, err = RekeySKEYSEED(id, skd, []secret.Bytes{s0, s1, s2}, ni, nr); err != nil {
		t.Fatal(err)
	}
	same(t, "SKEYSEED of a rekey in three rounds", got.Reveal(), direct(s0.Reveal(), ni, nr, s1.Reveal(), s2.Reveal()))

	esp := ESP{ikev2.ENCR_AES_GCM_16, 128, ikev2.AUTH_NONE}
	for n, want := range [][]byte{
		direct(ni, nr, []byte{1}),
		direct(s0.Reveal(), ni, nr, []byte{1}),
		direct(s0.Reveal(), ni, nr, s1.Reveal(), []byte{1}),
		direct(s0.Reveal(), ni, nr, s1.Reveal(), s2.Reveal(), []byte{1}),
	} {
		k, err := ChildKeys(id, skd, []secret.Bytes{s0, s1, s2}[:n], ni, nr, esp)
		if err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("KEYMAT of %d secrets", n), append(append([]byte(nil), k.EncrI.Reveal()...), k.EncrR.Reveal()...)[:32], want)
	}
	if _, err := RekeySKEYSEED(id, skd, nil, ni, nr); err == nil {
		t.Error("an IKE SA is rekeyed without a key exchange")
	}
}

// KD-07: SKEYSEED by the old PRF, the keys by the new one.
func TestRekeyToAnotherPRF(t *testing.T) {
	seed, err := RekeySKEYSEED(ikev2.PRF_HMAC_SHA1, key(fill(20, 1)), []secret.Bytes{key(fill(32, 2))}, fill(32, 3), fill(32, 4))
	if err != nil || seed.Len() != 20 {
		t.Fatal(seed.Len(), err)
	}
	k, err := DeriveIKEKeys(aes128sha1(ikev2.PRF_HMAC_SHA2_512), seed, fill(32, 3), fill(32, 4), 1, 2)
	if err != nil || k.SKd.Len() != 64 || k.SKpi.Len() != 64 || k.SKai.Len() != 20 {
		t.Error(k.SKd.Len(), k.SKpi.Len(), k.SKai.Len(), err)
	}
}

// KD-04: an AEAD has no SK_a, and its SK_e ends with the salt (RFC 5282 section 7.1).
func TestAEADKeys(t *testing.T) {
	for _, c := range []struct {
		encr ikev2.EncrID
		bits int
		want int
	}{{ikev2.ENCR_AES_GCM_16, 128, 20}, {ikev2.ENCR_AES_GCM_16, 192, 28}, {ikev2.ENCR_AES_GCM_16, 256, 36}, {ikev2.ENCR_CHACHA20_POLY1305, 0, 36}} {
		k, err := DeriveIKEKeys(Chosen{Encr: c.encr, KeyBits: c.bits, PRF: ikev2.PRF_HMAC_SHA2_384, KE: ikev2.KE_CURVE25519}, key(fill(48, 1)), fill(32, 2), fill(32, 3), 1, 2)
		if err != nil {
			t.Fatal(err)
		}
		if k.SKai.Len() != 0 || k.SKar.Len() != 0 || k.SKei.Len() != c.want || k.SKer.Len() != c.want || k.SKd.Len() != 48 {
			t.Errorf("%v-%d: SK_a %d, SK_e %d octets", c.encr, c.bits, k.SKai.Len(), k.SKei.Len())
		}
	}
}

// IM-05: IntAuth covers what came before, the associated data and the inner payloads, under SK_p; MK: the tail of the signed octets.
func TestIntAuth(t *testing.T) {
	skp := fill(32, 1)
	first, err := IntAuth(ikev2.PRF_HMAC_SHA2_256, key(skp), nil, []byte("A1"), []byte("P1"))
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, skp)
	h.Write([]byte("A1P1"))
	same(t, "IntAuth 1", first, h.Sum(nil))
	second, err := IntAuth(ikev2.PRF_HMAC_SHA2_256, key(skp), first, []byte("A2"), nil)
	if err != nil {
		t.Fatal(err)
	}
	h.Reset()
	h.Write(first)
	h.Write([]byte("A2"))
	same(t, "IntAuth 2", second, h.Sum(nil))
	same(t, "tail of the signed octets", IntAuthOctets([]byte("i"), []byte("r"), 2), []byte("ir\x00\x00\x00\x02"))
}

func TestUnsupportedPRF(t *testing.T) {
	k := key(fill(16, 1))
	_, e1 := PRF(ikev2.PRF_HMAC_MD5, k)
	_, e2 := PRFPlus(ikev2.PRF_HMAC_MD5, k, 1)
	_, e3 := InitialSKEYSEED(ikev2.PRF_HMAC_MD5, k, nil, nil)
	_, e4 := RekeySKEYSEED(ikev2.PRF_HMAC_MD5, k, []secret.Bytes{k}, nil, nil)
	_, e5 := ChildKeys(ikev2.PRF_HMAC_MD5, k, nil, nil, nil, ESP{ikev2.ENCR_AES_GCM_16, 128, 0})
	_, e6 := DeriveIKEKeys(aes128sha1(ikev2.PRF_HMAC_MD5), k, nil, nil, 1, 2)
	_, e7 := IntAuth(ikev2.PRF_HMAC_MD5, k, nil, nil, nil)
	for i, err := range []error{e1, e2, e3, e4, e5, e6, e7} {
		if err == nil || !strings.Contains(err.Error(), "PRF") {
			t.Errorf("AL-02: call %d with HMAC-MD5: %v", i+1, err)
		}
	}
	if _, err := ChildKeys(ikev2.PRF_HMAC_SHA2_256, k, nil, nil, nil, ESP{ikev2.ENCR_AES_CBC, 128, 0}); err == nil {
		t.Error("child keys for a cipher without integrity")
	}
}

// KD-09: Close leaves zeros where the keys were, and derived keys share no memory with each other.
func TestKeysAreWiped(t *testing.T) {
	k, err := DeriveIKEKeys(aes128sha1(ikev2.PRF_HMAC_SHA2_256), key(fill(32, 1)), fill(32, 2), fill(32, 3), 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ChildKeys(ikev2.PRF_HMAC_SHA2_256, k.SKd, nil, fill(32, 2), fill(32, 3), ESP{ikev2.ENCR_AES_CBC, 128, ikev2.AUTH_HMAC_SHA1_96})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v", k, k, k), fmt.Sprintf("%v %+v %#v", c, c, c)} {
		if !strings.Contains(s, secret.Redacted) || strings.Contains(s, fmt.Sprint(k.SKd.Reveal()[0], " ", k.SKd.Reveal()[1])) {
			t.Errorf("keys print as %s", s)
		}
	}
	all := [][]byte{
		k.SKd.Reveal(), k.SKai.Reveal(), k.SKar.Reveal(), k.SKei.Reveal(), k.SKer.Reveal(), k.SKpi.Reveal(), k.SKpr.Reveal(),
		c.EncrI.Reveal(), c.IntegI.Reveal(), c.EncrR.Reveal(), c.IntegR.Reveal(),
	}
	k.SKd.Close()
	for i, b := range all[1:] {
		if bytes.Equal(b, make([]byte, len(b))) {
			t.Errorf("key %d went with SK_d", i+1)
		}
	}
	k.Close()
	c.Close()
	for i, b := range all {
		if !bytes.Equal(b, make([]byte, len(b))) {
			t.Errorf("key %d is still there", i)
		}
	}
	if k.SKd.Len() != 0 || c.IntegR.Len() != 0 {
		t.Error("closed keys have a length")
	}
}
