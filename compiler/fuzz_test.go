package compiler_test

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/trike-ipsec/trike/compiler"
	"github.com/trike-ipsec/trike/internal/plan"
)

// costly are policies that ask for much work, which is what they get: a bound on time is the caller's.
var costly = regexp.MustCompile(`[0-9]{5}|Range|Repeat|Combinations|[eE][0-9]{3}|[KMGTP]i?\b`)

// FuzzCompile compiles short policies. Whatever they say, the compiler answers: with findings that have their places, or with plans that decode.
func FuzzCompile(f *testing.F) {
	for _, pattern := range []string{"mistakes/*.txtar", "plans/*.txtar"} {
		archives, err := filepath.Glob(filepath.Join("testdata", pattern))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archives {
			a, err := txtar.ParseFile(file)
			if err != nil {
				f.Fatal(err)
			}
			for _, part := range a.Files {
				if part.Name == "policy.cue" {
					f.Add(string(part.Data))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 || costly.MatchString(text) {
			return
		}
		dir := t.TempDir()
		write(t, filepath.Join(dir, "policy.cue"), []byte(text))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		r, ds := compiler.Compile(ctx, compiler.Options{Dir: dir})
		if compiler.Failed(ds) == (len(r.Plans) > 0) {
			t.Errorf("%d plans, and findings %v", len(r.Plans), ds)
		}
		lines := strings.Split(text, "\n")
		for _, d := range ds {
			switch {
			case d.Code == compiler.CodeEvaluator, d.Code == compiler.CodePlan:
				t.Errorf("not the policy is blamed: %+v", d)
			case d.Message == "" || compiler.Explain(d.Code) == "":
				t.Errorf("a finding that says nothing: %+v", d)
			case d.File != "" && (d.File != "policy.cue" || d.Line < 0 || d.Line > len(lines) || d.Column < 0 || d.Line > 0 && d.Column > len(lines[d.Line-1])+1):
				t.Errorf("there is no such place: %+v", d)
			}
		}
		for _, p := range r.Plans {
			if _, err := plan.Decode(plan.Encode(p)); err != nil {
				t.Errorf("the plan is refused: %v", err)
			}
		}
	})
}
