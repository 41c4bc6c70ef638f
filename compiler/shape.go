package compiler

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"github.com/trike-ipsec/trike/schema"
)

// A shape is a part of the schema, read from its source, that can say yes to plain data much faster than CUE's unification can. It says yes only where
// CUE would, and then with the value that CUE would give, defaults filled in. Where it does not say yes, CUE is asked, and words what is wrong: a shape
// needs to understand nothing but what the schema is made of.
type shape interface {
	// take gives the value as JSON data, or not ok: "ask CUE".
	take(v cue.Value) (data any, ok bool)
}

// shapes are the schema's definitions by name, "#Gateway", and its hidden strings, "_encr".
type shapes struct {
	defs   map[string]ast.Expr
	made   map[string]shape
	hidden map[string]string
}

func schemaShapes() (*shapes, error) {
	s := &shapes{defs: map[string]ast.Expr{}, made: map[string]shape{}, hidden: map[string]string{}}
	entries, err := schema.Files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		b, err := schema.Files.ReadFile(e.Name())
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(e.Name(), b)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			field, ok := d.(*ast.Field)
			if !ok {
				continue
			}
			name, _ := label(field)
			s.defs[name] = field.Value
			if lit, ok := field.Value.(*ast.BasicLit); ok && strings.HasPrefix(name, "_") {
				if text, err := literal.Unquote(lit.Value); err == nil {
					s.hidden[name] = text
				}
			}
		}
	}
	return s, nil
}

// of is the shape of an expression; what it does not know takes nothing.
func (s *shapes) of(e ast.Expr) shape {
	switch e := e.(type) {
	case *ast.Ident:
		return s.named(e.Name)
	case *ast.BasicLit:
		if text, err := literal.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return exactly(text)
		}
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok && x.Name == "net" {
			switch id, _ := e.Sel.(*ast.Ident); {
			case id != nil && id.Name == "IP":
				return text(plainAddress)
			case id != nil && id.Name == "IPCIDR":
				return text(plainPrefix)
			}
		}
	case *ast.UnaryExpr:
		return s.bound(e)
	case *ast.BinaryExpr:
		switch e.Op {
		case token.OR:
			return s.either(e)
		case token.AND:
			return s.both(e)
		}
	case *ast.StructLit:
		return s.structure(e)
	case *ast.ListLit:
		return s.list(e)
	case *ast.ParenExpr:
		return s.of(e.X)
	}
	return nothing{}
}

func (s *shapes) named(name string) shape {
	switch name {
	case "string":
		return text(func(string) bool { return true })
	case "bool":
		return boolean{}
	case "int":
		return number(func(cue.Kind, float64) bool { return true }).whole()
	case "number":
		return number(func(cue.Kind, float64) bool { return true })
	case "uint8":
		return number(func(_ cue.Kind, n float64) bool { return n >= 0 && n <= 255 }).whole()
	case "uint16":
		return number(func(_ cue.Kind, n float64) bool { return n >= 0 && n <= 65535 }).whole()
	}
	if m, known := s.made[name]; known {
		return m
	}
	e, known := s.defs[name]
	if !known {
		return nothing{}
	}
	s.made[name] = nothing{} // a definition that holds itself
	s.made[name] = s.of(e)
	return s.made[name]
}

// bound is =~"…" or a comparison with a number.
func (s *shapes) bound(e *ast.UnaryExpr) shape {
	if e.Op == token.MAT {
		pattern, ok := s.pattern(e.X)
		re, err := regexp.Compile(pattern)
		if !ok || err != nil {
			return nothing{}
		}
		return text(re.MatchString)
	}
	lit, ok := e.X.(*ast.BasicLit)
	if !ok {
		return nothing{}
	}
	limit, err := strconv.ParseFloat(lit.Value, 64)
	if err != nil {
		return nothing{}
	}
	switch e.Op {
	case token.GEQ:
		return number(func(_ cue.Kind, n float64) bool { return n >= limit })
	case token.LEQ:
		return number(func(_ cue.Kind, n float64) bool { return n <= limit })
	case token.GTR:
		return number(func(_ cue.Kind, n float64) bool { return n > limit })
	case token.LSS:
		return number(func(_ cue.Kind, n float64) bool { return n < limit })
	}
	return nothing{}
}

// regexp is the pattern of a definition that is nothing else.
func (s *shapes) regexp(def string) (string, bool) {
	if e, ok := s.defs[def].(*ast.UnaryExpr); ok && e.Op == token.MAT {
		return s.pattern(e.X)
	}
	return "", false
}

// pattern is a regular expression that is written out or put together of hidden strings.
func (s *shapes) pattern(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := literal.Unquote(e.Value)
		return text, err == nil
	case *ast.Interpolation:
		var b strings.Builder
		for i, part := range e.Elts {
			lit, ok := part.(*ast.BasicLit)
			switch id, isIdent := part.(*ast.Ident); {
			case isIdent:
				text, known := s.hidden[id.Name]
				if !known {
					return "", false
				}
				b.WriteString(text)
			case ok && i%2 == 0:
				piece := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(strings.TrimSuffix(lit.Value, `"`), `"`), ")"), `\(`)
				text, err := literal.Unquote(`"` + piece + `"`)
				if err != nil {
					return "", false
				}
				b.WriteString(text)
			default:
				return "", false
			}
		}
		return b.String(), true
	}
	return "", false
}

// nothing takes nothing.
type nothing struct{}

func (nothing) take(cue.Value) (any, bool) { return nil, false }

// text takes the strings that it holds for.
type text func(string) bool

func (t text) take(v cue.Value) (any, bool) {
	if v.Kind() != cue.StringKind {
		return nil, false
	}
	s, err := v.String()
	return s, err == nil && t(s)
}

func exactly(want string) text { return func(s string) bool { return s == want } }

// plainAddress and plainPrefix are stricter than CUE's: what is odd is CUE's to judge.
func plainAddress(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

func plainPrefix(s string) bool {
	_, err := netip.ParsePrefix(s)
	return err == nil
}

type boolean struct{}

func (boolean) take(v cue.Value) (any, bool) {
	b, err := v.Bool()
	return b, err == nil
}

// number takes the numbers that it holds for, so far as a float64 tells them apart.
type number func(cue.Kind, float64) bool

// exact are the whole numbers that a float64 holds, and the fractions of few digits.
var exact = regexp.MustCompile(`^-?(0|[1-9]\d{0,14})(\.\d{1,4})?$`)

func (n number) take(v cue.Value) (any, bool) {
	k := v.Kind()
	if k != cue.IntKind && k != cue.FloatKind {
		return nil, false
	}
	b, err := v.MarshalJSON()
	if err != nil || !exact.Match(b) || (k == cue.FloatKind) != strings.Contains(string(b), ".") {
		return nil, false
	}
	f, err := strconv.ParseFloat(string(b), 64)
	return json.Number(b), err == nil && n(k, f)
}

func (n number) whole() number {
	return func(k cue.Kind, f float64) bool { return k == cue.IntKind && n(k, f) }
}
