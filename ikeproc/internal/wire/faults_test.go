package wire

import (
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// Every payload's own rules: bodies that must be refused with INVALID_SYNTAX, and neighbours that must be taken.
func TestPayloadBodies(t *testing.T) {
	ok, bad := true, false
	for _, tt := range []struct {
		id   string
		kind ikev2.PayloadType
		body []byte
		want bool
	}{
		{"IN-02 nonce of 15", ikev2.PayloadNonce, make([]byte, 15), bad},
		{"IN-02 nonce of 16", ikev2.PayloadNonce, make([]byte, 16), ok},
		{"IN-02 nonce of 256", ikev2.PayloadNonce, make([]byte, 256), ok},
		{"IN-02 nonce of 257", ikev2.PayloadNonce, make([]byte, 257), bad},

		{"IN-10 no proposal", ikev2.PayloadSA, nil, bad},
		{"IN-10 proposal", ikev2.PayloadSA, rawSA(), ok},
		{"IN-10 proposal 7 chosen", ikev2.PayloadSA, unhex("00000010 07010001 00000008 01000003"), ok},
		{"IN-10 proposal 0", ikev2.PayloadSA, unhex("00000010 00010001 00000008 01000003"), bad},
		{"IN-10 proposals 1 and 3", ikev2.PayloadSA, unhex("02000010 01010001 00000008 01000003 00000010 03010001 00000008 01000003"), bad},
		{"IN-10 proposals 1 and 1", ikev2.PayloadSA, unhex("02000010 01010001 00000008 01000003 00000010 01010001 00000008 01000003"), bad},
		{"IN-10 proposals 1 and 2", ikev2.PayloadSA, unhex("02000010 01010001 00000008 01000003 00000010 02010001 00000008 01000003"), ok},
		{"IN-10 last proposal says more", ikev2.PayloadSA, unhex("02000010 01010001 00000008 01000003"), bad},
		{"IN-10 first proposal says last", ikev2.PayloadSA, unhex("00000010 01010001 00000008 01000003 00000010 02010001 00000008 01000003"), bad},
		{"IN-10 proposal says 1 more", ikev2.PayloadSA, unhex("01000010 01010001 00000008 01000003"), bad},
		{"IN-10 proposal cut short", ikev2.PayloadSA, unhex("00000007 010100"), bad},
		{"IN-10 proposal overruns", ikev2.PayloadSA, unhex("00000011 01010001 00000008 01000003"), bad},
		{"IN-10 octet after the proposal", ikev2.PayloadSA, unhex("00000010 01010001 00000008 01000003 00"), bad},
		{"IN-10 SPI overruns", ikev2.PayloadSA, unhex("00000010 01010901 00000008 01000003"), bad},
		{"IN-10 more transforms than counted", ikev2.PayloadSA, unhex("00000018 01010001 03000008 01000003 00000008 02000002"), bad},
		{"IN-10 fewer transforms than counted", ikev2.PayloadSA, unhex("00000010 01010002 03000008 01000003"), bad},
		{"IN-10 255 transforms in no octets", ikev2.PayloadSA, unhex("00000008 010100ff"), bad},
		{"IN-10 no transforms", ikev2.PayloadSA, unhex("00000008 01010000"), ok}, // unacceptable, not malformed
		{"IN-10 last transform says more", ikev2.PayloadSA, unhex("00000010 01010001 03000008 01000003"), bad},
		{"IN-10 transform of 7", ikev2.PayloadSA, unhex("00000010 01010001 00000007 01000003"), bad},
		{"IN-10 transform overruns", ikev2.PayloadSA, unhex("00000010 01010001 00000009 01000003"), bad},
		{"IN-12 unknown transform type", ikev2.PayloadSA, unhex("00000010 01010001 00000008 f1000003"), ok},
		{"IN-13 attribute cut short", ikev2.PayloadSA, unhex("00000013 01010001 0000000b 01000003 800e01"), bad},
		{"IN-13 attribute overruns", ikev2.PayloadSA, unhex("00000014 01010001 0000000c 01000003 00110001"), bad},
		{"CC-03 SPI of 3", ikev2.PayloadSA, unhex("00000013 01030301 aabbcc 00000008 01000003"), ok}, // unacceptable, not malformed

		{"KE of 3", ikev2.PayloadKE, unhex("001f00"), bad},
		{"KE without data", ikev2.PayloadKE, unhex("001f0000"), ok},

		{"ID-02 IPv4 of 4", ikev2.PayloadIDi, unhex("01000000 c0000201"), ok},
		{"ID-02 IPv4 of 5", ikev2.PayloadIDi, unhex("01000000 c000020100"), bad},
		{"ID-02 IPv6 of 4", ikev2.PayloadIDr, unhex("05000000 c0000201"), bad},
		{"ID-06 unknown type", ikev2.PayloadIDi, unhex("c8000000 00"), ok},
		{"ID-06 ID_NULL", ikev2.PayloadIDi, unhex("0d000000"), ok},
		{"ID of 3", ikev2.PayloadIDi, unhex("020000"), bad},

		{"CERT without encoding", ikev2.PayloadCERT, nil, bad},
		{"CT-06 CERT of an unknown encoding", ikev2.PayloadCERT, []byte{200}, ok},
		{"CERTREQ without encoding", ikev2.PayloadCERTREQ, nil, bad},
		{"CT-04 CERTREQ of 19 octets", ikev2.PayloadCERTREQ, append([]byte{4}, make([]byte, 19)...), ok}, // ignored
		{"AUTH of 3", ikev2.PayloadAUTH, unhex("020000"), bad},
		{"AUTH of an unknown method", ikev2.PayloadAUTH, unhex("c8000000"), ok},

		{"ER-13 notify of 3", ikev2.PayloadNotify, unhex("000040"), bad},
		{"ER-13 SPI overruns the notify", ikev2.PayloadNotify, unhex("03044009 010203"), bad},
		{"ER-13 INITIAL_CONTACT with protocol 1", ikev2.PayloadNotify, unhex("01004000"), ok},
		{"ER-12 unknown notify", ikev2.PayloadNotify, unhex("00003fff"), ok},

		{"DL-07 delete of 3", ikev2.PayloadDelete, unhex("030400"), bad},
		{"DL-07 one SPI fewer than counted", ikev2.PayloadDelete, unhex("03040002 01020304"), bad},
		{"DL-07 one SPI more than counted", ikev2.PayloadDelete, unhex("03040001 01020304 01020304"), bad},
		{"DL-01 ESP with SPIs of 8", ikev2.PayloadDelete, unhex("03080001 01020304 05060708"), bad},
		{"DL-01 ESP without SPIs", ikev2.PayloadDelete, unhex("03040000"), ok},
		{"DL-05 IKE", ikev2.PayloadDelete, unhex("01000000"), ok},
		{"DL-05 IKE with an SPI", ikev2.PayloadDelete, unhex("01080001 0102030405060708"), bad},
		{"DL-07 5 SPIs of no octets", ikev2.PayloadDelete, unhex("09000005"), bad},
		{"DL-07 unknown protocol", ikev2.PayloadDelete, unhex("09010002 0102"), ok},

		{"TS-01 IPv4", ikev2.PayloadTSi, unhex("01000000 07000010 0000ffff 0a000000 0affffff"), ok},
		{"TS-01 IPv4 of 40", ikev2.PayloadTSi, append(unhex("01000000 07000028 0000ffff"), make([]byte, 32)...), bad},
		{"TS-01 IPv6", ikev2.PayloadTSr, append(unhex("01000000 08000028 0000ffff"), make([]byte, 32)...), ok},
		{"TS-01 IPv6 of 16", ikev2.PayloadTSr, unhex("01000000 08000010 0000ffff 0a000000 0affffff"), bad},
		{"TS-01 unknown type", ikev2.PayloadTSi, unhex("01000000 0a000006 abcd"), ok},
		{"TS-01 unknown type, empty", ikev2.PayloadTSi, unhex("01000000 0a000004"), ok},
		{"TS-01 selector of 3", ikev2.PayloadTSi, unhex("01000000 0a000003"), bad},
		{"TS-01 selector overruns", ikev2.PayloadTSi, unhex("01000000 0a000005"), bad},
		{"TS-02 OPAQUE", ikev2.PayloadTSi, unhex("01000000 07060010 ffff0000 0a000000 0affffff"), ok},
		{"TS-04 ports end before they start", ikev2.PayloadTSi, unhex("01000000 07060010 00020001 0a000000 0affffff"), bad},
		{"TS-04 65535 to 1 is not OPAQUE", ikev2.PayloadTSi, unhex("01000000 07060010 ffff0001 0a000000 0affffff"), bad},
		{"TS-04 addresses end before they start", ikev2.PayloadTSi, unhex("01000000 07000010 0000ffff 0affffff 0a000000"), bad},
		{"TS-13 no selector", ikev2.PayloadTSi, unhex("00000000"), bad},
		{"TS-13 255 selectors in no octets", ikev2.PayloadTSi, unhex("ff000000"), bad},
		{"TS-13 one selector more than counted", ikev2.PayloadTSi, unhex("01000000 0a000004 0a000004"), bad},
		{"TS of 3", ikev2.PayloadTSi, unhex("010000"), bad},

		{"CP-03 empty attribute", ikev2.PayloadCP, unhex("01000000 00010000"), ok},
		{"CP-07 reserved bit and unknown attribute", ikev2.PayloadCP, unhex("01000000 ffff0001 00"), ok},
		{"CP of 3", ikev2.PayloadCP, unhex("010000"), bad},
		{"CP attribute cut short", ikev2.PayloadCP, unhex("01000000 000100"), bad},
		{"CP attribute overruns", ikev2.PayloadCP, unhex("01000000 00010005 01020304"), bad},

		{"EA-06 EAP request", ikev2.PayloadEAP, unhex("01070006 0141"), ok},
		{"EA-06 EAP success", ikev2.PayloadEAP, unhex("03070004"), ok},
		{"EA-06 EAP length too small", ikev2.PayloadEAP, unhex("01070005 0141"), bad},
		{"EA-06 EAP length too great", ikev2.PayloadEAP, unhex("01070007 0141"), bad},
		{"EA-06 EAP response without type", ikev2.PayloadEAP, unhex("02070004"), bad},
		{"EA-06 EAP of 3", ikev2.PayloadEAP, unhex("030700"), bad},

		{"IN-21 vendor ID, empty", ikev2.PayloadVendor, nil, ok},
		{"HD-22 SK inside SK", ikev2.PayloadSK, make([]byte, 64), bad},
		{"HD-22 SKF inside SK", ikev2.PayloadSKF, unhex("00010001 00"), bad},
	} {
		t.Run(tt.id, func(t *testing.T) {
			_, err := ParsePayloads(tt.kind, rawChain(rawPayload{tt.kind, 0, tt.body}), DefaultLimits())
			if tt.want {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e := wantError(t, err, ikev2.INVALID_SYNTAX)
			if e.Payload != tt.kind {
				t.Errorf("error names payload %s: %v", e.Payload, e)
			}
		})
	}
}

// IN-12, IN-13: attributes that are not one right Key Length leave the transform unacceptable, and only it.
func TestTransformAttributes(t *testing.T) {
	for _, tt := range []struct {
		id      string
		attrs   []byte
		bits    int
		unknown int
	}{
		{"none", nil, 0, 0},
		{"key length 128", unhex("800e0080"), 128, 0},
		{"key length 0", unhex("800e0000"), 0, 4},
		{"key length twice", unhex("800e0080 800e0080"), 128, 4},
		{"key length in TLV form", unhex("000e0002 0080"), 0, 6},
		{"unknown before key length", unhex("80110001 800e0080"), 0, 8},
		{"unknown after key length", unhex("800e0080 0011000100"), 128, 5},
	} {
		t.Run(tt.id, func(t *testing.T) {
			var tr Transform
			if err := tr.parseAttributes(tt.attrs, 0); err != nil {
				t.Fatal(err)
			}
			if tr.KeyBits != tt.bits || len(tr.Unknown) != tt.unknown {
				t.Errorf("got %d bits and %x", tr.KeyBits, tr.Unknown)
			}
		})
	}
}

func TestNotifyData(t *testing.T) {
	if v, ok := NotifyInvalidKE(ikev2.KE_ECP384).Uint16(); !ok || v != 20 {
		t.Errorf("KE-01: got %d %t", v, ok)
	}
	if _, ok := (&Notify{Data: []byte{1}}).Uint16(); ok {
		t.Error("KE-01: one octet is a method")
	}
	if v, ok := (&Notify{Data: []byte{0, 0, 1, 0}}).Uint32(); !ok || v != 256 {
		t.Errorf("MI-07: got %d %t", v, ok)
	}
	if _, ok := (&Notify{Data: []byte{0, 0, 1}}).Uint32(); ok {
		t.Error("MI-07: three octets are a window")
	}
	for n, want := range map[int]bool{0: false, 1: true, 64: true, 65: false} {
		if _, ok := NotifyStatus(ikev2.COOKIE, make([]byte, n)).Cookie(); ok != want {
			t.Errorf("CK-02: a cookie of %d octets: %t", n, ok)
		}
	}
	if spi, ok := NotifyChild(ikev2.REKEY_SA, ikev2.ProtocolESP, 77).ChildSPI(); !ok || spi != 77 {
		t.Errorf("RK-01: got %d %t", spi, ok)
	}
	if _, ok := (&Notify{Protocol: ikev2.ProtocolIKE, SPI: make([]byte, 4)}).ChildSPI(); ok {
		t.Error("RK-01: an IKE SPI is a child's")
	}
	if _, ok := (&Notify{Protocol: ikev2.ProtocolESP}).ChildSPI(); ok {
		t.Error("ER-13: an empty SPI is a child's")
	}
	if hs := NotifyHashes(ikev2.HashSHA2_256, ikev2.HashIdentity).Hashes(); len(hs) != 2 || hs[1] != ikev2.HashIdentity {
		t.Errorf("DS-01: got %v", hs)
	}
	if hs := (&Notify{Data: []byte{0, 1, 0}}).Hashes(); hs != nil {
		t.Errorf("DS-01: three octets are %v", hs)
	}
	if hs := (&CERTREQ{Authorities: make([]byte, 40)}).Hashes(); len(hs) != 2 {
		t.Errorf("CT-04: got %v", hs)
	}
	if hs := (&CERTREQ{Authorities: make([]byte, 39)}).Hashes(); hs != nil {
		t.Errorf("CT-04: 39 octets are %v", hs)
	}
}

// AU-01: AUTH covers the ID payload's body with the reserved octets as they were sent.
func TestIDKeepsReservedOctets(t *testing.T) {
	body := unhex("02 0a0b0c 68 6f 73 74")
	ps, err := ParsePayloads(ikev2.PayloadIDi, rawChain(rawPayload{ikev2.PayloadIDi, 0, body}), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	got, err := FindID(ps, false).AppendBody(nil)
	if err != nil || string(got) != string(body) {
		t.Errorf("got %x %v, want %x", got, err, body)
	}
}
