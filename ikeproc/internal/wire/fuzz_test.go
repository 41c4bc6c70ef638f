package wire

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// checkReencoding is the malleability test: what was parsed encodes to something as long that parses to the same and
// encodes to itself; reserved bits are all that may differ from the octets received.
func checkReencoding(t *testing.T, first ikev2.PayloadType, b []byte, ps []Payload) {
	t.Helper()
	enc, err := AppendPayloads(nil, ps)
	if err != nil {
		t.Fatalf("what was parsed does not encode: %v", err)
	}
	if len(enc) != len(b) || firstType(ps) != first {
		t.Fatalf("%d octets encode to %d", len(b), len(enc))
	}
	again, err := parseChain(first, enc, 0, DefaultLimits(), true)
	if err != nil {
		t.Fatalf("what was encoded does not parse: %v", err)
	}
	if !reflect.DeepEqual(again, ps) {
		t.Fatalf("%x\nparses to %v,\nencoded to %v", b, ps, again)
	}
	twice, err := AppendPayloads(nil, again)
	if err != nil || !bytes.Equal(twice, enc) {
		t.Fatalf("%x\nencodes to %x %v", enc, twice, err)
	}
}

func checkError(t *testing.T, err error, n int) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no *Error", err)
	}
	if e.Offset < 0 || e.Offset > n || e.Text == "" {
		t.Fatalf("error in %d octets stands at %d: %v", n, e.Offset, e)
	}
	_ = e.Reply()
}

func FuzzMessage(f *testing.F) {
	f.Add(rawInit(initPayloads()...))
	f.Add(rawInit())
	f.Add(rawFragment(1, 2))
	f.Add(unhex(`c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e2025000000000900000045290000291011121314151617
		610394701f8d017f7c129248896b71bfe25236efd7cdc67066906315b2`))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		m, err := ParseMessage(b)
		if err != nil {
			checkError(t, err, len(b))
		} else {
			checkReencoding(t, m.Header.NextPayload, b[HeaderLen:], m.Payloads)
			_, _ = Classify(m.Header.Exchange, m.Header.Response, m.Payloads)
		}
		if s, err := ParseSealed(b); err != nil {
			checkError(t, err, len(b))
		} else if len(s.Prefix)+len(s.Body) != len(b) {
			t.Fatalf("frame of %d and %d octets from %d", len(s.Prefix), len(s.Body), len(b))
		}
		if !bytes.Equal(b, before) {
			t.Fatal("the parser wrote into its input")
		}
	})
}

func FuzzPayloads(f *testing.F) {
	for _, p := range samples() {
		b, err := AppendPayloads(nil, []Payload{p})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(p.PayloadType()), b)
	}
	f.Fuzz(func(t *testing.T, first byte, b []byte) {
		ps, err := ParsePayloads(ikev2.PayloadType(first), b, DefaultLimits())
		if err != nil {
			checkError(t, err, len(b))
			return
		}
		checkReencoding(t, ikev2.PayloadType(first), b, ps)
		for _, x := range []ikev2.ExchangeType{ikev2.IKE_AUTH, ikev2.CREATE_CHILD_SA, ikev2.INFORMATIONAL} {
			_, _ = Classify(x, false, ps)
			_, _ = Classify(x, true, ps)
		}
	})
}

// FuzzReassembly plays a script of fragments into a reassembler: each three octets name a message, a fragment size
// and a fragment of it, perhaps forged. Whatever is complete must be what was sent.
func FuzzReassembly(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 3})
	f.Add([]byte{1, 3, 0, 1, 1, 0, 1, 1, 1, 0x81, 1, 2, 1, 1, 2})
	sizes := []int{200, 300, 600, 900}
	want, err := AppendPayloads(nil, samples())
	if err != nil {
		f.Fatal(err)
	}
	// Built once: each script only picks among them.
	var frames [8][4][]Sealed
	for id := range frames {
		for i, size := range sizes {
			h := authHeader()
			h.MessageID, h.Response = uint32(id/2), id%2 == 1
			msgs, err := SealFragments(h, samples(), newGCM(), size)
			if err != nil {
				f.Fatal(err)
			}
			for _, b := range msgs {
				s, err := ParseSealed(b)
				if err != nil {
					f.Fatal(err)
				}
				frames[id][i] = append(frames[id][i], s)
			}
		}
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		var r Reassembler
		p := newGCM()
		for tick := int64(0); len(script) >= 3; tick++ {
			fs := frames[script[0]&7][script[1]&3]
			s := fs[int(script[2])%len(fs)]
			forged := script[0]&0x80 != 0
			if forged {
				s.Body = bytes.Clone(s.Body)
				s.Body[int(script[1])%len(s.Body)] ^= 1 + script[2]&0x7f
			}
			if script[0]&0x40 != 0 {
				r.Expire(tick - 5)
			}
			script = script[3:]
			pending := r.Pending()
			in, done, err := r.Add(s, p, tick)
			if forged && (err == nil || r.Pending() != pending) {
				t.Fatalf("a forged fragment did something: %v", err)
			}
			if done && (!bytes.Equal(in.Plaintext, want) || in.First != ikev2.PayloadSA ||
				in.Header.MessageID != s.Header.MessageID || in.Header.Response != s.Header.Response) {
				t.Fatal("the message is not what was sent")
			}
			held := 0
			for _, q := range r.queues {
				held += q.octets
			}
			if r.Pending() > MaxReassemblies || held > MaxReassemblies*MaxReassembled {
				t.Fatalf("%d messages with %d octets are held", r.Pending(), held)
			}
		}
	})
}
