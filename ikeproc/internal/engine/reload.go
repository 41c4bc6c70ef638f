package engine

import (
	"reflect"
	"slices"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// reload puts another view in force: a connection that did not change is not touched, one whose peer or credentials changed begins
// anew, other changes come in by rekeys and by new children.
func (e *Engine) reload(serial uint64, view plan.IKEView) {
	before := e.conns
	e.cfg.View = view
	e.conns = map[string]*conn{}
	var fresh []*conn
	for _, cfg := range view.Connections {
		c := before[cfg.Name]
		delete(before, cfg.Name)
		if c == nil || begunAnew(c.cfg, cfg) {
			if c != nil {
				e.retire(c, "the policy changed")
			}
			c = &conn{cfg: cfg, want: map[string]bool{}, first: map[string]trigger{}}
			fresh = append(fresh, c)
		}
		e.conns[cfg.Name] = c
	}
	var gone []*conn
	for _, c := range before {
		gone = append(gone, c)
	}
	slices.SortFunc(gone, byName)
	for _, c := range gone {
		e.retire(c, "the policy no longer has it")
	}
	e.setConnections()
	for _, cfg := range view.Connections {
		if c := e.conns[cfg.Name]; !slices.Contains(fresh, c) {
			e.change(c, cfg)
		}
	}
	for _, c := range fresh {
		e.startIfWanted(c, 0)
	}
	e.emit(ToXFRM{&msg.ReloadDone{Serial: serial}})
}

// begunAnew tells whether a change is one of who talks to whom.
func begunAnew(a, b plan.Connection) bool {
	return a.Local != b.Local || a.Remote != b.Remote || a.LocalAuth != b.LocalAuth || a.RemoteAuth != b.RemoteAuth || a.ForceEncap != b.ForceEncap
}

// retire takes a connection down that the plan no longer has. What it carried leaves the datapath at once.
func (e *Engine) retire(c *conn, why string) {
	c.held = true
	clear(c.want)
	c.retry.stop()
	for _, op := range append([]*operation(nil), c.waiting...) {
		e.endOperation(c, op, why)
	}
	for _, sa := range append([]*ikeSA(nil), c.sas...) {
		e.deleteIKE(sa, why, false)
		if !sa.closed {
			e.dropChildren(sa)
		}
	}
}

// change brings a connection that stays to its new policy.
func (e *Engine) change(c *conn, cfg plan.Connection) {
	old := c.cfg
	c.cfg = cfg
	if sa := c.usable(); sa != nil && !sameIKE(old, cfg) {
		e.rekeyIKE(sa)
	}
	if old.DPD != cfg.DPD || old.Keepalive != cfg.Keepalive {
		for _, sa := range c.sas {
			if sa.state == stateUp {
				e.watch(sa)
				e.keepalives(sa)
			}
		}
	}
	for _, sa := range c.sas {
		for _, ch := range append([]*childSA(nil), sa.children...) {
			e.changeChild(c, sa, ch)
		}
	}
	e.startIfWanted(c, 0)
}

// changeChild: one that has gone is deleted, one whose traffic or protection changed is replaced: the new pair first, as far as the policies
// let both stand.
func (e *Engine) changeChild(c *conn, sa *ikeSA, ch *childSA) {
	now := c.child(ch.cfg.Name)
	switch {
	case now == nil:
		e.deleteChild(ch)
	case sameTraffic(ch.cfg, *now):
		if ch.cfg.Lifetime != now.Lifetime || ch.cfg.ReplayWindow != now.ReplayWindow {
			ch.cfg = *now
			e.rekeyChild(ch)
		}
		ch.cfg = *now
	default:
		// hasChild must not count it, so that its successor is wanted.
		e.deleteChild(ch)
		c.want[now.Name] = now.Initiate != plan.InitiateNever
		if !c.want[now.Name] {
			delete(c.want, now.Name)
		}
		e.createWanted(sa)
	}
}

func sameIKE(a, b plan.Connection) bool {
	return reflect.DeepEqual(a.Proposals, b.Proposals) && a.Lifetime == b.Lifetime
}

func sameTraffic(a, b plan.Child) bool {
	return a.Mode == b.Mode && a.Reqid == b.Reqid && slices.Equal(a.Local, b.Local) && slices.Equal(a.Remote, b.Remote) && reflect.DeepEqual(a.Proposals, b.Proposals)
}
