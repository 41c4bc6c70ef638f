package eaptls

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/pkitest"
)

func TestStapledResponses(t *testing.T) {
	ca, other := pkitest.New("root", pkitest.ECDSA), pkitest.New("root", pkitest.ECDSA)
	cert := ca.Issue(pkitest.Leaf{CN: "gw", DNS: "gw.example", Server: true})
	later, past := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	for _, c := range []struct {
		name   string
		staple []byte
		policy string
		want   string // "" is right
	}{
		{"none", nil, "", ""},
		{"none, and required", nil, "required", "no OCSP response"},
		{"good", ca.Response(cert.Serial, ocsp.Good, later), "required", ""},
		{"revoked", ca.Response(cert.Serial, ocsp.Revoked, later), "", "was revoked on"},
		{"unknown", ca.Response(cert.Serial, ocsp.Unknown, later), "", "does not know"},
		{"late", ca.Response(cert.Serial, ocsp.Good, past), "", "not current"},
		{"by another authority", other.Response(cert.Serial, ocsp.Good, later), "", "OCSP response about"},
	} {
		for _, version := range []string{"1.2", "1.3"} {
			t.Run(c.name+" "+version, func(t *testing.T) {
				server, err := ParseCredentials(eapsdk.Config{Values: map[string]string{"max-version": version},
					Secrets: map[string][]byte{"certificate": cert.Chain, "key": cert.Key, "ocsp-response": c.staple}})
				if err != nil {
					t.Fatal(err)
				}
				client, err := ParseCredentials(eapsdk.Config{Values: map[string]string{"ocsp": c.policy}, Secrets: map[string][]byte{"ca": ca.PEM()}})
				if err != nil {
					t.Fatal(err)
				}
				sc, _ := server.ServerTLS(false)
				cc, _ := client.ClientTLS("gw.example")
				s, k := NewTunnel(true, sc), NewTunnel(false, cc)
				defer s.Close()
				defer k.Close()
				hello, _, err := k.Handshake(nil)
				if err != nil {
					t.Fatal(err)
				}
				flight, _, err := s.Handshake(hello)
				if err != nil {
					t.Fatal(err)
				}
				_, _, err = k.Handshake(flight)
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v; want %q", err, c.want)
				}
			})
		}
	}
	for name, staple := range map[string][]byte{"about another certificate": other.Response(other.Issue(pkitest.Leaf{}).Serial, ocsp.Good, later), "no OCSP response in DER": []byte("good")} {
		_, err := ParseCredentials(eapsdk.Config{Secrets: map[string][]byte{"certificate": cert.Chain, "key": cert.Key, "ocsp-response": staple}})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v; want %q", err, name)
		}
	}
}
