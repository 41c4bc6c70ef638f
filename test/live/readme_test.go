package live

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestReadme types what the README says, on a site with the addresses of its first policy.
func TestReadme(t *testing.T) {
	s := newSite(t)
	s.must(s.b.Proc.Stop(10 * time.Second))
	s.must(s.p.Proc.Stop(10 * time.Second))
	text, err := os.ReadFile("../../README.md")
	s.must(err)

	policy := regexp.MustCompile("(?s)```cue\n(.*?)```").FindSubmatch(text)
	if policy == nil {
		t.Fatal("the README has no policy")
	}
	at := s.path("readme/examples/site-to-site")
	s.must(os.MkdirAll(at, 0o755))
	s.must(os.WriteFile(filepath.Join(at, "policy.cue"), []byte(strings.Replace(string(policy[1]), "/etc/trike/secrets/berlin-paris.psk", s.path("key"), 1)), 0o644))

	lines := regexp.MustCompile(`(?m)^    (triked? .*)$`).FindAllStringSubmatch(string(text), -1)
	if len(lines) < 6 {
		t.Fatalf("the README has only %d commands", len(lines))
	}
	for _, line := range lines {
		command, _, _ := strings.Cut(line[1], "#")
		words := strings.Fields(command)
		switch words[0] + " " + words[1] {
		case "triked --plan":
			s.b.Plan = filepath.Join(s.path("readme"), words[2])
			s.must(s.b.Start())
			s.p.Plan = strings.Replace(s.b.Plan, "berlin", "paris", 1)
			s.must(s.p.Start())
		case "trike up", "trike status", "trike apply":
			words = append(words[:2:2], append([]string{"--control", s.b.Control()}, words[2:]...)...)
			fallthrough
		default:
			out, err := s.berlin.Run(t.Context(), "sh", "-c", "cd "+s.path("readme")+" && exec "+os.Getenv("TRIKE_BIN")+"/"+strings.Join(words, " "))
			if err != nil {
				t.Errorf("%s: %v\n%s", command, err, out)
			}
		}
	}
	s.guarded(func() { s.reach(20 * time.Second) })
	if _, err := s.b.Settled(10*time.Second, "berlin-paris", 1, 1); err != nil {
		t.Error(err)
	}
}
