package compiler

import (
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"
)

// says is what the schema's error("…") says of a path of the policy, "" for none. CUE says it too, but not where a value is of a quite different kind.
func (s *shapes) says(path []string) string {
	if e := s.at(path); e != nil {
		return s.spoken(e, 0)
	}
	return ""
}

// definition is the name of the definition that the schema has at a path of the policy.
func (s *shapes) definition(path []string) string {
	if id, ok := s.at(path).(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// at is what the schema has at a path of the policy; nil for nothing.
func (s *shapes) at(path []string) ast.Expr {
	if len(path) == 0 || path[0] != "policy" || s.defs["#Policy"] == nil {
		return nil
	}
	e := s.defs["#Policy"]
	for _, name := range path[1:] {
		if e = s.within(e, name, 0); e == nil {
			return nil
		}
	}
	return e
}

// spoken finds error("…") among the alternatives of an expression.
func (s *shapes) spoken(e ast.Expr, depth int) string {
	switch e := e.(type) {
	case *ast.Ident:
		if def, known := s.defs[e.Name]; known && depth < maxIndexDepth {
			return s.spoken(def, depth+1)
		}
	case *ast.BinaryExpr:
		if e.Op == token.OR {
			if text := s.spoken(e.Y, depth+1); text != "" {
				return text
			}
			return s.spoken(e.X, depth+1)
		}
	case *ast.CallExpr:
		f, ok := e.Fun.(*ast.Ident)
		if !ok || f.Name != "error" || len(e.Args) != 1 {
			return ""
		}
		if lit, ok := e.Args[0].(*ast.BasicLit); ok {
			text, err := literal.Unquote(lit.Value)
			if err == nil {
				return text
			}
		}
	}
	return ""
}

// within finds the expression of a field, of a map's values or of a list's elements.
func (s *shapes) within(e ast.Expr, name string, depth int) ast.Expr {
	if depth > maxIndexDepth {
		return nil
	}
	switch e := e.(type) {
	case *ast.Ident:
		if def, known := s.defs[e.Name]; known {
			return s.within(def, name, depth+1)
		}
	case *ast.BinaryExpr:
		if x := s.within(e.X, name, depth+1); x != nil {
			return x
		}
		return s.within(e.Y, name, depth+1)
	case *ast.ListLit:
		if n := len(e.Elts); n > 0 {
			if rest, ok := e.Elts[n-1].(*ast.Ellipsis); ok {
				return rest.Type
			}
			return e.Elts[0]
		}
	case *ast.StructLit:
		for _, d := range e.Elts {
			switch d := d.(type) {
			case *ast.Field:
				if _, pattern := d.Label.(*ast.ListLit); pattern {
					return d.Value
				}
				if l, ok := label(d); ok && l == name {
					return d.Value
				}
			case *ast.EmbedDecl:
				if x := s.within(d.Expr, name, depth+1); x != nil {
					return x
				}
			}
		}
	}
	return nil
}

// wantsNumber tells whether an expression wants a number and no text.
func wantsNumber(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "int" || e.Name == "number" || e.Name == "#Count"
	case *ast.BinaryExpr:
		return wantsNumber(e.X) || wantsNumber(e.Y)
	}
	return false
}
