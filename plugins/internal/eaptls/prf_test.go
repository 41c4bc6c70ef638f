package eaptls

import (
	"bytes"
	"crypto/tls"
	"testing"
)

// With the extended master secret crypto/tls makes the export itself: ours is the same, with either hash.
func TestOurExportIsThatOfCryptoTLS(t *testing.T) {
	for _, suite := range []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256} {
		server, client := pair(t, "1.2", func(s, _ *tls.Config) { s.CipherSuites = []uint16{suite} })
		for _, side := range []*Tunnel{server, client} {
			for label, n := range map[string]int{Label12: 128, "ttls challenge": 17, "ttls keying material": 128} {
				want, err := side.Export(label, nil, n)
				if err != nil {
					t.Fatal(err)
				}
				if got := side.master.export12(side.State().CipherSuite, label, side.server, n); !bytes.Equal(got, want) {
					t.Errorf("%s, %q: another export", tls.CipherSuiteName(suite), label)
				}
			}
		}
		secret := server.master.secret
		server.Close()
		if !bytes.Equal(secret, make([]byte, masterSize)) {
			t.Error("the master secret outlives the tunnel")
		}
	}
}

func TestTLS13TellsNoMasterSecret(t *testing.T) {
	server, client := pair(t, "1.3", nil)
	if server.master.secret != nil || client.master.secret != nil {
		t.Error("there is a secret that nobody needs")
	}
}

func FuzzServerRandom(f *testing.F) {
	f.Add(append([]byte{22, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3}, make([]byte, 90)...))
	f.Fuzz(func(t *testing.T, in []byte) {
		if r := serverRandom(in); r != nil && (len(r) != randomSize || !bytes.Contains(in, r)) {
			t.Errorf("%x", r)
		}
	})
}
