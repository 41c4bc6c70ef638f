package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/compiler"
)

// Every code that the compiler can name is explained, in a first line that says what is wrong and further ones that say what to do.
func TestExplainEveryCode(t *testing.T) {
	src, err := os.ReadFile(filepath.Join("..", "..", "compiler", "codes.go"))
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`TRK\d{4}`).FindAllString(string(src), -1)
	if len(codes) != len(compiler.Codes()) {
		t.Errorf("%d codes, %d explanations", len(codes), len(compiler.Codes()))
	}
	if s := slices.Sorted(slices.Values(codes)); len(slices.Compact(s)) != len(codes) {
		t.Error("a code has two meanings")
	}
	for _, code := range codes {
		var out strings.Builder
		app := newApp()
		app.Writer = &out
		if err := app.Run([]string{"trike", "explain", strings.ToLower(code)}); err != nil {
			t.Errorf("explain %s: %v", code, err)
			continue
		}
		first, more, _ := strings.Cut(out.String(), "\n")
		if !strings.HasPrefix(first, code+": ") || len(strings.TrimSpace(more)) < 20 {
			t.Errorf("explain %s tells too little: %s", code, out.String())
		}
	}
}
