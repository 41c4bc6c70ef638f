package compiler

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/trike-ipsec/trike/internal/plan"
)

// What is compiled part by part is what is compiled together: the same plans, and the findings in the same words.
func TestApartIsTogether(t *testing.T) {
	archives, err := filepath.Glob(filepath.Join("testdata", "*", "*.txtar"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	apart := 0
	for _, file := range archives {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for _, f := range a.Files {
			name := filepath.Join(dir, f.Name)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if sameBothWays(t, strings.TrimSuffix(file, ".txtar"), dir, true) {
			apart++
		}
	}
	examples, err := filepath.Glob(filepath.Join("..", "examples", "*"))
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, dir := range examples {
		if !sameBothWays(t, dir, dir, true) {
			t.Errorf("%s is not separable", dir)
		}
	}
	if t.Logf("%d of %d policies are separable", apart, len(archives)); apart < len(archives)/2 {
		t.Error("most policies should be")
	}
}

// sameBothWays compiles both ways, and tells whether the policy was separable. Without words, findings need to be at the same places alone.
func sameBothWays(t *testing.T, name, dir string, words bool) bool {
	t.Helper()
	show := func(together bool) (out []string) {
		r, ds := Compile(t.Context(), Options{Dir: dir, together: together})
		for _, d := range ds {
			if !words {
				d.Message, d.Hint, d.Source, d.Related = "", "", "", nil
				d.Code = CodeValue
			}
			var b bytes.Buffer
			WriteText(&b, []Diagnostic{d})
			out = append(out, b.String())
		}
		for _, p := range r.Plans {
			out = append(out, string(plan.Encode(p)))
		}
		return out
	}
	apart, together := show(false), show(true)
	more, less := without(apart, together), without(together, apart)
	if _, ds := Compile(t.Context(), Options{Dir: dir, together: true}); Failed(ds) && !words {
		more = nil // of several mistakes CUE keeps some to itself
	}
	if len(more)+len(less) > 0 {
		t.Errorf("%s\n--- only apart\n%s--- only together\n%s", name, strings.Join(more, ""), strings.Join(less, ""))
	}
	tr, _ := scan(dir)
	if tr == nil {
		return false
	}
	l, _ := tr.read(nil)
	return l != nil && l.separable()
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(l string) bool { return slices.Contains(b, l) })
}

// values are what a careless or a clever writer may put anywhere.
var values = [...]string{
	`"198.51.100.9"`, `"2001:db8::9"`, `"fe80::1%eth0"`, `"::ffff:192.0.2.1"`, `"010.0.0.1"`, `"192.0.2.1 "`, `"any"`, `"self"`, `""`, `"auto"`, `*"kernel" | string`,
	`"10.0.0.0/8"`, `"10.0.0.0/08"`, `"10.0.0.0/33"`, `"2001:db8::/32"`, `"::ffff:10.0.0.0/104"`, `"0.0.0.0/0"`, `"10.0.0.1/8"`,
	`"30s"`, `"1h30m"`, `"0s"`, `"1w"`, `"9999999999s"`, `"modern"`, `"vpn-a"`, `"aes256gcm16-prfsha384-x25519-mlkem768"`, `"aes256-sha1-prfsha1-modp1024"`,
	`"aes256gcm16-x25519-esn"`, `"office"`, `"gw@example.com"`, `"keyid:00ff"`, `"a b"`, `"\u00e9"`, `"tunnel"`, `"transport"`, `"replace"`, `"never"`, `"at-start"`,
	`0`, `1`, `-1`, `5`, `1.0`, `1.8`, `10.00000000000000001`, `1e3`, `0x40`, `1024`, `9223372036854775807`, `9223372036854775808`, `65536`, `1_000`,
	`true`, `false`, `null`, `'bytes'`, `string`, `int`, `>5`, `_`, `{}`, `[]`, `["10.9.0.0/16"]`, `["self", {protocol: "tcp", port: 443}]`, `[{protocol: 6, port: "1-9"}]`,
	`[...string]`, `"a" | "b"`, `bool | *true`, `{rekey: "2h"}`, `{psk: secret: "office"}`, `{suite: "modern"}`, `{proposals: ["aes256gcm16-x25519"]}`, `{delay: "15s", action: "clear"}`,
	`{initial: 500, factor: 2, tries: 3}`, `{enabled: false}`, `{size: 1400}`, `{net: remote: ["10.9.0.0/16"]}`, `{"a b": {}}`, `{net: x: 1}`, `"office" & string`, `*"30s" | "1h"`,
}

// slots are the fields of the schema's structs, and one that none has.
var slots = map[string][]string{
	"gateway":  {"addresses", "inside", "id", "datapath", "colour"},
	"peer":     {"id", "colour"},
	"tunnel":   {"ike", "esp", "legacy", "initiate", "unique", "dpd", "retransmit", "fragmentation", "keepalive", "encapsulate", "colour"},
	"child":    {"local", "remote", "esp", "initiate", "lifetime", "replayWindow", "colour"},
	"lifetime": {"rekey", "hard", "colour"},
	"dpd":      {"delay", "action"},
	"retry":    {"initial", "factor", "tries"},
	"ike":      {"suite", "proposals"},
}

// Whatever stands in a field, both ways object to it or neither does.
func TestApartIsTogetherForAnything(t *testing.T) {
	const seed = 2026
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	rounds := 8
	if testing.Short() {
		rounds = 5
	}
	any := func(kind string) string {
		f := slots[kind][random.IntN(len(slots[kind]))]
		return fmt.Sprintf(", %s%s: %s", f, []string{"", "", "", "?"}[random.IntN(4)], values[random.IntN(len(values))])
	}
	for i := range rounds {
		var b strings.Builder
		b.WriteString("package office\n\nimport \"github.com/trike-ipsec/trike/schema\"\n\npolicy: schema.#Policy\npolicy: secrets: office: file: \"/nowhere/office.psk\"\n")
		for j := range 6 {
			fmt.Fprintf(&b, "policy: gateways: g%d: {address: \"192.0.2.%d\", networks: [\"10.%d.0.0/16\"]%s}\n", j, j+1, j+1, any("gateway"))
			fmt.Fprintf(&b, "policy: connections: c%d: {gateway: \"g%d\", peer: {address: \"203.0.113.%d\", networks: [\"172.%d.0.0/24\"]%s}, auth: psk: secret: \"office\"%s}\n",
				j, j, j+1, j+16, any("peer"), any("tunnel"))
			fmt.Fprintf(&b, "policy: links: l%d: {between: [\"g%d\", \"g%d\"], auth: psk: secret: \"office\", children: net: {mode: \"tunnel\"%s}, lifetime: {jitter: \"1m\"%s}}\n",
				j, j, (j+1)%6, any("child"), any("lifetime"))
			fmt.Fprintf(&b, "policy: links: m%d: {between: [\"g%d\", \"g%d\"], auth: psk: secret: \"office\", children: net: remote: [{prefix: \"10.%d.9.0/24\"}]%s, ",
				j, j, (j+2)%6, (j+2)%6, any("tunnel"))
			fmt.Fprintf(&b, "dpd: {%s}, retransmit: {%s}, ike: {%s}}\n", any("dpd")[2:], any("retry")[2:], any("ike")[2:])
		}
		b.WriteString("#Mine: {gateway: string, peer: {...}, auth: {...}, dpd?: {...}}\n_even: [string]: dpd: delay: \"15s\"\n_odd: [string]: {[=~\"^un\"]: \"keep\"}\n")
		fmt.Fprintf(&b, "policy: connections: c%d: %s\npolicy: connections: %s\n", random.IntN(6), []string{"_", "#Mine", "close({gateway: _, peer: _, auth: _})", "{...}"}[random.IntN(4)],
			[]string{"_", "_even", "_odd"}[random.IntN(3)])
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "policy.cue"), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		if !sameBothWays(t, fmt.Sprintf("round %d\n%s", i, b.String()), dir, false) {
			t.Errorf("round %d is not separable", i)
		}
		if t.Failed() {
			return
		}
	}
}
