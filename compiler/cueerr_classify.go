package compiler

import (
	"fmt"
	"regexp"
	"strings"

	"cuelang.org/go/cue/token"
)

var (
	conflictRe = regexp.MustCompile(`^conflicting values (.+?) and (.+?)(?: \(mismatched types (\S+) and (\S+)\))?$`)
	notFoundRe = regexp.MustCompile(`reference "([^"]*)" not found`)
	packageRe  = regexp.MustCompile(`cannot find package "([^"]*)"`)
	tagRe      = regexp.MustCompile(`^(?:no tag for|tag) "([^"]*)"`)
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
		if len(names) == 1 {
			d.Message = fmt.Sprintf("the field %q is needed", names[0])
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
	case strings.Contains(m, "no tag for"), strings.Contains(m, "invalid tag"), strings.Contains(m, "tag"):
		d.Code, d.Path = CodeTag, ""
		if s := tagRe.FindStringSubmatch(m); s != nil {
			d.Message = fmt.Sprintf("no field of the policy has @tag(%s), and no file @if(%s)", s[1], s[1])
		}
		d.Hint = "-t NAME=VALUE sets the field that has @tag(NAME); -t NAME takes the files that have @if(NAME)"
	case strings.HasPrefix(m, "incomplete value"), strings.Contains(m, "non-concrete value"):
		d.Code, d.Message, d.Hint = CodeIncomplete, "this has no definite value", "give it one: "+c.describe(g.path)
		if d.Hint == "give it one: " {
			d.Hint = ""
		}
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
		d.Code, d.Message = CodeUnreadable, strings.TrimPrefix(m, "@embed: open ")
	case strings.HasPrefix(m, "found packages "):
		d.Code, d.Message = CodeUnreadable, strings.TrimSuffix(m, ` in "."`)
		d.Hint = "give all files of the directory the same package clause"
	case strings.HasPrefix(m, "build constraints exclude"):
		d.Code, d.Message = CodeUnreadable, "no .cue file of this directory has a package clause"
		d.Hint = "begin each file with, for example: package office"
	case len(g.path) == 0 || strings.Contains(m, "expected ") || strings.Contains(m, "illegal character") || strings.Contains(m, "missing ','"):
		d.Code = CodeSyntax
	}
}

// mismatch names the kind that was expected: the one that is not what the policy wrote.
func (c *cueFindings) mismatch(path []string, a, b, ka, kb string) string {
	got, want := ka, kb
	if strings.HasPrefix(a, "[#") || strings.HasPrefix(a, "[...") || strings.HasPrefix(a, "{") || strings.HasPrefix(a, "#") || ka == "(" {
		got, want = kb, ka
	}
	m := fmt.Sprintf("expected a %s, found a %s", want, got)
	if want == "list" {
		m += ": put it into [ ]"
	}
	return m
}

// notAllowed tells a misspelt field from a bad name.
func (c *cueFindings) notAllowed(d *Diagnostic, path []string, last string) {
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
