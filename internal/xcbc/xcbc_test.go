package xcbc

import (
	"bytes"
	"encoding/hex"
	"hash"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func macOf(t testing.TB, make func([]byte) (hash.Hash, error), key, msg []byte) string {
	t.Helper()
	m, err := make(key)
	if err != nil {
		t.Fatal(err)
	}
	m.Write(msg)
	return hex.EncodeToString(m.Sum(nil))
}

const counting = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021"

// RFC 3566 section 4.6, all seven cases (AG-06).
func TestXCBCVectors(t *testing.T) {
	key := unhex(t, counting[:32])
	for _, c := range []struct {
		msg  []byte
		want string
	}{
		{nil, "75f0251d528ac01c4573dfd584d79f29"},
		{unhex(t, counting[:6]), "5b376580ae2f19afe7219ceef172756f"},
		{unhex(t, counting[:32]), "d2a246fa349b68a79998a4394ff7a263"},
		{unhex(t, counting[:40]), "47f51b4564966215b8985c63055ed308"},
		{unhex(t, counting[:64]), "f54f0ec8d2b9f3d36807734bd5283fd4"},
		{unhex(t, counting), "becbb3bccdb518a30677d5481fb6b4d8"},
		{make([]byte, 1000), "f0dafee895db30253761103b5d84528f"},
	} {
		if got := macOf(t, New, key, c.msg); got != c.want {
			t.Errorf("XCBC over %d octets: %s, want %s", len(c.msg), got, c.want)
		}
	}
}

// RFC 4493 section 4, all four cases.
func TestCMACVectors(t *testing.T) {
	key := unhex(t, "2b7e1516 28aed2a6 abf71588 09cf4f3c")
	msg := unhex(t, `6bc1bee2 2e409f96 e93d7e11 7393172a ae2d8a57 1e03ac9c 9eb76fac 45af8e51
		30c81c46 a35ce411 e5fbc119 1a0a52ef f69f2445 df4f9b17 ad2b417b e66c3710`)
	for n, want := range map[int]string{
		0:  "bb1d6929e95937287fa37d129b756746",
		16: "070a16b46b4d4144f79bdd9dd04a287c",
		40: "dfa66747de9ae63030ca32611497c827",
		64: "51f0bebf7e3b9d92fc49741779363cfe",
	} {
		if got := macOf(t, NewCMAC, key, msg[:n]); got != want {
			t.Errorf("CMAC over %d octets: %s, want %s", n, got, want)
		}
	}
}

// KD-11: keys of 16 octets, shorter and longer ones (RFC 4434 section 2.1, RFC 4615 section 4).
func TestPRFVectors(t *testing.T) {
	msg := unhex(t, counting[:40])
	for _, c := range []struct{ key, xcbc, cmac string }{
		{"000102030405060708090a0b0c0d0e0f", "47f51b4564966215b8985c63055ed308", "980ae87b5f4c9c5214f5b6a8455e4c2d"},
		{"00010203040506070809", "0fa087af7d866e7653434e602fdde835", "290d9e112edb09ee141fcf64c0b72f3d"},
		{"000102030405060708090a0b0c0d0e0fedcb", "8cd3c93ae598a9803006ffb67c40e9e4", "84a348a4a45d235babfffc0d2b4da09a"},
	} {
		key := unhex(t, c.key)
		if got := PRF(key, msg[:7], nil, msg[7:]); hex.EncodeToString(got[:]) != c.xcbc {
			t.Errorf("XCBC PRF with a key of %d octets: %x, want %s", len(key), got, c.xcbc)
		}
		if got := CMACPRF(key, msg[:7], nil, msg[7:]); hex.EncodeToString(got[:]) != c.cmac {
			t.Errorf("CMAC PRF with a key of %d octets: %x, want %s", len(key), got, c.cmac)
		}
	}
}

// However a message is cut into writes, with sums taken in between and messages before it, its MAC is the same.
func TestWritesAddUp(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for name, make := range map[string]func([]byte) (hash.Hash, error){"XCBC": New, "CMAC": NewCMAC} {
		key := unhex(t, counting[:32])
		h, err := make(key)
		if err != nil {
			t.Fatal(err)
		}
		for range 500 {
			msg := bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(100))
			h.Reset()
			for rest := msg; len(rest) > 0; {
				n := 1 + r.IntN(len(rest))
				h.Write(rest[:n])
				h.Sum(nil)
				rest = rest[n:]
			}
			if got, want := hex.EncodeToString(h.Sum(nil)), macOf(t, make, key, msg); got != want {
				t.Fatalf("%s over %d octets in pieces: %s, in one: %s", name, len(msg), got, want)
			}
		}
	}
}

func TestKeyLengths(t *testing.T) {
	for _, n := range []int{0, 15, 17, 24, 32} {
		if _, err := New(make([]byte, n)); err == nil {
			t.Errorf("XCBC takes a key of %d octets", n)
		}
		if _, err := NewCMAC(make([]byte, n)); err == nil {
			t.Errorf("CMAC takes a key of %d octets", n)
		}
	}
	for n := range 40 {
		PRF(make([]byte, n), nil)
		CMACPRF(make([]byte, n), nil)
	}
}

func TestMACAllocatesNothing(t *testing.T) {
	h, err := New(make([]byte, Size))
	if err != nil {
		t.Fatal(err)
	}
	msg, sum := make([]byte, 100), make([]byte, 0, Size)
	if n := testing.AllocsPerRun(100, func() { h.Reset(); h.Write(msg); h.Sum(sum) }); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
}

func BenchmarkXCBC1400(b *testing.B) {
	h, err := New(make([]byte, Size))
	if err != nil {
		b.Fatal(err)
	}
	msg, sum := make([]byte, 1400), make([]byte, 0, Size)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		h.Reset()
		h.Write(msg)
		h.Sum(sum)
	}
}
