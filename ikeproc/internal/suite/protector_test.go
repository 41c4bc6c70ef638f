package suite

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/xcbc"
)

// What the codec asks of a Protector.
var _ interface {
	SealSK(prefix, plaintext []byte) (body []byte, err error)
	OpenSK(prefix, body []byte) (plaintext []byte, err error)
	BlockSize() int
	Overhead() int
} = (*Protector)(nil)

// everySuite is each cipher with each integrity algorithm that may go with it.
func everySuite() (all []Chosen) {
	for _, c := range ciphers {
		if !c.IKE {
			continue
		}
		bits := c.bits
		if !c.KeyAttr {
			bits = []int{0}
		}
		for _, b := range bits {
			base := Chosen{Encr: c.ID, KeyBits: b, PRF: ikev2.PRF_HMAC_SHA2_256, KE: ikev2.KE_CURVE25519}
			if c.AEAD {
				all = append(all, base)
				continue
			}
			for _, a := range integrities {
				if a.ike {
					base.Integ = a.id
					all = append(all, base)
				}
			}
		}
	}
	return all
}

func testKeys(t testing.TB, c Chosen) IKEKeys {
	t.Helper()
	k, err := DeriveIKEKeys(c, key(fill(32, 7)), fill(32, 1), fill(32, 2), 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// pair gives what one side sends with and the other opens with.
func pair(t testing.TB, c Chosen) (out, in *Protector) {
	t.Helper()
	k := testKeys(t, c)
	out, _, err := k.Protectors(c, true, rand.NewChaCha8([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	_, in, err = k.Protectors(c, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out, in
}

func TestSealAndOpen(t *testing.T) {
	prefix := fill(32, 9)
	for _, c := range everySuite() {
		out, in := pair(t, c)
		for _, n := range []int{1, 2, 10, 100} {
			plain := fill(n*out.BlockSize(), 3)
			body, err := out.SealSK(prefix, plain)
			if err != nil {
				t.Fatal(c, err)
			}
			if len(body) != len(plain)+out.Overhead() {
				t.Errorf("%v: a body of %d octets for %d, Overhead says %d", c, len(body), len(plain), out.Overhead())
			}
			before := bytes.Clone(body)
			got, err := in.OpenSK(prefix, body)
			if err != nil {
				t.Fatal(c, err)
			}
			same(t, c.String(), got, plain)
			same(t, "body after opening", body, before)
			if _, err := out.OpenSK(prefix, body); err != nil {
				t.Error(c, err)
			}
		}
	}
}

// The two directions have their own keys: what one side sent, it does not take as the other's.
func TestDirections(t *testing.T) {
	for _, c := range everySuite() {
		k := testKeys(t, c)
		out, in, err := k.Protectors(c, true, rand.NewChaCha8([32]byte{1}))
		if err != nil {
			t.Fatal(err)
		}
		body, err := out.SealSK(nil, make([]byte, out.BlockSize()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.OpenSK(nil, body); !errors.Is(err, ErrICV) {
			t.Errorf("%v: our own message comes back as the peer's: %v", c, err)
		}
	}
}

// SK-01, SK-02: a bit turned anywhere in prefix, IV, ciphertext or ICV, or an octet more or less, and nothing comes out.
func TestAnyChangeIsRefused(t *testing.T) {
	for _, c := range everySuite() {
		out, in := pair(t, c)
		prefix := fill(32, 9)
		body, err := out.SealSK(prefix, fill(2*out.BlockSize(), 3))
		if err != nil {
			t.Fatal(err)
		}
		refused := func(what string, prefix, body []byte) {
			t.Helper()
			if got, err := in.OpenSK(prefix, body); err != ErrICV || got != nil {
				t.Errorf("%v: %s: %d octets, %v", c, what, len(got), err)
			}
		}
		for i := range prefix {
			b := bytes.Clone(prefix)
			b[i] ^= 1 << (i % 8)
			refused(fmt.Sprintf("octet %d of the prefix", i), b, body)
		}
		for i := range body {
			b := bytes.Clone(body)
			b[i] ^= 0x80 >> (i % 8)
			refused(fmt.Sprintf("octet %d of the body", i), prefix, b)
		}
		for n := range len(body) {
			refused(fmt.Sprintf("%d of %d octets", n, len(body)), prefix, body[:n])
		}
		refused("one octet more", prefix, append(bytes.Clone(body), 0))
		refused("an empty prefix", nil, body)
		if _, err := in.OpenSK(prefix, body); err != nil {
			t.Errorf("%v: after all that the message itself is refused: %v", c, err)
		}
	}
}

// SK-03: no IV comes twice. An AEAD's count, and their nonces hold the salt that KEYMAT gave.
func TestIVs(t *testing.T) {
	for _, c := range everySuite() {
		out, _ := pair(t, c)
		info, _ := CipherOf(c.Encr)
		seen := map[string]bool{}
		for i := range 1000 {
			body, err := out.SealSK(nil, make([]byte, out.BlockSize()))
			if err != nil {
				t.Fatal(err)
			}
			iv := string(body[:info.IV])
			if seen[iv] {
				t.Fatalf("%v: IV %x again in message %d", c, iv, i)
			}
			seen[iv] = true
			if c.Encr.IsAEAD() && binary.BigEndian.Uint64(body) != uint64(i+1) {
				t.Errorf("%v: IV %x in message %d", c, iv, i)
			}
		}
	}
}

func TestIVsRunOut(t *testing.T) {
	out, _ := pair(t, Chosen{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 128, PRF: ikev2.PRF_HMAC_SHA2_256, KE: ikev2.KE_CURVE25519})
	out.p.(*aead).iv = math.MaxUint64 - 1
	if _, err := out.SealSK(nil, []byte{0}); err != nil {
		t.Error(err)
	}
	for range 3 {
		if _, err := out.SealSK(nil, []byte{0}); err == nil || !strings.Contains(err.Error(), "rekey") {
			t.Errorf("the IV wraps: %v", err)
		}
	}
}

// SK-03: the IVs of CBC come from the entropy handed in, and without it nothing is sealed.
func TestIVsOfCBC(t *testing.T) {
	c := aes128sha1(ikev2.PRF_HMAC_SHA2_256)
	k := testKeys(t, c)
	for _, src := range []io.Reader{nil, iotest.ErrReader(errors.New("out of entropy")), bytes.NewReader(make([]byte, 15))} {
		out, _, err := k.Protectors(c, true, src)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := out.SealSK(nil, make([]byte, 16)); err == nil || body != nil {
			t.Errorf("sealed with no IV: %x", body)
		}
	}
	out, _, err := k.Protectors(c, true, iotest.OneByteReader(bytes.NewReader(fill(16, 5))))
	if err != nil {
		t.Fatal(err)
	}
	body, err := out.SealSK(nil, make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "IV", body[:16], fill(16, 5))
}

func TestSealRefusesUnpadded(t *testing.T) {
	for _, c := range everySuite() {
		out, _ := pair(t, c)
		lens := []int{0}
		if out.BlockSize() > 1 {
			lens = append(lens, 1, out.BlockSize()-1, out.BlockSize()+1)
		}
		for _, n := range lens {
			if _, err := out.SealSK(nil, make([]byte, n)); err == nil {
				t.Errorf("%v: sealed %d octets", c, n)
			}
		}
	}
}

func TestProtectorRefusesWrongKeys(t *testing.T) {
	c := aes128sha1(ikev2.PRF_HMAC_SHA2_256)
	for _, n := range [][2]int{{15, 20}, {16, 19}, {16, 0}, {0, 0}, {32, 20}} {
		if _, err := NewProtector(c, key(fill(n[0], 1)), key(fill(n[1], 1)), nil); err == nil {
			t.Errorf("keys of %d and %d octets are taken", n[0], n[1])
		}
	}
	k := IKEKeys{SKei: key(fill(16, 1)), SKai: key(fill(20, 1))}
	if _, _, err := k.Protectors(c, true, nil); err == nil {
		t.Error("a Protector without the peer's keys")
	}
}

// KD-09: after Close nothing is sealed or opened any more, and closing the keys before does not matter.
func TestClosedProtector(t *testing.T) {
	for _, c := range everySuite() {
		k := testKeys(t, c)
		out, _, err := k.Protectors(c, true, rand.NewChaCha8([32]byte{1}))
		if err != nil {
			t.Fatal(err)
		}
		k.Close()
		body, err := out.SealSK(nil, make([]byte, out.BlockSize()))
		if err != nil {
			t.Fatal(err)
		}
		_, in := pair(t, c)
		if _, err := in.OpenSK(nil, body); err != nil {
			t.Errorf("%v: sealed with keys that were closed: %v", c, err)
		}
		out.Close()
		if _, err := out.SealSK(nil, make([]byte, out.BlockSize())); err == nil {
			t.Errorf("%v: sealed after Close", c)
		}
		if _, err := out.OpenSK(nil, body); err == nil {
			t.Errorf("%v: opened after Close", c)
		}
	}
}

// AG-03: the IKE message of RFC 7634 appendix B, to the octet.
func TestRFC7634(t *testing.T) {
	var v struct {
		IKE struct {
			Key, Salt, Plaintext, Ciphertext, AAD, Tag, IV octets
			Message                                        octets `json:"ike_message"`
		}
	}
	load(t, "rfc/rfc7634.json", &v)
	c := Chosen{Encr: ikev2.ENCR_CHACHA20_POLY1305, PRF: ikev2.PRF_HMAC_SHA2_256, KE: ikev2.KE_CURVE25519}
	p, err := NewProtector(c, key(append(v.IKE.Key, v.IKE.Salt...)), secret.Bytes{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.p.(*aead).iv = binary.BigEndian.Uint64(v.IKE.IV) - 1
	body, err := p.SealSK(v.IKE.AAD, v.IKE.Plaintext)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "message", append(bytes.Clone(v.IKE.AAD), body...), v.IKE.Message)
	plain, err := p.OpenSK(v.IKE.AAD, body)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "plaintext", plain, v.IKE.Plaintext)
}

// AG-05: the ciphertexts of RFC 3602 section 4; the MAC after them is computed here by hand.
func TestRFC3602(t *testing.T) {
	var file struct {
		Vectors []struct{ Key, IV, PT, CT octets }
	}
	load(t, "rfc/rfc3602.json", &file)
	ska, prefix := fill(32, 4), fill(32, 5)
	for _, v := range file.Vectors {
		for _, integ := range []ikev2.IntegID{ikev2.AUTH_HMAC_SHA2_256_128, ikev2.AUTH_AES_XCBC_96, ikev2.AUTH_AES_CMAC_96} {
			c := Chosen{ikev2.ENCR_AES_CBC, 128, ikev2.PRF_HMAC_SHA2_256, integ, ikev2.KE_CURVE25519, nil}
			p, err := NewProtector(c, key(v.Key), key(ska[:IntegKeyLen(integ)]), bytes.NewReader(v.IV))
			if err != nil {
				t.Fatal(err)
			}
			body, err := p.SealSK(prefix, v.PT)
			if err != nil {
				t.Fatal(err)
			}
			covered := append(append(bytes.Clone(prefix), v.IV...), v.CT...)
			same(t, "body", body, append(covered[len(prefix):], byHand(integ, ska, covered)...))
		}
	}
}

func byHand(id ikev2.IntegID, ska, covered []byte) []byte {
	var sum [16]byte
	switch id {
	case ikev2.AUTH_AES_XCBC_96:
		sum = xcbc.PRF(ska[:16], covered) // a PRF with a key of 16 octets is the MAC
	case ikev2.AUTH_AES_CMAC_96:
		sum = xcbc.CMACPRF(ska[:16], covered)
	default:
		h := hmac.New(sha256.New, ska)
		h.Write(covered)
		return h.Sum(nil)[:16]
	}
	return sum[:12]
}

// AG-01, AG-03, SK-05: the AEADs against Wycheproof, whose nonce is our salt and IV.
func TestWycheproofAEAD(t *testing.T) {
	for file, encr := range map[string]ikev2.EncrID{"aes_gcm": ikev2.ENCR_AES_GCM_16, "chacha20_poly1305": ikev2.ENCR_CHACHA20_POLY1305} {
		var w wycheproof
		load(t, "wycheproof/"+file+"_test.json.gz", &w)
		ran := 0
		for _, g := range w.TestGroups {
			if g.IVSize != 96 || g.TagSize != 128 {
				continue
			}
			c := Chosen{Encr: encr, KeyBits: g.KeySize, PRF: ikev2.PRF_HMAC_SHA2_256, KE: ikev2.KE_CURVE25519}
			if encr == ikev2.ENCR_CHACHA20_POLY1305 {
				c.KeyBits = 0
			}
			for _, v := range g.Tests {
				p, err := NewProtector(c, key(append(bytes.Clone(v.Key), v.IV[:4]...)), secret.Bytes{}, nil)
				if err != nil {
					t.Fatal(err)
				}
				body := append(append(bytes.Clone(v.IV[4:]), v.CT...), v.Tag...)
				plain, err := p.OpenSK(v.AAD, body)
				// A payload holds a Pad Length at least, so an empty one is refused whatever its tag.
				if ok := v.Result == "valid" && len(v.Msg) > 0; ok != (err == nil) {
					t.Errorf("%s %d %s: %v, is %s", file, v.TCID, v.Comment, err, v.Result)
				} else if ok {
					same(t, fmt.Sprint(file, v.TCID), plain, v.Msg)
					p.p.(*aead).iv = binary.BigEndian.Uint64(v.IV[4:]) - 1
					if binary.BigEndian.Uint64(v.IV[4:]) != 0 {
						sealed, err := p.SealSK(v.AAD, v.Msg)
						if err != nil {
							t.Fatal(err)
						}
						same(t, fmt.Sprint(file, v.TCID), sealed, body)
					}
				}
				ran++
			}
		}
		if ran < 100 {
			t.Errorf("%s: only %d vectors fit", file, ran)
		}
	}
}
