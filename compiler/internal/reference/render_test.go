package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"
)

func TestPageIsFresh(t *testing.T) {
	want, err := render()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../docs/policy-reference.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/policy-reference.md is stale: run go generate ./compiler")
	}
}

// A schema that leaves something unsaid is refused.
func TestUnsaid(t *testing.T) {
	for src, want := range map[string]string{
		"#A: a: 1":                    "#A has no comment",
		"// #A is.\n#A: {a!: string}": "#A.a has no comment",
		"// #A is.\n#A: {\n// a is.\na?: string\n}":                               "no \"Default",
		"// #A is.\n#A: {\n// a is. Default: 3.\na: *2 | int\n}":                  "#A.a has the default 2, and its comment says 3",
		"// #A is.\n#A: {\n// a is how it is. Default: \"1s\".\na?: #Duration\n}": "a duration",
		"// #A is.\n#A: {\n// a is much. Default: 1.\na?: int\n}":                 "no unit",
	} {
		f, err := parser.ParseFile("x.cue", src, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		p := &page{}
		p.definition(f.Decls[0].(*ast.Field))
		if len(p.unsaid) == 0 || !strings.Contains(p.unsaid[0].Error(), want) {
			t.Errorf("%s: got %v, want %s", src, p.unsaid, want)
		}
	}
}
