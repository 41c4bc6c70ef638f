package main

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"github.com/trike-ipsec/trike/schema"
)

// chapters are the schema's files in the order of the page, each with a heading.
var chapters = [...]struct{ file, title string }{
	{"policy.cue", "The fleet"},
	{"tunnel.cue", "Links and connections"},
	{"words.cue", "Words"},
}

const head = `<!-- Generated from schema/*.cue by go generate; change those. -->

# Policy reference

Every field of the policy language, module ` + "`" + schema.Module + "`" + ` ` + schema.Version + `. The same text stands in the schema: ` + "`trike schema print`" + `.

`

// page is the reference while it is written. unsaid collects what the schema fails to say.
type page struct {
	bytes.Buffer
	unsaid []error
}

func render() ([]byte, error) {
	p := &page{}
	p.WriteString(head)
	for i, c := range chapters {
		b, err := schema.Files.ReadFile(c.file)
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(c.file, b, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			p.WriteString(packageComment(f) + "\n")
		}
		fmt.Fprintf(p, "\n## %s\n", c.title)
		for _, d := range f.Decls {
			if field, ok := d.(*ast.Field); ok {
				p.definition(field)
			}
		}
	}
	return p.Bytes(), errors.Join(p.unsaid...)
}

func (p *page) miss(format string, a ...any) { p.unsaid = append(p.unsaid, fmt.Errorf(format, a...)) }

// definition writes one #Name of the schema. Hidden fields are the schema's own business.
func (p *page) definition(f *ast.Field) {
	name, _, err := ast.LabelName(f.Label)
	if err != nil || !strings.HasPrefix(name, "#") {
		return
	}
	fmt.Fprintf(p, "\n### %s\n\n", name)
	said := comment(f)
	if said == "" {
		p.miss("%s has no comment", name)
	}
	p.WriteString(paragraphs(said) + "\n")
	if s := structIn(f.Value); s == nil {
		value, _ := p.value(name, f.Value)
		if !strings.ContainsAny(value, "~#") { // the comment says more than a pattern
			fmt.Fprintf(p, "\nValue: %s.\n", value)
		}
	} else {
		p.fields(name, s, strings.Contains(source(f.Value), "struct.MaxFields(1)"))
	}
}

// fields writes the table of a struct's fields, and names what it takes in whole. oneOf: exactly one of the fields must stand.
func (p *page) fields(of string, s *ast.StructLit, oneOf bool) {
	var rows []string
	for _, d := range s.Elts {
		switch d := d.(type) {
		case *ast.Field:
			rows = append(rows, p.row(of, d, oneOf))
		case *ast.EmbedDecl:
			if id, ok := d.Expr.(*ast.Ident); ok {
				rows = append(rows, fmt.Sprintf("| … | all of %s | | | |", link(id.Name)))
			}
		}
	}
	fmt.Fprintf(p, "\n| field | value | default | RFC | meaning |\n|---|---|---|---|---|\n%s\n", strings.Join(rows, "\n"))
}

var (
	defaultRe = regexp.MustCompile(`(?s)\s*Default: (.+?)\.(?:\s|$)`)
	rfcRe     = regexp.MustCompile(`RFC (\d+)(?: section ([0-9.]*[0-9]))?`)
	citedRe   = regexp.MustCompile(` \(RFC \d+( section [0-9.]+)?(, RFC \d+( section [0-9.]+)?)*\)`)
	timeRe    = regexp.MustCompile(`age|time|interval|wait`)
	unitRe    = regexp.MustCompile(`octets|bits|packets|milliseconds|seconds|number of|steps of|fewer|0 for any|range`)
)

func (p *page) row(of string, f *ast.Field, oneOf bool) string {
	name, _, err := ast.LabelName(f.Label)
	if err != nil {
		p.miss("%s has a label that is no name: %v", of, err)
		return ""
	}
	at := of + "." + name
	said := strings.Join(strings.Fields(comment(f)), " ")
	if said == "" {
		p.miss("%s has no comment", at)
	}
	value, preset := p.value(at, f.Value)
	switch m := defaultRe.FindStringSubmatch(said); {
	case f.Constraint == token.NOT:
		preset = "required"
	case m != nil:
		if preset != "" && preset != m[1] {
			p.miss("%s has the default %s, and its comment says %s", at, preset, m[1])
		}
		preset, said = m[1], strings.TrimSpace(strings.Replace(said, m[0], " ", 1))
	case oneOf:
		preset = "exactly one of these"
	case preset == "" && optionalByNature(f):
		preset = "that of its fields"
		if _, group := f.Value.(*ast.StructLit); group {
			preset = "none"
		}
	case preset == "":
		p.miss("%s is optional and its comment has no \"Default: …\"", at)
	}
	switch {
	case value == link("#Duration") && !timeRe.MatchString(said) && !strings.Contains(said, "random part"):
		p.miss("%s is a duration, and its comment does not say of what", at)
	case number(f.Value) && !unitRe.MatchString(said):
		p.miss("%s is a number, and its comment has no unit", at)
	}
	var rfcs []string
	for _, m := range rfcRe.FindAllStringSubmatch(said, -1) {
		text := "[" + m[1] + "](https://www.rfc-editor.org/rfc/rfc" + m[1]
		if m[2] != "" {
			text = "[" + m[1] + " §" + m[2] + "](https://www.rfc-editor.org/rfc/rfc" + m[1] + "#section-" + m[2]
		}
		rfcs = append(rfcs, text+")")
	}
	said = strings.TrimSpace(strings.TrimPrefix(citedRe.ReplaceAllString(said, ""), name+" "))
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s |", name, value, cell(preset), strings.Join(rfcs, ", "), cell(said))
}

// optionalByNature: what holds further things may be empty, and a group of fields has the defaults of its fields.
func optionalByNature(f *ast.Field) bool {
	switch v := f.Value.(type) {
	case *ast.StructLit:
		return true
	case *ast.Ident:
		switch v.Name {
		case "#DPD", "#IKELifetime", "#ChildLifetime", "#Retransmit", "#Fragmentation":
			return true
		}
	}
	return false
}

// number tells whether a value is written as a number.
func number(e ast.Expr) bool {
	found := false
	ast.Walk(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && (id.Name == "int" || id.Name == "number" || id.Name == "#Count") {
			found = true
		}
		_, call := n.(*ast.CallExpr)
		return !call
	}, nil)
	return found
}

// value says what may stand there, in CUE's notation with links to the definitions; the error() that words a mistake is left out. The second result
// is the default that the value marks.
func (p *page) value(at string, e ast.Expr) (text, preset string) {
	var parts []string
	for _, a := range alternatives(e) {
		if u, ok := a.(*ast.UnaryExpr); ok && u.Op == token.MUL {
			a, preset = u.X, source(u.X)
		}
		switch v := a.(type) {
		case *ast.CallExpr:
			continue
		case *ast.StructLit:
			if t, ok := byName(v); ok {
				parts = append(parts, t)
				continue
			}
			parts = append(parts, "a struct")
			continue
		case *ast.ListLit:
			parts = append(parts, list(v))
			continue
		}
		s := source(a)
		if s == "net.IP & string" || s == "net.IPCIDR & string" {
			s = map[string]string{"net.IP & string": "#Address", "net.IPCIDR & string": "#Prefix"}[s]
		}
		parts = append(parts, link(s))
	}
	if len(parts) == 2 && preset != "" && (parts[1] == "`bool`" || strings.HasPrefix(parts[1], "`int ")) {
		parts = parts[1:]
	}
	if len(parts) == 0 {
		p.miss("%s has no value that this page can tell", at)
	}
	return strings.Join(parts, ` \| `), preset
}

// byName reads `[#Name]: #Thing`: any number of things, each under a name.
func byName(s *ast.StructLit) (string, bool) {
	if len(s.Elts) != 1 {
		return "", false
	}
	f, ok := s.Elts[0].(*ast.Field)
	if !ok {
		return "", false
	}
	if _, ok := f.Label.(*ast.ListLit); !ok {
		return "", false
	}
	return "NAME: " + link(source(f.Value)), true
}

func list(l *ast.ListLit) string {
	if len(l.Elts) == 0 {
		return "`[]`"
	}
	last, open := l.Elts[len(l.Elts)-1].(*ast.Ellipsis)
	if !open {
		var each []string
		for _, e := range l.Elts {
			each = append(each, link(source(e)))
		}
		return `\[` + strings.Join(each, ", ") + `\]`
	}
	if len(l.Elts) > 1 {
		return `\[` + link(source(last.Type)) + `, …\], one at least`
	}
	return `\[` + link(source(last.Type)) + `, …\]`
}

func alternatives(e ast.Expr) []ast.Expr {
	if b, ok := e.(*ast.BinaryExpr); ok && b.Op == token.OR {
		return append(alternatives(b.X), alternatives(b.Y)...)
	}
	return []ast.Expr{e}
}

// structIn finds the struct with the fields of a definition, beside its constraints and other alternatives.
func structIn(e ast.Expr) *ast.StructLit {
	switch e := e.(type) {
	case *ast.StructLit:
		return e
	case *ast.BinaryExpr:
		if s := structIn(e.X); s != nil {
			return s
		}
		return structIn(e.Y)
	}
	return nil
}

func source(n ast.Node) string {
	b, err := format.Node(n)
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

// link writes CUE as code, and a definition's name as a link to it.
func link(s string) string {
	if strings.HasPrefix(s, "#") && !strings.ContainsAny(s, " &|") {
		return "[`" + s + "`](#" + strings.ToLower(s[1:]) + ")"
	}
	return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func comment(n ast.Node) string {
	for _, g := range ast.Comments(n) {
		if g.Doc {
			return strings.TrimSpace(g.Text())
		}
	}
	return ""
}

func packageComment(f *ast.File) string {
	for _, d := range f.Decls {
		if p, ok := d.(*ast.Package); ok {
			return paragraphs(comment(p))
		}
	}
	return ""
}

// paragraphs writes a comment as Markdown: what is indented by a tab is code.
func paragraphs(s string) string {
	var out []string
	code := false
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		in := strings.HasPrefix(l, "\t") || l == "" && code && i+1 < len(lines) && strings.HasPrefix(lines[i+1], "\t")
		if in != code {
			out, code = append(out, "```"), in
		}
		out = append(out, strings.TrimPrefix(l, "\t"))
	}
	if code {
		out = append(out, "```")
	}
	return strings.Join(out, "\n")
}
