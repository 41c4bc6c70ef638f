package plan

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"
)

const page = "../../docs/plan-format.md"

// TestPlanFormatPage holds docs/plan-format.md to the code: what stands above its mark is written by hand, the tables below come from the types and their comments.
func TestPlanFormatPage(t *testing.T) {
	const mark = "<!-- below: written from internal/plan by `make golden` -->\n"
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(have), mark)
	if !ok {
		t.Fatalf("%s has lost its mark", page)
	}
	want := head + mark + tables(t)
	if bytes.Equal(have, []byte(want)) {
		return
	}
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s does not say what internal/plan says: run make golden", page)
}

// tables are one for each object of a plan, in the order in which a reader meets them.
func tables(t *testing.T) string {
	comments := commentsOf(t)
	var out strings.Builder
	seen := map[reflect.Type]bool{}
	var object func(reflect.Type)
	object = func(ty reflect.Type) {
		if seen[ty] {
			return
		}
		seen[ty] = true
		fmt.Fprintf(&out, "\n## %s\n\n%s\n\n| field | type | |\n|---|---|---|\n", ty.Name(), comments[ty.Name()])
		var inner []reflect.Type
		for i := range ty.NumField() {
			f := ty.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				t.Errorf("%s.%s has no name in the file", ty.Name(), f.Name)
			}
			text, of := typeText(f.Type)
			if of != nil {
				inner = append(inner, of)
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s |\n", name, text, comments[ty.Name()+"."+f.Name])
		}
		for _, of := range inner {
			object(of)
		}
	}
	object(reflect.TypeFor[Plan]())
	return out.String()
}

// typeText names a type as the file has it, and the object inside it, if there is one.
func typeText(ty reflect.Type) (string, reflect.Type) {
	switch {
	case ty.Kind() == reflect.Slice:
		text, of := typeText(ty.Elem())
		return "list of " + text, of
	case ty.PkgPath() == reflect.TypeFor[Plan]().PkgPath() && ty.Kind() == reflect.Struct:
		return "[" + ty.Name() + "](#" + strings.ToLower(ty.Name()) + ")", ty
	case ty.Name() == "Addr":
		return "IP address", nil
	case ty.Name() == "Prefix":
		return "IP prefix", nil
	case strings.HasSuffix(ty.PkgPath(), "/ikev2"):
		return "IANA name", nil
	case ty.Kind() == reflect.String:
		return "string", nil
	case ty.Kind() == reflect.Bool:
		return "true or false", nil
	}
	return "number", nil
}

// commentsOf are the comments of plan.go: of types by name, of fields by type and name.
func commentsOf(t *testing.T) map[string]string {
	file, err := parser.ParseFile(token.NewFileSet(), "plan.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	text := func(gs ...*ast.CommentGroup) string {
		var parts []string
		for _, g := range gs {
			if g != nil {
				parts = append(parts, strings.Join(strings.Fields(g.Text()), " "))
			}
		}
		return strings.ReplaceAll(strings.Join(parts, " "), "|", "\\|")
	}
	ast.Inspect(file, func(n ast.Node) bool {
		d, ok := n.(*ast.GenDecl)
		if !ok {
			return true
		}
		for _, spec := range d.Specs {
			ts, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			out[ts.Name.Name] = text(d.Doc, ts.Doc)
			st, ok := ts.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range st.Fields.List {
				for _, name := range f.Names {
					out[ts.Name.Name+"."+name.Name] = text(f.Doc, f.Comment)
				}
			}
		}
		return true
	})
	return out
}
