package compiler

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"cuelang.org/go/cue/token"

	"github.com/trike-ipsec/trike/schema"
)

var (
	conflictRe = regexp.MustCompile(`^conflicting values (.+?) and (.+?)(?: \(mismatched types (\S+) and (\S+)\))?$`)
	notFoundRe = regexp.MustCompile(`reference "([^"]*)" not found`)
	packageRe  = regexp.MustCompile(`cannot find package "([^"]*)"`)
	tagRe      = regexp.MustCompile(`^(?:no tag for|tag) "([^"]*)"`)
	lengthsRe  = regexp.MustCompile(`^incompatible list lengths \((\d+) and (\d+)\)$`)
	packagesRe = regexp.MustCompile(`^found packages "([^"]*)" \((\S+)\) and "([^"]*)" \((\S+)\)`)
	dataRe     = regexp.MustCompile(`^@embed: failed to decode file: (?:yaml: )?(\S+?):(\d+)(?::(\d+))?: (.*)$`)
	boundRe    = regexp.MustCompile(`^invalid value (.+) \(out of bound (.+)\)$`)
)

// classify chooses the code, and words for what CUE says in its own.
func (c *cueFindings) classify(d *Diagnostic, g *group, pos *token.Pos, here mark, exact bool, others []token.Pos) {
	m := d.Message
	last := ""
	if len(g.path) > 0 {
		last = g.path[len(g.path)-1]
	}
	label := func() {
		if exact {
			*pos = here.label
		}
	}
	said := c.l.index.literals(g.path)
	switch {
	case len(said) > 1:
		d.Code, d.Message = CodeConflict, "two places say different things"
		d.Hint = "take one away: all files of the package are one policy"
		*pos = said[0]
		for _, p := range said[1:] {
			d.Related = append(d.Related, c.l.place(p, "and here"))
		}
	case strings.Contains(m, "field not allowed"):
		label()
		c.notAllowed(d, g.path, last)
	case strings.Contains(m, "field is required but not present"), strings.Contains(m, "required field"):
		d.Code, d.Message = CodeMissing, fmt.Sprintf("the field %q is missing", last)
		d.Hint = c.describe(g.path)
		if up, _ := c.l.index.find(g.path[:max(len(g.path)-1, 0)]); up.label.IsValid() {
			*pos = up.label
		}
	case strings.Contains(m, "MaxFields"), strings.Contains(m, "MinFields"):
		label()
		names := c.fields(g.path)
		d.Code, d.Message = CodeOneOf, "exactly one of "+strings.Join(names, ", ")+" is needed"
		d.Hint = "keep one of them"
		if len(names) == 1 {
			d.Message = fmt.Sprintf("the field %q is needed", names[0])
		}
		if hint := c.describe(g.path); hint != "" && strings.Contains(m, "MinFields") {
			d.Hint = hint
		}
	case notFoundRe.MatchString(m):
		for _, e := range g.errs {
			if c.own(e.Position()) {
				*pos = e.Position()
			}
		}
		d.Code, d.Message = CodeReference, notFoundRe.FindString(m)
		if name := notFoundRe.FindStringSubmatch(m)[1]; name == "schema" {
			d.Hint = `add: import "github.com/trike-ipsec/trike/schema"`
		}
	case strings.Contains(m, "undefined field"):
		d.Code = CodeReference
	case strings.Contains(m, "cannot find package"), strings.Contains(m, "is not part of trike"), strings.Contains(m, "import failed"), strings.Contains(m, "no dependency provides"):
		d.Code, d.Path = CodeImport, ""
		if s := packageRe.FindStringSubmatch(m); s != nil {
			d.Message = fmt.Sprintf("there is no package %q", s[1])
		}
		d.Hint = "policies import trike's schema, CUE's own packages, and packages of their own module"
		if strings.Contains(m, schema.ImportPath) {
			d.Hint = "trike brings its own schema: take away the copy of it below cue.mod/"
		}
	case tagRe.MatchString(m), strings.HasPrefix(m, "invalid tag"):
		d.Code, d.Path = CodeTag, ""
		if s := tagRe.FindStringSubmatch(m); s != nil {
			d.Message = fmt.Sprintf("no field of the policy has @tag(%s), and no file @if(%s)", s[1], s[1])
		}
		d.Hint = "-t NAME=VALUE sets the field that has @tag(NAME); -t NAME takes the files that have @if(NAME)"
	case strings.HasPrefix(m, "incomplete value"), strings.Contains(m, "non-concrete value"):
		d.Code, d.Message, d.Hint = CodeIncomplete, "this has no definite value", "give it one: "+c.describe(g.path)
		if d.Hint == "give it one: " {
			d.Hint = "write a value, or set the tag that it comes from: -t NAME=VALUE"
		}
	case strings.Contains(m, "structural cycle"):
		d.Code, d.Message, d.Hint = CodeReference, "this refers to something that it is itself a part of, so it would never end", "refer to a template outside instead"
	case lengthsRe.MatchString(m):
		want, got := lengthsRe.FindStringSubmatch(m)[1], lengthsRe.FindStringSubmatch(m)[2]
		d.Message, d.Hint = fmt.Sprintf("expected a list of %s, found one of %s", want, got), c.describe(g.path)
	case conflictRe.MatchString(m):
		s := conflictRe.FindStringSubmatch(m)
		d.Code = CodeConflict
		if s[3] != "" {
			d.Code = CodeValue
			d.Message = c.mismatch(g.path, s[1], s[2], s[3], s[4])
			if text := c.schema().says(g.path); text != "" {
				d.Message = text
			}
		}
		for _, p := range others {
			if p.Position() != pos.Position() && p.Filename() != "" && s[3] == "" {
				d.Related = append(d.Related, c.l.place(p, "the other value"))
			}
		}
	case strings.HasPrefix(m, "@embed: open "):
		d.Code, d.Message, d.Hint = CodeUnreadable, strings.TrimPrefix(m, "@embed: open "), "the file's name is given from the policy's directory"
	case dataRe.MatchString(m):
		s := dataRe.FindStringSubmatch(m)
		if d.File = c.l.tree.rel(s[1]); d.File != "" {
			d.Line, _ = strconv.Atoi(s[2])
			d.Column, d.Source, d.Message, d.Path = 1, c.l.tree.line(d.File, d.Line), s[4], ""
			if n, err := strconv.Atoi(s[3]); err == nil {
				d.Column = n
			}
			d.Related = []Place{c.l.place(*pos, "it is read here")}
		}
		d.Code, d.Hint = CodeSyntax, "mend the data file: often a bracket or a quote is not closed, or a line is indented wrongly"
	case strings.HasPrefix(m, "found packages "):
		d.Code, d.Message = CodeUnreadable, strings.TrimSuffix(m, ` in "."`)
		d.Hint = "give all files of the directory the same package clause"
		if s := packagesRe.FindStringSubmatch(m); s != nil {
			d.Message = "this says package " + s[1]
			c.packageClause(&d.File, &d.Line, &d.Column, &d.Source, s[2])
			other := Place{Message: "and this says package " + s[3]}
			c.packageClause(&other.File, &other.Line, &other.Column, &other.Source, s[4])
			d.Related = []Place{other}
		}
	case strings.HasPrefix(m, "build constraints exclude"):
		d.Code, d.Message = CodeUnreadable, "no .cue file of this directory has a package clause"
		d.Hint = "begin each file with, for example: package office"
	case len(g.path) == 0 || strings.Contains(m, "expected ") || strings.Contains(m, "illegal character") || strings.Contains(m, "missing ','"):
		d.Code = CodeSyntax
		c.syntax(d, m)
	}
	if d.Code == CodeValue {
		c.inner(d, g.path, pos)
	}
	if lit := here.literal; exact && d.Code == CodeValue && strings.HasPrefix(lit, `"`) && wantsNumber(c.schema().at(g.path)) {
		d.Hint = "write the number without quotes"
	}
}

// packageClause finds a file's package clause.
func (c *cueFindings) packageClause(file *string, line, column *int, source *string, name string) {
	*file = name
	for n := 1; n < 1000; n++ {
		if text := c.l.tree.line(name, n); strings.HasPrefix(text, "package ") {
			*line, *column, *source = n, 1, text
			return
		}
	}
}

// syntax adds to what a parser says.
func (c *cueFindings) syntax(d *Diagnostic, m string) {
	switch {
	case strings.Contains(m, "expected 'EOF', found '}'"):
		d.Message, d.Hint = "this } closes nothing", "take it away, or find the { that is missing above"
	case strings.Contains(m, "expected '}', found 'EOF'"):
		d.Message, d.Hint = "the file ends before a { is closed", "find the } that is missing above"
	case strings.Contains(m, "expected ']', found"), strings.Contains(m, "expected ')', found"):
		d.Hint = "something that was opened before this is not closed, or a comma is missing"
	case strings.Contains(m, "string literal not terminated"):
		d.Hint = "the closing quote is missing"
	}
}

// mismatch names the kind that was expected: the one that is not what the policy wrote.
func (c *cueFindings) mismatch(path []string, a, b, ka, kb string) string {
	got, want := ka, kb
	if strings.HasPrefix(a, "[#") || strings.HasPrefix(a, "[...") || strings.HasPrefix(a, "{") || strings.HasPrefix(a, "#") || ka == "(" {
		got, want = kb, ka
	}
	m := fmt.Sprintf("expected %s, found %s", article(want), article(got))
	if want == "list" {
		m += ": put it into [ ]"
	}
	return m
}

// article puts "a" or "an" before a kind: what CUE writes "(int|string)" stays as it is.
func article(kind string) string {
	switch {
	case strings.HasPrefix(kind, "("):
		return strings.ReplaceAll(strings.Trim(kind, "()"), "|", " or ")
	case kind == "null":
		return kind
	case strings.HasPrefix(kind, "int"):
		return "an " + kind
	}
	return "a " + kind
}

// notAllowed tells a misspelt field from a bad name.
func (c *cueFindings) notAllowed(d *Diagnostic, path []string, last string) {
	for n := 2; n < len(path); n++ { // what is inside a field that there is not
		if _, known := c.schemaAt(path[:n]); !known {
			path, last = path[:n], path[n-1]
			d.Path = join(path)
			break
		}
	}
	d.Code, d.Message = CodeField, fmt.Sprintf("there is no field %q here", last)
	names := c.fields(path[:max(len(path)-1, 0)])
	if len(names) == 0 {
		d.Code, d.Message = CodeName, fmt.Sprintf("%q is not a name: 1 to 63 of a-z, A-Z, 0-9, '_', '-' and '.', beginning with a letter, a digit or '_'", last)
		return
	}
	if n := nearest(last, names); n != "" {
		d.Hint = fmt.Sprintf("did you mean %q?", n)
		return
	}
	d.Hint = "fields here: " + strings.Join(names, ", ")
}
