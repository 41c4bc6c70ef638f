package compiler

import (
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"github.com/trike-ipsec/trike/schema"
)

// separable tells whether the policy's gateways, links and so on may be held against the schema one by one: then nothing in the package looks at what
// the schema adds to the policy, so the package means the same when the schema is put to it later. That holds when the schema is mentioned in
// `policy: schema.#Policy` alone, and no expression names `policy` or a field within it. It is decided by names, and when in doubt it is no.
func (l *loaded) separable() bool {
	for _, p := range l.inst.ImportPaths {
		if first, _, _ := strings.Cut(p, "/"); p != schema.ImportPath && strings.Contains(first, ".") {
			return false // packages of the policy's own may use the schema too
		}
	}
	s := newSeparation()
	for _, f := range l.inst.Files {
		s.file(f)
	}
	if s.doubt || s.roots == 0 {
		return false
	}
	for _, f := range l.inst.Files {
		s.references(f)
	}
	return !s.doubt
}

// rooted tells whether a file says `policy: schema.#Policy`, so that the policy has met the schema when the package is built: this program's schema, and not
// one that lies with the policy.
func (l *loaded) rooted() bool {
	for _, i := range l.inst.Imports {
		if i.ImportPath == schema.ImportPath && i.Dir != builtinRoot {
			return false
		}
	}
	s := newSeparation()
	for _, f := range l.inst.Files {
		s.file(f)
	}
	return s.roots > 0
}

func newSeparation() *separation {
	// These ask of a whole struct what its fields are.
	return &separation{named: map[string]bool{"self": true, "matchN": true, "matchIf": true}, skip: map[*ast.SelectorExpr]bool{}}
}

type separation struct {
	named map[string]bool // what must not be referred to: `policy`, and the labels within it
	roots int             // how often `policy: schema.#Policy` stands
	skip  map[*ast.SelectorExpr]bool
	doubt bool
}

// file finds the roots, and the labels within `policy`.
func (s *separation) file(f *ast.File) {
	alias := "schema"
	for spec := range f.ImportSpecs() {
		if path := strings.Trim(spec.Path.Value, `"`); path == schema.ImportPath && spec.Name != nil {
			alias = spec.Name.Name
		} else if path != schema.ImportPath && strings.HasPrefix(path, schema.ImportPath) {
			s.doubt = true // with a version or a package name
		} else if path == "struct" {
			s.doubt = true
		}
	}
	s.named[alias] = true
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.Field:
			if name, _ := label(d); name == "policy" && d.Constraint == token.ILLEGAL {
				s.root(d.Value, alias)
			}
		case *ast.Attribute:
			if strings.HasPrefix(d.Text, "@experiment") {
				s.doubt = true
			}
		}
	}
	s.labels(f, false)
}

// root finds schema.#Policy in `schema.#Policy` and in `schema.#Policy & {…}`.
func (s *separation) root(e ast.Expr, alias string) {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		if e.Op == token.AND {
			s.root(e.X, alias)
			s.root(e.Y, alias)
		}
	case *ast.SelectorExpr:
		x, ok := e.X.(*ast.Ident)
		sel, isIdent := e.Sel.(*ast.Ident)
		if ok && isIdent && x.Name == alias && sel.Name == "#Policy" {
			s.skip[e] = true
			s.roots++
		}
	}
}

// labels collects the labels of all fields within fields named `policy`, wherever these are.
func (s *separation) labels(n ast.Node, inside bool) {
	ast.Walk(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Alias:
			s.doubt = true
		case *ast.Field:
			name, ok := label(n)
			if _, aliased := n.Label.(*ast.Alias); aliased || n.Alias != nil {
				s.doubt = true
			}
			if ok && (inside || name == "policy") && !strings.HasPrefix(name, "_") {
				s.named[name] = true
			}
			if !inside && name == "policy" {
				s.labels(n.Value, true)
				return false
			}
		}
		return !s.doubt
	}, nil)
}

// references looks for expressions that name what they must not.
func (s *separation) references(f *ast.File) {
	labels := map[ast.Node]bool{}
	ast.Walk(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportDecl, *ast.Package:
			return false
		case *ast.Field:
			labels[n.Label] = true
		case *ast.SelectorExpr:
			if s.skip[n] {
				return false
			}
			labels[n.Sel] = true
		case *ast.Ident:
			s.doubt = s.doubt || s.named[n.Name] && !labels[n]
		}
		return !s.doubt
	}, nil)
}

// withoutSchema lets the package be built as if the schema said nothing, until the answer is called.
func (l *loaded) withoutSchema() (restore func(), ok bool) {
	f, err := parser.ParseFile("schema.cue", "package schema\n\n#Policy: _\n")
	if err != nil {
		return nil, false
	}
	for _, i := range l.inst.Imports {
		if i.ImportPath == schema.ImportPath || strings.HasPrefix(i.ImportPath, schema.ImportPath+"@") {
			return swapFiles(i, f), true
		}
	}
	return nil, false
}

func swapFiles(i *build.Instance, f *ast.File) (restore func()) {
	files, imports, paths := i.Files, i.Imports, i.ImportPaths
	i.Files, i.Imports, i.ImportPaths = []*ast.File{f}, nil, nil
	return func() { i.Files, i.Imports, i.ImportPaths = files, imports, paths }
}
