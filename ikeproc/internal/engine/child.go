package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
)

type childState uint8

const (
	childUp childState = iota
	childRekeying
	childDeleting
)

// childSA is one pair of ESP SAs.
type childSA struct {
	sa            *ikeSA // changes when the IKE SA is rekeyed
	cfg           plan.Child
	state         childState
	spiIn, spiOut uint32
	transform     msg.Transform
	mode          plan.Mode
	encap         bool
	local, remote []msg.TS
	later         bool     // sending waits for the old pair to go
	ours          bool     // we began the exchange that made it
	lowest        []byte   // the lower nonce of the exchange that made it (RFC 7296 section 2.8.1)
	peerLowest    []byte   // the lower nonce of the peer's rekey of this one, from our answer on
	theirs        *childSA // made by it
	old           *childSA // what this one replaces, until that has gone
	madeOn        *ikeSA   // as responder: where the response went that the peer may not have seen yet
	seenFrom      uint32   // and the nextIn that shows that it has
	installed     time.Time
	rekeyAt       time.Time
	rekey, hard   *timer
}

// childNegotiation is a child in the making.
type childNegotiation struct {
	conn          *conn
	cfg           plan.Child
	initiator     bool // of this exchange
	offers        []offer
	spiIn, spiOut uint32
	offered       uint32 // spiIn as the peer has heard it
	ni, nr        []byte
	chosen        pick
	method        ikev2.KEID
	private       suite.KEResult
	tried         map[ikev2.KEID]bool
	shared        []secret.Bytes
	local, remote []msg.TS
	transport     bool
	old           *childSA
	relieves      bool // it is sent on a little later than it stands: the peer still receives on what it takes the place of
	done          bool
}

// reserveSPI has xfrmproc reserve our inbound SPI. then gets a reason when there is none.
func (e *Engine) reserveSPI(sa *ikeSA, n *childNegotiation, then func(problem string)) {
	m := &msg.AllocSPI{Connection: n.conn.cfg.Name, Child: n.cfg.Name, Local: sa.local.Addr(), Remote: sa.remote.Addr()}
	e.askXFRM(sa, m, &m.Req, func(answer msg.Message) {
		if a, ok := answer.(*msg.SPI); n.done { // given up meanwhile
			if ok && a.SPI != 0 {
				e.removeFromDatapath(a.SPI)
			}
			return
		}
		switch a := answer.(type) {
		case *msg.SPI:
			if n.spiIn, n.offered = a.SPI, a.SPI; a.SPI == 0 {
				then(a.Error)
				return
			}
			then("")
		default:
			then("xfrmproc was started again")
		}
	})
}

// releaseChild gives up a child in the making.
func (e *Engine) releaseChild(n *childNegotiation) {
	if n == nil || n.done {
		return
	}
	n.done = true
	if n.spiIn != 0 {
		e.removeFromDatapath(n.spiIn)
	}
	closeResult(n.private)
	closeAll(n.shared)
	switch {
	case n.old == nil:
	case !n.initiator:
		n.old.peerLowest = nil
	case n.old.state == childRekeying:
		n.old.state = childUp
	}
}

func closeAll(list []secret.Bytes) {
	for i := range list {
		list[i].Close()
	}
}

// answerLife is how long a peer may take to see a response of ours, all its retransmissions included.
const answerLife = 3 * time.Minute

// unseen: the response that made this pair may still be on its way, so that the peer may come to know it later. A further request of the peer's
// shows that it has arrived, since its window is 1.
func (e *Engine) unseen(ch *childSA) bool {
	return ch.madeOn != nil && ch.madeOn == ch.sa && ch.sa.nextIn < ch.seenFrom && e.now.Sub(ch.installed) < answerLife
}

// removeFromDatapath is said, not asked: whatever comes back, we are done with the pair.
func (e *Engine) removeFromDatapath(spi uint32) {
	e.seq++
	e.emit(ToXFRM{&msg.RemoveChild{Req: e.seq, SPIIn: spi}})
}

// ownSelectors are a child's selectors as ranges, with the addresses of the two ends filled in, the ones that were given by configuration payloads among them.
func (n *childNegotiation) ownSelectors(sa *ikeSA) (local, remote []msg.TS) {
	local, remote = selectors(n.cfg.Local, sa.local.Addr()), selectors(n.cfg.Remote, sa.remote.Addr())
	if asks(&sa.conn.cfg) {
		local = assigned(n.cfg.Local, sa.grant.Own, sa.conn.cfg.Request)
	}
	if gives(&sa.conn.cfg) {
		remote = leased(n.cfg.Remote, sa.grant.Peer)
	}
	return local, remote
}

// spiBytes is an SPI as proposals and notifies carry it.
func spiBytes(spi uint32) []byte { return binary.BigEndian.AppendUint32(nil, spi) }

// install derives the child's keys and has the pair installed (RFC 7296 section 2.17). It consumes the negotiation.
func (e *Engine) install(sa *ikeSA, n *childNegotiation, later bool, then func(ch *childSA, problem string)) {
	keys, err := suite.ChildKeys(sa.suite.PRF, sa.keys.SKd, n.shared, n.ni, n.nr, suite.ESP{Encr: n.chosen.encr.ID, KeyBits: n.chosen.encr.KeyBits, Integ: n.chosen.integ})
	if err != nil {
		e.releaseChild(n)
		then(nil, err.Error())
		return
	}
	m := &msg.InstallChild{
		Grant: sa.grant, Connection: n.conn.cfg.Name, Child: n.cfg.Name, Mode: plan.ModeTunnel, Local: sa.local, Remote: sa.remote, Encap: sa.encap,
		SPIIn: n.spiIn, SPIOut: n.spiOut, TSLocal: n.local, TSRemote: n.remote, OutboundLater: later,
		Transform: msg.Transform{Encr: n.chosen.encr.ID, KeyBits: n.chosen.encr.KeyBits, Integ: n.chosen.integ, SN: n.chosen.sn},
		EncrIn:    keys.EncrI, IntegIn: keys.IntegI, EncrOut: keys.EncrR, IntegOut: keys.IntegR,
	}
	if n.initiator { // of this exchange: KD-06
		m.EncrIn, m.IntegIn, m.EncrOut, m.IntegOut = keys.EncrR, keys.IntegR, keys.EncrI, keys.IntegI
	}
	if n.transport {
		m.Mode = plan.ModeTransport
	}
	if n.old != nil {
		m.Replaces = n.old.spiIn
	}
	ch := &childSA{sa: sa, cfg: n.cfg, spiIn: n.spiIn, spiOut: n.spiOut, transform: m.Transform, mode: m.Mode, encap: sa.encap,
		local: n.local, remote: n.remote, later: later, ours: n.initiator, lowest: lower(n.ni, n.nr), old: n.old}
	e.askXFRM(sa, m, &m.Req, func(answer msg.Message) {
		if n.done {
			return // given up meanwhile, and removed
		}
		if _, ok := answer.(*msg.Installed); !ok {
			why := "xfrmproc was started again"
			if r, ok := answer.(*msg.Refused); ok {
				why = r.Reason
				if at := e.place(r.Pos); at != "" {
					why += " (" + at + ")"
				}
			}
			e.releaseChild(n)
			then(nil, why)
			return
		}
		n.done = true
		sa.refusals = 0
		closeResult(n.private)
		closeAll(n.shared)
		e.adoptChild(sa, ch)
		then(ch, "")
	})
}

// adoptChild begins the life of an installed pair.
func (e *Engine) adoptChild(sa *ikeSA, ch *childSA) {
	ch.installed = e.now
	sa.children = append(sa.children, ch)
	e.children[ch.spiIn] = ch
	l := ch.cfg.Lifetime
	if l.Rekey > 0 {
		in := time.Duration(l.Rekey)*time.Second - e.spread(time.Duration(l.Jitter)*time.Second)
		ch.rekeyAt = e.now.Add(in)
		ch.rekey = e.after(in, func() { e.rekeyChild(ch) })
	}
	if l.Hard > 0 {
		ch.hard = e.after(time.Duration(l.Hard)*time.Second, func() { e.childExpired(ch) })
	}
	event, text := "child-up", "carries"
	if ch.old != nil {
		event, text = "child-rekeyed", "replaces its predecessor for"
	}
	e.log(status.Event{Level: "info", Event: event, Connection: sa.conn.cfg.Name, Child: ch.cfg.Name, Peer: sa.remote.String(),
		Text: fmt.Sprintf("child SA %08x/%08x %s %v to %v", ch.spiIn, ch.spiOut, text, describeTS(ch.local), describeTS(ch.remote))})
	if ch.old == nil || e.late(ch) {
		e.dropTwin(sa, ch)
		e.childUp(sa.conn, ch.cfg.Name)
	}
	sa.conn.problem = nil
}

// late: the pair that this one was to replace has gone before, by its age or otherwise, so that the other end or we may have asked for a new one meanwhile. When both ends rekeyed,
// afterRekey decides.
func (e *Engine) late(ch *childSA) bool {
	gone := ch.old.state == childDeleting || e.childIn(ch.old.spiIn) != ch.old
	return gone && (!ch.ours || ch.old.peerLowest == nil)
}

// dropTwin ends one of two pairs for the same traffic that both ends asked for at once, by the rule for simultaneous rekeys: who made the one with the
// lowest nonce closes it (RFC 7296 section 2.8.1).
func (e *Engine) dropTwin(sa *ikeSA, ch *childSA) {
	for _, o := range sa.children {
		if o == ch || o.cfg.Name != ch.cfg.Name || o.ours == ch.ours || o.state != childUp || e.now.Sub(o.installed) > time.Minute ||
			!slices.Equal(o.local, ch.local) || !slices.Equal(o.remote, ch.remote) {
			continue
		}
		loser := ch
		if bytes.Compare(o.lowest, ch.lowest) < 0 {
			loser = o
		}
		if loser.ours {
			e.after(time.Second, func() {
				if e.childIn(loser.spiIn) == loser {
					e.deleteChild(loser)
				}
			})
		}
	}
}

// dropChild takes a pair out of the datapath and off the books. Its policies stay.
func (e *Engine) dropChild(ch *childSA) {
	ch.rekey.stop()
	ch.hard.stop()
	e.countOut(ch)
	e.removeFromDatapath(ch.spiIn)
	if e.children[ch.spiIn] == ch {
		delete(e.children, ch.spiIn)
	}
	for i, have := range ch.sa.children {
		if have == ch {
			ch.sa.children = append(ch.sa.children[:i:i], ch.sa.children[i+1:]...)
			break
		}
	}
	for _, other := range ch.sa.children {
		if other.theirs == ch {
			other.theirs = nil
		}
		if other.old == ch {
			other.old = nil
			e.activate(other)
		}
	}
}

func (e *Engine) dropChildren(sa *ikeSA) {
	lost := append([]*childSA(nil), sa.children...)
	for _, ch := range lost {
		e.dropChild(ch)
	}
	sa.children = nil
	if sa.conn != nil {
		for _, ch := range lost {
			if ch.state != childDeleting && sa.conn.child(ch.cfg.Name) != nil && !contains(sa.lost, ch.cfg.Name) {
				sa.lost = append(sa.lost, ch.cfg.Name)
			}
		}
	}
}

// activate begins to send on a pair that waited for its predecessor to go.
func (e *Engine) activate(ch *childSA) { e.activateThen(ch, func() {}) }

// activateThen does, and calls then when the datapath sends on it, or will not.
func (e *Engine) activateThen(ch *childSA, then func()) {
	if !ch.later {
		then()
		return
	}
	ch.later = false
	m := &msg.UpdateChild{SPIIn: ch.spiIn, Activate: true}
	e.askXFRM(ch.sa, m, &m.Req, func(msg.Message) { then() })
}

// activateSoon begins to send in a while even if the predecessor's Delete never comes.
func (e *Engine) activateSoon(ch *childSA) {
	e.after(5*time.Second, func() {
		if !ch.sa.closed {
			e.activate(ch)
		}
	})
}

func (sa *ikeSA) childOut(spi uint32) *childSA {
	for _, ch := range sa.children {
		if ch.spiOut == spi {
			return ch
		}
	}
	return nil
}

// childIn finds a pair of any IKE SA by its inbound SPI.
func (e *Engine) childIn(spi uint32) *childSA { return e.children[spi] }

func lower(a, b []byte) []byte {
	if bytes.Compare(a, b) < 0 {
		return append([]byte(nil), a...)
	}
	return append([]byte(nil), b...)
}

// childExpired: nobody rekeyed it in time. It goes, and what is wanted comes back; nothing leaves in clear meanwhile.
func (e *Engine) childExpired(ch *childSA) {
	c := ch.sa.conn
	e.log(status.Event{Level: "warn", Event: "child-expired", Connection: c.cfg.Name, Child: ch.cfg.Name, Text: "its lifetime is over and it was not rekeyed"})
	e.deleteChild(ch)
	c.want[ch.cfg.Name] = c.want[ch.cfg.Name] || ch.cfg.Initiate != plan.InitiateNever
	if !c.want[ch.cfg.Name] {
		delete(c.want, ch.cfg.Name)
	}
	e.pursue(c)
}

// natTransport: in transport mode the selectors are the ends' own addresses as each side sees them, so what a NAT changed is put back (RFC 7296
// section 2.23.1).
func (sa *ikeSA) natTransport(theirLocal, theirRemote []msg.TS) {
	put := func(list []msg.TS, a netip.Addr) {
		for i := range list {
			if list[i].First == list[i].Last && list[i].First.BitLen() == a.BitLen() {
				list[i].First, list[i].Last = a, a
			}
		}
	}
	if sa.natLocal {
		put(theirLocal, sa.local.Addr())
	}
	if sa.natRemote {
		put(theirRemote, sa.remote.Addr())
	}
}
