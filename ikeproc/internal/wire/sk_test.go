package wire

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

func protectors() map[string]func() Protector {
	return map[string]func() Protector{
		"gcm": func() Protector { return newGCM() },
		"cbc": func() Protector { return &cbcProtector{} },
	}
}

func infoHeader() Header {
	return Header{SPIi: 1, SPIr: 2, Major: 2, Exchange: ikev2.INFORMATIONAL, Initiator: true, MessageID: 7}
}

func authHeader() Header {
	h := infoHeader()
	h.Exchange, h.MessageID = ikev2.IKE_AUTH, 1
	return h
}

func TestSealAndOpen(t *testing.T) {
	for name, make := range protectors() {
		for _, tt := range []struct {
			id string
			ps []Payload
		}{
			{"SK-08 empty", nil},
			{"all payloads", samples()},
			{"one", []Payload{&Delete{Protocol: ikev2.ProtocolIKE}}},
		} {
			t.Run(name+" "+tt.id, func(t *testing.T) {
				b, err := Seal([]byte("before"), infoHeader(), tt.ps, make())
				if err != nil {
					t.Fatal(err)
				}
				s, err := ParseSealed(b[len("before"):])
				if err != nil {
					t.Fatal(err)
				}
				if s.Fragment() || s.Number != 0 || len(s.Prefix) != HeaderLen+genericLen {
					t.Errorf("frame is %+v", s)
				}
				in, err := s.Open(make())
				if err != nil {
					t.Fatal(err)
				}
				got, err := in.Payloads(DefaultLimits())
				if err != nil {
					t.Fatal(err)
				}
				if len(got) != 0 || len(tt.ps) != 0 {
					if !reflect.DeepEqual(got, tt.ps) {
						t.Errorf("got %v, want %v", got, tt.ps)
					}
				}
				// HD-22: the SK payload's Next Payload is the first inner type, 0 if there is none.
				if s.First != firstType(tt.ps) {
					t.Errorf("first inner payload is %s", s.First)
				}
			})
		}
	}
}

// SK-05: the message of RFC 7634 appendix B comes out of Seal octet for octet, and opens.
func TestRFC7634Message(t *testing.T) {
	want := unhex(`c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e2025000000000900000045290000291011121314151617
		610394701f8d017f7c129248896b71bfe25236efd7cdc67066906315b2`)
	p := rfc7634{}
	s, err := ParseSealed(want)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := in.Payloads(DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	n := Find[*Notify](ps)
	if len(ps) != 1 || n.Type != ikev2.SET_WINDOW_SIZE {
		t.Fatalf("got %v", ps)
	}
	if w, ok := n.Uint32(); !ok || w != 10 {
		t.Errorf("window is %d", w)
	}
	got, err := Seal(nil, s.Header, ps, p)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %x\nwant %x", got, want)
	}
}

type rfc7634 struct{}

func (rfc7634) key() ([]byte, []byte) {
	return unhex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"), unhex("a0a1a2a3 1011121314151617")
}

func (p rfc7634) SealSK(prefix, plaintext []byte) ([]byte, error) {
	key, nonce := p.key()
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nonce[4:12:12], nonce, plaintext, prefix), nil
}

func (p rfc7634) OpenSK(prefix, body []byte) ([]byte, error) {
	key, nonce := p.key()
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, nonce, body[8:], prefix)
}

func (rfc7634) BlockSize() int { return 1 }
func (rfc7634) Overhead() int  { return 24 }

// SK-01, SK-02: every octet of the message is covered; whatever is flipped, nothing inside is parsed.
func TestEveryOctetIsCovered(t *testing.T) {
	for name, make := range protectors() {
		b, err := Seal(nil, infoHeader(), []Payload{&Nonce{Data: bytes.Repeat([]byte{1}, 16)}}, make())
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			for bit := range 8 {
				bent := bytes.Clone(b)
				bent[i] ^= 1 << bit
				s, err := ParseSealed(bent)
				if err != nil {
					continue // not even a frame
				}
				if s.Fragment() {
					var r Reassembler
					if _, done, err := r.Add(s, make(), 0); err == nil || done || r.Pending() != 0 {
						t.Fatalf("%s: octet %d bit %d: a forged fragment was taken: %v", name, i, bit, err)
					}
					continue
				}
				if _, err := s.Open(make()); !errors.Is(err, errICV) {
					t.Fatalf("%s: octet %d bit %d: %v", name, i, bit, err)
				}
			}
		}
	}
}

// paddedProtector replaces the plaintext's padding by one of the test's choice.
type paddedProtector struct {
	*gcmProtector
	plain []byte
}

func (p paddedProtector) SealSK(prefix, _ []byte) ([]byte, error) {
	return p.gcmProtector.SealSK(prefix, p.plain)
}

func (p paddedProtector) Overhead() int { return 24 }

func TestPadding(t *testing.T) {
	inner := unhex("0000 0008 03000000")
	for _, tt := range []struct {
		id    string
		plain []byte
		ok    bool
	}{
		{"SK-04 no padding", append(bytes.Clone(inner), 0), true},
		{"SK-04 255 octets of noise", append(append(bytes.Clone(inner), bytes.Repeat([]byte{0xa5}, 255)...), 255), true},
		{"SK-08 only padding", append(make([]byte, 9), 9), true},
		{"SK-06 padding of all and one more", append(make([]byte, 9), 10), false},
		{"SK-06 nothing but a Pad Length of 255", []byte{255}, false},
	} {
		t.Run(tt.id, func(t *testing.T) {
			p := paddedProtector{newGCM(), tt.plain}
			prefix := appendHeader(nil, infoHeader(), ikev2.PayloadSK, HeaderLen+genericLen+len(tt.plain)+24)
			prefix = append(prefix, 0, 0, 0, byte(genericLen+len(tt.plain)+24))
			if n := genericLen + len(tt.plain) + 24; n > 255 {
				prefix[len(prefix)-2], prefix[len(prefix)-1] = byte(n>>8), byte(n)
			}
			body, err := p.SealSK(prefix, nil)
			if err != nil {
				t.Fatal(err)
			}
			s, err := ParseSealed(append(prefix, body...))
			if err != nil {
				t.Fatal(err)
			}
			in, err := s.Open(p)
			if tt.ok {
				if err != nil || len(in.Plaintext) > len(inner) {
					t.Errorf("got %x %v", in.Plaintext, err)
				}
				return
			}
			// The sender is authenticated, so INVALID_SYNTAX may be answered.
			wantError(t, err, ikev2.INVALID_SYNTAX)
		})
	}
}

// SK-07: what is authentic but malformed inside is INVALID_SYNTAX, an unknown critical payload is named.
func TestMalformedInside(t *testing.T) {
	open := func(ps ...Payload) error {
		b, err := Seal(nil, infoHeader(), ps, newGCM())
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseSealed(b)
		if err != nil {
			t.Fatal(err)
		}
		in, err := s.Open(newGCM())
		if err != nil {
			t.Fatal(err)
		}
		_, err = in.Payloads(DefaultLimits())
		return err
	}
	wantError(t, open(rawBody{ikev2.PayloadNonce, make([]byte, 3)}), ikev2.INVALID_SYNTAX)
	e := wantError(t, open(&Unknown{Kind: 99, Critical: true}), ikev2.UNSUPPORTED_CRITICAL_PAYLOAD)
	if e.CriticalType != 99 {
		t.Errorf("HD-15: critical type is %d", e.CriticalType)
	}
}

// rawBody encodes whatever the test says.
type rawBody struct {
	kind ikev2.PayloadType
	body []byte
}

func (p rawBody) PayloadType() ikev2.PayloadType        { return p.kind }
func (p rawBody) AppendBody(dst []byte) ([]byte, error) { return append(dst, p.body...), nil }

func TestSealedFrame(t *testing.T) {
	good, err := Seal(nil, infoHeader(), []Payload{&Delete{Protocol: ikev2.ProtocolIKE}}, newGCM())
	if err != nil {
		t.Fatal(err)
	}
	withLen := func(b []byte) []byte {
		b[26], b[27] = byte(len(b)>>8), byte(len(b))
		return b
	}
	for _, tt := range []struct {
		id string
		b  func() []byte
	}{
		{"HD-22 octets after SK", func() []byte { return withLen(append(bytes.Clone(good), 0, 0, 0, 4)) }},
		{"HD-22 SK overruns", func() []byte { b := bytes.Clone(good); b[31]++; return b }},
		{"HD-22 SK falls short", func() []byte { b := bytes.Clone(good); b[31]--; return b }},
		{"IM-03 no SK", func() []byte { b := rawInit(initPayloads()...); b[18] = 37; return b }},
		{"HD-11 length", func() []byte { return append(bytes.Clone(good), 0) }},
		{"HD-21 257 payloads before SK", func() []byte {
			b := bytes.Clone(good[:HeaderLen])
			for range 257 {
				b = append(b, 43, 0, 0, 4)
			}
			b[16] = 43
			b[len(b)-4] = 46
			return withLen(append(b, good[HeaderLen:]...))
		}},
		{"FR-03 fragment 0 of 0", func() []byte { return rawFragment(0, 0) }},
		{"FR-03 fragment 0 of 1", func() []byte { return rawFragment(0, 1) }},
		{"FR-03 fragment 3 of 2", func() []byte { return rawFragment(3, 2) }},
		{"FR-03 fragment without numbers", func() []byte {
			b := rawFragment(1, 1)[:HeaderLen+genericLen+3]
			b[31] = 7
			return withLen(b)
		}},
	} {
		t.Run(tt.id, func(t *testing.T) {
			_, err := ParseSealed(tt.b())
			wantError(t, err, silence)
		})
	}
	// A frame too short for IV and ICV is dropped without calling the protector.
	b := withLen(append(bytes.Clone(good[:HeaderLen]), 0, 0, 0, 28, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24))
	s, err := ParseSealed(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(newGCM()); err == nil {
		t.Error("24 octets of body open")
	}
	s, err = ParseSealed(rawFragment(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(newGCM()); err == nil {
		t.Error("Open takes a fragment")
	}
}

func rawFragment(number, total byte) []byte {
	b := appendHeader(nil, infoHeader(), ikev2.PayloadSKF, HeaderLen+8+40)
	return append(append(b, 0, 0, 0, 48, 0, number, 0, total), make([]byte, 40)...)
}

// HD-23: payloads before SK are covered by the ICV but never become part of the message.
func TestUnprotectedPayloadsHaveNoEffect(t *testing.T) {
	p := newGCM()
	plain := append(rawChain(rawPayload{ikev2.PayloadDelete, 0, unhex("01000000")}), 0)
	before := rawPayload{ikev2.PayloadNotify, 0, unhex("00004000")}
	prefix := appendHeader(nil, infoHeader(), ikev2.PayloadNotify, HeaderLen+8+genericLen+len(plain)+24)
	prefix = append(prefix, rawChain(before)...)
	prefix[HeaderLen] = byte(ikev2.PayloadSK)
	prefix = append(prefix, byte(ikev2.PayloadDelete), 0, 0, byte(genericLen+len(plain)+24))
	body, err := p.SealSK(prefix, plain)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseSealed(append(prefix, body...))
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := in.Payloads(DefaultLimits())
	if err != nil || len(ps) != 1 || Find[*Delete](ps) == nil {
		t.Errorf("got %v %v", ps, err)
	}
}

func TestSealRefuses(t *testing.T) {
	if _, err := Seal(nil, infoHeader(), []Payload{&SK{}}, newGCM()); err == nil {
		t.Error("HD-22: SK inside SK is sealed")
	}
	if _, err := SealFragments(infoHeader(), []Payload{&SKF{Number: 1, Total: 1}}, newGCM(), 1280); err == nil {
		t.Error("HD-22: SKF inside SK is sealed")
	}
	if _, err := Seal(nil, infoHeader(), []Payload{&KE{Data: make([]byte, 65500)}}, newGCM()); err == nil {
		t.Error("a payload longer than its length field is sealed")
	}
	broken := brokenProtector{newGCM(), nil, errors.New("no key")}
	if _, err := Seal(nil, infoHeader(), nil, broken); !errors.Is(err, broken.err) {
		t.Errorf("got %v", err)
	}
	if _, err := Seal(nil, infoHeader(), nil, brokenProtector{newGCM(), []byte{1}, nil}); err == nil {
		t.Error("a body of the wrong length is sent")
	}
	if _, err := SealFragments(infoHeader(), samples(), broken, 300); !errors.Is(err, broken.err) {
		t.Errorf("got %v", err)
	}
}

type brokenProtector struct {
	*gcmProtector
	body []byte
	err  error
}

func (p brokenProtector) SealSK(_, _ []byte) ([]byte, error) { return p.body, p.err }

// SK-03, TR-07: what is sent is aligned, and longer by exactly the overhead.
func TestSealedLength(t *testing.T) {
	for name, make := range protectors() {
		for n := range 40 {
			t.Run(fmt.Sprintf("%s vendor ID of %d", name, n), func(t *testing.T) {
				p := make()
				b, err := Seal(nil, infoHeader(), []Payload{&VendorID{Data: bytes.Repeat([]byte{1}, n)}}, p)
				if err != nil {
					t.Fatal(err)
				}
				inner := len(b) - HeaderLen - genericLen - p.Overhead()
				if inner%p.BlockSize() != 0 || inner < 4+n+1 || inner > 4+n+p.BlockSize() {
					t.Errorf("%d octets of plaintext for %d of payloads", inner, 4+n)
				}
			})
		}
	}
}

// IM-05: sender and receiver compute the same octets, whole or in fragments, whatever the cipher; and they are those of
// RFC 9242 figure 1.
func TestIntAuth(t *testing.T) {
	h := authHeader()
	h.Exchange = ikev2.IKE_INTERMEDIATE
	ps := []Payload{&KE{Method: ikev2.KE_MLKEM768, Data: bytes.Repeat([]byte{9}, 1184)}}
	sent, err := AppendIntAuth([]byte("before"), h, ps)
	if err != nil {
		t.Fatal(err)
	}
	sent = sent[len("before"):]
	want := appendHeader(nil, h, ikev2.PayloadSK, HeaderLen+4+8+1184)
	want = append(want, byte(ikev2.PayloadKE), 0, 0x04, 0xac, 0, 0, 0x04, 0xa8, 0, 36, 0, 0)
	want = append(want, bytes.Repeat([]byte{9}, 1184)...)
	if !bytes.Equal(sent, want) {
		t.Errorf("got %x\nwant %x", sent[:48], want[:48])
	}
	for name, make := range protectors() {
		for _, max := range []int{65535, 1200, 548, 200} {
			msgs, err := SealFragments(h, ps, make(), max)
			if err != nil {
				t.Fatal(err)
			}
			in := receive(t, make(), msgs)
			if got := in.AppendIntAuth([]byte{1, 2}); !bytes.Equal(got[2:], sent) {
				t.Errorf("%s in %d: got %x\nwant %x", name, len(msgs), got[2:50], sent[:48])
			}
		}
	}
}

// receive opens a message that came in one or more datagrams.
func receive(t *testing.T, p Protector, msgs [][]byte) Inner {
	t.Helper()
	var r Reassembler
	for i, b := range msgs {
		s, err := ParseSealed(b)
		if err != nil {
			t.Fatal(err)
		}
		if !s.Fragment() {
			in, err := s.Open(p)
			if err != nil {
				t.Fatal(err)
			}
			return in
		}
		in, done, err := r.Add(s, p, 0)
		if err != nil {
			t.Fatal(err)
		}
		if done != (i == len(msgs)-1) {
			t.Fatalf("fragment %d of %d: done %t", i+1, len(msgs), done)
		}
		if done {
			return in
		}
	}
	t.Fatal("the message did not end")
	return Inner{}
}
