package ttls

import (
	"context"
	"log/slog"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/eaptls"
	"github.com/trike-ipsec/trike/plugins/internal/pkitest"
)

// inside is a tunnel whose handshake is complete, and a method for each side.
func inside(f *testing.F, inner string) (tunnel *eaptls.Tunnel, serve, dial *Method) {
	f.Helper()
	ca := pkitest.New("root", pkitest.ECDSA)
	pair := ca.Issue(pkitest.Leaf{CN: "gw", DNS: "gw.example", Server: true})
	serve, dial = &Method{}, &Method{}
	for m, secrets := range map[*Method]map[string][]byte{
		serve: {"certificate": pair.Chain, "key": pair.Key, "users": []byte("alice: wonderland\n")},
		dial:  {"ca": ca.PEM(), "password": []byte("wonderland")},
	} {
		if err := m.Configure(context.Background(), eapsdk.Config{Values: map[string]string{"inner": inner}, Secrets: secrets}, slog.New(slog.DiscardHandler)); err != nil {
			f.Fatal(err)
		}
	}
	sc, err := serve.creds.ServerTLS(false)
	if err != nil {
		f.Fatal(err)
	}
	cc, err := dial.creds.ClientTLS("gw.example")
	if err != nil {
		f.Fatal(err)
	}
	server, client := eaptls.NewTunnel(true, sc), eaptls.NewTunnel(false, cc)
	f.Cleanup(server.Close)
	f.Cleanup(client.Close)
	var out []byte
	for done := false; !done; {
		if out, _, err = client.Handshake(out); err == nil {
			out, done, err = server.Handshake(out)
		}
		if err != nil {
			f.Fatal(err)
		}
	}
	return server, serve, dial
}

// Whatever comes out of the tunnel, nobody is let in who has not shown the password.
func FuzzServerTurn(f *testing.F) {
	tunnel, serve, _ := inside(f, "pap mschapv2 eap-mschapv2 eap-gtc eap-md5")
	name := appendAVP(nil, userName(), []byte("alice"))
	f.Add(appendAVP(name, userPassword(), make([]byte, 16)), []byte{})
	f.Add(appendAVP(appendAVP(name, msCHAPChallenge(), make([]byte, 16)), msCHAP2Response(), make([]byte, 50)), []byte{})
	f.Add(appendAVP(nil, eapMessage(), []byte("\x02\x00\x00\x0a\x01alice")), appendAVP(nil, eapMessage(), []byte{2, 1, 0, 6, 3, 6}))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s := &server{method: serve, begin: eapsdk.Begin{Role: eapsdk.Server}}
		defer s.Abort("the test is over")
		for _, text := range [][]byte{first, second} {
			turn, err := s.Turn(context.Background(), tunnel, text)
			if err != nil {
				t.Fatal(err)
			}
			if turn.Outcome == eapsdk.Success && turn.Identity != "alice" {
				t.Fatalf("%q was let in", turn.Identity)
			}
			if turn.Outcome != eapsdk.Continue {
				return
			}
		}
	})
}

// Whatever a server says, a client that wants a proof does not succeed without one.
func FuzzClientTurn(f *testing.F) {
	tunnel, _, dial := inside(f, "mschapv2")
	f.Add(appendAVP(nil, msCHAP2Success(), append([]byte{1}, "S=0123456789012345678901234567890123456789"...)))
	f.Add(appendAVP(nil, msCHAPError(), []byte("E=691 R=0")))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := newClient(dial, eapsdk.Begin{Role: eapsdk.Client, Identity: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		if turn, err := c.Turn(context.Background(), tunnel, nil); err != nil || turn.Outcome != eapsdk.Continue {
			t.Fatal(turn.Reason, err)
		}
		turn, err := c.Turn(context.Background(), tunnel, text)
		if err != nil || turn.Outcome != eapsdk.Failure {
			t.Fatalf("%v, %v", turn.Outcome, err)
		}
	})
}
