package peap

import (
	"context"
	"log/slog"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/eaptls"
	"github.com/trike-ipsec/trike/plugins/internal/pkitest"
)

// inside is a tunnel whose handshake is complete, and a method for each side.
func inside(f *testing.F) (tunnel *eaptls.Tunnel, serve, dial *Method) {
	f.Helper()
	ca := pkitest.New("root", pkitest.ECDSA)
	pair := ca.Issue(pkitest.Leaf{CN: "gw", DNS: "gw.example", Server: true})
	serve, dial = &Method{}, &Method{}
	for m, secrets := range map[*Method]map[string][]byte{
		serve: {"certificate": pair.Chain, "key": pair.Key, "users": []byte("alice: wonderland\n")},
		dial:  {"ca": ca.PEM(), "password": []byte("wonderland")},
	} {
		if err := m.Configure(context.Background(), eapsdk.Config{Values: map[string]string{"inner": "mschapv2 gtc"}, Secrets: secrets},
			slog.New(slog.DiscardHandler)); err != nil {
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
	tunnel, serve, _ := inside(f)
	f.Add([]byte("\x01alice"), []byte{3, 6}, []byte("\x06guess"))
	f.Add([]byte("\x01alice"), append([]byte{26, 2, 1, 0, 59, 49}, make([]byte, 54)...), []byte{26, 3})
	f.Add([]byte("\x01alice"), []byte{2, 1, 0, 11, 33, 0x80, 3, 0, 2, 0, 1}, []byte{})
	f.Fuzz(func(t *testing.T, first, second, third []byte) {
		s := &server{method: serve, eap: serve.eap.Serve(eapsdk.Begin{Role: eapsdk.Server})}
		defer s.Abort("the test is over")
		for _, text := range [][]byte{nil, first, second, third} {
			turn, err := s.Turn(context.Background(), tunnel, text)
			if err != nil {
				t.Fatal(err)
			}
			if turn.Outcome == eapsdk.Success {
				t.Fatalf("%q was let in", turn.Identity)
			}
			if turn.Outcome != eapsdk.Continue {
				return
			}
		}
	})
}

// Whatever a server says, a client does not succeed before it has told its password or proved it.
func FuzzClientTurn(f *testing.F) {
	tunnel, _, dial := inside(f)
	f.Add([]byte{1}, []byte{1, 1, 0, 11, 33, 0x80, 3, 0, 2, 0, 1})
	f.Add([]byte{4, 1}, []byte{26, 1, 0, 0, 26, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'g', 'w'})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		c, err := newClient(dial, eapsdk.Begin{Role: eapsdk.Client, Identity: "alice", ServerName: "gw.example"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Abort("the test is over")
		asked := false
		for _, text := range [][]byte{first, second} {
			turn, err := c.Turn(context.Background(), tunnel, text)
			if err != nil {
				t.Fatal(err)
			}
			if turn.Outcome == eapsdk.Success && !asked {
				t.Fatal("the client succeeds with a server that asked nothing")
			}
			if turn.Outcome != eapsdk.Continue {
				return
			}
			asked = asked || len(text) > 0 && eapsdk.Type(text[0]) == eapsdk.TypeGTC
		}
	})
}
