package compiler

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"
)

// apart holds the parts of a separable policy against the schema, one by one.
type apart struct {
	*evaluated
	ctx     *cue.Context
	shapes  *shapes
	policy  *structure // #Policy
	found   *cueFindings
	errs    []error
	schemas map[string]cue.Value // of a section's parts, in CUE; made when a part needs it
}

// evaluateApart builds the package without the schema and then puts the schema to each gateway, link and so on: by its shape, which is fast and takes
// plain data alone, or else by CUE. It is not ok when that cannot be done.
func (l *loaded) evaluateApart(ctx context.Context) (ev *evaluated, ds []Diagnostic, ok bool) {
	a := &apart{ctx: newContext(), schemas: map[string]cue.Value{}}
	var err error
	if a.shapes, err = schemaShapes(); err != nil {
		return nil, nil, false
	}
	if a.policy, ok = a.shapes.named("#Policy").(*structure); !ok {
		return nil, nil, false
	}
	restore, ok := l.withoutSchema()
	if !ok {
		return nil, nil, false
	}
	whole := a.ctx.BuildInstance(l.inst)
	restore()
	policy := whole.LookupPath(cue.ParsePath("policy"))
	if !policy.Exists() || policy.IncompleteKind() != cue.StructKind {
		return nil, nil, false
	}
	a.evaluated = &evaluated{loaded: l, whole: whole, policy: policy, data: map[string]map[string]json.RawMessage{}}
	a.found = &cueFindings{l: l, whole: whole, plain: whole}
	a.errs = append(a.errs, whole.Validate(cue.All()))
	if !a.sections(ctx) {
		return nil, nil, false
	}
	a.found.add(a.errs...)
	if len(a.found.found) > 0 {
		return nil, a.found.found, true
	}
	return a.evaluated, nil, true
}

// sections walks gateways, links, connections and so on.
func (a *apart) sections(ctx context.Context) bool {
	it, err := a.evaluated.policy.Fields()
	if err != nil {
		return false
	}
	sound := true // sections and names are as the schema wants them
	there := map[string]bool{}
	for it.Next() {
		name := it.Selector().Unquoted()
		there[name] = true
		f, known := a.policy.fields[name]
		kind, isMap := f.shape.(*structure)
		if !known || !isMap || kind.name == nil || it.Value().IncompleteKind() != cue.StructKind {
			sound = false
			continue
		}
		parts, err := it.Value().Fields()
		if err != nil {
			return false
		}
		for parts.Next() {
			if ctx.Err() != nil {
				return false
			}
			part := parts.Selector().Unquoted()
			if !kind.name.(nameShape).fits(part) {
				sound = false
				continue
			}
			if !a.part(name, part, kind.value, parts.Value()) {
				return false
			}
		}
	}
	for name, f := range a.policy.fields {
		sound = sound && (!f.required || there[name])
	}
	return sound || a.frame()
}

// part holds one part against the schema.
func (a *apart) part(section, name string, s shape, v cue.Value) bool {
	if v.Validate(cue.Concrete(true)) == nil {
		if _, chosen := v.Default(); !chosen {
			if data, ok := s.take(v); ok {
				b, err := json.Marshal(data)
				a.keep(section, name, b)
				return err == nil
			}
		}
	}
	def, ok := a.inCUE(section)
	if !ok {
		return false
	}
	both := v.Unify(def)
	if err := both.Validate(cue.All(), cue.Concrete(true)); err != nil {
		here := []string{"policy", section, name}
		a.errs = append(a.errs, err)
		// CUE does not say all from the one side that it says from the other.
		all := append(errors.Errors(err), errors.Errors(def.Unify(v).Validate(cue.All(), cue.Concrete(true)))...)
		for _, e := range all {
			switch path := e.Path(); {
			case len(path) >= 3 && path[0] == "#Policy":
				a.errs = append(a.errs, moved{e, append(here[:3:3], path[3:]...)})
			case len(path) > 0 && strings.HasPrefix(path[0], "#"): // of a definition that the policy says nothing to but _
				for _, open := range a.open(here, v, path[0], 0) {
					a.errs = append(a.errs, moved{e, append(open[:len(open):len(open)], path[1:]...)})
				}
			}
		}
		return true
	}
	b, err := both.MarshalJSON()
	a.keep(section, name, b)
	return err == nil
}

// open finds the fields of a value that are `_` where the schema has the definition.
func (a *apart) open(path []string, v cue.Value, definition string, depth int) (out [][]string) {
	it, err := v.Fields()
	for err == nil && depth < maxIndexDepth && it.Next() {
		p := append(path[:len(path):len(path)], it.Selector().Unquoted())
		if it.Value().IncompleteKind() != cue.TopKind {
			out = append(out, a.open(p, it.Value(), definition, depth+1)...)
		} else if a.shapes.definition(p) == definition {
			out = append(out, p)
		}
	}
	return out
}

// moved is an error that was found at one path of the schema and belongs to another of the policy.
type moved struct {
	cueError
	path []string
}

type cueError = errors.Error

func (m moved) Path() []string { return m.path }

// inCUE is the schema of a section's parts.
func (a *apart) inCUE(section string) (cue.Value, bool) {
	if v, made := a.schemas[section]; made {
		return v, true
	}
	if !a.schema() {
		return cue.Value{}, false
	}
	v, ok := a.found.schemaAt([]string{"policy", section, "x"})
	a.schemas[section] = v
	return v, ok
}

// schema builds the schema, for what shapes do not take and for messages.
func (a *apart) schema() bool {
	if a.found.def.Exists() {
		return true
	}
	defs, err := definitions(a.ctx)
	a.found.def = defs.LookupPath(cue.ParsePath("#Policy"))
	return err == nil && a.found.def.Exists()
}

// frame lets CUE say what is wrong with the sections themselves and with the names in them.
func (a *apart) frame() bool {
	if !a.schema() {
		return false
	}
	var b strings.Builder
	pattern, ok := a.shapes.regexp("#Name")
	if !ok {
		return false
	}
	b.WriteString("#Policy: {\n")
	for _, f := range keys(a.policy.fields) {
		mark := "?"
		if a.policy.fields[f].required {
			mark = "!"
		}
		fmt.Fprintf(&b, "\t%s%s: {[=~%q]: _}\n", f, mark, pattern)
	}
	b.WriteString("}\n")
	frame := a.ctx.CompileString(b.String()).LookupPath(cue.ParsePath("#Policy"))
	if frame.Err() != nil {
		return false
	}
	err := a.evaluated.policy.Unify(frame).Validate(cue.All())
	a.errs = append(a.errs, err)
	return err != nil
}
