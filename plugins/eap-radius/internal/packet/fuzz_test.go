package packet_test

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"testing"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
)

// resigned gives b the length that it has and the Response Authenticator that it ought to have, so that the parser behind the check is reached.
func resigned(b, request []byte) []byte {
	b = bytes.Clone(b)
	if len(b) < 20 || len(b) > 4096 {
		return b
	}
	b[1] = request[1]
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	h := md5.New()
	h.Write(b[:4])
	h.Write(request[4:20])
	h.Write(b[20:])
	h.Write(secret)
	h.Sum(b[4:4])
	return b
}

// FuzzAnswer: whatever a server that has the secret sends, it is taken or refused, and what is taken can be written again.
func FuzzAnswer(f *testing.F) {
	status := sealed(f, &radius.Packet{Code: radius.CodeStatusServer, Identifier: 3})
	accept := &radius.Packet{Code: radius.CodeAccessAccept}
	packet.AddEAP(accept, eap(300))
	if err := packet.AddMSK(accept, make([]byte, 64), status, secret); err != nil {
		f.Fatal(err)
	}
	f.Add(answered(f, accept, status))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := packet.Open(resigned(b, status), status, secret)
		if err != nil {
			return
		}
		back, err := p.MarshalBinary()
		if err != nil {
			t.Fatalf("what was taken cannot be written: %v", err)
		}
		if !bytes.Equal(back, resigned(b, status)) {
			t.Fatal("what was taken is written otherwise")
		}
		if e, err := packet.EAP(p); err == nil && e != nil {
			q := &radius.Packet{}
			packet.AddEAP(q, e)
			if again, err := packet.EAP(q); err != nil || !bytes.Equal(again, e) {
				t.Fatal("the EAP packet does not survive")
			}
		}
		if msk, err := packet.MSK(p, status, secret); err == nil && msk != nil && len(msk) != 64 {
			t.Fatalf("an MSK of %d octets", len(msk))
		}
		packet.IPv4(p)
		packet.IPv6(p)
		packet.Printable(p.Get(packet.ReplyMessage), 64)
	})
}

// FuzzRequest: whatever comes to the CoA socket, it is refused unless it is signed.
func FuzzRequest(f *testing.F) {
	p := &radius.Packet{Code: radius.CodeDisconnectRequest, Identifier: 1}
	p.Add(packet.UserName, packet.Text("alice"))
	f.Add(sealed(f, p))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := packet.OpenRequest(b, secret, true)
		if err != nil {
			return
		}
		if _, err := packet.SealAnswer(&radius.Packet{Code: radius.CodeDisconnectNAK, Attributes: q.Attributes}, b, secret); err != nil {
			t.Fatalf("what was taken cannot be answered: %v", err)
		}
	})
}
