package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// block is one fenced block of a page.
type block struct {
	info, text string
	line       int
}

// TestPluginPage types what docs/eap-plugins.md says, from its first step to its last.
func TestPluginPage(t *testing.T) {
	if testing.Short() {
		t.Skip("building trike and a plugin takes a while")
	}
	text, err := os.ReadFile("../../docs/eap-plugins.md")
	if err != nil {
		t.Fatal(err)
	}
	shell := newShell(t)
	var out string
	ran := 0
	for _, b := range blocks(string(text)) {
		switch b.info {
		case "sh", "sh fails":
			ran++
			var failed bool
			if out, failed = shell.run(b.text); failed != (b.info == "sh fails") {
				t.Fatalf("docs/eap-plugins.md:%d: the step failed: %v\n%s\n%s", b.line, failed, b.text, out)
			}
		case "text":
			for want := range strings.Lines(b.text) {
				if !strings.Contains(out, want) {
					t.Errorf("docs/eap-plugins.md:%d: it did not say %q, but\n%s", b.line, want, out)
				}
			}
		default:
			t.Errorf("docs/eap-plugins.md:%d: a block of %q, which is neither run nor looked for", b.line, b.info)
		}
	}
	if ran < 7 {
		t.Errorf("the page has %d steps", ran)
	}
}

func blocks(page string) (out []block) {
	for _, m := range regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$").FindAllStringSubmatchIndex(page, -1) {
		out = append(out, block{page[m[2]:m[3]], page[m[4]:m[5]], 1 + strings.Count(page[:m[0]], "\n")})
	}
	return out
}

// shell runs one block after the other, as if they were typed into one shell: the folder and the variables stay.
type shell struct {
	t     *testing.T
	state string
	env   []string
}

func newShell(t *testing.T) *shell {
	s := &shell{t: t, state: t.TempDir()}
	e := testscript.Env{}
	if err := buildsGo(&e); err != nil {
		t.Fatal(err)
	}
	s.env = append([]string{"HOME=" + s.state, "PATH=" + os.Getenv("PATH"), "STATE=" + s.state, "LC_ALL=C.UTF-8"}, e.Vars...)
	work := t.TempDir()
	if err := os.WriteFile(filepath.Join(s.state, "before"), []byte("cd '"+work+"'\nexport TRIKE_SOURCE=\"$SOURCE\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shell) run(text string) (out string, failed bool) {
	s.t.Helper()
	const keep = `trap '{ export -p; printf "cd %q\n" "$PWD"; } >"$STATE/before"' EXIT` + "\n"
	cmd := exec.CommandContext(s.t.Context(), "bash", "-e", "-c", `. "$STATE/before"`+"\n"+keep+text)
	cmd.Env = s.env
	b, err := cmd.CombinedOutput()
	return string(b), err != nil
}
