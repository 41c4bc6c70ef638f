package esp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// suites are all that Sizes accepts, without and with ESN.
func suites() []Suite {
	var out []Suite
	for _, esn := range []bool{false, true} {
		for _, bits := range []int{128, 192, 256} {
			out = append(out, Suite{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: bits, ESN: esn})
		}
		out = append(out, Suite{Encr: ikev2.ENCR_CHACHA20_POLY1305, ESN: esn})
		for _, integ := range []ikev2.IntegID{ikev2.AUTH_HMAC_SHA1_96, ikev2.AUTH_AES_XCBC_96, ikev2.AUTH_HMAC_SHA2_256_128,
			ikev2.AUTH_HMAC_SHA2_384_192, ikev2.AUTH_HMAC_SHA2_512_256} {
			out = append(out, Suite{Encr: ikev2.ENCR_AES_CBC, KeyBits: 256, Integ: integ, ESN: esn})
		}
		out = append(out, Suite{Encr: ikev2.ENCR_AES_CBC, KeyBits: 128, Integ: ikev2.AUTH_HMAC_SHA1_96, ESN: esn},
			Suite{Encr: ikev2.ENCR_AES_CBC, KeyBits: 192, Integ: ikev2.AUTH_HMAC_SHA2_256_128, ESN: esn},
			Suite{Encr: ikev2.ENCR_3DES, Integ: ikev2.AUTH_HMAC_SHA1_96, ESN: esn})
	}
	return out
}

func name(s Suite) string { return fmt.Sprintf("%v-%d-%v-esn=%v", s.Encr, s.KeyBits, s.Integ, s.ESN) }

func keysOf(t testing.TB, s Suite) (encr, integ []byte) {
	t.Helper()
	e, i, err := s.Sizes()
	if err != nil {
		t.Fatal(err)
	}
	encr, integ = make([]byte, e), make([]byte, i)
	for n := range encr {
		encr[n] = byte(n*7 + 1)
	}
	for n := range integ {
		integ[n] = byte(n*5 + 3)
	}
	return encr, integ
}

func pairOf(t testing.TB, s Suite, window int) (*Outbound, *Inbound) {
	t.Helper()
	encr, integ := keysOf(t, s)
	out, err := NewOutbound(0x10203040, s, encr, integ)
	if err != nil {
		t.Fatal(err)
	}
	in, err := NewInbound(0x10203040, s, encr, integ, window)
	if err != nil {
		t.Fatal(err)
	}
	return out, in
}

// seal sends payload and returns a packet of its own memory.
func seal(t testing.TB, out *Outbound, payload []byte, next uint8) []byte {
	t.Helper()
	buf := make([]byte, out.Headroom()+len(payload)+out.Tailroom())
	copy(buf[out.Headroom():], payload)
	pkt, err := out.Seal(buf, out.Headroom(), len(payload), next)
	if err != nil {
		t.Fatal(err)
	}
	return pkt
}

// ES-03, ES-04, ES-08: what is sealed opens, for every suite and every length of padding; padding is the least that aligns.
func TestSealOpen(t *testing.T) {
	for _, s := range suites() {
		t.Run(name(s), func(t *testing.T) {
			out, in := pairOf(t, s, 64)
			for n := range 70 {
				payload := bytes.Repeat([]byte{byte(n)}, n)
				pkt := seal(t, out, payload, 4)
				if len(pkt) != out.Length(n) || out.Capacity(len(pkt)) < n || out.Capacity(len(pkt)-1) >= n {
					t.Fatalf("payload %d: packet %d, Length says %d, Capacity %d", n, len(pkt), out.Length(n), out.Capacity(len(pkt)))
				}
				if (len(pkt)-out.Headroom()-out.t.icvLen())%out.t.align() != 0 {
					t.Fatalf("payload %d: %d octets are not aligned", n, len(pkt))
				}
				dst := make([]byte, len(pkt))
				got, next, err := in.Open(dst, pkt)
				if err != nil || next != 4 || !bytes.Equal(got, payload) {
					t.Fatalf("payload %d: next %d, %v, %x", n, next, err, got)
				}
			}
		})
	}
}

// EI-07, EI-03: any octet changed makes the packet fail, and the window stands where it stood.
func TestEveryOctetIsProtected(t *testing.T) {
	for _, s := range suites() {
		out, in := pairOf(t, s, 64)
		pkt := seal(t, out, []byte("attack at dawn"), 4)
		dst := make([]byte, len(pkt))
		for n := 4; n < len(pkt); n++ { // the SPI is looked up before
			bad := bytes.Clone(pkt)
			bad[n] ^= 0x40
			if _, _, err := in.Open(dst, bad); err == nil {
				t.Fatalf("%s: octet %d changed and the packet opened", name(s), n)
			}
			if in.Top() != 0 {
				t.Fatalf("%s: a forged packet moved the window to %d", name(s), in.Top())
			}
		}
		for n := range len(pkt) {
			if _, _, err := in.Open(dst, bytes.Clone(pkt[:n])); n >= 8 && err == nil {
				t.Fatalf("%s: %d of %d octets opened", name(s), n, len(pkt))
			}
		}
		if _, _, err := in.Open(dst, bytes.Clone(pkt)); err != nil {
			t.Fatalf("%s: the true packet after the forged ones: %v", name(s), err)
		}
		if _, _, err := in.Open(dst, bytes.Clone(pkt)); !errors.Is(err, ErrReplay) {
			t.Fatalf("%s: the same packet again: %v", name(s), err)
		}
	}
}

// ES-02: the counter begins at 1 and never cycles; at its end no packet leaves.
func TestSequenceExhaustion(t *testing.T) {
	for _, c := range []struct {
		esn  bool
		last uint64
	}{{false, math.MaxUint32}, {true, math.MaxUint64}} {
		out, _ := pairOf(t, Suite{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 128, ESN: c.esn}, 64)
		if pkt := seal(t, out, nil, 59); binary.BigEndian.Uint32(pkt[4:]) != 1 {
			t.Errorf("first packet carries %x", pkt[4:8])
		}
		out.seq = c.last - 2
		seal(t, out, nil, 59)
		seal(t, out, nil, 59)
		for range 3 {
			if _, err := out.Seal(make([]byte, 100), 50, 0, 59); !errors.Is(err, ErrExhausted) {
				t.Errorf("esn %v: after the last number: %v", c.esn, err)
			}
		}
		if out.Sequence() != c.last || out.Left() != 0 {
			t.Errorf("sequence %d, left %d", out.Sequence(), out.Left())
		}
	}
}

// EI-08, EI-09: wrong padding and a Pad Length beyond the text are dropped, after the ICV check.
func TestPadding(t *testing.T) {
	for _, s := range []Suite{{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 128}, {Encr: ikev2.ENCR_AES_CBC, KeyBits: 128, Integ: ikev2.AUTH_HMAC_SHA2_256_128}} {
		for _, c := range []struct {
			text []byte
			want error
		}{
			{[]byte{9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 1, 2, 2, 4}, nil},
			{[]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 14, 4}, nil},
			{[]byte{9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 1, 3, 2, 4}, ErrPadding},
			{[]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 14, 4}, ErrPadding},
			{[]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 4}, ErrPadding},
			{[]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255, 4}, ErrPadding},
		} {
			out, in := pairOf(t, s, 64)
			pkt := make([]byte, out.Headroom()+len(c.text)+out.t.icvLen())
			binary.BigEndian.PutUint64(pkt, 0x1020304000000001)
			copy(pkt[out.Headroom():], c.text)
			out.t.seal(pkt, 1)
			if _, _, err := in.Open(make([]byte, 64), pkt); !errors.Is(err, c.want) {
				t.Errorf("%v: text %v: %v, want %v", s.Encr, c.text, err, c.want)
			}
		}
	}
}

// EI-04: the edges of the window.
func TestWindow(t *testing.T) {
	for _, size := range []int{32, 63, 64, 65, 1000, 4096} {
		var w Window
		if err := w.Init(size); err != nil {
			t.Fatal(err)
		}
		if w.Fresh(0) {
			t.Error("0 is fresh: the first number is 1")
		}
		top := uint64(3*size + 7)
		w.Mark(top)
		for seq, want := range map[uint64]bool{top: false, top + 1: true, top - uint64(size) + 1: true, top - uint64(size): false, 1: false} {
			if w.Fresh(seq) != want {
				t.Errorf("size %d, top %d: Fresh(%d) is %v", size, top, seq, !want)
			}
		}
	}
	for _, size := range []int{-1, 0, 31, 4097} {
		if err := new(Window).Init(size); err == nil {
			t.Errorf("a window of %d was taken", size)
		}
	}
}

// The ring agrees with a set of all numbers ever seen.
func TestWindowAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, size := range []int{32, 64, 100, 4096} {
		var w Window
		if err := w.Init(size); err != nil {
			t.Fatal(err)
		}
		seen, top := map[uint64]bool{}, uint64(0)
		for range 50_000 {
			seq := top + uint64(r.IntN(2*size))
			switch seq -= min(seq, uint64(r.IntN(3*size))); r.IntN(500) {
			case 0:
				seq += uint64(r.IntN(10 * size))
			}
			want := seq != 0 && (seq > top || top-seq < uint64(size) && !seen[seq])
			if got := w.Fresh(seq); got != want {
				t.Fatalf("size %d, top %d: Fresh(%d) = %v, want %v", size, top, seq, got, want)
			}
			if want {
				w.Mark(seq)
				seen[seq], top = true, max(top, seq)
			}
		}
	}
}

// EI-05: the cases of RFC 4303 appendix A2.1 round 2^32.
func TestInfer(t *testing.T) {
	const w = 64
	for _, c := range []struct {
		top  uint64
		low  uint32
		want uint64
		ok   bool
	}{
		{0, 1, 1, true},
		{0, math.MaxUint32, 0, false},      // before the first
		{10, math.MaxUint32 - 3, 0, false}, // likewise
		{100, 37, 37, true},                // bottom of the window
		{100, 36, 1<<32 | 36, true},        // below it: the next subspace
		{100, 200, 200, true},              // ahead
		{math.MaxUint32, 0, 1 << 32, true}, // the counter goes over
		{math.MaxUint32, 5, 1<<32 + 5, true},
		{math.MaxUint32 - 5, math.MaxUint32, math.MaxUint32, true},
		{1<<32 + 10, math.MaxUint32 - 3, math.MaxUint32 - 3, true}, // case B: in the lower subspace
		{1<<32 + 10, math.MaxUint32 - 60, 1<<33 - 61, true},        // case B: below the window, so taken as ahead
		{1<<32 + 10, 10, 1<<32 + 10, true},
		{1<<32 + 62, 0, 1 << 32, true},
		{1<<32 + 63, 0, 1 << 32, true}, // case A begins
		{math.MaxUint64, 5, 0, false},  // nothing after the last subspace
	} {
		got, ok := infer(c.top, w, c.low)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("infer(%#x, %#x) = %#x, %v; want %#x, %v", c.top, c.low, got, ok, c.want, c.ok)
		}
	}
}

// Across 2^32 with loss and reordering, every packet in the window opens once, in every mode of ESN.
func TestESNCrossing(t *testing.T) {
	for _, s := range suites() {
		if !s.ESN {
			continue
		}
		out, in := pairOf(t, s, 128)
		out.seq = math.MaxUint32 - 200
		in.window.Mark(out.seq)
		var held [][]byte
		for n := range 400 {
			held = append(held, seal(t, out, []byte{byte(n)}, 4))
			if len(held) < 100 {
				continue
			}
			for i := len(held) - 1; i >= 0; i-- { // the newest first
				if _, _, err := in.Open(make([]byte, 100), held[i]); err != nil {
					t.Fatalf("%s: packet %d of the batch at %d: %v", name(s), i, n, err)
				}
			}
			held = nil
		}
		if in.Top() != out.Sequence() || in.Top() < 1<<32 {
			t.Errorf("%s: top %#x", name(s), in.Top())
		}
	}
}

func TestRefusedSuites(t *testing.T) {
	for _, s := range []Suite{
		{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 120},
		{Encr: ikev2.ENCR_AES_GCM_16},
		{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 128, Integ: ikev2.AUTH_HMAC_SHA2_256_128},
		{Encr: ikev2.ENCR_AES_CBC, KeyBits: 128}, // ES-11: never without integrity
		{Encr: ikev2.ENCR_3DES},
		{Encr: ikev2.ENCR_NULL},
		{Encr: ikev2.ENCR_AES_CBC, KeyBits: 128, Integ: ikev2.AUTH_HMAC_MD5_96},
	} {
		if _, err := NewOutbound(1000, s, nil, nil); err == nil {
			t.Errorf("%s was taken", name(s))
		}
	}
	s := Suite{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 128}
	if _, err := NewInbound(255, s, make([]byte, 20), nil, 64); err == nil { // ES-01
		t.Error("a reserved SPI was taken")
	}
	if _, err := NewInbound(256, s, make([]byte, 16), nil, 64); err == nil {
		t.Error("a key without salt was taken")
	}
}

func TestNoAllocations(t *testing.T) {
	for _, s := range suites() {
		out, in := pairOf(t, s, 64)
		buf, dst := make([]byte, 2000), make([]byte, 2000)
		if n := testing.AllocsPerRun(100, func() {
			pkt, err := out.Seal(buf, 100, 1400, 4)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := in.Open(dst, pkt); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a packet", name(s), n)
		}
	}
}

func FuzzOpen(f *testing.F) {
	all := suites()
	for n, s := range all {
		out, _ := pairOf(f, s, 64)
		f.Add(uint8(n), seal(f, out, []byte("payload"), 4))
	}
	f.Fuzz(func(t *testing.T, which uint8, pkt []byte) {
		s := all[int(which)%len(all)]
		if len(pkt) < 8 {
			return // the caller reads SPI and sequence number first
		}
		out, in := pairOf(t, s, 64)
		payload, next, err := in.Open(make([]byte, len(pkt)), bytes.Clone(pkt))
		if err != nil {
			return
		}
		// A packet that opens was sealed with our key. What is sealed from its payload opens to the same.
		again, nextAgain, err := in.Open(make([]byte, len(pkt)+300), func() []byte {
			out.seq = in.Top()
			return seal(t, out, payload, next)
		}())
		if err != nil || nextAgain != next || !bytes.Equal(again, payload) {
			t.Fatalf("sealed again: %v, next %d", err, nextAgain)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, s := range suites() {
		for _, n := range []int{64, 512, 1400} {
			b.Run(fmt.Sprintf("%s/%d", name(s), n), func(b *testing.B) {
				out, _ := pairOf(b, s, 64)
				buf := make([]byte, 2000)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := out.Seal(buf, 100, n, 4); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, s := range suites() {
		for _, n := range []int{64, 512, 1400} {
			b.Run(fmt.Sprintf("%s/%d", name(s), n), func(b *testing.B) {
				out, in := pairOf(b, s, 64)
				buf, dst := make([]byte, 2000), make([]byte, 2000)
				pkt, err := out.Seal(buf, 100, n, 4)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					in.window.top = 0
					clear(in.window.words)
					if _, _, err := in.Open(dst, pkt); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
