// Package authors holds what other people's plugins are made with to what it promises, across languages.
package authors

import (
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk/eaptest"
	"github.com/trike-ipsec/trike/plugins/eapsdk/scaffold"
)

const source = "../.."

// run runs a command in a folder, with nothing but this machine's caches of Go.
func run(t *testing.T, dir string, words ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOPROXY=off", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", words, err, out)
	}
	return string(out)
}

// python builds the example, and is its folder.
func python(t *testing.T) string {
	t.Helper()
	if err := exec.Command("/usr/bin/python3", "-I", "-c", "import grpc, google.protobuf").Run(); err != nil {
		t.Skip("Debian's python3-grpcio and python3-protobuf are not here: test/setup packages installs them")
	}
	if _, err := exec.LookPath("protoc"); err != nil {
		t.Skip("Debian's protobuf-compiler is not here: test/setup packages installs it")
	}
	dir := filepath.Join(t.TempDir(), "python")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(source, "plugins/python"))); err != nil {
		t.Fatal(err)
	}
	abs, err := filepath.Abs(source)
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, "make", "-B", "TRIKE_SOURCE="+abs)
	return dir
}

// settings are those that the example comes with, each side with a program of its own.
func settings(t *testing.T, dir string, server, client string) eaptest.Config {
	t.Helper()
	c, err := eaptest.ReadSettings(filepath.Join(dir, "testdata/settings.json"))
	if err != nil {
		t.Fatal(err)
	}
	c.Start, c.Client.Start, c.Wrong.Start = eaptest.Program(server), eaptest.Program(client), eaptest.Program(client)
	return c
}

// The example in Python passes what `trike plugin test` asks of it, and is the same file each time that it is built, so that it can be pinned.
func TestPluginInPython(t *testing.T) {
	dir, bin := python(t), t.TempDir()
	run(t, source, "go", "build", "-o", bin, "./cmd/trike")
	out := run(t, dir, filepath.Join(bin, "trike"), "plugin", "test", "--settings", "testdata/settings.json", "./eap-word")
	if !strings.HasSuffix(out, " passed, 0 failed, 0 not tried\n") {
		t.Errorf("trike plugin test says\n%s", out)
	}
	sum := func() [sha256.Size]byte {
		b, err := os.ReadFile(filepath.Join(dir, "eap-word"))
		if err != nil {
			t.Fatal(err)
		}
		return sha256.Sum256(b)
	}
	before := sum()
	abs, err := filepath.Abs(source)
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, "make", "-B", "TRIKE_SOURCE="+abs)
	if sum() != before {
		t.Error("built again, it is another file")
	}
}

// The method in Go that an author begins with, and the one in Python, understand each other in both roles.
func TestPluginsInTwoLanguages(t *testing.T) {
	dir := python(t)
	project, err := scaffold.Write(scaffold.Project{Name: "word", Dir: filepath.Join(t.TempDir(), "word"), Source: source})
	if err != nil {
		t.Fatal(err)
	}
	run(t, project, "go", "build", "-o", "eap-word", ".")
	inGo, inPython := filepath.Join(project, "eap-word"), filepath.Join(dir, "eap-word")
	t.Run("Python asks", func(t *testing.T) { eaptest.Conformance(t, settings(t, dir, inPython, inGo)) })
	t.Run("Go asks", func(t *testing.T) { eaptest.Conformance(t, settings(t, dir, inGo, inPython)) })
}
