package compiler

import (
	"context"
	"encoding/json"

	"cuelang.org/go/cue"
)

// evaluated is a policy that the schema is content with.
type evaluated struct {
	*loaded
	whole  cue.Value // the package
	policy cue.Value // its field `policy`
	// data is the policy as JSON, with the schema's defaults: section, name, value.
	data map[string]map[string]json.RawMessage
}

// evaluate builds the package and holds it against the schema: part by part where that means the same, for it is many times faster.
func (l *loaded) evaluate(ctx context.Context, together bool) (*evaluated, []Diagnostic) {
	if !together && l.separable() {
		if ev, ds, ok := l.evaluateApart(ctx); ok {
			return ev, ds
		}
		if ctx.Err() != nil {
			return nil, nil // Compile says so
		}
	}
	return l.evaluateTogether()
}

// largePolicy is how many paths a policy may write out for its mistakes to be looked for a second time, which takes many times longer than the first.
const largePolicy = 20_000

func (l *loaded) evaluateTogether() (*evaluated, []Diagnostic) {
	ctx := newContext()
	whole := ctx.BuildInstance(l.inst)
	c := &cueFindings{l: l, whole: whole}
	defs, err := definitions(ctx)
	if err != nil {
		return nil, []Diagnostic{{Severity: Error, Code: CodeEvaluator, Message: flat(err)}}
	}
	def := defs.LookupPath(cue.ParsePath("#Policy"))
	c.def = def
	policy := whole.LookupPath(cue.ParsePath("policy"))
	if whole.Err() == nil && !policy.Exists() {
		return nil, []Diagnostic{{Severity: Error, Code: CodeNoPolicy, File: l.firstFile(), Line: 1, Column: 1, Message: "this package has no field `policy`",
			Hint: "begin with `policy: schema.#Policy` and say the rest below `policy`"}}
	}
	// Err is the first error alone; Validate finds all. A policy may have left the schema out, or embedded it, which opens it: then it is put to it here,
	// and also when something is wrong with a policy that is not large, for that finds more.
	errs := []error{whole.Validate(cue.All())}
	both := policy
	if policy.Exists() {
		if errs = append(errs, policy.Validate(cue.All(), cue.Concrete(true))); !l.rooted() || (errs[0] != nil || errs[1] != nil) && len(l.index.at) < largePolicy {
			both = def.Unify(policy)
			errs = append(errs, both.Validate(cue.All(), cue.Concrete(true)))
		}
	}
	c.add(errs...)
	if len(c.found) > 0 {
		return nil, c.found
	}
	ev := &evaluated{loaded: l, whole: whole, policy: both, data: map[string]map[string]json.RawMessage{}}
	if err := ev.export(); err != nil {
		return nil, []Diagnostic{{Severity: Error, Code: CodeEvaluator, File: l.firstFile(), Line: 1, Column: 1, Path: "policy", Message: flat(err)}}
	}
	return ev, nil
}

// export takes the data out of the policy.
func (e *evaluated) export() error {
	sections, err := e.policy.Fields()
	if err != nil {
		return err
	}
	for sections.Next() {
		parts, err := sections.Value().Fields()
		if err != nil {
			return err
		}
		for parts.Next() {
			b, err := parts.Value().MarshalJSON()
			if err != nil {
				return err
			}
			e.keep(sections.Selector().Unquoted(), parts.Selector().Unquoted(), b)
		}
	}
	return nil
}

func (e *evaluated) keep(section, name string, b json.RawMessage) {
	if e.data[section] == nil {
		e.data[section] = map[string]json.RawMessage{}
	}
	e.data[section][name] = b
}
