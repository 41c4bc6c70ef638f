// Package compiler turns a policy, a CUE package in a directory, into one plan a gateway.
//
//	res, findings := compiler.Compile(ctx, compiler.Options{Dir: "policy"})
//	if compiler.Failed(findings) {
//		compiler.WriteText(os.Stderr, findings)
//	}
//	for _, p := range res.Plans {
//		os.WriteFile(p.Gateway+".plan.json", plan.Encode(p), 0o644)
//	}
//
// It says all mistakes at once, each at the policy's own line. First CUE and the schema have their word; when they are content, the compiler checks
// what a schema cannot say: references, identities, selectors, lifetimes, algorithms, secrets. The same policy gives the same octets everywhere.
//
// A policy may be hostile: files, their number and their sizes are bounded, no symbolic link leads out of the tree, nothing is fetched, and a panic of
// the evaluator is a finding. An evaluation that outlives its context is abandoned: its goroutine goes on until the program ends.
package compiler

import (
	"context"
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/internal/plan"
)

//go:generate go run ./internal/reference ../docs/policy-reference.md

// Options say what to compile, and where.
type Options struct {
	// Dir holds the policy: one CUE package.
	Dir string
	// Tags set the policy's @tag fields, "site=berlin".
	Tags []string
	// Gateway, if not empty, is the only gateway to make a plan for. The whole policy is checked all the same.
	Gateway string
	// OnBox: this machine is the gateway, so secrets must be there and be private. Elsewhere that is a warning.
	OnBox bool
	// Now is the time that certificates are held against; zero: they are not.
	Now time.Time

	// together holds the whole policy against the schema at once, never its parts one by one. The answer is the same.
	together bool
}

// Result is what became of a policy.
type Result struct {
	// Plans has a plan for each gateway, by name. It is empty when a finding is an error.
	Plans []*plan.Plan
}

// Compile reads, checks and lowers a policy. The result is never nil; findings are sorted by place, and Failed tells whether one is an error.
func Compile(ctx context.Context, o Options) (*Result, []Diagnostic) {
	type answer struct {
		result   *Result
		findings []Diagnostic
	}
	done := make(chan answer, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				done <- answer{&Result{}, []Diagnostic{{Severity: Error, Code: CodeEvaluator, Message: fmt.Sprintf("the evaluator gave up: %v", v),
					Hint: "take out parts of the policy until it compiles, and report the smallest one that does not"}}}
			}
		}()
		r, ds := run(ctx, o)
		done <- answer{r, order(ds)}
	}()
	select {
	case a := <-done:
		return a.result, a.findings
	case <-ctx.Done():
		return &Result{}, []Diagnostic{{Severity: Error, Code: CodeAbandoned, Message: "the compiler was stopped before it had finished: " + context.Cause(ctx).Error(),
			Hint: "allow more time, or make the policy's comprehensions smaller"}}
	}
}

func run(ctx context.Context, o Options) (*Result, []Diagnostic) {
	none := &Result{}
	t, ds := scan(o.Dir)
	if t == nil {
		return none, ds
	}
	l, ds := t.read(o.Tags)
	if l == nil {
		return none, ds
	}
	ev, ds := l.evaluate(ctx, o.together)
	if ev == nil {
		return none, ds
	}
	c := &lowerer{ev: ev, options: o}
	if c.decode(); Failed(c.findings) {
		return none, c.findings
	}
	plans := c.lower(ctx)
	if Failed(c.findings) {
		return none, c.findings
	}
	return &Result{Plans: plans}, c.findings
}
