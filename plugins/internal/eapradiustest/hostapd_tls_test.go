package eapradiustest

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eap-peap/peap"
	"github.com/trike-ipsec/trike/plugins/eap-radius/relay"
	"github.com/trike-ipsec/trike/plugins/eap-tls/tlsmethod"
	"github.com/trike-ipsec/trike/plugins/eap-ttls/ttls"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/pkitest"
)

// tlsUsers are hostapd's. Those marked [2] are within a tunnel.
const tlsUsers = `"alice@example.org" TLS
"somebody-ttls" TTLS
"somebody-peap" PEAP [ver=0]
"alice" TTLS-PAP,TTLS-MSCHAPV2,MSCHAPV2 "wonderland" [2]
"dave" GTC "wonderland" [2]
"carol" MD5 "wonderland" [2]
`

func TestTLSClientsAgainstHostapd(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	ca := pkitest.New("root", pkitest.ECDSA)
	server := ca.Sub("middle").Sub("low").Issue(pkitest.Leaf{CN: "gw", DNS: "gw", Server: true, Bulk: 2000})
	client := ca.Sub("other").Issue(pkitest.Leaf{CN: "alice", Email: "alice@example.org", Bulk: 2000})
	config := files(t, map[string][]byte{"ca_cert": ca.PEM(), "server_cert": server.Chain, "private_key": server.Key})
	for i := range config {
		config[i] = strings.ReplaceAll(config[i], `"`, "")
	}
	password := func(password, inner, name string, more ...string) eapsdk.Config {
		values := map[string]string{"inner": inner, "inner-identity": name, "fragment-size": "400"}
		for i := 0; i+1 < len(more); i += 2 {
			values[more[i]] = more[i+1]
		}
		return eapsdk.Config{Values: values, Secrets: map[string][]byte{"ca": ca.PEM(), "password": []byte(password)}}
	}
	newTLS := func() eapsdk.Method { return new(tlsmethod.Method) }
	newTTLS := func() eapsdk.Method { return new(ttls.Method) }
	newPEAP := func() eapsdk.Method { return new(peap.Method) }
	for version, flags := range map[string]string{"1.2": "tls_flags=[DISABLE-TLSv1.3]", "1.3": "tls_flags=[ENABLE-TLSv1.3]"} {
		t.Run(version, func(t *testing.T) {
			startHostapd(t, tlsUsers, append(config, flags)...)
			r := relay.New()
			defer r.Close()
			configured(t, r, map[string]string{"servers": "127.0.0.1:" + radiusPort, "acct-servers": "none"}, "secret", "shared")
			for _, c := range []struct {
				name, identity string
				method         func() eapsdk.Method
				config         eapsdk.Config
				refusal        string
			}{
				{"TLS", "alice@example.org", newTLS, eapsdk.Config{Values: map[string]string{"fragment-size": "400", "min-version": version},
					Secrets: map[string][]byte{"certificate": client.Chain, "key": client.Key, "ca": ca.PEM()}}, ""},
				{"TLS, another name wanted", "alice@example.org", newTLS, eapsdk.Config{Values: map[string]string{"server-name": "vpn.example"},
					Secrets: map[string][]byte{"certificate": client.Chain, "key": client.Key, "ca": ca.PEM()}}, `not for "vpn.example"`},
				{"TTLS PAP", "somebody-ttls", newTTLS, password("wonderland", "pap", "alice"), ""},
				{"TTLS MSCHAPv2", "somebody-ttls", newTTLS, password("wonderland", "mschapv2", "alice"), ""},
				{"TTLS EAP-MSCHAPv2", "somebody-ttls", newTTLS, password("wonderland", "eap-mschapv2", "alice"), ""},
				{"TTLS EAP-GTC", "somebody-ttls", newTTLS, password("wonderland", "eap-gtc", "dave"), ""},
				{"TTLS EAP-MD5", "somebody-ttls", newTTLS, password("wonderland", "eap-md5", "carol"), ""},
				{"TTLS PAP, wrong", "somebody-ttls", newTTLS, password("guess", "pap", "alice"), "refused"},
				{"TTLS MSCHAPv2, wrong", "somebody-ttls", newTTLS, password("guess", "mschapv2", "alice"), "refuse"},
				{"PEAP MSCHAPv2, bound", "somebody-peap", newPEAP, password("wonderland", "mschapv2", "alice", "crypto-binding", "required"), ""},
				{"PEAP MSCHAPv2, not bound", "somebody-peap", newPEAP, password("wonderland", "mschapv2", "alice", "crypto-binding", "no"), ""},
				{"PEAP GTC", "somebody-peap", newPEAP, password("wonderland", "gtc", "dave", "crypto-binding", "no"), ""},
				{"PEAP GTC, bound", "somebody-peap", newPEAP, password("wonderland", "gtc", "dave", "crypto-binding", "required"), ""},
				{"PEAP MSCHAPv2, wrong", "somebody-peap", newPEAP, password("guess", "mschapv2", "alice"), "E=691"},
			} {
				t.Run(c.name, func(t *testing.T) {
					m := c.method()
					if err := m.Configure(t.Context(), c.config, slog.New(slog.DiscardHandler)); err != nil {
						t.Fatal(err)
					}
					served, came := login(t, r, m, c.identity)
					if c.refusal != "" {
						if came.Outcome != eapsdk.Failure || !strings.Contains(came.Reason, c.refusal) {
							t.Errorf("server: %v %s\nclient: %v %s", served.Outcome, served.Reason, came.Outcome, came.Reason)
						}
						return
					}
					if version == "1.3" && strings.HasSuffix(c.name, ", bound") && strings.Contains(came.Reason, "crypto binding is wrong") {
						// hostapd 2.10 exports 64 octets for its binding. With TLS 1.3 that is not the beginning of the 128 of RFC 9427, which its own peer uses too.
						t.Skip("hostapd's binding is not that of RFC 9427")
					}
					if served.Outcome != eapsdk.Success || came.Outcome != eapsdk.Success {
						t.Fatalf("server: %v %s\nclient: %v %s", served.Outcome, served.Reason, came.Outcome, came.Reason)
					}
					if len(came.MSK) != eapsdk.MaxMSK || !bytes.Equal(came.MSK, served.MSK) {
						t.Error("hostapd's key is another")
					}
				})
			}
		})
	}
}
