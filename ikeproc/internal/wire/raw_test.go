package wire

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// rawPayload is a payload built octet by octet, independent of the encoders under test.
type rawPayload struct {
	kind  ikev2.PayloadType
	flags byte
	body  []byte
}

// rawChain writes payloads with right lengths.
func rawChain(ps ...rawPayload) []byte {
	var b []byte
	for i, p := range ps {
		next := byte(0)
		if i+1 < len(ps) {
			next = byte(ps[i+1].kind)
		}
		b = append(b, next, p.flags)
		b = binary.BigEndian.AppendUint16(b, uint16(4+len(p.body)))
		b = append(b, p.body...)
	}
	return b
}

// rawInit is an IKE_SA_INIT request that holds the payloads.
func rawInit(ps ...rawPayload) []byte {
	first := byte(0)
	if len(ps) > 0 {
		first = byte(ps[0].kind)
	}
	b := unhex("1122334455667788 0000000000000000")
	b = append(b, first, 0x20, byte(ikev2.IKE_SA_INIT), flagInitiator, 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, rawChain(ps...)...)
	binary.BigEndian.PutUint32(b[24:], uint32(len(b)))
	return b
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

// rawSA is one proposal for IKE: AES-GCM-16 with 256 bits, PRF_HMAC_SHA2_256, X25519.
func rawSA() []byte {
	return unhex("00000024 01010003 0300000c 01000014 800e0100 03000008 02000005 00000008 0400001f")
}

func initPayloads() []rawPayload {
	return []rawPayload{
		{ikev2.PayloadSA, 0, rawSA()},
		{ikev2.PayloadKE, 0, append(unhex("001f0000"), make([]byte, 32)...)},
		{ikev2.PayloadNonce, 0, make([]byte, 32)},
		{ikev2.PayloadNotify, 0, append(unhex("00004004"), make([]byte, 20)...)},
		{ikev2.PayloadNotify, 0, append(unhex("00004005"), make([]byte, 20)...)},
		{ikev2.PayloadNotify, 0, unhex("0000402e")},
		{ikev2.PayloadNotify, 0, unhex("0000402f 0002 0003 0004 0005")},
		{ikev2.PayloadNotify, 0, unhex("00004036")},
		{ikev2.PayloadVendor, 0, []byte("a vendor")},
	}
}

// wantError checks that err is an *Error with the notify; 0 is silence.
func wantError(t *testing.T, err error, want ikev2.NotifyType) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want an *Error with notify %s", err, want)
	}
	if e.Notify != want {
		t.Fatalf("got notify %s (%v), want %s", e.Notify, e, want)
	}
	return e
}
