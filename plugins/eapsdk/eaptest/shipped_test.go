package eaptest_test

import (
	"maps"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eaptest"
	"github.com/trike-ipsec/trike/plugins/internal/pkitest"
)

const house = "alice: wonderland staff\nbob: builder\n"

func side(values map[string]string, secrets map[string]string) eaptest.Side {
	c := eapsdk.Config{Values: values, Secrets: map[string][]byte{}}
	for name, text := range secrets {
		c.Secrets[name] = []byte(text)
	}
	return eaptest.Side{Settings: c}
}

func with(m map[string]string, more ...string) map[string]string {
	out := maps.Clone(m)
	for i := 0; i < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

// shipped are those of trike's plugins that need nobody but themselves, and what each is tried with.
func shipped() map[string]eaptest.Config {
	ca, other := pkitest.New("root", pkitest.ECDSA), pkitest.New("other", pkitest.ECDSA)
	trust := map[string]string{"ca": string(ca.PEM())}
	pair := func(p pkitest.Pair) map[string]string {
		return with(trust, "certificate", string(p.Chain), "key", string(p.Key))
	}
	gateway := pair(ca.Issue(pkitest.Leaf{CN: "gateway", DNS: "gateway.example", Server: true, Bulk: 2000}))
	alice, stranger := pair(ca.Issue(pkitest.Leaf{CN: "alice"})), pair(other.Issue(pkitest.Leaf{CN: "alice"}))
	wrong := func(s eaptest.Side) *eaptest.Side { return &s }
	words := eaptest.Config{Server: side(nil, map[string]string{"users": house}), Client: side(nil, map[string]string{"password": "wonderland"}),
		Wrong: wrong(side(nil, map[string]string{"password": "builder"}))}
	inTLS := eaptest.Config{Server: side(nil, with(gateway, "users", house)), Client: side(nil, with(trust, "password", "wonderland")),
		Wrong: wrong(side(nil, with(trust, "password", "builder")))}
	return map[string]eaptest.Config{"md5": words, "gtc": words, "mschapv2": words, "ttls": inTLS, "peap": inTLS,
		"tls": {Server: side(nil, gateway), Client: side(nil, alice), Wrong: wrong(side(nil, stranger))}}
}

// Every plugin that trike ships, and that needs no back end, holds what is asked of other people's.
func TestShippedPluginsConform(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/trike-ipsec/trike/plugins/eap-...").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, c := range shipped() {
		t.Run(name, func(t *testing.T) {
			c.Start = eaptest.Program(filepath.Join(bin, "eap-"+name))
			eaptest.Conformance(t, c)
		})
	}
}
