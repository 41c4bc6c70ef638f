package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocs: what the pages point at is there, and every door that they name is one of the Makefile's.
func TestDocs(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	links, doors := regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`), regexp.MustCompile("(?m)(?:^    |`)make ([a-z]+)")
	pages := 0
	err = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		pages++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range links.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s points at %s, which is not there", path, m[1])
			}
		}
		for _, m := range doors.FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s says `make %s`, and the Makefile has no such door", path, m[1])
			}
		}
		return nil
	})
	if err != nil || pages < 5 {
		t.Errorf("%d pages: %v", pages, err)
	}
}
