package wire

import (
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// A typical IKE_SA_INIT request takes an allocation a payload and no copy of its octets.
func TestInitParseAllocations(t *testing.T) {
	b := rawInit(initPayloads()...)
	allocs := testing.AllocsPerRun(100, func() {
		m, err := ParseMessage(b)
		if err != nil || CheckLegal(m.Header.Exchange, false, m.Payloads) != nil {
			t.Fatal(err)
		}
	})
	// The list, the notifies together, SA with proposals and transforms, KE, nonce, vendor ID.
	if allocs > 8 {
		t.Errorf("%.0f allocations, want at most 8", allocs)
	}
}

func BenchmarkParseInit(b *testing.B) {
	msg := rawInit(initPayloads()...)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseMessage(msg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClassifyInit(b *testing.B) {
	m, err := ParseMessage(rawInit(initPayloads()...))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Classify(ikev2.IKE_SA_INIT, false, m.Payloads); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendInit(b *testing.B) {
	m, err := ParseMessage(rawInit(initPayloads()...))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := AppendMessage(buf, m.Header, m.Payloads); err != nil {
			b.Fatal(err)
		}
	}
}

// nullProtector leaves the framing's own cost.
type nullProtector struct{ body []byte }

func (p nullProtector) SealSK(_, plaintext []byte) ([]byte, error) {
	return append(p.body[:8], append(plaintext, p.body[:16]...)...), nil
}
func (nullProtector) OpenSK(_, body []byte) ([]byte, error) { return body[8 : len(body)-16], nil }
func (nullProtector) BlockSize() int                        { return 1 }
func (nullProtector) Overhead() int                         { return 24 }

func BenchmarkOpenAuth(b *testing.B) {
	msg, err := Seal(nil, authHeader(), samples(), nullProtector{make([]byte, 24)})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		s, err := ParseSealed(msg)
		if err != nil {
			b.Fatal(err)
		}
		in, err := s.Open(nullProtector{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := in.Payloads(DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReassemble(b *testing.B) {
	msgs, err := SealFragments(authHeader(), samples(), nullProtector{make([]byte, 24)}, 544)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var r Reassembler
		for i, m := range msgs {
			s, err := ParseSealed(m)
			if err != nil {
				b.Fatal(err)
			}
			if _, done, err := r.Add(s, nullProtector{}, 0); err != nil || done != (i == len(msgs)-1) {
				b.Fatal(done, err)
			}
		}
	}
}
