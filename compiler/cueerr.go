package compiler

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"
)

// cueFindings says CUE's errors in the policy's terms, at the policy's own lines: one finding a path.
type cueFindings struct {
	l     *loaded
	whole cue.Value // the package, when it was built
	def   cue.Value // #Policy
	found []Diagnostic
	words *shapes   // the schema's source, once it is needed
	plain cue.Value // the package without the schema, once it is needed
}

func (c *cueFindings) schema() *shapes {
	if c.words == nil {
		if s, err := schemaShapes(); err == nil {
			c.words = s
		} else {
			c.words = &shapes{}
		}
	}
	return c.words
}

// maxFindings bounds what one run says: after so many nobody reads on.
const maxFindings = 1000

type group struct {
	path []string
	errs []errors.Error
}

// add says the errors of several validations of one policy, those of one path together.
func (c *cueFindings) add(errs ...error) {
	var groups []*group
	byPath := map[string]*group{}
	var list []errors.Error
	for _, err := range errs {
		list = append(list, errors.Errors(err)...)
	}
	for _, e := range list {
		k := key(plainPath(e.Path()))
		g := byPath[k]
		if g == nil {
			if len(groups) == maxFindings {
				break
			}
			g = &group{path: plainPath(e.Path())}
			byPath[k] = g
			groups = append(groups, g)
		}
		g.errs = append(g.errs, e)
	}
	// CUE says some things a second time of the schema's own definition.
	if rest := slices.DeleteFunc(slices.Clone(groups), c.foreign); len(rest) > 0 {
		groups = rest
	}
	// What a value of several wrong parts says about itself repeats what its parts say.
	for _, g := range groups {
		if !slices.ContainsFunc(groups, func(o *group) bool {
			return len(o.path) > len(g.path) && slices.Equal(o.path[:len(g.path)], g.path) && repeats(g)
		}) {
			if d, ok := c.say(g); ok {
				c.found = append(c.found, d)
			}
		}
	}
	c.found = withoutMisspelt(c.found)
	if len(c.found) == 0 && len(list) > 0 {
		c.found = append(c.found, Diagnostic{Severity: Error, Code: CodeEvaluator, Message: flat(list[0])})
	}
}

// withoutMisspelt leaves out that a field is missing where it is there under a name that is nearly its own: one slip is one finding.
func withoutMisspelt(ds []Diagnostic) []Diagnostic {
	meant := map[string]bool{}
	for _, d := range ds {
		if name, ok := strings.CutPrefix(d.Hint, "did you mean \""); ok && d.Code == CodeField {
			meant[parent(d.Path)+"."+strings.TrimSuffix(name, "\"?")] = true
		}
	}
	return slices.DeleteFunc(ds, func(d Diagnostic) bool { return d.Code == CodeMissing && meant[d.Path] })
}

func parent(path string) string { return path[:max(strings.LastIndex(path, "."), 0)] }

// foreign tells whether a group is about the schema alone.
func (c *cueFindings) foreign(g *group) bool {
	return len(g.path) > 0 && strings.HasPrefix(g.path[0], "#") && !slices.ContainsFunc(g.errs, func(e errors.Error) bool {
		return slices.ContainsFunc(append(e.InputPositions(), e.Position()), c.own)
	})
}

// repeats tells whether a group only says that something inside it failed.
func repeats(g *group) bool {
	for _, e := range g.errs {
		if m := message(e); !strings.Contains(m, "errors in empty disjunction") && !strings.Contains(m, "empty disjunction") {
			return false
		}
	}
	return true
}

// plainPath is a path as index and schema have it: without quotes, and from "policy" on, where CUE names the definition.
func plainPath(path []string) []string {
	out := make([]string, len(path))
	if len(path) > 0 && path[0] == "#Policy" {
		path = append([]string{"policy"}, path[1:]...)
	}
	for i, p := range path {
		if u, err := strconv.Unquote(p); err == nil {
			p = u
		}
		out[i] = p
	}
	return out
}

func message(e errors.Error) string {
	f, args := e.Msg()
	m := fmt.Sprintf(f, args...)
	if full := e.Error(); m != "" && strings.Contains(full, m+": ") { // with its causes
		m = full[strings.Index(full, m):]
	}
	return strings.Join(strings.Fields(m), " ")
}

func (c *cueFindings) own(p token.Pos) bool {
	return p.IsValid() && c.l.tree.rel(p.Filename()) != "" && !strings.HasPrefix(c.l.tree.rel(p.Filename()), "cue.mod/")
}

// say makes one finding of all errors of a path.
func (c *cueFindings) say(g *group) (Diagnostic, bool) {
	best, pos := "", token.NoPos
	var others []token.Pos
	for _, e := range g.errs {
		m := message(e)
		for _, p := range append(e.InputPositions(), e.Position()) {
			if c.own(p) && !c.l.index.roots[p.Position()] {
				if pos.IsValid() && p.Position() != pos.Position() && !slices.Contains(others, p) {
					others = append(others, p)
				}
				if !pos.IsValid() {
					pos = p
				}
			}
		}
		if strings.Contains(m, "empty disjunction") {
			continue
		}
		if best == "" || noise(best) && !noise(m) {
			best = m
		}
	}
	if best == "" {
		if len(g.errs) == 0 {
			return Diagnostic{}, false
		}
		best = message(g.errs[0])
	}
	d := Diagnostic{Severity: Error, Code: CodeValue, Path: join(g.path), Message: strings.ReplaceAll(best, c.l.tree.dir+"/", "")}
	here, exact := c.l.index.find(g.path)
	if exact && !c.l.index.roots[here.value.Position()] {
		pos = here.value
	} else if p := c.at(g.path); p.IsValid() && !pos.IsValid() {
		pos = p
	} else if !pos.IsValid() {
		pos = here.label
	}
	c.classify(&d, g, &pos, here, exact, others)
	if d.File == "" { // classify may know better
		c.l.put(&d, pos)
	}
	return d, true
}

func noise(m string) bool {
	return conflictRe.MatchString(m) || boundRe.MatchString(m) || strings.HasPrefix(m, "invalid value ")
}

// schemaAt walks #Policy along a path of the policy.
func (c *cueFindings) schemaAt(path []string) (v cue.Value, ok bool) {
	if len(path) == 0 || path[0] != "policy" || !c.def.Exists() {
		return v, false
	}
	v = c.def
	for _, p := range path[1:] {
		next := v.LookupPath(cue.MakePath(cue.Str(p)))
		for _, s := range []cue.Selector{cue.Str(p).Optional(), cue.Str(p).Required(), cue.AnyString, cue.AnyIndex} {
			if !next.Exists() {
				next = v.LookupPath(cue.MakePath(s))
			}
		}
		if !next.Exists() {
			return v, false
		}
		v = next
	}
	return v, true
}

// fields are the names of the fields that the schema has at a path.
func (c *cueFindings) fields(path []string) (names []string) {
	v, ok := c.schemaAt(path)
	if !ok {
		return nil
	}
	it, err := v.Fields(cue.All())
	if err != nil {
		return nil
	}
	for it.Next() {
		if s := it.Selector(); s.LabelType() == cue.StringLabel {
			names = append(names, s.Unquoted())
		}
	}
	return names
}

// describe is the schema's comment on a field, its first sentence.
func (c *cueFindings) describe(path []string) string {
	if len(path) < 2 {
		return ""
	}
	v, ok := c.schemaAt(path)
	if !ok {
		return ""
	}
	for _, g := range v.Doc() {
		text := strings.Join(strings.Fields(g.Text()), " ")
		if i := strings.Index(text, ". "); i > 0 {
			text = text[:i]
		}
		if strings.HasPrefix(text, path[len(path)-1]+" ") {
			return strings.TrimSuffix(text, ".")
		}
	}
	return ""
}

// at is the place of what a template or comprehension made at a path, or of the nearest thing above it that the policy's files say.
func (c *cueFindings) at(path []string) token.Pos { return c.l.valuePos(c.whole, path) }

func (l *loaded) valuePos(whole cue.Value, path []string) token.Pos {
	if !whole.Exists() {
		return token.NoPos
	}
	for n := len(path); n > 0; n-- {
		v := whole.LookupPath(pathOf(path[:n]))
		if !v.Exists() {
			continue
		}
		for _, src := range sources(v, 0) {
			p := src.Pos()
			if f, ok := src.(*ast.Field); ok {
				p = f.Label.Pos()
			}
			if p.IsValid() && l.tree.rel(p.Filename()) != "" && !l.index.roots[p.Position()] {
				return p
			}
		}
		if m, exact := l.index.find(path[:n]); exact {
			return m.label
		}
	}
	return token.NoPos
}

func pathOf(path []string) cue.Path {
	sel := make([]cue.Selector, len(path))
	for i, p := range path {
		if n, err := strconv.Atoi(p); err == nil && n >= 0 && strconv.Itoa(n) == p {
			sel[i] = cue.Index(n)
		} else {
			sel[i] = cue.Str(p)
		}
	}
	return cue.MakePath(sel...)
}

func sources(v cue.Value, depth int) (out []ast.Node) {
	if depth > 8 {
		return nil
	}
	if op, args := v.Expr(); op == cue.AndOp {
		for _, a := range args {
			out = append(out, sources(a, depth+1)...)
		}
	}
	if s := v.Source(); s != nil {
		out = append(out, s)
	}
	return out
}

// put gives a finding its place.
func (l *loaded) put(d *Diagnostic, p token.Pos) {
	d.File = l.tree.rel(p.Filename())
	if d.File == "" {
		return
	}
	d.Line, d.Column = p.Line(), p.Column()
	d.Source = l.tree.line(d.File, d.Line)
	d.Column = min(d.Column, len(d.Source)+1) // the end of a file is said to be behind its last line's end
}

func (l *loaded) place(p token.Pos, message string) Place {
	out := Place{File: l.tree.rel(p.Filename()), Message: message}
	if out.File != "" {
		out.Line, out.Column = p.Line(), p.Column()
		out.Source = l.tree.line(out.File, out.Line)
	}
	return out
}

// nearest is the name of the list that is at most two changes from s, the closest one; empty for none.
func nearest(s string, names []string) string {
	best, least := "", 3
	for _, n := range names {
		if d := distance(s, n); d < least && d < len(n) {
			best, least = n, d
		}
	}
	return best
}

func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 1 << 10
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func itoa(n int) string { return strconv.Itoa(n) }
