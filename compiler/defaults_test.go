package compiler_test

import (
	"path/filepath"
	"testing"

	"github.com/trike-ipsec/trike/compiler"
)

const defaultsHead = `package office

import "github.com/trike-ipsec/trike/schema"

policy: schema.#Policy
policy: gateways: berlin: {address: "198.51.100.1", networks: ["10.1.0.0/16"]}
policy: gateways: paris: {address: "203.0.113.1", networks: ["10.2.0.0/16"]}
policy: links: "berlin-paris": auth: psk: secret: "office"
policy: connections: lyon: {gateway: "berlin", peer: {address: "192.0.2.9", networks: ["10.9.0.0/16"]}, auth: psk: secret: "office"}
policy: connections: nice: {gateway: "berlin", peer: {address: "any", id: "nice.example.com", networks: ["10.8.0.0/16"]}, auth: psk: secret: "office"}
policy: secrets: office: file: "/nowhere/office.psk"
`

// The defaults that the reference tells are those that the compiler takes: to write one out changes no plan.
func TestDefaultsAreAsDocumented(t *testing.T) {
	hashes := func(more string) map[string]string {
		t.Helper()
		dir := t.TempDir()
		write(t, filepath.Join(dir, "policy.cue"), []byte(defaultsHead+more))
		r, ds := compiler.Compile(t.Context(), compiler.Options{Dir: dir})
		if compiler.Failed(ds) {
			t.Fatalf("%s: %v", more, ds)
		}
		out := map[string]string{}
		for _, p := range r.Plans {
			out[p.Gateway] = p.Hash().String()
		}
		return out
	}
	want := hashes("")
	same := func(more string) {
		t.Helper()
		for gateway, h := range hashes(more) {
			if h != want[gateway] {
				t.Errorf("%s changes the plan of %s", more, gateway)
			}
		}
	}
	for _, said := range []string{
		`addresses: []`, `inside: "198.51.100.1"`, `id: "198.51.100.1"`, `datapath: "auto"`,
	} {
		same("policy: gateways: berlin: " + said)
	}
	same(`policy: connections: lyon: peer: id: "192.0.2.9"`)
	same(`policy: links: "berlin-paris": between: ["berlin", "paris"]`)
	same(`policy: links: "berlin-paris": family: "ipv4"`)
	same(`policy: links: "berlin-paris": {initiate: "at-start", dpd: action: "restart"}`)
	same(`policy: connections: lyon: {initiate: "on-traffic", dpd: action: "clear"}`)
	same(`policy: connections: nice: {initiate: "never", dpd: action: "clear"}`)
	same(`policy: links: "berlin-paris": children: net: {local: ["10.1.0.0/16"], remote: ["10.2.0.0/16"]}`)
	for _, tunnel := range []string{`policy: links: "berlin-paris": `, "policy: connections: lyon: ", "policy: connections: nice: "} {
		for _, said := range []string{
			`ike: suite: "modern"`, `esp: suite: "modern"`, `legacy: false`, `unique: "replace"`, `dpd: delay: "30s"`,
			`lifetime: rekey: "4h"`, `lifetime: jitter: "20m"`, `lifetime: hard: "5h"`, `retransmit: {initial: 1000, factor: 1.8, tries: 5}`,
			`fragmentation: {enabled: true, size: 1280}`, `keepalive: "20s"`, `encapsulate: false`, `children: net: {}`,
			`children: net: {mode: "tunnel", esp: suite: "modern", replayWindow: 1024}`, `children: net: lifetime: rekey: "1h"`,
			`children: net: lifetime: jitter: "6m"`, `children: net: lifetime: hard: "80m"`,
		} {
			same(tunnel + said)
		}
	}
	if other := hashes(`policy: links: "berlin-paris": keepalive: "21s"`); other["berlin"] == want["berlin"] {
		t.Error("what is no default changes nothing either")
	}
}
