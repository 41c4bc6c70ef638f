package compiler

import (
	"slices"
	"strings"

	"github.com/trike-ipsec/trike/internal/plan"
)

// legacyUse remembers whether a tunnel may use legacy algorithms, and does.
type legacyUse struct{ allowed, used bool }

// proposals are the texts of what a policy asks for, and the paths that say them.
func (c *lowerer) texts(d proposalsDoc, esp bool, path []string) (texts []string, paths [][]string) {
	if len(d.Proposals) > 0 {
		if len(d.Proposals) > plan.MaxProposals {
			c.fail(CodeManyProposals, sub(path, "proposals"), "leave out what the peer does not need", "%d proposals, at most %d are allowed", len(d.Proposals), plan.MaxProposals)
			return nil, nil
		}
		for i, t := range d.Proposals {
			p := sub(path, "proposals", itoa(i))
			if slices.Contains(d.Proposals[:i], t) {
				c.fail(CodeProposalTwice, p, "take one away", "the proposal %q stands twice", t)
				continue
			}
			texts, paths = append(texts, t), append(paths, p)
		}
		return texts, paths
	}
	name := d.Suite
	if name == "" {
		name = defaultSuite
	}
	for _, s := range suites {
		if s.name != name {
			continue
		}
		texts = s.ike
		if esp {
			texts = s.esp
		}
		for range texts {
			paths = append(paths, sub(path, "suite"))
		}
	}
	return texts, paths
}

func (c *lowerer) ikeProposals(d proposalsDoc, legacy *legacyUse, path []string) (out []plan.IKEProposal) {
	texts, paths := c.texts(d, false, path)
	for i, t := range texts {
		p, old, err := ikeProposal(t)
		if c.proposal(t, old, err, legacy, paths[i]) {
			out = append(out, p)
		}
	}
	return out
}

func (c *lowerer) espProposals(d proposalsDoc, legacy *legacyUse, path []string) (out []plan.ESPProposal) {
	texts, paths := c.texts(d, true, path)
	for i, t := range texts {
		p, old, err := espProposal(t)
		if c.proposal(t, old, err, legacy, paths[i]) {
			out = append(out, p)
		}
	}
	return out
}

func (c *lowerer) proposal(text string, old []string, err error, legacy *legacyUse, path []string) bool {
	switch {
	case err != nil:
		c.fail(CodeProposal, path, "", "proposal %q: %v", text, err)
		return false
	case len(old) > 0 && !legacy.allowed:
		c.fail(CodeLegacy, path, "if the peer can do no better, allow it by name: legacy: true", "%q uses what is no longer safe: %s", text, strings.Join(old, ", "))
		return false
	}
	legacy.used = legacy.used || len(old) > 0
	return true
}
