package wire

import (
	"encoding/binary"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

const silence = ikev2.NotifyType(0)

func TestHeaderFaults(t *testing.T) {
	for _, tt := range []struct {
		id     string
		mangle func(b []byte) []byte
		notify ikev2.NotifyType
	}{
		{"HD-01 initiator's SPI zero", func(b []byte) []byte { clear(b[:8]); return b }, silence},
		{"HD-02 responder's SPI in the first request", func(b []byte) []byte { b[15] = 1; return b }, silence},
		{"HD-05 major version 3 in a request", func(b []byte) []byte { b[17] = 0x30; return b }, ikev2.INVALID_MAJOR_VERSION},
		{"HD-05 major version 3 in a response", func(b []byte) []byte { b[17], b[19] = 0x30, flagResponse; return b }, silence},
		{"HD-06 IKEv1", func(b []byte) []byte { b[17] = 0x10; return b }, silence},
		{"HD-06 version 0", func(b []byte) []byte { b[17] = 0; return b }, silence},
		{"HD-10 IKE_SA_INIT request without initiator flag", func(b []byte) []byte { b[19] = 0; return b }, silence},
		{"HD-10 IKE_SA_INIT response with initiator flag", func(b []byte) []byte { b[19] = flagInitiator | flagResponse; return b }, silence},
		{"HD-11 length one too small", func(b []byte) []byte { b[27]--; return b }, silence},
		{"HD-11 length one too great", func(b []byte) []byte { b[27]++; return b }, silence},
		{"HD-11 length of 4 GiB", func(b []byte) []byte { binary.BigEndian.PutUint32(b[24:], 0xffffffff); return b }, silence},
		{"HD-11 octet behind the message", func(b []byte) []byte { return append(b, 0) }, silence},
		{"HD-11 header cut short", func(b []byte) []byte { return b[:HeaderLen-1] }, silence},
		{"HD-11 nothing", func([]byte) []byte { return nil }, silence},
		{"MI-01 IKE_SA_INIT with a message ID", func(b []byte) []byte { b[23] = 1; return b }, silence},
	} {
		t.Run(tt.id, func(t *testing.T) {
			_, err := ParseMessage(tt.mangle(rawInit(initPayloads()...)))
			wantError(t, err, tt.notify)
		})
	}
}

func TestHeaderTolerates(t *testing.T) {
	for _, tt := range []struct {
		id     string
		mangle func(b []byte)
	}{
		{"HD-04 minor version 1", func(b []byte) { b[17] = 0x21 }},
		{"HD-04 minor version 15", func(b []byte) { b[17] = 0x2f }},
		{"HD-07 reserved flags and version flag", func(b []byte) { b[19] |= 0xd7 }},
	} {
		t.Run(tt.id, func(t *testing.T) {
			b := rawInit(initPayloads()...)
			tt.mangle(b)
			m, err := ParseMessage(b)
			if err != nil {
				t.Fatal(err)
			}
			out, err := AppendMessage(nil, m.Header, m.Payloads)
			if err != nil {
				t.Fatal(err)
			}
			if out[17] != 0x20 || out[19] != flagInitiator {
				t.Errorf("sent version %#x flags %#x, want 0x20 and 0x08", out[17], out[19])
			}
		})
	}
}

// HD-05: the answer to a higher version repeats SPIs and message ID, so the header survives the error.
func TestHeaderOfHigherVersionIsReturned(t *testing.T) {
	b := rawInit()
	b[17], b[18], b[23] = 0x30, 99, 7
	h, err := ParseHeader(b)
	e := wantError(t, err, ikev2.INVALID_MAJOR_VERSION)
	if h.SPIi != 0x1122334455667788 || h.MessageID != 7 || h.Exchange != 99 {
		t.Errorf("header was not read: %+v", h)
	}
	if n := e.Reply(); n == nil || n.Type != ikev2.INVALID_MAJOR_VERSION || len(n.Data) != 0 {
		t.Errorf("reply is %+v", n)
	}
}

// HD-08: both flags mean what the RFC says, in all four combinations.
func TestHeaderFlags(t *testing.T) {
	for _, h := range []Header{
		{Initiator: true}, {Response: true}, {}, {Initiator: true, Response: true},
	} {
		h.SPIi, h.SPIr, h.Exchange, h.MessageID = 1, 2, ikev2.INFORMATIONAL, 0xfffffffe
		b, err := AppendMessage(nil, h, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		h.Major, h.Length = 2, HeaderLen
		if got != h {
			t.Errorf("got %+v, want %+v", got, h)
		}
	}
}

// HD-08: the original responder's request and its answer.
func TestAnswer(t *testing.T) {
	got := Header{SPIi: 1, SPIr: 2, NextPayload: 46, Major: 3, Minor: 1, Exchange: ikev2.INFORMATIONAL, MessageID: 5, Length: 99}.Answer()
	want := Header{SPIi: 1, SPIr: 2, Major: 2, Exchange: ikev2.INFORMATIONAL, Initiator: true, Response: true, MessageID: 5}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestErrorsAreForTheLog(t *testing.T) {
	_, err := ParsePayloads(ikev2.PayloadNonce, unhex("0000 0008 00000000"), DefaultLimits())
	if got, want := err.Error(), "ike message: Nonce payload at octet 4: 4 octets, not 16 to 256"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := wantError(t, err, ikev2.INVALID_SYNTAX).Reply(); n.Type != ikev2.INVALID_SYNTAX {
		t.Errorf("reply is %+v", n)
	}
	if n := drop(3, "why").Reply(); n != nil {
		t.Errorf("a silent drop has the reply %+v", n)
	}
}
