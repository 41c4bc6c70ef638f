package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/cloudflare/circl/sign/ed448"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
)

var octets = []byte("RealMessage | Nonce | MACedID")

func keys(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	out := map[string]crypto.Signer{}
	put := func(name string, k crypto.Signer, err error) {
		if err != nil {
			t.Fatal(err)
		}
		out[name] = k
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	put("rsa", r, err)
	for name, c := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		put(name, k, err)
	}
	_, e, err := ed25519.GenerateKey(rand.Reader)
	put("ed25519", e, err)
	_, e4, err := ed448.GenerateKey(rand.Reader)
	put("ed448", e4, err)
	return out
}

var allHashes = []ikev2.HashID{ikev2.HashSHA2_256, ikev2.HashSHA2_384, ikev2.HashSHA2_512, ikev2.HashIdentity}

// Every scheme with every key that fits it, by RFC 7427, and what any other octets are worth.
func TestEveryScheme(t *testing.T) {
	made := 0
	for name, key := range keys(t) {
		for _, s := range schemes() {
			peer := allHashes
			if s.name == plan.SchemeRSALegacy {
				peer = []ikev2.HashID{ikev2.HashSHA1}
			}
			method, data, err := Sign(key, peer, []plan.Scheme{s.name}, octets)
			if !s.fits(key.Public()) {
				if err == nil {
					t.Errorf("%s signed by %s", name, s.name)
				}
				continue
			}
			made++
			if err != nil || method != ikev2.AuthSignature {
				t.Fatalf("%s by %s: %v, %v", name, s.name, method, err)
			}
			got, err := Verify(key.Public(), method, data, octets, Rules{Allowed: []plan.Scheme{s.name}})
			if err != nil || got != s.name {
				t.Errorf("%s by %s: verified as %q, %v", name, s.name, got, err)
			}
			if _, err := Verify(key.Public(), method, data, append(octets, 0), Rules{Allowed: []plan.Scheme{s.name}}); err == nil {
				t.Errorf("%s by %s: other octets verified", name, s.name)
			}
			for _, i := range []int{0, 1, len(data) - 1} {
				bad := append([]byte(nil), data...)
				bad[i] ^= 1
				if _, err := Verify(key.Public(), method, bad, octets, Rules{Allowed: []plan.Scheme{s.name}}); err == nil {
					t.Errorf("%s by %s: octet %d changed, and it verified", name, s.name, i)
				}
			}
			if _, err := Verify(key.Public(), method, data, octets, Rules{Allowed: []plan.Scheme{"none"}}); err == nil {
				t.Errorf("%s by %s verified against the policy", name, s.name)
			}
		}
	}
	if made != 12 {
		t.Errorf("%d pairs of key and scheme", made)
	}
}

// Peers without RFC 7427: RSA by method 1, ECDSA by RFC 4754 as r | s.
func TestMethodsOfOld(t *testing.T) {
	ks := keys(t)
	for name, want := range map[string]struct {
		method ikev2.AuthMethod
		size   int
	}{"p256": {ikev2.AuthECDSA256, 64}, "p384": {ikev2.AuthECDSA384, 96}, "p521": {ikev2.AuthECDSA521, 132}} {
		method, data, err := Sign(ks[name], nil, nil, octets)
		if err != nil || method != want.method || len(data) != want.size {
			t.Fatalf("%s: %v of %d octets, %v", name, method, len(data), err)
		}
		if _, err := Verify(ks[name].Public(), method, data, octets, Rules{}); err != nil {
			t.Error(err)
		}
		if _, err := Verify(ks[name].Public(), method, data[1:], octets, Rules{}); err == nil {
			t.Error("a short signature verified")
		}
	}
	if _, _, err := Sign(ks["rsa"], nil, nil, octets); err == nil || !strings.Contains(err.Error(), "rsa-sha1") {
		t.Errorf("SHA-1 without the policy's word: %v", err)
	}
	old := []plan.Scheme{plan.SchemeRSALegacy}
	method, data, err := Sign(ks["rsa"], nil, old, octets)
	if err != nil || method != ikev2.AuthRSA {
		t.Fatal(method, err)
	}
	if _, err := Verify(ks["rsa"].Public(), method, data, octets, Rules{Allowed: old}); err != nil {
		t.Error(err)
	}
	if _, err := Verify(ks["rsa"].Public(), method, data, octets, Rules{}); err == nil {
		t.Error("SHA-1 verified without the policy's word")
	}
}

// RFC 7427 appendix A, RFC 8420 appendix A.
func TestAlgorithmIdentifiers(t *testing.T) {
	for name, want := range map[plan.Scheme]string{
		plan.SchemeRSALegacy: "300d06092a864886f70d0101050500",
		plan.SchemeRSA256:    "300d06092a864886f70d01010b0500",
		plan.SchemeRSA384:    "300d06092a864886f70d01010c0500",
		plan.SchemeRSA512:    "300d06092a864886f70d01010d0500",
		plan.SchemeECDSA256:  "300a06082a8648ce3d040302",
		plan.SchemeECDSA384:  "300a06082a8648ce3d040303",
		plan.SchemeECDSA512:  "300a06082a8648ce3d040304",
		plan.SchemePSS256:    "304606092a864886f70d01010a3039a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120a303020101",
		plan.SchemeEd25519:   "300506032b6570",
		plan.SchemeEd448:     "300506032b6571",
	} {
		ids := chosen([]plan.Scheme{name})[0].identifiers()
		got := hex.EncodeToString(ids[0])
		if name == plan.SchemePSS256 { // the RFC's example writes the trailer field, too
			got = hex.EncodeToString(ids[1])
		}
		if got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestWhatIsRefusedIsToldWhole(t *testing.T) {
	ks := keys(t)
	_, _, err := Sign(ks["p384"], []ikev2.HashID{ikev2.HashSHA2_256}, nil, octets)
	if err == nil || !strings.Contains(err.Error(), "SHA2-256") || !strings.Contains(err.Error(), "ecdsa-sha384") {
		t.Errorf("%v", err)
	}
	method, data, _ := Sign(ks["rsa"], allHashes, []plan.Scheme{plan.SchemeRSA256}, octets)
	_, err = Verify(ks["rsa"].Public(), method, data, octets, Rules{Allowed: []plan.Scheme{plan.SchemePSS256}})
	if err == nil || !strings.Contains(err.Error(), "signed by rsa-sha256") || !strings.Contains(err.Error(), "accepts: rsa-pss-sha256") {
		t.Errorf("%v", err)
	}
	if _, err = Verify(ks["rsa"].Public(), method, data, octets, Rules{MinRSABits: 3072}); err == nil || !strings.Contains(err.Error(), "2048 bits") {
		t.Errorf("%v", err)
	}
}

func TestWycheproof(t *testing.T) {
	for file, name := range map[string]plan.Scheme{"ecdsa_secp256r1_sha256": plan.SchemeECDSA256, "ed25519": plan.SchemeEd25519, "ed448": plan.SchemeEd448,
		"rsa_pss_2048_sha256_mgf1_32": plan.SchemePSS256, "rsa_signature_2048_sha256": plan.SchemeRSA256} {
		b, err := os.ReadFile("testdata/" + file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var groups []struct {
			Key   string
			Tests [][]any
		}
		if err := json.Unmarshal(b, &groups); err != nil {
			t.Fatal(err)
		}
		s := chosen([]plan.Scheme{name})[0]
		n := 0
		for _, g := range groups {
			raw, _ := hex.DecodeString(g.Key)
			public, err := x509.ParsePKIXPublicKey(raw)
			if name == plan.SchemeEd448 {
				public, err = ed448.PublicKey(raw[len(raw)-ed448.PublicKeySize:]), nil
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for _, c := range g.Tests {
				msg, _ := hex.DecodeString(c[1].(string))
				sig, _ := hex.DecodeString(c[2].(string))
				n++
				if got := s.verify(public, sig, msg); got != (c[3] == "valid") && c[3] != "acceptable" {
					t.Errorf("%s %v: verified %v, want %v", file, c[0], got, c[3])
				}
			}
		}
		if n < 50 {
			t.Errorf("%s: %d cases", file, n)
		}
	}
}

func FuzzVerify(f *testing.F) {
	ks := keys(f)
	for _, k := range ks {
		m, data, _ := Sign(k, allHashes, nil, octets)
		f.Add(uint8(m), data)
	}
	f.Fuzz(func(t *testing.T, method uint8, data []byte) {
		for name, k := range ks {
			// The fuzzer has no key: whatever verifies was in the corpus of this very process.
			if _, err := Verify(k.Public(), ikev2.AuthMethod(method), data, []byte("other octets"), Rules{}); err == nil {
				t.Fatalf("%s: forged", name)
			}
		}
	})
}

// A peer may take a longer hash than its curve is worth, as Libreswan does, and no shorter one; and only if the policy has it.
func TestLongerHashes(t *testing.T) {
	all := keys(t)
	for _, c := range []struct {
		key    string
		scheme plan.Scheme
		ok     bool
	}{
		{"p256", plan.SchemeECDSA384, true}, {"p256", plan.SchemeECDSA512, true}, {"p384", plan.SchemeECDSA512, true},
		{"p384", plan.SchemeECDSA256, false}, {"p521", plan.SchemeECDSA384, false}, {"rsa", plan.SchemeECDSA256, false},
	} {
		for _, s := range schemes() {
			if s.name != c.scheme {
				continue
			}
			sig, err := s.sign(all[c.key], octets)
			if err != nil {
				t.Fatal(err)
			}
			id := s.identifiers()[0]
			data := append(append([]byte{byte(len(id))}, id...), sig...)
			if _, err := Verify(all[c.key].Public(), ikev2.AuthSignature, data, octets, Rules{}); (err == nil) != c.ok {
				t.Errorf("%s by %s: %v", c.key, c.scheme, err)
			}
			if _, err := Verify(all[c.key].Public(), ikev2.AuthSignature, data, octets, Rules{Allowed: []plan.Scheme{plan.SchemeEd25519}}); err == nil {
				t.Errorf("%s by %s, which the policy does not have, verified", c.key, c.scheme)
			}
		}
	}
}
