package scaffold

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const source = "../../.."

// What is written is what gofmt would write, builds without a network, passes its own tests, and is clean to go vet.
func TestProjectBuildsAndPasses(t *testing.T) {
	dir, err := Write(Project{Name: "two-words", Dir: filepath.Join(t.TempDir(), "p"), Module: "example.org/eap/two-words", Type: 99, Source: source})
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"gofmt -l .", "go vet ./...", "go test ./...", "go build -o eap-two-words ."} {
		words := strings.Fields(command)
		cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off", "GOPROXY=off", "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil || words[0] == "gofmt" && len(out) > 0 {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	for file, want := range map[string]string{"go.mod": "module example.org/eap/two-words\n", "method.go": "eapsdk.Type = 99\n", "README.md": `plugins: "two-words": {`, ".gitignore": "/eap-two-words\n", "Makefile": "eap-two-words: *.go"} {
		if b, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !strings.Contains(string(b), want) || strings.Contains(string(b), "@{") {
			t.Errorf("%s: %v\n%s", file, err, b)
		}
	}
}

func TestProjectOfAVersion(t *testing.T) {
	dir, err := Write(Project{Name: "word", Dir: filepath.Join(t.TempDir(), "p"), Version: "v1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || strings.TrimSpace(string(mod)) != "module eap-word\n\ngo 1.26.0\n\nrequire github.com/trike-ipsec/trike v1.2.3" {
		t.Errorf("%v\n%s", err, mod)
	}
	if ours, err := os.ReadFile(filepath.Join(source, "go.mod")); err != nil || !strings.Contains(string(ours), "\ngo 1.26.0\n") {
		t.Errorf("trike itself needs another Go than projects ask for: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.sum")); err == nil {
		t.Error("go.sum was written, without anything to fill it with")
	}
}

func TestProjectsThatAreRefused(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "go.mod"), []byte("module example.org/other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p    Project
		want error
	}{
		{Project{Name: ""}, ErrName}, {Project{Name: "Word"}, ErrName}, {Project{Name: "../up"}, ErrName}, {Project{Name: strings.Repeat("a", 64)}, ErrName},
		{Project{Name: "word"}, ErrVersion}, {Project{Name: "word", Version: "dev"}, ErrVersion}, {Project{Name: "word", Version: "v1.2.3\n"}, ErrVersion},
		{Project{Name: "word", Version: "v1.2.3", Type: 3}, ErrType}, {Project{Name: "word", Version: "v1.2.3", Type: 254}, ErrType}, {Project{Name: "word", Version: "v1.2.3", Type: 256}, ErrType},
		{Project{Name: "word", Source: full}, ErrSource}, {Project{Name: "word", Source: other}, ErrSource},
		{Project{Name: "word", Source: source, Dir: full}, ErrDir},
	} {
		if c.p.Dir == "" {
			c.p.Dir = filepath.Join(t.TempDir(), "p")
		}
		if _, err := Write(c.p); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.p, err, c.want)
		}
		if _, err := os.Stat(c.p.Dir); err == nil && c.p.Dir != full {
			t.Errorf("%+v was refused, and its folder made", c.p)
		}
	}
	if _, err := Write(Project{Name: "word", Version: "v1.2.3", Module: "a b", Dir: filepath.Join(full, "p")}); err == nil {
		t.Error("a module path with a space was taken")
	}
}
