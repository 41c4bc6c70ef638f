package wire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// FR-03, FR-04, FR-09: numbers, types, sizes and padding of what is sent.
func TestFragmentsAsSent(t *testing.T) {
	for name, make := range protectors() {
		for _, max := range []int{MaxMessage(576, false, true), MaxMessage(1280, true, true), 150, 4000} {
			msgs, err := SealFragments(authHeader(), samples(), make(), max)
			if err != nil {
				t.Fatal(err)
			}
			for i, b := range msgs {
				if len(b) > max {
					t.Errorf("%s: fragment %d has %d octets, more than %d", name, i+1, len(b), max)
				}
				s, err := ParseSealed(b)
				if err != nil {
					t.Fatal(err)
				}
				if len(msgs) == 1 {
					if s.Fragment() {
						t.Errorf("%s: what fits %d octets was fragmented", name, max)
					}
					continue
				}
				if int(s.Number) != i+1 || int(s.Total) != len(msgs) || s.Header.MessageID != 1 || s.Header.NextPayload != ikev2.PayloadSKF {
					t.Errorf("%s: fragment %d is %+v", name, i+1, s)
				}
				if want := map[bool]ikev2.PayloadType{true: ikev2.PayloadSA}[i == 0]; s.First != want {
					t.Errorf("%s: fragment %d says the first payload is %s", name, i+1, s.First)
				}
				if len(b) < max-make().BlockSize() && i < len(msgs)-1 {
					t.Errorf("%s: fragment %d has %d octets of %d", name, i+1, len(b), max)
				}
			}
			in := receive(t, make(), msgs)
			got, err := in.Payloads(DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, samples()) {
				t.Errorf("%s in %d octets: payloads differ", name, max)
			}
		}
	}
}

func TestMaxMessage(t *testing.T) {
	for _, tt := range []struct {
		mtu          int
		ipv6, marker bool
		want         int
	}{{576, false, false, 548}, {576, false, true, 544}, {1280, true, false, 1232}, {1280, true, true, 1228}} {
		if got := MaxMessage(tt.mtu, tt.ipv6, tt.marker); got != tt.want {
			t.Errorf("FR-09: MaxMessage(%d, %t, %t) is %d, want %d", tt.mtu, tt.ipv6, tt.marker, got, tt.want)
		}
	}
}

func TestFragmentsHaveBounds(t *testing.T) {
	for _, max := range []int{0, -1, 60, 70} {
		if msgs, err := SealFragments(authHeader(), samples(), newGCM(), max); err == nil {
			t.Errorf("FR-13: %d fragments of %d octets", len(msgs), max)
		}
	}
}

// fragments gives the frames of a message of about n fragments.
func fragments(t *testing.T, h Header, max int) []Sealed {
	t.Helper()
	msgs, err := SealFragments(h, samples(), newGCM(), max)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]Sealed, len(msgs))
	for i, b := range msgs {
		if out[i], err = ParseSealed(b); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// FR-05: any order, with duplicates, makes the same message.
func TestReassemblyInAnyOrder(t *testing.T) {
	const seed = 7383
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	want, err := AppendPayloads(nil, samples())
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		fs := fragments(t, authHeader(), 120+rng.IntN(900))
		fs = append(fs, fs[:rng.IntN(len(fs))]...)
		rng.Shuffle(len(fs), func(i, j int) { fs[i], fs[j] = fs[j], fs[i] })
		var r Reassembler
		completed := 0
		for _, f := range fs {
			in, done, err := r.Add(f, newGCM(), 0)
			if err != nil && !errors.Is(err, ErrFragment) {
				t.Fatal(err)
			}
			if done {
				completed++
				if !bytes.Equal(in.Plaintext, want) || in.First != ikev2.PayloadSA || in.Fragments != int(f.Total) {
					t.Fatalf("the message differs")
				}
				break // later duplicates are kept away by the message ID (FR-07)
			}
		}
		if completed != 1 {
			t.Fatalf("%d messages from %d fragments", completed, len(fs))
		}
	}
}

func TestFragmentsAreDropped(t *testing.T) {
	fs := fragments(t, authHeader(), 300)
	fewer := fragments(t, authHeader(), 600)
	alter := func(f Sealed, by func(*Header)) Sealed { by(&f.Header); return f }
	forged := fs[1]
	forged.Body = append(bytes.Clone(forged.Body[:len(forged.Body)-1]), forged.Body[len(forged.Body)-1]^1)
	for _, tt := range []struct {
		id string
		f  Sealed
	}{
		{"FR-05 duplicate", fs[0]},
		{"FR-05 bad ICV", forged},
		{"FR-05 smaller total", fewer[1]},
		{"FR-03 number 0", Sealed{Header: fs[1].Header, Total: fs[1].Total, Prefix: fs[1].Prefix, Body: fs[1].Body}},
		{"FR-03 number beyond total", Sealed{Header: fs[1].Header, Number: 99, Total: fs[1].Total, Prefix: fs[1].Prefix, Body: fs[1].Body}},
		{"FR-13 total beyond the bound", Sealed{Header: fs[1].Header, Number: 1, Total: MaxFragments + 1, Prefix: fs[1].Prefix, Body: fs[1].Body}},
		{"FR-04 other exchange", alter(fs[1], func(h *Header) { h.Exchange = ikev2.INFORMATIONAL })},
		{"FR-04 other flags", alter(fs[1], func(h *Header) { h.Initiator = false })},
		{"FR-04 other SA", alter(fs[1], func(h *Header) { h.SPIr++ })},
		{"FR-04 other SA", alter(fs[1], func(h *Header) { h.SPIi++ })},
		{"SK-01 no body", Sealed{Header: fs[1].Header, Number: 2, Total: fs[1].Total, Prefix: fs[1].Prefix}},
	} {
		t.Run(tt.id, func(t *testing.T) {
			var r Reassembler
			if _, _, err := r.Add(fs[0], newGCM(), 0); err != nil {
				t.Fatal(err)
			}
			if _, done, err := r.Add(tt.f, newGCM(), 0); err == nil || done {
				t.Fatalf("taken: done %t", done)
			}
			// What was collected is untouched: the rest completes it.
			for i, f := range fs[1:] {
				_, done, err := r.Add(f, newGCM(), 0)
				if err != nil || done != (i == len(fs)-2) {
					t.Fatalf("fragment %d: done %t, %v", i+2, done, err)
				}
			}
			if r.Pending() != 0 {
				t.Error("something is left")
			}
		})
	}
}

// FR-05, FR-10: a larger total begins anew, and only after its ICV was found right.
func TestLargerTotalBeginsAnew(t *testing.T) {
	fewer, more := fragments(t, authHeader(), 600), fragments(t, authHeader(), 300)
	var r Reassembler
	for _, f := range fewer[:len(fewer)-1] {
		if _, _, err := r.Add(f, newGCM(), 0); err != nil {
			t.Fatal(err)
		}
	}
	forged := more[0]
	forged.Body = bytes.Repeat([]byte{1}, len(forged.Body))
	if _, _, err := r.Add(forged, newGCM(), 0); !errors.Is(err, errICV) {
		t.Fatalf("got %v", err)
	}
	if len(r.queues[0].pieces) != len(fewer) {
		t.Fatal("a forged fragment emptied the queue")
	}
	for i, f := range more {
		_, done, err := r.Add(f, newGCM(), 0)
		if err != nil || done != (i == len(more)-1) {
			t.Fatalf("fragment %d: done %t, %v", i+1, done, err)
		}
	}
	if r.Pending() != 0 {
		t.Error("something is left")
	}
}

// FR-06, FR-13: messages in the making are bounded in number, size and time.
func TestReassemblyBounds(t *testing.T) {
	var r Reassembler
	for id := range uint32(50) {
		h := authHeader()
		h.MessageID = id
		if _, _, err := r.Add(fragments(t, h, 300)[0], newGCM(), int64(id)); err != nil {
			t.Fatal(err)
		}
		if r.Pending() > MaxReassemblies {
			t.Fatalf("%d messages in the making", r.Pending())
		}
	}
	if r.find(Header{MessageID: 49}) < 0 || r.find(Header{MessageID: 45}) >= 0 {
		t.Error("the oldest does not go first")
	}
	r.Expire(48)
	if r.Pending() != 2 {
		t.Errorf("%d are left after their time", r.Pending())
	}
	r.Forget(Header{MessageID: 49})
	r.Forget(Header{MessageID: 12345})
	if r.Pending() != 1 {
		t.Errorf("%d are left after one was forgotten", r.Pending())
	}
	r.Reset()
	if r.Pending() != 0 {
		t.Error("Reset leaves something")
	}

	// A peer that sends huge fragments.
	h := authHeader()
	for n := uint16(1); n <= 3; n++ {
		b, err := seal(nil, h, 0, make([]byte, 30000), n, 4, newGCM())
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseSealed(b)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = r.Add(s, newGCM(), 0)
		if n < 3 && err != nil || n == 3 && !errors.Is(err, ErrFragment) {
			t.Fatalf("fragment %d: %v", n, err)
		}
	}
	if r.Pending() != 0 {
		t.Error("too long a message is kept")
	}
}

// A request and a response with one message ID do not mix.
func TestRequestAndResponseAreApart(t *testing.T) {
	req, res := authHeader(), authHeader()
	res.Response, res.Initiator = true, false
	a, b := fragments(t, req, 600), fragments(t, res, 600)
	var r Reassembler
	for i := range a {
		for _, f := range []Sealed{a[i], b[i]} {
			in, done, err := r.Add(f, newGCM(), 0)
			if err != nil || done != (i == len(a)-1) {
				t.Fatalf("fragment %d: done %t, %v", i+1, done, err)
			}
			if done && in.Header.Response != f.Header.Response {
				t.Error("request and response are mixed up")
			}
		}
	}
}

// The reassembler keeps no part of the datagrams: they are the caller's buffers.
func TestReassemblerCopies(t *testing.T) {
	fs := fragments(t, authHeader(), 600)
	var r Reassembler
	for i, f := range fs {
		in, done, err := r.Add(f, newGCM(), 0)
		if err != nil {
			t.Fatal(err)
		}
		clear(f.Prefix)
		clear(f.Body)
		if done != (i == len(fs)-1) {
			t.Fatalf("done %t", done)
		}
		if done {
			if ps, err := in.Payloads(DefaultLimits()); err != nil || !reflect.DeepEqual(ps, samples()) {
				t.Errorf("the message was overwritten: %v", err)
			}
			if x := ikev2.ExchangeType(in.AppendIntAuth(nil)[18]); x != ikev2.IKE_AUTH {
				t.Errorf("the prefix was overwritten: exchange %s", x)
			}
		}
	}
}
