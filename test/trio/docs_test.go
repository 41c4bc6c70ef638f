package trio

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that the pages name is in the file that they point at, and the pages name the tests that matter.
func TestDocumentedTests(t *testing.T) {
	named := 0
	for _, page := range []string{"../../docs/threat-model.md", "../../docs/ipc.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\[((?:Test|Fuzz)\w+)\]\(([^)]+)\)`).FindAllStringSubmatch(string(text), -1) {
			named++
			source, err := os.ReadFile(filepath.Join(filepath.Dir(page), m[2]))
			if err != nil || !strings.Contains(string(source), "\nfunc "+m[1]+"(") {
				t.Errorf("%s says that %s is in %s, where it is not (%v)", page, m[1], m[2], err)
			}
		}
	}
	if named < 30 {
		t.Errorf("the pages name %d tests", named)
	}
}
