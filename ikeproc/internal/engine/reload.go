package engine

import (
	"reflect"
	"slices"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// reload puts another view in force: a connection that did not change is not touched, one whose peer or credentials changed begins
// anew, other changes come in by rekeys and by new children.
func (e *Engine) reload(serial uint64, view plan.IKEView) {
	e.reloading = &reloading{serial: serial, until: e.now.Add(reloadGrace)}
	e.after(reloadGrace, func() {}) // checkReload looks then
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
}

// reloading is a reload whose removals are not through yet.
type reloading struct {
	serial   uint64
	until    time.Time
	sas      []*ikeSA
	children []*childSA
}

// reloadGrace is how long peers may take to agree to what a reload removes; then the datapath drops it all the same.
const reloadGrace = 10 * time.Second

// checkReload tells xfrmproc when nothing that the last reload removed is in use any more.
func (e *Engine) checkReload() {
	r := e.reloading
	if r == nil {
		return
	}
	if e.now.Before(r.until) {
		for _, sa := range r.sas {
			if !sa.closed {
				return
			}
		}
		for _, ch := range r.children {
			if e.children[ch.spiIn] == ch {
				return
			}
		}
	}
	e.reloading = nil
	e.emit(ToXFRM{&msg.ReloadDone{Serial: r.serial}})
}

// begunAnew tells whether a change is one of who talks to whom.
func begunAnew(a, b plan.Connection) bool {
	return a.Local != b.Local || a.Remote != b.Remote || !a.LocalAuth.Equal(b.LocalAuth) || !a.RemoteAuth.Equal(b.RemoteAuth) || a.ForceEncap != b.ForceEncap
}

// retire takes a connection down that the plan no longer has.
func (e *Engine) retire(c *conn, why string) {
	c.held = true
	clear(c.want)
	c.retry.stop()
	for _, op := range append([]*operation(nil), c.waiting...) {
		e.endOperation(c, op, why)
	}
	for _, sa := range append([]*ikeSA(nil), c.sas...) {
		e.deleteIKE(sa, why, false)
		e.reloading.sas = append(e.reloading.sas, sa)
	}
}

// change brings a connection that stays to its new policy.
func (e *Engine) change(c *conn, cfg plan.Connection) {
	old := c.cfg
	c.cfg = cfg
	if sa := c.usable(); sa != nil && !reflect.DeepEqual(old.Proposals, cfg.Proposals) {
		e.rekeyIKE(sa)
	}
	if old.Lifetime != cfg.Lifetime {
		for _, sa := range c.sas {
			if sa.state == stateUp {
				e.ages(sa)
			}
		}
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
		e.reloading.children = append(e.reloading.children, ch)
		e.deleteChild(ch)
	case sameTraffic(ch.cfg, *now):
		if ch.cfg.Lifetime != now.Lifetime || ch.cfg.ReplayWindow != now.ReplayWindow {
			ch.cfg = *now
			e.rekeyChild(ch)
		}
		ch.cfg = *now
	default:
		e.reloading.children = append(e.reloading.children, ch)
		e.replaceChild(c, sa, ch)
	}
}

func sameTraffic(a, b plan.Child) bool {
	return a.Mode == b.Mode && a.Reqid == b.Reqid && slices.Equal(a.Local, b.Local) && slices.Equal(a.Remote, b.Remote) && reflect.DeepEqual(a.Proposals, b.Proposals)
}
