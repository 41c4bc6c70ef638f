package wire

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// samples holds a value of every payload with every field in use.
func samples() []Payload {
	nonce := bytes.Repeat([]byte{7}, 32)
	return []Payload{
		&SA{Proposals: []Proposal{
			{Number: 1, Protocol: ikev2.ProtocolESP, SPI: []byte{1, 2, 3, 4}, Transforms: []Transform{
				{Type: ikev2.TransformENCR, ID: uint16(ikev2.ENCR_AES_GCM_16), KeyBits: 256},
				{Type: ikev2.TransformENCR, ID: uint16(ikev2.ENCR_CHACHA20_POLY1305)},
				{Type: ikev2.TransformSN, ID: uint16(ikev2.SN_ESN), Unknown: []byte{0x80, 99, 0, 1, 0, 98, 0, 2, 5, 6}},
			}},
			{Number: 2, Protocol: ikev2.ProtocolAH, SPI: []byte{4, 3, 2, 1}, Transforms: []Transform{{Type: 241, ID: 0xffff}}},
		}},
		&KE{Method: ikev2.KE_MLKEM768, Data: make([]byte, 1184)},
		&ID{Type: ikev2.ID_FQDN, Reserved: [3]byte{1, 2, 3}, Data: []byte("berlin.example")},
		&ID{Responder: true, Type: ikev2.ID_IPV4_ADDR, Data: []byte{192, 0, 2, 1}},
		&CERT{Encoding: ikev2.CertX509Signature, Data: []byte{0x30, 0}},
		&CERTREQ{Encoding: ikev2.CertX509Signature, Authorities: make([]byte, 40)},
		&AUTH{Method: ikev2.AuthSharedKey, Data: []byte{1, 2, 3}},
		&Nonce{Data: nonce},
		&Notify{Type: ikev2.COOKIE, Data: []byte("cookie")},
		NotifyChild(ikev2.REKEY_SA, ikev2.ProtocolESP, 0xc0ffee00),
		&Delete{Protocol: ikev2.ProtocolESP, SPIs: []uint32{256, 0xffffffff}},
		&Delete{Protocol: ikev2.ProtocolIKE},
		&Delete{Protocol: 9, SPISize: 3, Raw: []byte{1, 2, 3, 4, 5, 6}},
		&VendorID{Data: []byte("trike")},
		&TS{Selectors: []Selector{
			AddressRange(netip.MustParseAddr("10.1.0.0"), netip.MustParseAddr("10.1.255.255"), 0, 0, 65535),
			{Type: ikev2.TS_SECLABEL, Raw: []byte("label")},
		}},
		&TS{Responder: true, Selectors: []Selector{
			AddressRange(netip.MustParseAddr("2001:db8::"), netip.MustParseAddr("2001:db8::ffff"), 6, 443, 443),
			AddressRange(netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("::ffff:10.0.0.1"), 17, 65535, 0),
		}},
		&CP{Type: ikev2.CFG_REQUEST, Attributes: []ConfigAttribute{{Type: ikev2.INTERNAL_IP4_ADDRESS}, {Type: 0x7fff, Value: []byte{1}}}},
		&EAP{Packet: []byte{1, 9, 0, 5, 1}},
		&EAP{Packet: []byte{3, 9, 0, 4}},
		&Unknown{Kind: 200, Data: []byte{0xde, 0xad}},
	}
}

// Every payload: parse(encode(x)) is x, and encode(parse(b)) is b.
func TestRoundTrip(t *testing.T) {
	for _, p := range samples() {
		t.Run(fmt.Sprintf("%T", p), func(t *testing.T) {
			b, err := AppendPayloads(nil, []Payload{p})
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParsePayloads(p.PayloadType(), b, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, []Payload{p}) {
				t.Errorf("got %+v, want %+v", got[0], p)
			}
			again, err := AppendPayloads(nil, got)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, b) {
				t.Errorf("got %x, want %x", again, b)
			}
		})
	}
	all := samples()
	b, err := AppendPayloads(nil, all)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParsePayloads(ikev2.PayloadSA, b, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, all) {
		t.Errorf("all of them in one chain differ")
	}
	// CF-04, HD-20: no prefix of the chain is a chain.
	for n := range b {
		if _, err := ParsePayloads(ikev2.PayloadSA, b[:n:n], DefaultLimits()); err == nil {
			t.Fatalf("the first %d of %d octets parse", n, len(b))
		}
	}
}

// The octets of a hand-written IKE_SA_INIT request come back from parser and encoder unchanged.
func TestCanonicalMessage(t *testing.T) {
	b := rawInit(initPayloads()...)
	m, err := ParseMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	sa := Find[*SA](m.Payloads)
	want := []Transform{
		{Type: ikev2.TransformENCR, ID: uint16(ikev2.ENCR_AES_GCM_16), KeyBits: 256},
		{Type: ikev2.TransformPRF, ID: uint16(ikev2.PRF_HMAC_SHA2_256)},
		{Type: ikev2.TransformKE, ID: uint16(ikev2.KE_CURVE25519)},
	}
	if len(sa.Proposals) != 1 || !reflect.DeepEqual(sa.Proposals[0].Transforms, want) {
		t.Errorf("got %+v", sa.Proposals)
	}
	if hs := FindNotify(m.Payloads, ikev2.SIGNATURE_HASH_ALGORITHMS).Hashes(); !reflect.DeepEqual(hs, []ikev2.HashID{2, 3, 4, 5}) {
		t.Errorf("hashes are %v", hs)
	}
	out, err := AppendMessage([]byte("before"), m.Header, m.Payloads)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out, append([]byte("before"), b...)) {
		t.Errorf("got %x\nwant %x", out, b)
	}
}

// HD-12, HD-13: reserved bits, reserved octets and the critical bit of known payloads change nothing.
func TestReservedBitsAreIgnored(t *testing.T) {
	clean, err := ParseMessage(rawInit(initPayloads()...))
	if err != nil {
		t.Fatal(err)
	}
	dirty := initPayloads()
	for i := range dirty {
		dirty[i].flags = 0xff
	}
	dirty[0].body[1] = 0xff                             // proposal's reserved octet
	dirty[0].body[8+1], dirty[0].body[8+5] = 0xff, 0xff // transform's
	dirty[1].body[2], dirty[1].body[3] = 0xff, 0xff
	got, err := ParseMessage(rawInit(dirty...))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, clean) {
		t.Errorf("got %+v, want %+v", got, clean)
	}
}

func TestChainFaults(t *testing.T) {
	good := initPayloads()
	for _, tt := range []struct {
		id string
		b  func() []byte
	}{
		{"HD-20 payload length 3", func() []byte { b := rawInit(good...); b[31] = 3; return b }},
		{"HD-20 payload length 0", func() []byte { b := rawInit(good...); b[31] = 0; return b }},
		{"HD-20 payload overruns", func() []byte { b := rawInit(good...); b[30] = 0xff; return b }},
		{"HD-20 octets after the chain", func() []byte { b := rawInit(good...); b[16] = 0; return b }},
		{"HD-20 chain goes on behind the end", func() []byte { b := rawInit(good[2]); b[28] = 41; return b }},
		{"HD-20 no octet of the first payload", func() []byte { b := rawInit(); b[16] = 33; return b }},
	} {
		t.Run(tt.id, func(t *testing.T) {
			_, err := ParseMessage(tt.b())
			wantError(t, err, ikev2.INVALID_SYNTAX)
		})
	}
}

// HD-14: unknown payloads that are not critical are skipped wherever they stand.
func TestUnknownPayloadsAreSkipped(t *testing.T) {
	for _, kind := range []ikev2.PayloadType{1, 32, 49, 54, 60, 127, 255} {
		ps := initPayloads()
		for at := 0; at <= len(ps); at++ {
			with := append(append(append([]rawPayload{}, ps[:at]...), rawPayload{kind, 0x7f, []byte{1, 2, 3}}), ps[at:]...)
			m, err := ParseMessage(rawInit(with...))
			if err != nil {
				t.Fatalf("type %d at %d: %v", kind, at, err)
			}
			if shape, err := Classify(m.Header.Exchange, m.Header.Response, m.Payloads); err != nil || shape != InitOffer {
				t.Fatalf("type %d at %d: %v %v", kind, at, shape, err)
			}
		}
	}
}

// HD-15: an unknown critical payload is refused by its type; HD-20 goes first if the chain is broken besides.
func TestUnknownCriticalPayload(t *testing.T) {
	for _, kind := range []ikev2.PayloadType{1, 32, 49, 54, 255} {
		ps := append(initPayloads(), rawPayload{kind, 0x80, nil}, rawPayload{201, 0x80, nil})
		_, err := ParseMessage(rawInit(ps...))
		e := wantError(t, err, ikev2.UNSUPPORTED_CRITICAL_PAYLOAD)
		if n := e.Reply(); e.CriticalType != kind || !bytes.Equal(n.Data, []byte{byte(kind)}) {
			t.Errorf("type %d: %+v, reply %+v", kind, e, n)
		}
		_, err = ParsePayloads(kind, rawChain(ps[len(ps)-2]), DefaultLimits())
		wantError(t, err, ikev2.UNSUPPORTED_CRITICAL_PAYLOAD)
	}
	b := rawInit(append([]rawPayload{{99, 0x80, nil}}, initPayloads()...)...)
	b[len(b)-10] = 0xff // length of the last payload
	_, err := ParseMessage(b)
	wantError(t, err, ikev2.INVALID_SYNTAX)
}

// HD-17: nothing but an Unknown made critical on purpose is sent with the critical bit.
func TestCriticalBitIsNotSent(t *testing.T) {
	for _, p := range samples() {
		b, err := AppendPayloads(nil, []Payload{p})
		if err != nil {
			t.Fatal(err)
		}
		if b[1] != 0 {
			t.Errorf("%T is sent with flags %#x", p, b[1])
		}
	}
	b, err := AppendPayloads(nil, []Payload{&Unknown{Kind: 99, Critical: true}})
	if err != nil || b[1] != 0x80 {
		t.Errorf("got %x, %v", b, err)
	}
}

// HD-18, HD-19: any order parses; the encoder keeps the caller's.
func TestOrderIsKept(t *testing.T) {
	ps := initPayloads()
	for i := range ps {
		ps = append(ps[1:], ps[0])
		m, err := ParseMessage(rawInit(ps...))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Classify(m.Header.Exchange, false, m.Payloads); err != nil {
			t.Errorf("turn %d: %v", i, err)
		}
		for j, p := range m.Payloads {
			if p.PayloadType() != ps[j].kind {
				t.Errorf("turn %d: payload %d is %s, want %s", i, j, p.PayloadType(), ps[j].kind)
			}
		}
	}
}

// HD-21: more than the limits is refused before it is allocated.
func TestLimits(t *testing.T) {
	repeat := func(n int, p rawPayload) []byte {
		ps := make([]rawPayload, n)
		for i := range ps {
			ps[i] = p
		}
		return rawChain(ps...)
	}
	lim := DefaultLimits()
	for _, tt := range []struct {
		id    string
		first ikev2.PayloadType
		body  []byte
		many  int
	}{
		{"HD-21 notifies", ikev2.PayloadNotify, unhex("00004000"), lim.Notifies},
		{"HD-21 vendor IDs", ikev2.PayloadVendor, nil, lim.Payloads},
		{"HD-21 unknown payloads", 99, nil, lim.Payloads},
		{"HD-21 certificates", ikev2.PayloadCERT, []byte{4}, lim.Certificates},
		{"HD-21 certificate requests", ikev2.PayloadCERTREQ, []byte{4}, lim.Certificates},
	} {
		t.Run(tt.id, func(t *testing.T) {
			if _, err := ParsePayloads(tt.first, repeat(tt.many, rawPayload{tt.first, 0, tt.body}), lim); err != nil {
				t.Errorf("%d: %v", tt.many, err)
			}
			for _, n := range []int{tt.many + 1, 10_000} {
				b := repeat(n, rawPayload{tt.first, 0, tt.body})
				allocs := testing.AllocsPerRun(10, func() {
					_, err := ParsePayloads(tt.first, b, lim)
					wantError(t, err, ikev2.INVALID_SYNTAX)
				})
				if allocs > 12 {
					t.Errorf("%d: refused after %.0f allocations", n, allocs)
				}
			}
		})
	}
	t.Run("HD-21 proposals", func(t *testing.T) {
		sa := &SA{}
		for i := range lim.Proposals + 1 {
			sa.Proposals = append(sa.Proposals, Proposal{Number: uint8(i + 1), Transforms: []Transform{{Type: 1}}})
		}
		b, err := AppendPayloads(nil, []Payload{sa})
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParsePayloads(ikev2.PayloadSA, b, lim)
		wantError(t, err, ikev2.INVALID_SYNTAX)
	})
	t.Run("HD-21 transforms", func(t *testing.T) {
		sa := &SA{}
		for i := range lim.Transforms/255 + 1 {
			sa.Proposals = append(sa.Proposals, Proposal{Number: uint8(i + 1), Transforms: make([]Transform, 255)})
		}
		b, err := AppendPayloads(nil, []Payload{sa})
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParsePayloads(ikev2.PayloadSA, b, lim)
		if err == nil && lim.Transforms < 255*len(sa.Proposals) {
			t.Error("taken")
		}
	})
	t.Run("HD-21 configuration attributes", func(t *testing.T) {
		cp := &CP{Type: ikev2.CFG_REQUEST, Attributes: make([]ConfigAttribute, lim.Attributes+1)}
		b, err := AppendPayloads(nil, []Payload{cp})
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParsePayloads(ikev2.PayloadCP, b, lim)
		wantError(t, err, ikev2.INVALID_SYNTAX)
	})
}

// What has no encoding is our own fault and is told, not sent.
func TestEncodersRefuse(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, p := range []Payload{
		&SA{},
		&SA{Proposals: []Proposal{{Number: 1}}},
		&SA{Proposals: []Proposal{{Number: 1, SPI: make([]byte, 256), Transforms: make([]Transform, 1)}}},
		&SA{Proposals: []Proposal{{Number: 1, Transforms: make([]Transform, 256)}}},
		&SA{Proposals: []Proposal{{Number: 1, Transforms: []Transform{{KeyBits: 65536}}}}},
		&SA{Proposals: []Proposal{{Number: 1, Transforms: []Transform{{KeyBits: -1}}}}},
		&SA{Proposals: []Proposal{{Number: 1, Transforms: []Transform{{Unknown: make([]byte, 70000)}}}}},
		&KE{Data: make([]byte, 70000)},
		&ID{Type: ikev2.ID_IPV4_ADDR, Data: make([]byte, 5)},
		&ID{Type: ikev2.ID_IPV6_ADDR},
		&Nonce{Data: make([]byte, 15)},
		&Nonce{Data: make([]byte, 257)},
		&Notify{SPI: make([]byte, 256)},
		&Delete{Protocol: ikev2.ProtocolIKE, SPIs: []uint32{1}},
		&Delete{Protocol: ikev2.ProtocolESP, Raw: []byte{1}},
		&Delete{Protocol: ikev2.ProtocolESP, SPIs: make([]uint32, 65536)},
		&Delete{Protocol: 9, SPIs: []uint32{1}},
		&Delete{Protocol: 9, SPISize: 2, Raw: []byte{1}},
		&TS{},
		&TS{Selectors: make([]Selector, 256)},
		&TS{Selectors: []Selector{AddressRange(v4, v6, 0, 0, 65535)}},
		&TS{Selectors: []Selector{{Type: ikev2.TS_IPV4_ADDR_RANGE}}},
		&TS{Selectors: []Selector{AddressRange(v6.WithZone("eth0"), v6.WithZone("eth0"), 0, 0, 65535)}},
		&TS{Selectors: []Selector{AddressRange(v4, v4, 0, 2, 1)}},
		&CP{Attributes: []ConfigAttribute{{Type: 0x8000}}},
		&EAP{},
		&EAP{Packet: []byte{1, 1, 0, 4}},
		&EAP{Packet: []byte{3, 1, 0, 5}},
		&SKF{Number: 2, Total: 1},
		&SKF{},
		&Unknown{},
		&Unknown{Kind: ikev2.PayloadSA},
	} {
		if b, err := AppendPayloads(nil, []Payload{p}); err == nil {
			t.Errorf("%T %+v encodes to %x", p, p, b)
		}
	}
	if _, err := AppendPayloads(nil, []Payload{&SK{}, &Nonce{Data: make([]byte, 16)}}); err == nil {
		t.Error("a payload after SK encodes")
	}
}

// Kept slices cannot be grown into their neighbours.
func TestParsedSlicesAreCapped(t *testing.T) {
	b := rawInit(initPayloads()...)
	before := bytes.Clone(b)
	m, err := ParseMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(Find[*Nonce](m.Payloads).Data, 0xff)
	_ = append(Find[*KE](m.Payloads).Data, 0xff)
	_ = append(FindNotify(m.Payloads, ikev2.NAT_DETECTION_SOURCE_IP).Data, 0xff)
	if !bytes.Equal(b, before) {
		t.Error("appending to a parsed slice wrote into the message")
	}
}
