package compiler

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/trike-ipsec/trike/internal/plan"
)

// What is compiled part by part is what is compiled together: the same plans, and the same findings in the same words.
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
		if sameBothWays(t, strings.TrimSuffix(file, ".txtar"), dir) {
			apart++
		}
	}
	examples, err := filepath.Glob(filepath.Join("..", "examples", "*"))
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, dir := range examples {
		if !sameBothWays(t, dir, dir) {
			t.Errorf("%s is not separable", dir)
		}
	}
	if t.Logf("%d of %d policies are separable", apart, len(archives)); apart < len(archives)/2 {
		t.Error("most policies should be")
	}
}

// sameBothWays compiles both ways, and tells whether the policy was separable.
func sameBothWays(t *testing.T, name, dir string) bool {
	t.Helper()
	show := func(together bool) string {
		r, ds := Compile(t.Context(), Options{Dir: dir, together: together})
		var b bytes.Buffer
		WriteText(&b, ds)
		for _, p := range r.Plans {
			b.Write(plan.Encode(p))
		}
		return b.String()
	}
	if a, b := show(false), show(true); a != b {
		t.Errorf("%s\n--- apart\n%s--- together\n%s", name, a, b)
	}
	tr, _ := scan(dir)
	if tr == nil {
		return false
	}
	l, _ := tr.read(nil)
	return l != nil && l.separable()
}
