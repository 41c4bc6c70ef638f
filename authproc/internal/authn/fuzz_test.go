package authn

import (
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
)

// Whatever a hostile ikeproc says, there is an answer with its number, no crash, and no grant.
func FuzzAsk(f *testing.F) {
	for _, m := range []msg.Message{
		&msg.Sign{Req: 1, Connection: "paris", Initiator: true, Octets: someOctets(ikev2.PRF_HMAC_SHA2_256, true)},
		&msg.Sign{Req: 1, Connection: "paris", Octets: someOctets(ikev2.PRF_AES128_XCBC, false)},
		&msg.Verify{Req: 2, Connections: []string{"paris", "x"}, Initiator: true, PeerID: msg.ID{Type: 2, Data: []byte("paris.example")}, Method: 2, Data: make([]byte, 32), Octets: someOctets(ikev2.PRF_HMAC_SHA2_256, true)},
		&msg.Renew{Req: 3, Grant: msg.Grant{Connection: "paris"}},
	} {
		f.Add(uint8(m.Kind()), msg.Encode(m))
	}
	s := berlin(f, "k")
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		m, err := msg.Decode(msg.Kind(kind), b)
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *msg.Sign:
			a := s.Sign(m, With{})
			if a.Req != m.Req || (a.Error == "") != (len(a.Data) > 0) || a.Error == "" && string(a.ID.Data) != "berlin.example" {
				t.Fatalf("%+v", a)
			}
		case *msg.Verify:
			if a := s.Verify(m, With{Issuer: issuer(), Now: noon}); a.Req != m.Req || a.OK || len(a.Grants) > 0 || a.Error == "" || len(a.Error) > 8192 {
				t.Fatalf("%+v", a)
			}
		case *msg.Renew:
			if a := s.Renew(m, issuer(), noon); a.Req != m.Req || a.Error == "" {
				t.Fatalf("%+v", a)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	signer, checker := berlin(b, "k"), paris(b, "k")
	signed := signer.Sign(&msg.Sign{Connection: "paris", Initiator: true, Octets: someOctets(ikev2.PRF_HMAC_SHA2_256, true)}, With{})
	i := issuer()
	b.ReportAllocs()
	for range b.N {
		if v := checker.Verify(&msg.Verify{Connections: []string{"berlin"}, Initiator: true, PeerID: signed.ID, Method: 2, Data: signed.Data, Octets: someOctets(ikev2.PRF_HMAC_SHA2_256, true)}, With{Issuer: i, Now: noon}); !v.OK {
			b.Fatal(v.Error)
		}
	}
}
