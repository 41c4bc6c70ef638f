package compiler

import (
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// index finds what the policy's files say at a path, for all that is written out: templates and comprehensions have no entry, and what they make
// is found at the nearest thing above that has one.
type index struct {
	at    map[string][]mark // by path, joined by "\x00"
	roots map[token.Position]bool
}

// mark is one place that says something of a path: the label or list element, and the value, with its text where that is a literal.
type mark struct {
	label, value token.Pos
	literal      string
}

func key(path []string) string { return strings.Join(path, "\x00") }

func (l *loaded) indexFiles() *index {
	ix := &index{at: map[string][]mark{}, roots: map[token.Position]bool{}}
	for _, f := range l.inst.Files {
		if l.tree.rel(f.Filename) != "" {
			ix.decls(nil, f.Decls, 0)
		}
	}
	return ix
}

const maxIndexDepth = 32

func (ix *index) decls(path []string, decls []ast.Decl, depth int) {
	if depth > maxIndexDepth {
		return
	}
	for _, d := range decls {
		switch d := d.(type) {
		case *ast.Field:
			name, ok := label(d)
			if !ok {
				continue
			}
			p := append(path[:len(path):len(path)], name)
			ix.put(p, d.Label.Pos(), d.Value)
			ix.expr(p, d.Value, depth+1)
		case *ast.EmbedDecl:
			ix.expr(path, d.Expr, depth+1)
		}
	}
}

func (ix *index) expr(path []string, e ast.Expr, depth int) {
	if depth > maxIndexDepth {
		return
	}
	switch e := e.(type) {
	case *ast.StructLit:
		ix.decls(path, e.Elts, depth+1)
	case *ast.ListLit:
		for i, x := range e.Elts {
			p := append(path[:len(path):len(path)], itoa(i))
			ix.put(p, x.Pos(), x)
			ix.expr(p, x, depth+1)
		}
	case *ast.BinaryExpr:
		if e.Op == token.AND {
			ix.expr(path, e.X, depth+1)
			ix.expr(path, e.Y, depth+1)
		}
	case *ast.ParenExpr:
		ix.expr(path, e.X, depth+1)
	case *ast.SelectorExpr, *ast.Ident:
		if len(path) == 1 {
			ix.roots[e.Pos().Position()] = true // the line that says `policy: schema.#Policy`
		}
	}
}

func (ix *index) put(path []string, label token.Pos, value ast.Expr) {
	k := key(path)
	m := mark{label: label, value: value.Pos()}
	if lit, ok := value.(*ast.BasicLit); ok {
		m.literal = lit.Value
	}
	ix.at[k] = append(ix.at[k], m)
}

// literals are the places that give a path different literal values.
func (ix *index) literals(path []string) (out []token.Pos) {
	seen := map[string]bool{"": true}
	for _, m := range ix.at[key(path)] {
		if !seen[m.literal] {
			seen[m.literal] = true
			out = append(out, m.value)
		}
	}
	return out
}

// find gives the place of a path or of the nearest thing above it, and whether it is the path's own. Of several places it prefers the one that says most:
// a label with a value that is no bare reference to the schema.
func (ix *index) find(path []string) (mark, bool) {
	for n := len(path); n > 0; n-- {
		if ms := ix.at[key(path[:n])]; len(ms) > 0 {
			for _, m := range ms {
				if !ix.roots[m.value.Position()] {
					return m, n == len(path)
				}
			}
			return ms[0], n == len(path)
		}
	}
	return mark{}, false
}
