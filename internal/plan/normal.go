package plan

import "slices"

// normal is p with every absent list made an empty one: a list in a plan is never null.
func (p *Plan) normal() *Plan {
	q := *p
	q.Listen, q.Bypass, q.Secrets, q.Sources = full(p.Listen), full(p.Bypass), full(p.Secrets), full(p.Sources)
	q.Connections = make([]Connection, len(p.Connections))
	for i, c := range p.Connections {
		c.Proposals = normalIKE(c.Proposals)
		children := make([]Child, len(c.Children))
		for j, ch := range c.Children {
			ch.Local, ch.Remote, ch.Proposals = full(ch.Local), full(ch.Remote), normalESP(ch.Proposals)
			children[j] = ch
		}
		c.Children = children
		q.Connections[i] = c
	}
	q.Bypass = append([]Bypass{}, q.Bypass...)
	for i := range q.Bypass {
		q.Bypass[i].Local, q.Bypass[i].Remote = full(q.Bypass[i].Local), full(q.Bypass[i].Remote)
	}
	return &q
}

func normalIKE(ps []IKEProposal) []IKEProposal {
	out := make([]IKEProposal, len(ps))
	for i, p := range ps {
		out[i] = IKEProposal{Encr: full(p.Encr), PRF: full(p.PRF), Integ: full(p.Integ), KE: full(p.KE), AddKE: normalAddKE(p.AddKE)}
	}
	return out
}

func normalESP(ps []ESPProposal) []ESPProposal {
	out := make([]ESPProposal, len(ps))
	for i, p := range ps {
		out[i] = ESPProposal{Encr: full(p.Encr), Integ: full(p.Integ), KE: full(p.KE), AddKE: normalAddKE(p.AddKE), SN: full(p.SN)}
	}
	return out
}

func normalAddKE(as []AddKE) []AddKE {
	out := make([]AddKE, len(as))
	for i, a := range as {
		out[i] = AddKE{Slot: a.Slot, KE: full(a.KE)}
	}
	return out
}

func full[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// withoutPositions is the plan as Hash and Diff see it.
func (p *Plan) withoutPositions() *Plan {
	q := p.normal()
	q.Sources, q.Sum = []string{}, ""
	q.Secrets = append([]Secret{}, q.Secrets...)
	for i := range q.Secrets {
		q.Secrets[i].Pos = Pos{}
	}
	q.Certificates, q.Authorities = slices.Clone(q.Certificates), slices.Clone(q.Authorities)
	for i := range q.Certificates {
		q.Certificates[i].Pos = Pos{}
	}
	for i := range q.Authorities {
		q.Authorities[i].Pos = Pos{}
	}
	for i := range q.Bypass {
		q.Bypass[i].Pos = Pos{}
	}
	for i := range q.Connections {
		c := &q.Connections[i]
		c.Pos = Pos{}
		for j := range c.Children {
			c.Children[j].Pos = Pos{}
		}
	}
	return q
}
