package engine

import (
	"cmp"
	"slices"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/status"
)

// inventory compares what the datapath carries with what we believe it does. After a crash of either the two differ: pairs that it lost are
// made again, and connections whose pairs it kept while we forgot them are negotiated anew; the datapath drops the orphans when their successors stand.
func (e *Engine) inventory(m *msg.Inventory) {
	carried := map[uint32]bool{}
	for _, c := range m.Children {
		carried[c.SPIIn] = true
	}
	for _, c := range e.order {
		for _, sa := range c.sas {
			for _, ch := range append([]*childSA(nil), sa.children...) {
				if !carried[ch.spiIn] && ch.state != childDeleting {
					e.lostChild(c, sa, ch)
				}
			}
		}
	}
	for _, have := range m.Children {
		c := e.conns[have.Connection]
		if c == nil || c.child(have.Child) == nil || e.childIn(have.SPIIn) != nil || c.hasChild(have.Child) || !c.cfg.Remote.Address.IsValid() {
			continue
		}
		c.want[have.Child] = true
		c.revive(have.Child)
		e.log(status.Event{Level: "info", Event: "child-adopted", Connection: c.cfg.Name, Child: have.Child, Text: "the datapath still carries it; it is negotiated anew"})
	}
	for _, c := range e.order {
		if len(c.want) > 0 && !c.held {
			e.pursue(c)
		}
	}
}

// lostChild: the datapath lost a pair of ours. The peer is told, and a new pair asked for at once, whatever the policy says of starting: it was up.
func (e *Engine) lostChild(c *conn, sa *ikeSA, ch *childSA) {
	e.log(status.Event{Level: "warn", Event: "child-lost", Connection: c.cfg.Name, Child: ch.cfg.Name, Text: "the datapath lost it; it is made again"})
	if sa.state != stateUp || c.child(ch.cfg.Name) == nil {
		e.dropChild(ch)
		return
	}
	e.replaceChild(c, sa, ch)
}

// replaceChild makes a pair anew, not as a rekey, and then deletes the old one.
func (e *Engine) replaceChild(c *conn, sa *ikeSA, ch *childSA) {
	if ch.state == childDeleting {
		return
	}
	ch.state = childDeleting // hasChild does not count it
	c.want[ch.cfg.Name] = true
	e.createWanted(sa)
	ch.state = childUp
	e.deleteChild(ch)
}

func (e *Engine) all() []*ikeSA {
	out := make([]*ikeSA, 0, len(e.sas))
	for _, sa := range e.sas {
		out = append(out, sa)
	}
	slices.SortFunc(out, func(a, b *ikeSA) int { return cmp.Compare(a.ownSPI(), b.ownSPI()) })
	return out
}

func byName(a, b *conn) int { return cmp.Compare(a.cfg.Name, b.cfg.Name) }
