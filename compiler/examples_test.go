package compiler_test

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/trike-ipsec/trike/compiler"
	"github.com/trike-ipsec/trike/internal/plan"
)

// Each example compiles without a finding but for its secrets, which are not here, and the plans are those of testdata/examples: the same octets in any
// directory, with its files made in any order.
func TestExamples(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join("..", "examples", "*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) { example(t, dir) })
	}
}

func example(t *testing.T, dir string) {
	const seed = 20
	random := rand.New(rand.NewPCG(seed, seed))
	t.Logf("seed %d", seed)
	got := plansIn(t, dir)
	for range 3 {
		for name, again := range plansIn(t, shuffled(t, dir, random)) {
			if again != got[name] {
				t.Errorf("another directory gives another %s:\n%s\n%s", name, got[name], again)
			}
		}
	}
	file := filepath.Join("testdata", "examples", filepath.Base(dir)+".txtar")
	if *update {
		a := &txtar.Archive{Comment: []byte("The plans of examples/" + filepath.Base(dir) + ".\n")}
		for _, name := range slices.Sorted(maps.Keys(got)) {
			a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(got[name])})
		}
		write(t, file, txtar.Format(a))
		return
	}
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatalf("%v (-update writes it)", err)
	}
	want := map[string]string{}
	for _, f := range a.Files {
		want[f.Name] = string(f.Data)
	}
	if names := slices.Sorted(maps.Keys(want)); !slices.Equal(names, slices.Sorted(maps.Keys(got))) {
		t.Errorf("plans for %v, want %v (-update rewrites them)", slices.Sorted(maps.Keys(got)), names)
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s differs (-update rewrites it)\n--- got\n%s--- want\n%s", name, got[name], want[name])
		}
	}
}

// plansIn compiles a directory in which only secrets may be missing.
func plansIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	r, ds := compiler.Compile(t.Context(), compiler.Options{Dir: dir})
	for _, d := range ds {
		if d.Code != compiler.CodeSecretMissing || d.Severity != compiler.Warning {
			t.Errorf("%s:%d: %s", d.File, d.Line, d.Message)
		}
	}
	got := map[string]string{}
	for _, p := range r.Plans {
		b := plan.Encode(p)
		if _, err := plan.Decode(b); err != nil {
			t.Errorf("the gateway %s would not take its plan: %v", p.Gateway, err)
		}
		got[p.Gateway+".plan.json"] = string(b)
	}
	return got
}

// shuffled copies a directory, its files made in another order than theirs.
func shuffled(t *testing.T, dir string, random *rand.Rand) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	random.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	to := filepath.Join(t.TempDir(), "a copy")
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(to, e.Name()), b)
	}
	return to
}

// The order of a policy's files and of what they say does not matter: only positions, which stand outside the hash, may differ.
func TestOrderOfFiles(t *testing.T) {
	parts := []string{
		"policy: gateways: berlin: {address: \"198.51.100.1\", networks: [\"10.1.0.0/16\"]}\n",
		"policy: gateways: paris: {address: \"203.0.113.1\", networks: [\"10.2.0.0/16\"]}\n",
		"policy: gateways: rome: {address: \"192.0.2.1\", networks: [\"10.3.0.0/16\"]}\n",
		"policy: links: \"berlin-paris\": auth: psk: secret: \"a\"\n",
		"policy: links: \"paris-rome\": {auth: psk: secret: \"b\", children: {y: remote: [\"10.3.1.0/24\"], x: remote: [\"10.3.2.0/24\"]}}\n",
		"policy: secrets: {b: file: \"/nowhere/b\", a: file: \"/nowhere/a\"}\n",
	}
	const seed = 21
	random := rand.New(rand.NewPCG(seed, seed))
	t.Logf("seed %d", seed)
	var want []string
	for range 5 {
		random.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		dir := t.TempDir()
		cut := random.IntN(len(parts))
		head := "package fleet\n\nimport \"github.com/trike-ipsec/trike/schema\"\n\npolicy: schema.#Policy\n"
		write(t, filepath.Join(dir, "m.cue"), []byte(head+strings.Join(parts[:cut], "")))
		write(t, filepath.Join(dir, string(rune('a'+random.IntN(26)))+"x.cue"), []byte("package fleet\n"+strings.Join(parts[cut:], "")))
		r, ds := compiler.Compile(t.Context(), compiler.Options{Dir: dir})
		if compiler.Failed(ds) {
			t.Fatalf("%v", ds)
		}
		var got []string
		for _, p := range r.Plans {
			got = append(got, p.Gateway+" "+p.Hash().String())
		}
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Errorf("another order gives other plans: %v, want %v", got, want)
		}
	}
}
