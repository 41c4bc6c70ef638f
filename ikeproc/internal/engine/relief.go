package engine

import "time"

// A peer whose ikeproc was started again has forgotten its IKE SAs, but its datapath may still carry their pairs, and does so until new ones stand on both sides. Whoever takes the
// old pairs away the moment that it hears of the new ones loses what is on its way.
const (
	// reliefDelay is how long a new pair waits before it is sent on: until the peer has our response and receives there.
	reliefDelay = time.Second
	// partingLife is how long the old pair still receives: until the peer sends on the new one.
	partingLife = 3 * time.Second
)

// parting is a pair that is off the books and still in the datapath.
type parting struct {
	from  *ikeSA // with whom, though it is closed
	child string
	spiIn uint32
}

// relieves tells whether a new pair of this child takes the place of one that the peer may still receive on: one of an older IKE SA that it forgets with this one (contact), or
// has just forgotten.
func (sa *ikeSA) relieves(child string, contact bool) bool {
	for _, p := range sa.conn.parting {
		if p.child == child && samePeer(p.from, sa) && p.from.remote.Addr() == sa.remote.Addr() {
			return true
		}
	}
	for _, o := range sa.conn.sas {
		if !contact || o == sa || o.state < stateUp || !samePeer(o, sa) || o.remote.Addr() != sa.remote.Addr() {
			continue
		}
		for _, ch := range o.children {
			if ch.cfg.Name == child && ch.state != childDeleting {
				return true
			}
		}
	}
	return false
}

// relieve begins to send on a pair when the peer has had the time to install it.
func (e *Engine) relieve(ch *childSA) {
	e.after(reliefDelay, func() {
		if e.childIn(ch.spiIn) == ch {
			e.activate(ch)
		}
	})
}

// part takes the children of an IKE SA that the peer has forgotten off the books, and a little later out of the datapath. Those that parted before go now, so that a peer that
// keeps starting anew heaps nothing up.
func (e *Engine) part(sa *ikeSA) {
	c := sa.conn
	e.parted(c, c.parting)
	var list []parting
	for _, ch := range sa.children {
		ch.rekey.stop()
		ch.hard.stop()
		e.countOut(ch)
		if e.children[ch.spiIn] == ch {
			delete(e.children, ch.spiIn)
		}
		list = append(list, parting{sa, ch.cfg.Name, ch.spiIn})
	}
	sa.children = nil
	c.parting = list
	e.after(partingLife, func() { e.parted(c, list) })
}

// parted ends the partings of list that are still under way.
func (e *Engine) parted(c *conn, list []parting) {
	if len(list) == 0 || len(c.parting) == 0 || &list[0] != &c.parting[0] {
		return // a later one has ended them
	}
	c.parting = nil
	for _, p := range list {
		e.removeFromDatapath(p.spiIn)
	}
}
