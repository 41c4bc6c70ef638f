package compiler

import (
	"strconv"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// either is a disjunction. Of data at most one alternative is true, or several say the same.
type either struct {
	shapes []shape
	preset any // the value when there is none; nil for none
}

func (s *shapes) either(e ast.Expr) shape {
	var out either
	var add func(ast.Expr)
	add = func(e ast.Expr) {
		switch x := e.(type) {
		case *ast.BinaryExpr:
			if x.Op == token.OR {
				add(x.X)
				add(x.Y)
				return
			}
		case *ast.CallExpr: // error("…"), which is for people
			return
		case *ast.UnaryExpr:
			if x.Op == token.MUL {
				out.preset = preset(x.X)
				add(x.X)
				return
			}
		case *ast.BasicLit:
			if x.Kind == token.INT || x.Kind == token.TRUE || x.Kind == token.FALSE {
				return // a default; the alternative beside it takes it too
			}
		}
		out.shapes = append(out.shapes, s.of(e))
	}
	add(e)
	return out
}

// preset is a default as data.
func preset(e ast.Expr) any {
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		return nil
	}
	switch lit.Kind {
	case token.STRING:
		if s, err := strconv.Unquote(lit.Value); err == nil {
			return s
		}
	case token.INT:
		if n, err := strconv.Atoi(lit.Value); err == nil {
			return n
		}
	case token.TRUE:
		return true
	case token.FALSE:
		return false
	}
	return nil
}

func (e either) take(v cue.Value) (any, bool) {
	for _, s := range e.shapes {
		if d, ok := s.take(v); ok {
			return d, true
		}
	}
	return nil, false
}

// both is a conjunction: every shape takes the value. How many fields a struct has is said by its own shape.
type both []shape

func (s *shapes) both(e *ast.BinaryExpr) shape {
	var out both
	least, most := 0, -1
	var add func(ast.Expr)
	add = func(e ast.Expr) {
		switch x := e.(type) {
		case *ast.BinaryExpr:
			if x.Op == token.AND {
				add(x.X)
				add(x.Y)
				return
			}
		case *ast.CallExpr:
			if n, min, ok := fieldCount(x); ok {
				if min {
					least = n
				} else {
					most = n
				}
				return
			}
		}
		out = append(out, s.of(e))
	}
	add(e)
	if least == 0 && most < 0 {
		return out
	}
	if st, ok := out[0].(*structure); ok && len(out) == 1 {
		counted := *st
		counted.least, counted.most = least, most
		return &counted
	}
	return nothing{}
}

// fieldCount reads struct.MinFields(n) and struct.MaxFields(n).
func fieldCount(c *ast.CallExpr) (n int, min, ok bool) {
	sel, ok := c.Fun.(*ast.SelectorExpr)
	if !ok || len(c.Args) != 1 {
		return 0, false, false
	}
	x, _ := sel.X.(*ast.Ident)
	f, _ := sel.Sel.(*ast.Ident)
	lit, _ := c.Args[0].(*ast.BasicLit)
	if x == nil || f == nil || lit == nil || x.Name != "struct" || f.Name != "MinFields" && f.Name != "MaxFields" {
		return 0, false, false
	}
	n, err := strconv.Atoi(lit.Value)
	return n, f.Name == "MinFields", err == nil
}

func (b both) take(v cue.Value) (data any, ok bool) {
	for _, s := range b {
		if data, ok = s.take(v); !ok {
			return nil, false
		}
	}
	return data, len(b) > 0
}

// structure is a closed struct: named fields, or any number of one kind under names of one kind.
type structure struct {
	fields      map[string]field
	name, value shape // of `[#Name]: #Value`; nil for none
	least, most int   // fields; most below 0 for any number
	odd         bool  // there is something in it that no shape understands
}

type field struct {
	shape    shape
	required bool
	optional bool
}

func (s *shapes) structure(e *ast.StructLit) *structure {
	out := &structure{fields: map[string]field{}, most: -1}
	for _, d := range e.Elts {
		switch d := d.(type) {
		case *ast.Field:
			if l, ok := d.Label.(*ast.ListLit); ok && len(l.Elts) == 1 && out.name == nil {
				out.name, out.value = nameShape{s.of(l.Elts[0])}, s.of(d.Value)
				continue
			}
			name, ok := label(d)
			if _, twice := out.fields[name]; !ok || twice {
				out.odd = true
				continue
			}
			out.fields[name] = field{s.of(d.Value), d.Constraint == token.NOT, d.Constraint == token.OPTION}
		case *ast.EmbedDecl:
			st, ok := s.of(d.Expr).(*structure)
			if !ok || st.name != nil || st.odd {
				out.odd = true
				continue
			}
			for name, f := range st.fields {
				out.fields[name] = f
			}
		default:
			out.odd = true
		}
	}
	out.odd = out.odd || out.name != nil && len(out.fields) > 0
	return out
}

func (s *structure) take(v cue.Value) (any, bool) {
	// What the policy closes, or says of fields that are not there, it may say of the schema's defaults.
	if s.odd || v.Kind() != cue.StructKind || v.IsClosed() {
		return nil, false
	}
	it, err := v.Fields(cue.Optional(true), cue.Patterns(true))
	if err != nil {
		return nil, false
	}
	out := map[string]any{}
	for it.Next() {
		sel := it.Selector()
		if sel.Type() != cue.StringLabel {
			return nil, false
		}
		name := sel.Unquoted()
		kind, known := s.fields[name]
		if s.name != nil && s.name.(nameShape).fits(name) {
			kind, known = field{shape: s.value}, true
		}
		if !known {
			return nil, false
		}
		x := it.Value()
		if _, chosen := x.Default(); chosen {
			return nil, false // a default of the policy's may lose against the schema's
		}
		d, ok := kind.shape.take(x)
		if !ok {
			return nil, false
		}
		out[name] = d
	}
	if len(out) < s.least || s.most >= 0 && len(out) > s.most {
		return nil, false
	}
	for name, f := range s.fields {
		if _, there := out[name]; there || f.optional {
			continue
		}
		e, ok := f.shape.(either)
		if f.required || !ok || e.preset == nil {
			return nil, false
		}
		out[name] = e.preset
	}
	return out, true
}

// nameShape holds for the names that its shape, of strings, takes.
type nameShape struct{ shape }

func (n nameShape) fits(name string) bool {
	t, ok := n.shape.(text)
	return ok && t(name)
}

// listShape is a list of so many elements, or of any number from least on.
type listShape struct {
	each  []shape // the first ones
	rest  shape   // the others; nil for none
	least int
}

func (s *shapes) list(e *ast.ListLit) shape {
	var out listShape
	for i, x := range e.Elts {
		if more, ok := x.(*ast.Ellipsis); ok {
			if i != len(e.Elts)-1 || more.Type == nil {
				return nothing{}
			}
			out.rest = s.of(more.Type)
			continue
		}
		out.each = append(out.each, s.of(x))
	}
	out.least = len(out.each)
	return out
}

func (l listShape) take(v cue.Value) (any, bool) {
	if v.Kind() != cue.ListKind {
		return nil, false
	}
	it, err := v.List()
	if err != nil {
		return nil, false
	}
	out := []any{}
	for it.Next() {
		s := l.rest
		if len(out) < len(l.each) {
			s = l.each[len(out)]
		}
		x := it.Value()
		if _, chosen := x.Default(); s == nil || chosen {
			return nil, false
		}
		d, ok := s.take(x)
		if !ok {
			return nil, false
		}
		out = append(out, d)
	}
	return out, len(out) >= l.least
}
