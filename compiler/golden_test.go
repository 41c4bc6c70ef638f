package compiler_test

import (
	"bytes"
	"context"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/trike-ipsec/trike/compiler"
	"github.com/trike-ipsec/trike/internal/plan"
)

var update = flag.Bool("update", false, "rewrite the goldens")

const findings = "findings"

// Each archive of testdata is a policy, then what the compiler makes of it: its findings, and a plan for each gateway.
//
//   - mistakes/ has one mistake a policy. Its comment's first word is the code that must be among the findings.
//   - plans/ has policies that compile.
func TestGolden(t *testing.T) {
	for _, kind := range []string{"mistakes", "plans"} {
		files, err := filepath.Glob(filepath.Join("testdata", kind, "*.txtar"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no archives in testdata/%s: %v", kind, err)
		}
		for _, f := range files {
			t.Run(kind+"/"+strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) { golden(t, kind, f) })
		}
	}
}

func golden(t *testing.T, kind, file string) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var policy []txtar.File
	want := map[string]string{}
	for _, f := range a.Files {
		if f.Name == findings || strings.HasSuffix(f.Name, ".plan.json") {
			want[f.Name] = string(f.Data)
			continue
		}
		policy = append(policy, f)
		write(t, filepath.Join(dir, f.Name), f.Data)
	}
	first, _, _ := strings.Cut(string(a.Comment), "\n")
	options := compiler.Options{Dir: dir, Now: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	words := strings.Fields(first)
	for i, w := range words {
		if w == "-t" && i+1 < len(words) {
			options.Tags = append(options.Tags, words[i+1])
		}
		options.OnBox = options.OnBox || w == "-on-box"
	}
	got := compile(t, options)
	if kind == "mistakes" {
		got = map[string]string{findings: got[findings]}
	}
	if kind == "mistakes" && len(words) > 0 && !strings.Contains(got[findings], "["+words[0]+"]") {
		t.Errorf("%s is not among the findings:\n%s", words[0], got[findings])
	}
	for name, again := range compile(t, options) {
		if kind == "plans" && got[name] != again {
			t.Errorf("a second run gives another %s:\n%s\n%s", name, got[name], again)
		}
	}
	if *update {
		a.Files = policy
		for _, name := range slices.Sorted(maps.Keys(got)) {
			a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(got[name])})
		}
		if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for name := range want {
		if _, there := got[name]; !there {
			t.Errorf("%s is no longer made", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if got[name] != want[name] {
			t.Errorf("%s differs (-update rewrites it)\n--- got\n%s--- want\n%s", name, got[name], want[name])
		}
	}
}

func compile(t *testing.T, o compiler.Options) map[string]string {
	t.Helper()
	r, ds := compiler.Compile(context.Background(), o)
	if compiler.Failed(ds) != (len(r.Plans) == 0) {
		t.Errorf("failed: %v, but %d plans", compiler.Failed(ds), len(r.Plans))
	}
	var b bytes.Buffer
	compiler.WriteText(&b, ds)
	got := map[string]string{findings: b.String()}
	for _, p := range r.Plans {
		enc := plan.Encode(p)
		if _, err := plan.Decode(enc); err != nil {
			t.Errorf("the plan of %s is refused: %v", p.Gateway, err)
		}
		got[p.Gateway+".plan.json"] = string(enc)
	}
	for _, d := range ds {
		if compiler.Explain(d.Code) == "" {
			t.Errorf("nothing explains %s", d.Code)
		}
		if d.Severity == compiler.Error && d.File == "" && d.Code != compiler.CodeUnreadable && d.Code != compiler.CodeTag {
			t.Errorf("no place for: %s", d.Message)
		}
	}
	return got
}

func write(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
