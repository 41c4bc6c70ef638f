package eaptls

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// join lets two tunnels shake hands.
func join(t *testing.T, server, client *Tunnel) {
	t.Helper()
	out, done, err := client.Handshake(nil)
	served := false
	for err == nil && !(done && served) {
		if !served {
			if out, served, err = server.Handshake(out); err != nil {
				break
			}
		}
		if !done {
			out, done, err = client.Handshake(out)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func pair(t *testing.T, version string, change func(server, client *tls.Config)) (server, client *Tunnel) {
	t.Helper()
	creds := credentials(t)
	max, err := parseVersion(version, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := creds.ServerTLS(false)
	if err != nil {
		t.Fatal(err)
	}
	c, err := creds.ClientTLS("gw.example")
	if err != nil {
		t.Fatal(err)
	}
	s.MaxVersion = max
	if change != nil {
		change(s, c)
	}
	server, client = NewTunnel(true, s), NewTunnel(false, c)
	t.Cleanup(server.Close)
	t.Cleanup(client.Close)
	join(t, server, client)
	return server, client
}

func TestATunnelCarriesTextBothWays(t *testing.T) {
	for _, version := range []string{"1.2", "1.3"} {
		server, client := pair(t, version, nil)
		for _, text := range []string{"x", strings.Repeat("long ", 10000)} {
			for _, way := range [][2]*Tunnel{{server, client}, {client, server}} {
				sealed, err := way[0].Seal([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				got, _, err := way[1].Open(sealed)
				if err != nil || string(got) != text {
					t.Errorf("TLS %s: %d octets of %d came, %v", version, len(got), len(text), err)
				}
			}
		}
		if text, _, err := server.Open(nil); err != nil || len(text) != 0 {
			t.Errorf("TLS %s: nothing is read as %q, %v", version, text, err)
		}
		sealed, _ := client.Seal([]byte("hello"))
		sealed[len(sealed)-1] ^= 1
		if _, alert, err := server.Open(sealed); err == nil || len(alert) == 0 {
			t.Errorf("TLS %s: a changed record is taken: %v", version, err)
		}
	}
}

func TestKeysAreTheSameOnBothSidesAndOfThisMethodAlone(t *testing.T) {
	for _, version := range []string{"1.2", "1.3"} {
		server, client := pair(t, version, nil)
		seen := map[string]bool{}
		for _, c := range []struct {
			method eapsdk.Type
			label  string
		}{{eapsdk.TypeTLS, Label12}, {eapsdk.TypeTTLS, "ttls keying material"}} {
			a, err := MSK(server, c.method, c.label)
			if err != nil {
				t.Fatal(err)
			}
			b, err := MSK(client, c.method, c.label)
			if err != nil || string(a) != string(b) || len(a) != 64 || seen[string(a)] {
				t.Errorf("TLS %s, type %d: %d octets, %v", version, c.method, len(a), err)
			}
			seen[string(a)] = true
		}
	}
}

func TestNoTickets(t *testing.T) {
	for _, version := range []string{"1.2", "1.3"} {
		cache := tls.NewLRUClientSessionCache(4)
		server, client := pair(t, version, func(_, c *tls.Config) { c.ClientSessionCache, c.SessionTicketsDisabled = cache, false })
		sealed, err := server.Seal([]byte("text, behind which a ticket would have come"))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := client.Open(sealed); err != nil {
			t.Fatal(err)
		}
		if _, ok := cache.Get("gw.example"); ok {
			t.Errorf("TLS %s: the server gave a ticket", version)
		}
	}
}

// A server meets whatever comes first with an error or with an answer, never with a panic or a stillstand.
func FuzzHandshake(f *testing.F) {
	ca := credentials(f)
	conf, err := ca.ClientTLS("gw.example")
	if err != nil {
		f.Fatal(err)
	}
	client := NewTunnel(false, conf)
	hello, _, err := client.Handshake(nil)
	client.Close()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hello, []byte{21, 3, 3, 0, 2, 2, 80})
	f.Add([]byte{22, 3, 1, 0, 1, 1}, []byte{20, 3, 3, 0, 1, 1})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		conf, err := ca.ServerTLS(true)
		if err != nil {
			t.Fatal(err)
		}
		server := NewTunnel(true, conf)
		defer server.Close()
		for _, in := range [][]byte{first, second} {
			if _, done, err := server.Handshake(in); err != nil {
				return
			} else if done {
				t.Fatal("a handshake is complete without a client")
			}
		}
	})
}
