package compiler

import (
	"sort"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/token"

	"github.com/trike-ipsec/trike/internal/plan"
)

func join(path []string) string {
	out := make([]string, len(path))
	for i, p := range path {
		if strings.ContainsAny(p, ". ") || p == "" {
			p = `"` + p + `"`
		}
		out[i] = p
	}
	return strings.Join(out, ".")
}

// posOf is where the policy says a path, or the nearest thing above it: the value of what is written out when value is set, else the label.
func (e *evaluated) posOf(path []string, value bool) token.Pos {
	m, exact := e.index.find(path)
	if exact {
		if value && leaf(e.policy, path) && m.value.IsValid() {
			return m.value
		}
		return m.label
	}
	if p := e.valuePos(e.whole, path); p.IsValid() {
		return p
	}
	return m.label
}

// leaf tells whether a path holds neither a struct nor a list.
func leaf(policy cue.Value, path []string) bool {
	if len(path) == 0 {
		return false
	}
	v := policy.LookupPath(pathOf(path[1:]))
	return v.Exists() && v.IncompleteKind()&(cue.StructKind|cue.ListKind) == 0
}

// sourceTable numbers the files that plans point into. Positions carry the number in the table until into sorts it.
type sourceTable struct {
	number map[string]int
	names  []string
}

func (s *sourceTable) of(file string) int {
	if n, known := s.number[file]; known {
		return n
	}
	if s.number == nil {
		s.number = map[string]int{}
	}
	n := len(s.names)
	s.number[file] = n
	s.names = append(s.names, file)
	return n
}

// pos is the plan's form of a path's place.
func (c *lowerer) pos(path []string) plan.Pos {
	p := c.ev.posOf(path, false)
	file := c.ev.tree.rel(p.Filename())
	if file == "" {
		return plan.Pos{}
	}
	return plan.Pos{File: c.sources.of(file), Line: p.Line(), Column: p.Column()}
}

// into gives a plan its sources, sorted, and numbers its positions by them.
func (s *sourceTable) into(p *plan.Plan) {
	var used []string
	seen := map[int]bool{}
	var all []*plan.Pos
	for i := range p.Secrets {
		all = append(all, &p.Secrets[i].Pos)
	}
	for i := range p.Bypass {
		all = append(all, &p.Bypass[i].Pos)
	}
	for i := range p.Connections {
		all = append(all, &p.Connections[i].Pos)
		for j := range p.Connections[i].Children {
			all = append(all, &p.Connections[i].Children[j].Pos)
		}
	}
	for _, q := range all {
		if q.Line > 0 && !seen[q.File] {
			seen[q.File] = true
			used = append(used, s.names[q.File])
		}
	}
	sort.Strings(used)
	number := map[string]int{}
	for i, n := range used {
		number[n] = i
	}
	for _, q := range all {
		if q.Line > 0 {
			q.File = number[s.names[q.File]]
		}
	}
	p.Sources = used
}
