package compiler

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	embedded "cuelang.org/go/cue/inject/embed"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/mod/modfile"

	"github.com/trike-ipsec/trike/schema"
)

// languageVersion is the CUE that a policy without a module file is written in.
const languageVersion = "v0.17.0"

// loaded is a policy's package, parsed, with its imports, not evaluated.
type loaded struct {
	tree  *tree
	inst  *build.Instance
	index *index
}

// read parses the package in the tree's directory.
func (t *tree) read(tags []string) (*loaded, []Diagnostic) {
	overlay, err := builtinOverlay()
	if err != nil {
		return nil, []Diagnostic{{Severity: Error, Code: CodeEvaluator, Message: err.Error()}}
	}
	if ds := t.moduleInto(overlay); ds != nil {
		return nil, ds
	}
	l := &loaded{tree: t, index: &index{}}
	insts := load.Instances([]string{"."}, &load.Config{
		Dir: t.dir, ModuleRoot: t.root, Registry: builtin{}, Tags: tags, Overlay: overlay, Env: []string{},
	})
	if len(insts) != 1 {
		return nil, []Diagnostic{{Severity: Error, Code: CodeUnreadable, Message: fmt.Sprintf("%d packages in one directory", len(insts)),
			Hint: "give all files the same package clause"}}
	}
	l.inst = insts[0]
	l.index = l.indexFiles()
	if l.inst.Err != nil {
		c := &cueFindings{l: l}
		c.add(l.inst.Err)
		return nil, c.found
	}
	return l, nil
}

// moduleInto gives the policy a module file that depends on the schema of this program and on nothing else. What the policy's own files say of
// dependencies and of their replacements is for other programs: no module from elsewhere decides what a policy means.
func (t *tree) moduleInto(overlay map[string]load.Source) []Diagnostic {
	name := filepath.Join(t.root, filepath.FromSlash(moduleFile))
	file := &modfile.File{Module: "policy.invalid@v0", Language: &modfile.Language{Version: languageVersion}}
	if t.module {
		fail := func(err error) []Diagnostic {
			return []Diagnostic{{Severity: Error, Code: CodeModule, File: t.rel(name), Message: "the module file cannot be read: " + flat(err), Hint: "see `cue help modules`"}}
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return fail(err)
		}
		if file, err = modfile.Parse(b, moduleFile); err != nil {
			return fail(err)
		}
		if file.Module == schema.Module {
			return nil
		}
	}
	if _, err := os.Lstat(filepath.Join(t.root, filepath.FromSlash(localModuleFile))); err == nil {
		overlay[filepath.Join(t.root, filepath.FromSlash(localModuleFile))] = load.FromString(fmt.Sprintf("deps: %q: v: %q\n", schema.Module, schema.Version))
	}
	file.Deps = map[string]*modfile.Dep{schema.Module: {Version: schema.Version, Default: true}}
	b, err := modfile.Format(file)
	if err != nil {
		return []Diagnostic{{Severity: Error, Code: CodeModule, File: t.rel(name), Message: flat(err)}}
	}
	overlay[name] = load.FromBytes(b)
	return nil
}

func flat(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func newContext() *cue.Context { return cuecontext.New(cuecontext.WithInjection(embedded.New())) }

// definitions are the schema's, in a context of their own.
func definitions(ctx *cue.Context) (cue.Value, error) {
	inst := load.Instances([]string{"."}, &load.Config{FS: schema.Files, Registry: builtin{}, Env: []string{}})[0]
	if inst.Err != nil {
		return cue.Value{}, inst.Err
	}
	v := ctx.BuildInstance(inst)
	return v, v.Err()
}

func (l *loaded) firstFile() string {
	for _, f := range l.inst.Files {
		if n := l.tree.rel(f.Filename); n != "" {
			return n
		}
	}
	return ""
}

func label(f *ast.Field) (string, bool) {
	name, _, err := ast.LabelName(f.Label)
	return name, err == nil
}
