package userspace

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace/spd"
)

// learned is the policy that a pair brought for a peer whose address the plan does not know. It outlives the pair, so that
// the peer's traffic is recognised, and asked for, when there is none.
type learned struct{ local, remote []plan.Selector }

// maxLearned bounds them for one child; the oldest makes room. Traffic of a forgotten one fits no policy and is dropped.
const maxLearned = 4096

// Check reports what SetPolicies would refuse: a selector that is no prefix.
func (b *Backend) Check(p backend.Policies) error {
	for _, c := range p.Protect {
		if err := checkSelectors(c.LocalTS, c.RemoteTS); err != nil {
			return &backend.Error{Op: "policy", Connection: c.Connection, Child: c.Child, Err: err}
		}
	}
	for _, y := range p.Bypass {
		if err := checkSelectors(y.LocalTS, y.RemoteTS); err != nil {
			return &backend.Error{Op: "bypass policy " + y.Name, Err: err}
		}
	}
	return nil
}

func checkSelectors(lists ...[]plan.Selector) error {
	for _, l := range lists {
		for _, s := range l {
			if !s.Prefix.IsValid() || s.Prefix != s.Prefix.Masked() {
				return fmt.Errorf("selector %v is not a prefix", s.Prefix)
			}
		}
	}
	return nil
}

// SetPolicies builds the next policy table beside the standing one and puts it in its place at once.
func (b *Backend) SetPolicies(p backend.Policies, addOnly bool) error {
	if err := b.Check(p); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return &backend.Error{Op: "policy", Err: backend.ErrClosed}
	}
	next := backend.Policies{Protect: slices.Clone(p.Protect), Bypass: slices.Clone(p.Bypass)}
	if addOnly {
		next.Protect = append(next.Protect, missing(b.standing.Protect, p.Protect, func(c *backend.Protect) string { return c.Connection + "\x00" + c.Child })...)
		next.Bypass = append(next.Bypass, missing(b.standing.Bypass, p.Bypass, func(y *backend.Bypass) string { return y.Name })...)
	}
	b.build(next)
	return nil
}

// missing lists what of old is not in fresh exactly as it was.
func missing[T any](old, fresh []T, name func(*T) string) []T {
	byName := make(map[string]*T, len(fresh))
	for i := range fresh {
		byName[name(&fresh[i])] = &fresh[i]
	}
	var out []T
	for i := range old {
		if same := byName[name(&old[i])]; same == nil || !reflect.DeepEqual(*same, old[i]) {
			out = append(out, old[i])
		}
	}
	return out
}

// build makes the table of p, with what pairs have taught of its children, and forgets the rest.
func (b *Backend) build(p backend.Policies) {
	t := spd.NewBuilder[*child]()
	wanted := map[uint32]*backend.Protect{}
	for i := range p.Protect {
		c := &p.Protect[i]
		ch := &child{protect: *c, group: b.groupOf(c.Reqid)}
		t.Add(ch, c.Priority, c.LocalTS, c.RemoteTS)
		if len(c.OwnAddress) > 0 {
			for _, l := range b.learned[c.Reqid] {
				t.Add(ch, c.Priority, l.local, l.remote)
			}
		}
		if wanted[c.Reqid] == nil { // with add only, the new form of a child stands before the old
			wanted[c.Reqid] = c
		}
	}
	for _, y := range p.Bypass {
		t.Add(&child{}, y.Priority, y.LocalTS, y.RemoteTS)
	}
	b.standing, b.wanted = p, wanted
	b.table.Store(t.Table())
	b.generation.Add(1)
	for reqid := range b.learned {
		if c := wanted[reqid]; c == nil || len(c.OwnAddress) == 0 {
			delete(b.learned, reqid)
		}
	}
	for reqid := range b.groups {
		b.sweepGroups(reqid)
	}
}

// sweepGroups forgets the group of a reqid that neither a policy nor a pair uses.
func (b *Backend) sweepGroups(reqid uint32) {
	g := b.groups[reqid]
	if g != nil && g.pairs == 0 && b.wanted[reqid] == nil {
		delete(b.groups, reqid)
	}
}

// learnPolicies adds policies for the remote selectors that p brings, where its child leaves the peer's address open.
func (b *Backend) learnPolicies(p *pair) {
	c := b.wanted[p.Reqid]
	if c == nil || len(c.OwnAddress) == 0 {
		return
	}
	l := learned{local: c.LocalTS}
	for _, ts := range p.TSRemote {
		l.remote = append(l.remote, spd.Prefixes(ts)...)
	}
	if slices.ContainsFunc(b.learned[p.Reqid], func(o learned) bool { return slices.Equal(o.remote, l.remote) && slices.Equal(o.local, l.local) }) {
		return
	}
	list := append(b.learned[p.Reqid], l)
	b.learned[p.Reqid] = list
	if len(list) > maxLearned {
		b.learned[p.Reqid] = slices.Clone(list[1:])
		b.build(b.standing)
		return
	}
	b.table.Store(b.table.Load().Extend(&child{protect: *c, group: p.group}, c.Priority, l.local, l.remote))
	b.generation.Add(1)
}
