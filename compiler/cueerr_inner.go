package compiler

import (
	"fmt"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// inner looks for the field that is at fault in a struct that is one alternative of several: of those CUE only says that none fits.
func (c *cueFindings) inner(d *Diagnostic, path []string, pos *token.Pos) {
	if len(path) == 0 {
		return
	}
	s := c.schema()
	want := alternative(s, s.at(path), 0)
	if want == nil {
		return
	}
	v := c.plainly()
	if !v.Exists() {
		return
	}
	it, err := v.LookupPath(pathOf(path)).Fields()
	if err != nil {
		return
	}
	names := map[string]ast.Expr{}
	for _, e := range want.Elts {
		if f, ok := e.(*ast.Field); ok {
			if name, ok := label(f); ok {
				names[name] = f.Value
			}
		}
	}
	for it.Next() {
		name := it.Selector().Unquoted()
		p := append(path[:len(path):len(path)], name)
		e, known := names[name]
		if known {
			if _, fits := s.of(e).take(it.Value()); fits || it.Value().IncompleteKind() == cue.BottomKind {
				continue
			}
		}
		d.Path = join(p)
		m, exact := c.l.index.find(p)
		switch {
		case !known:
			d.Code, d.Message, d.Hint = CodeField, fmt.Sprintf("there is no field %q here", name), "fields here: "+strings.Join(keys(names), ", ")
			if n := nearest(name, keys(names)); n != "" {
				d.Hint = fmt.Sprintf("did you mean %q?", n)
			}
			if exact {
				*pos = m.label
			}
		default:
			if text := s.spoken(e, 0); text != "" {
				d.Message = text
			} else if text := s.says(p); text != "" {
				d.Message = text
			}
			if exact {
				*pos = m.value
			}
		}
		return
	}
}

// plainly is the package without what the schema has to say: there a value that the schema refuses can still be looked at.
func (c *cueFindings) plainly() cue.Value {
	if !c.plain.Exists() {
		if restore, ok := c.l.withoutSchema(); ok {
			c.plain = newContext().BuildInstance(c.l.inst)
			restore()
		} else {
			c.plain = c.whole // it does not mention the schema
		}
	}
	return c.plain
}

// alternative is the struct among the alternatives of an expression, nil for none or when it is no disjunction.
func alternative(s *shapes, e ast.Expr, depth int) *ast.StructLit {
	switch e := e.(type) {
	case *ast.Ident:
		if def, known := s.defs[e.Name]; known && depth < maxIndexDepth {
			return alternative(s, def, depth+1)
		}
	case *ast.BinaryExpr:
		if e.Op != token.OR {
			return nil
		}
		for _, x := range []ast.Expr{e.X, e.Y} {
			if st, ok := x.(*ast.StructLit); ok {
				return st
			}
			if st := alternative(s, x, depth+1); st != nil {
				return st
			}
		}
	}
	return nil
}
