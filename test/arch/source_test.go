package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// source is one Go file that somebody wrote.
type source struct {
	path  string // from the module's root
	fset  *token.FileSet
	ast   *ast.File
	lines int
}

func (s source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) at(p token.Pos) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(p).Line)
}

// generated is how the Go tools know a file that a program wrote.
var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// sources reads every Go file of the module that is written by hand, test data left out.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(p) != ".go":
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if generated.Match(text) {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		s, err := parse(filepath.ToSlash(rel), text)
		if err != nil {
			t.Errorf("%s does not parse: %v", rel, err)
			return nil
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no Go files found")
	}
	return all
}

func parse(path string, text []byte) (source, error) {
	s := source{path: path, fset: token.NewFileSet(), lines: bytes.Count(text, []byte("\n"))}
	var err error
	s.ast, err = parser.ParseFile(s.fset, path, text, parser.SkipObjectResolution|parser.ParseComments)
	return s, err
}

func TestFileLength(t *testing.T) {
	for _, s := range sources(t) {
		if s.lines > longest {
			t.Errorf("%s has %d lines, more than %d: one concern, one file; cut it where the second one begins", s.path, s.lines, longest)
		}
	}
}

func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		report(t, initBreaches(s))
	}
}

func initBreaches(s source) (breaches []string) {
	for _, d := range s.ast.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			breaches = append(breaches, s.at(f.Pos())+": a func init: it runs before main with all of the process's rights, and nobody calls it; build the value where it is used")
		}
	}
	return breaches
}

func TestNoUnfinishedWork(t *testing.T) {
	marks := regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)
	for _, s := range sources(t) {
		if strings.HasPrefix(s.path, "test/arch/") {
			continue
		}
		for _, g := range s.ast.Comments {
			for _, c := range g.List {
				if m := marks.FindString(c.Text); m != "" {
					t.Errorf("%s: a comment says %s: finish it, or write it down where work is planned", s.at(c.Pos()), m)
				}
			}
		}
	}
}

// clockCalls are what package time does by itself, without being told what time it is.
var clockCalls = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func clockBreaches(s source, why string) (breaches []string) {
	ast.Inspect(s.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clockCalls, sel.Sel.Name) {
				breaches = append(breaches, fmt.Sprintf("%s: time.%s: %s; now is a parameter", s.at(sel.Pos()), sel.Sel.Name, why))
			}
		}
		return true
	})
	return breaches
}

// The engine is a pure function of plan, entropy and a sequence of (now, event).
func TestEngineIsPure(t *testing.T) {
	for _, s := range sources(t) {
		if strings.HasPrefix(s.path, "ikeproc/internal/engine/") && !s.test() {
			report(t, purityBreaches(s))
		}
	}
}

func purityBreaches(s source) []string {
	breaches := clockBreaches(s, "the engine has no clock")
	ast.Inspect(s.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			breaches = append(breaches, s.at(n.Pos())+": a go statement: the engine starts nothing; what takes long is an effect that a worker runs")
		case *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
			breaches = append(breaches, s.at(n.Pos())+": a channel: the engine has one caller, takes events and returns effects")
		}
		return true
	})
	return breaches
}

// Below the loops, time is a parameter too: what parses, decides and checks must come out the same whenever it runs.
func TestNoClockBelowTheLoops(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test() && slices.ContainsFunc(clockless, func(room string) bool { return strings.HasPrefix(s.path, room) }) {
			report(t, clockBreaches(s, "no clock below a loop"))
		}
	}
}

// A test's name says what holds: `go test -v` is read as a list of claims.
func TestTestNames(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() {
			report(t, nameBreaches(s))
		}
	}
}

var (
	oneWord     = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z0-9][A-Za-z0-9]*$`)
	saysNothing = regexp.MustCompile(`^(Test|Fuzz|Benchmark)(It|Basic|Basics|Simple|Misc|Stuff|Foo|Works|[0-9]+)$`)
)

func nameBreaches(s source) (breaches []string) {
	for _, d := range s.ast.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv != nil || f.Name.Name == "TestMain" || !isTest(f) {
			continue
		}
		switch name := f.Name.Name; {
		case !oneWord.MatchString(name):
			breaches = append(breaches, fmt.Sprintf("%s: %s: write a test's name as one word in camel case, so that -run finds it as it is read", s.at(f.Pos()), name))
		case saysNothing.MatchString(name):
			breaches = append(breaches, fmt.Sprintf("%s: %s does not say what holds: name the claim", s.at(f.Pos()), name))
		}
	}
	return breaches
}

// isTest reports whether go test would run the function: one parameter, of testing's T, B or F.
func isTest(f *ast.FuncDecl) bool {
	if !strings.HasPrefix(f.Name.Name, "Test") && !strings.HasPrefix(f.Name.Name, "Fuzz") && !strings.HasPrefix(f.Name.Name, "Benchmark") {
		return false
	}
	if len(f.Type.Params.List) != 1 {
		return false
	}
	star, ok := f.Type.Params.List[0].Type.(*ast.StarExpr)
	if !ok {
		return false
	}
	sel, ok := star.X.(*ast.SelectorExpr)
	return ok && slices.Contains([]string{"T", "B", "F"}, sel.Sel.Name)
}

// A test that cannot run here says why, so that CI's list of skips can be judged.
func TestSkipsHaveReasons(t *testing.T) {
	for _, s := range sources(t) {
		report(t, skipBreaches(s))
	}
}

func skipBreaches(s source) (breaches []string) {
	ast.Inspect(s.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if ok && len(call.Args) == 0 && (sel.Sel.Name == "SkipNow" || sel.Sel.Name == "Skip") {
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) {
				breaches = append(breaches, s.at(call.Pos())+": a skip without a reason: say what this machine lacks")
			}
		}
		return true
	})
	return breaches
}
