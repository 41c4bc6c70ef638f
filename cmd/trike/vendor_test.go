package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// plainCue builds the cue command, of the version that this module uses, in a module of its own: what it needs beside the library stays out of ours.
func plainCue(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("building the cue command takes a while")
	}
	ours, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`cuelang\.org/go (v\S+)`).FindSubmatch(ours)
	if version == nil {
		t.Fatal("go.mod does not name cuelang.org/go")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module vet.invalid\n\ngo 1.26\n\nrequire cuelang.org/go "+string(version[1])+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", "-o", "cue", "cuelang.org/go/cmd/cue")
	build.Dir, build.Env = dir, append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("the cue command cannot be built here: %v\n%s", err, out)
	}
	return filepath.Join(dir, "cue")
}

// With the vendored schema, plain cue understands every example without a network, and finds a mistake in it.
func TestVendoredSchemaInPlainCue(t *testing.T) {
	cue := plainCue(t)
	examples, err := filepath.Glob(filepath.Join("..", "..", "examples", "*"))
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, example := range examples {
		t.Run(filepath.Base(example), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), filepath.Base(example))
			if err := os.CopyFS(dir, os.DirFS(example)); err != nil {
				t.Fatal(err)
			}
			if status := run([]string{"trike", "schema", "vendor", dir}); status != 0 {
				t.Fatalf("trike schema vendor: exit status %d", status)
			}
			vet := func() (string, error) {
				c := exec.CommandContext(t.Context(), cue, "vet", "-c", "./...")
				// No registry answers there, and nothing is in this cache.
				c.Dir, c.Env = dir, append(os.Environ(), "CUE_REGISTRY=none", "CUE_CACHE_DIR="+t.TempDir())
				out, err := c.CombinedOutput()
				return string(out), err
			}
			if out, err := vet(); err != nil {
				t.Fatalf("cue vet: %v\n%s", err, out)
			}
			slip := []byte("package " + packageOf(t, dir) + "\n\npolicy: gateways: extra: adress: \"192.0.2.99\"\n")
			if err := os.WriteFile(filepath.Join(dir, "slip.cue"), slip, 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := vet(); err == nil || !strings.Contains(out, "adress") {
				t.Errorf("cue vet does not find the slip: %v\n%s", err, out)
			}
		})
	}
}

func packageOf(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "policy.cue"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^package (\w+)$`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("%s has no package clause", dir)
	}
	return string(m[1])
}
