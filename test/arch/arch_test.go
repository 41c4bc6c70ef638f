// Package arch holds the tests of the house itself: who imports whom, what stands where, and a few habits. It looks at what there is; a room that
// does not exist breaks no law.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/trike-ipsec/trike"

const root = "../.."

// pkg is what `go list` tells of a package. Paths of ours are without the module's.
type pkg struct {
	ImportPath   string
	Name         string
	Standard     bool
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
	CgoFiles     []string
	DepOnly      bool
}

func (p pkg) path() string { return ours(p.ImportPath) }

// ours strips the module's path: "internal/plan", or "." for the root. What is not ours stays as it is.
func ours(p string) string {
	if p == module {
		return "."
	}
	return strings.TrimPrefix(p, module+"/")
}

func isOurs(p string) bool { return p == module || strings.HasPrefix(p, module+"/") }

// fits reports whether a path is what the pattern names: itself, or with "/..." anything below too. "..." is everything.
func fits(pattern, p string) bool {
	if pattern == "..." {
		return true
	}
	if top, ok := strings.CutSuffix(pattern, "/..."); ok {
		return p == top || strings.HasPrefix(p, top+"/")
	}
	return p == pattern
}

func fitsAny(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return fits(pattern, p) })
}

// list gives our packages with all that they link. Packages that do not compile are still read: whose business that is, the compiler says.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Name,Standard,Imports,TestImports,XTestImports,Deps,CgoFiles,DepOnly", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		if isOurs(p.ImportPath) {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		t.Fatal("go list found none of our packages")
	}
	return all
}

func rowOf(p string) (row, bool) {
	i := slices.IndexFunc(law, func(r row) bool { return fits(r.path, p) })
	if i < 0 {
		return row{}, false
	}
	return law[i], true
}

// own reports whether two packages are of one subtree of the law: a room may import its own rooms where the row names them all.
func own(r row, imported string) bool {
	return strings.HasSuffix(r.path, "/...") && fits(r.path, imported)
}

// report fails the test once for each breach.
func report(t *testing.T, breaches []string) {
	t.Helper()
	for _, b := range breaches {
		t.Error(b)
	}
}

func TestImportLaw(t *testing.T) { report(t, lawBreaches(list(t))) }

func lawBreaches(all []pkg) (breaches []string) {
	say := func(format string, args ...any) { breaches = append(breaches, fmt.Sprintf(format, args...)) }
	for _, p := range all {
		r, ok := rowOf(p.path())
		if !ok {
			say("package %s has no row in the import law: say in test/arch/law_test.go and docs/architecture.md what it may import", p.path())
			continue
		}
		for _, i := range p.Imports {
			switch o := ours(i); {
			case isOurs(i) && !own(r, o) && !fitsAny(r.may, o):
				say("package %s imports %s, which row %q of the import law does not let it: %s", p.path(), o, r.path, r.why)
			case fitsAny(r.direct, i):
				say("package %s imports %s, which row %q of the import law forbids: %s", p.path(), i, r.path, r.why)
			}
		}
		for _, d := range p.Deps {
			if fitsAny(r.link, d) {
				say("package %s links %s (`go list -deps` shows by which way), which row %q of the import law forbids: %s", p.path(), d, r.path, r.why)
			}
		}
	}
	return breaches
}

// A process is linked into its own program alone: Go runs every linked package's init before main, with the process's rights.
func TestOneProcessEach(t *testing.T) { report(t, processBreaches(list(t))) }

func processBreaches(all []pkg) (breaches []string) {
	for _, p := range all {
		if p.path() == mayHoldSeveral {
			continue
		}
		var held []string
		for _, process := range processes {
			links := slices.ContainsFunc(slices.Concat(p.Deps, p.TestImports, p.XTestImports), func(d string) bool { return ours(d) == process })
			if links || p.path() == process {
				held = append(held, process)
			}
		}
		if len(held) > 1 {
			breaches = append(breaches, fmt.Sprintf("package %s links %s: only %s may hold more than one process", p.path(), strings.Join(held, " and "), mayHoldSeveral))
		}
	}
	return breaches
}

func TestOnlyThere(t *testing.T) { report(t, placeBreaches(list(t))) }

func placeBreaches(all []pkg) (breaches []string) {
	for _, p := range all {
		for _, o := range onlyThere {
			for _, i := range p.Imports {
				if fits(o.pkg, ours(i)) && !fitsAny(o.where, p.path()) {
					breaches = append(breaches, fmt.Sprintf("package %s imports %s, which only %s may: %s", p.path(), ours(i), strings.Join(o.where, ", "), o.why))
				}
			}
		}
	}
	return breaches
}

func TestNoCgo(t *testing.T) {
	for _, p := range list(t) {
		if len(p.CgoFiles) > 0 || slices.Contains(p.Imports, "C") {
			t.Errorf("package %s uses cgo: every program is built with CGO_ENABLED=0", p.path())
		}
	}
}

func TestPackageNames(t *testing.T) {
	for _, p := range list(t) {
		for _, name := range append(strings.Split(p.path(), "/"), p.Name) {
			if slices.Contains(vague, name) {
				t.Errorf("package %s is named %q, which says nothing of what is inside: name it after what it does", p.path(), name)
			}
		}
	}
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if slices.Contains(topLevel, e.Name()) {
			continue
		}
		if slices.ContainsFunc(strings.Fields(string(ignored)), func(pattern string) bool {
			match, err := path.Match(strings.Trim(pattern, "/"), e.Name())
			return err == nil && match
		}) {
			continue
		}
		t.Errorf("%s stands in the module's root, where only %s may: move it into the room that it belongs to", e.Name(), strings.Join(topLevel, " "))
	}
}

// The law itself: a row that nothing can reach is a mistake in the table.
func TestLawHasNoDeadRow(t *testing.T) {
	for i, r := range law {
		if r.why == "" {
			t.Errorf("row %q does not say why", r.path)
		}
		for _, before := range law[:i] {
			if fits(before.path, strings.TrimSuffix(r.path, "/...")) {
				t.Errorf("row %q is never reached: row %q stands before it", r.path, before.path)
			}
		}
	}
}
