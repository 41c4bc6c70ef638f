package tlsmethod

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eaptest"
	"github.com/trike-ipsec/trike/plugins/internal/eaptls"
	"github.com/trike-ipsec/trike/plugins/internal/pkitest"
)

// pki is an authority with one certificate for each side.
type pki struct {
	ca             *pkitest.Authority
	server, client pkitest.Pair
}

func newPKI(kind string, sub bool) pki {
	p := pki{ca: pkitest.New("root", kind)}
	issuer := p.ca
	if sub {
		issuer = p.ca.Sub("middle").Sub("low")
	}
	p.server = issuer.Issue(pkitest.Leaf{CN: "gw", DNS: "gw.example", Server: true, Kind: kind, Bulk: 3000})
	p.client = issuer.Issue(pkitest.Leaf{CN: "alice", Email: "alice@example.org", Kind: kind})
	return p
}

// side is a configured method.
func side(t *testing.T, pair pkitest.Pair, ca []byte, values map[string]string, more ...[]byte) *Method {
	t.Helper()
	m := &Method{}
	c := eapsdk.Config{Values: values, Secrets: map[string][]byte{"certificate": pair.Chain, "key": pair.Key, "ca": ca}}
	if len(more) > 0 {
		c.Secrets["crl"] = bytes.Join(more, nil)
	}
	if err := m.Configure(context.Background(), c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return m
}

func talk(t *testing.T, server, client eapsdk.Method, b eapsdk.Begin) (s, c eapsdk.Step, packets [][]byte) {
	t.Helper()
	said, err := eaptest.Converse(context.Background(), server, client, b, eaptest.Link{})
	if err != nil {
		t.Fatal(err)
	}
	return said.Server, said.Client, said.Packets
}

func agree(t *testing.T, s, c eapsdk.Step) {
	t.Helper()
	if s.Outcome != eapsdk.Success || c.Outcome != eapsdk.Success {
		t.Fatalf("server: %v (%s), client: %v (%s)", s.Outcome, s.Reason, c.Outcome, c.Reason)
	}
	if len(s.MSK) != 64 || !bytes.Equal(s.MSK, c.MSK) {
		t.Fatalf("MSKs of %d and %d octets are not the same", len(s.MSK), len(c.MSK))
	}
}

func TestBothVersionsAndKindsOfKeyEndInTheSameKeys(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, kind := range []string{pkitest.ECDSA, pkitest.RSA} {
		p := newPKI(kind, true)
		for _, version := range []string{"1.2", "1.3"} {
			t.Run(kind+" "+version, func(t *testing.T) {
				server := side(t, p.server, p.ca.PEM(), map[string]string{"max-version": version, "fragment-size": "500"})
				client := side(t, p.client, p.ca.PEM(), map[string]string{"fragment-size": "300"})
				s, c, packets := talk(t, server, client, eapsdk.Begin{Identity: "alice@example.org", ServerName: "gw.example"})
				agree(t, s, c)
				if s.Identity != "alice@example.org" {
					t.Errorf("the peer proved to be %q", s.Identity)
				}
				for _, b := range packets {
					if len(b) > 500 {
						t.Errorf("a packet has %d octets", len(b))
					}
				}
				if len(packets) < 20 {
					t.Errorf("%d packets: the chain of three was not fragmented", len(packets))
				}
			})
		}
	}
	settle(t, before)
}

// settle fails when coroutines or timers of sessions are left.
func settle(t *testing.T, before int) {
	t.Helper()
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond) // the runtime's own, which clean up behind the collector, come and go
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

func TestRefusals(t *testing.T) {
	p, other := newPKI(pkitest.ECDSA, false), newPKI(pkitest.ECDSA, false)
	expired := p.ca.Issue(pkitest.Leaf{CN: "alice", Expired: true})
	wrongUse := p.ca.Issue(pkitest.Leaf{CN: "alice", Server: true})
	weak := p.ca.Issue(pkitest.Leaf{CN: "alice", Kind: pkitest.RSA})
	clean := p.ca.CRL(time.Now().Add(time.Hour))
	revoked := p.ca.CRL(time.Now().Add(time.Hour), p.client.Serial)
	stale := p.ca.CRL(time.Now().Add(-time.Hour))
	root := p.ca.PEM()
	alice := eapsdk.Begin{Identity: "alice", ServerName: "gw.example"}
	for _, c := range []struct {
		name           string
		server, client conf
		begin          eapsdk.Begin
		serverSays     string
		clientSays     string
	}{
		{"right", spec(p.server, root, nil, clean), spec(weak, root, nil), alice, "", ""},
		{"client of another authority", spec(p.server, root, nil), spec(other.client, root, nil), alice, "unknown authority", "refused|bad certificate"},
		{"server of another authority", spec(other.server, root, nil), spec(p.client, root, nil), alice, "bad certificate", "unknown authority"},
		{"expired", spec(p.server, root, nil), spec(expired, root, nil), alice, "expired", "bad certificate"},
		{"a server's certificate in a client's hand", spec(p.server, root, nil), spec(wrongUse, root, nil), alice, "extended key usage", "bad certificate"},
		{"a client's certificate in a server's hand", spec(p.client, root, nil), spec(p.client, root, nil), alice, "bad certificate", "extended key usage"},
		{"another name than IKE's", spec(p.server, root, nil), spec(p.client, root, nil), eapsdk.Begin{Identity: "alice", ServerName: "vpn.example"},
			"bad certificate", `is for cn "gw", dns "gw.example" and not for "vpn.example"`},
		{"another identity than the certificate's", spec(p.server, root, nil), spec(p.client, root, nil), eapsdk.Begin{Identity: "bob", ServerName: "gw.example"},
			`calls itself "bob", and its certificate is for cn "alice", email "alice@example.org"`, "refused"},
		{"no such field", spec(p.server, root, map[string]string{"identity-from": "upn"}), spec(p.client, root, nil), alice, "no upn name", "refused"},
		{"revoked", spec(p.server, root, nil, revoked), spec(p.client, root, nil), alice, "was revoked on", "bad certificate"},
		{"stale list", spec(p.server, root, nil, stale), spec(p.client, root, nil), alice, "not current", "bad certificate"},
		{"list of another authority", spec(p.server, root, nil, other.ca.CRL(time.Now().Add(time.Hour))), spec(p.client, root, nil), alice, "no revocation list", "bad certificate"},
		{"no version in common", spec(p.server, root, map[string]string{"min-version": "1.3", "max-version": "1.3"}), spec(p.client, root, map[string]string{"max-version": "1.2"}), alice,
			"version", "version"},
	} {
		for _, version := range []string{"1.2", "1.3"} {
			t.Run(c.name+" "+version, func(t *testing.T) {
				s, cl, _ := talk(t, c.server(t, version), c.client(t, "1.3"), c.begin)
				if c.serverSays == "" {
					agree(t, s, cl)
					return
				}
				if s.Outcome != eapsdk.Failure || !strings.Contains(s.Reason, c.serverSays) || s.MSK != nil {
					t.Errorf("server: %v, %q; want %q", s.Outcome, s.Reason, c.serverSays)
				}
				found := false
				for _, want := range strings.Split(c.clientSays, "|") {
					found = found || strings.Contains(cl.Reason, want)
				}
				if cl.Outcome != eapsdk.Failure || !found || cl.MSK != nil {
					t.Errorf("client: %v, %q; want %q", cl.Outcome, cl.Reason, c.clientSays)
				}
			})
		}
	}
}

// conf makes a method that speaks at most the version, unless its settings say otherwise.
type conf func(t *testing.T, version string) *Method

func spec(pair pkitest.Pair, ca []byte, values map[string]string, crl ...[]byte) conf {
	return func(t *testing.T, version string) *Method {
		with := map[string]string{"max-version": version}
		maps.Copy(with, values)
		return side(t, pair, ca, with, crl...)
	}
}

// bare is a client that does as it likes: it has no certificate.
type bare struct {
	Method
	conf *tls.Config
}

func (b *bare) Begin(ctx context.Context, begin eapsdk.Begin) (eapsdk.Session, eapsdk.Step, error) {
	return eaptls.Start(ctx, eaptls.Config{Type: eapsdk.TypeTLS, TLS: b.conf, Label12: eaptls.Label12}, begin, &client{})
}

func TestAClientWithoutACertificateIsRefused(t *testing.T) {
	p := newPKI(pkitest.ECDSA, false)
	for _, version := range []string{"1.2", "1.3"} {
		server := side(t, p.server, p.ca.PEM(), map[string]string{"max-version": version})
		s, c, _ := talk(t, server, &bare{conf: &tls.Config{InsecureSkipVerify: true}}, eapsdk.Begin{Identity: "alice"})
		if s.Outcome != eapsdk.Failure || !strings.Contains(s.Reason, "certificate") || c.Outcome != eapsdk.Failure {
			t.Errorf("TLS %s: server %v, %q; client %v, %q", version, s.Outcome, s.Reason, c.Outcome, c.Reason)
		}
	}
}

func TestAClientWithoutANameToCheckDoesNotBegin(t *testing.T) {
	p := newPKI(pkitest.ECDSA, false)
	start := []byte{1, 7, 0, 6, 13, 0x20}
	_, _, err := side(t, p.client, p.ca.PEM(), nil).Begin(context.Background(), eapsdk.Begin{Role: eapsdk.Client, Identity: "alice", Packet: start})
	if err == nil || !strings.Contains(err.Error(), "server-name") {
		t.Errorf("%v", err)
	}
}

func TestSettingsThatDoNotFit(t *testing.T) {
	p := newPKI(pkitest.ECDSA, false)
	other := newPKI(pkitest.ECDSA, false)
	whole := func() map[string][]byte {
		return map[string][]byte{"certificate": p.server.Chain, "key": p.server.Key, "ca": p.ca.PEM()}
	}
	for _, c := range []struct {
		name   string
		change func(map[string][]byte)
		values map[string]string
		want   string
	}{
		{"no authority", func(m map[string][]byte) { delete(m, "ca") }, nil, "certificate, key and ca are needed"},
		{"another's key", func(m map[string][]byte) { m["key"] = other.server.Key }, nil, "does not go with key"},
		{"no key", func(m map[string][]byte) { delete(m, "key") }, nil, "key: is missing"},
		{"a list that is none", func(m map[string][]byte) { m["crl"] = []byte("none") }, nil, `crl: holds no PEM block "X509 CRL"`},
		{"an authority that is none", func(m map[string][]byte) { m["ca"] = p.server.Key }, nil, `ca: holds a PEM block "PRIVATE KEY"`},
		{"a field of nobody", nil, map[string]string{"identity-from": "serial"}, "none of cn, email, dns and upn"},
		{"versions upside down", nil, map[string]string{"min-version": "1.3", "max-version": "1.2"}, "above max-version"},
	} {
		secrets := whole()
		if c.change != nil {
			c.change(secrets)
		}
		err := (&Method{}).Configure(context.Background(), eapsdk.Config{Values: c.values, Secrets: secrets}, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "BEGIN") {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
}

// Sessions of one method share nothing that changes.
func TestManyAtOnce(t *testing.T) {
	before := runtime.NumGoroutine()
	p := newPKI(pkitest.ECDSA, false)
	server, client := side(t, p.server, p.ca.PEM(), nil), side(t, p.client, p.ca.PEM(), nil)
	var all sync.WaitGroup
	keys := make(chan string, 100)
	for range cap(keys) {
		all.Go(func() {
			said, err := eaptest.Converse(context.Background(), server, client, eapsdk.Begin{Identity: "alice", ServerName: "gw.example"}, eaptest.Link{})
			if err != nil || said.Client.Outcome != eapsdk.Success || !bytes.Equal(said.Server.MSK, said.Client.MSK) {
				t.Errorf("%v, %s, %s", err, said.Server.Reason, said.Client.Reason)
			}
			keys <- string(said.Server.MSK)
		})
	}
	all.Wait()
	close(keys)
	seen := map[string]bool{}
	for k := range keys {
		if seen[k] {
			t.Error("two sessions have the same keys")
		}
		seen[k] = true
	}
	settle(t, before)
}

func BenchmarkLogin(b *testing.B) {
	p := newPKI(pkitest.ECDSA, false)
	for _, version := range []string{"1.2", "1.3"} {
		b.Run(version, func(b *testing.B) {
			var methods [2]*Method
			for i, pair := range []pkitest.Pair{p.server, p.client} {
				methods[i] = &Method{}
				c := eapsdk.Config{Values: map[string]string{"max-version": version},
					Secrets: map[string][]byte{"certificate": pair.Chain, "key": pair.Key, "ca": p.ca.PEM()}}
				if err := methods[i].Configure(context.Background(), c, slog.New(slog.DiscardHandler)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				said, err := eaptest.Converse(context.Background(), methods[0], methods[1], eapsdk.Begin{Identity: "alice", ServerName: "gw.example"}, eaptest.Link{})
				if err != nil || said.Server.Outcome != eapsdk.Success {
					b.Fatal(said.Server.Reason, err)
				}
			}
		})
	}
}
