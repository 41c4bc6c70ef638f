package engine

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/status"
)

// renewalIn is when a grant is renewed: at half of what is left of its life.
func (e *Engine) renewalIn(sa *ikeSA) time.Duration {
	return max(time.Unix(sa.grant.Expiry, 0).Sub(e.now)/2, time.Minute)
}

// establish begins the life of an IKE SA whose peer has authenticated.
func (e *Engine) establish(sa *ikeSA) {
	e.notHalfOpen(sa)
	sa.state, sa.established = stateUp, e.now
	delete(e.inits, sa.key)
	if sa.before != nil {
		sa.before.Close()
		sa.before = nil
	}
	c := sa.conn
	c.retry.stop()
	e.log(status.Event{Level: "info", Event: "ike-up", Connection: c.cfg.Name, Peer: sa.remote.String(),
		Text: fmt.Sprintf("IKE SA with %s established, %s", textID(sa.peerID), sa.suite)})
	e.live1(sa)
	e.usage(sa, msg.UsageStart, "")
	// The peer was faster: our own attempt, of which it has nothing yet but a half-open SA, has no purpose any more.
	for _, o := range append([]*ikeSA(nil), c.sas...) {
		if o != sa && o.initiator && o.state == stateInit {
			e.close(o)
		}
	}
	e.unique(sa)
}

// live1 sets the alarms of an established IKE SA.
func (e *Engine) live1(sa *ikeSA) {
	e.ages(sa)
	sa.timers.renew = e.after(e.renewalIn(sa), func() { e.renew(sa) })
	e.reauthLater(sa)
	e.interimLater(sa)
	e.keepalives(sa)
	e.watch(sa)
}

// ages sets the alarms of an IKE SA's lifetime, which counts from its beginning. What a changed policy makes too old is rekeyed soon, but not all at once.
func (e *Engine) ages(sa *ikeSA) {
	l, age := sa.conn.cfg.Lifetime, e.now.Sub(sa.established)
	sa.timers.rekey.stop()
	sa.timers.hard.stop()
	sa.rekeyAt = time.Time{}
	if l.Rekey > 0 {
		in := time.Duration(l.Rekey)*time.Second - e.spread(time.Duration(l.Jitter)*time.Second) - age
		if in < 0 {
			in = e.spread(soon)
		}
		sa.rekeyAt = e.now.Add(in)
		sa.timers.rekey = e.after(in, func() { e.rekeyIKE(sa) })
	}
	if l.Hard > 0 {
		in := max(time.Duration(l.Hard)*time.Second-age, 2*soon)
		sa.timers.hard = e.after(in, func() { e.deleteIKE(sa, "its lifetime is over", true) })
	}
}

// soon is within how long a changed policy rekeys what it makes too old.
const soon = time.Minute

// renew asks authproc whether the peer may go on: a secret or an identity that has gone ends the SA.
func (e *Engine) renew(sa *ikeSA) {
	m := &msg.Renew{Grant: sa.grant}
	e.askAuth(sa, m, &m.Req, func(answer msg.Message) {
		r, _ := answer.(*msg.Renewed)
		switch {
		case r == nil:
			sa.timers.renew = e.after(time.Minute, func() { e.renew(sa) })
		case r.Error != "":
			e.problem(sa.conn, sa, status.Problem{Code: "authentication-expired", Text: "authproc no longer vouches for the peer: " + r.Error})
			e.deleteIKE(sa, "the peer is no longer authenticated", true)
		default:
			sa.grant = r.Grant
			sa.timers.renew = e.after(e.renewalIn(sa), func() { e.renew(sa) })
		}
	})
}

// another is an IKE SA of the connection with the same peer.
func (e *Engine) another(c *conn, but *ikeSA) *ikeSA {
	for _, o := range c.sas {
		if o != but && o.state == stateUp && samePeer(o, but) {
			return o
		}
	}
	return nil
}

// simultaneous is how close two IKE SAs must have been made to count as two sides that began at once.
const simultaneous = 20 * time.Second

// unique ends the other IKE SAs with the same peer as the policy says. When both sides began at once, each sees two; the one with the lower
// initiator's SPI stays, which both sides can tell.
func (e *Engine) unique(sa *ikeSA) {
	if sa.conn.cfg.Unique == plan.UniqueNever {
		return
	}
	for _, o := range append([]*ikeSA(nil), sa.conn.sas...) {
		switch {
		case o == sa || o.state != stateUp || !samePeer(o, sa) || o.rekey != nil:
		case o.initiator != sa.initiator && e.now.Sub(o.established) < simultaneous:
			loser := o
			if o.spiI < sa.spiI {
				loser = sa
			}
			// The side that began the loser ends it, a little later, so that the other is settled on both sides.
			if loser.initiator {
				e.after(time.Second, func() { e.deleteIKE(loser, "both sides began at once", true) })
			}
		case o.initiator == sa.initiator || !sa.initiator:
			e.deleteIKE(o, "the peer has a newer IKE SA", false)
		}
	}
}

// initialContact: the peer has started anew, and remembers no other SA with us (RFC 7296 section 2.4). One that we began a moment ago it may not have known when it said so:
// that one is asked.
func (e *Engine) initialContact(sa *ikeSA) {
	for _, o := range append([]*ikeSA(nil), sa.conn.sas...) {
		switch {
		case o == sa || o.state < stateUp || !samePeer(o, sa):
		case o.initiator && e.now.Sub(o.established) < simultaneous:
			o.doubted = true
			e.probe(o)
		default:
			if o.remote.Addr() == sa.remote.Addr() {
				e.part(o)
			}
			e.forgotten(o)
		}
	}
}

// forgotten ends an IKE SA that the peer no longer has, so that it need not be told.
func (e *Engine) forgotten(sa *ikeSA) {
	e.dropChildren(sa)
	e.log(status.Event{Level: "info", Event: "ike-down", Connection: sa.conn.cfg.Name, Peer: sa.remote.String(), Text: "the peer has started anew"})
	e.close(sa)
}

// denied: somebody says in clear that the peer does not have this SA. That counts only if the peer itself has let us doubt it, under its authentication, or if the SA is on its
// way out; otherwise anybody could end it (RFC 7296 section 2.4).
func (e *Engine) denied(sa *ikeSA, h wire.Header, d Datagram) {
	if !sa.doubted && sa.state != stateDeleting || h.NextPayload != ikev2.PayloadNotify {
		return
	}
	ps, err := wire.ParsePayloads(h.NextPayload, d.Data[wire.HeaderLen:], wire.DefaultLimits())
	if err != nil || wire.FindNotify(ps, ikev2.INVALID_IKE_SPI) == nil {
		return
	}
	if gone := sa.request.failed; gone != nil {
		gone()
		return
	}
	c := sa.conn
	if sa.state == stateUp {
		e.part(sa)
	}
	e.forgotten(sa)
	e.lost(c)
}

func sameID(a, b msg.ID) bool { return a.Type == b.Type && string(a.Data) == string(b.Data) }

// idOf is an identity of the plan as it goes on the wire.
//
// A pattern is nobody's identity, and a distinguished name authproc alone puts into DER.
func idOf(id plan.Identity) (msg.ID, bool) {
	if strings.HasPrefix(id.Data, "*") || id.Type == ikev2.ID_DER_ASN1_DN {
		return msg.ID{}, false
	}
	switch id.Type {
	case ikev2.ID_IPV4_ADDR, ikev2.ID_IPV6_ADDR:
		a, err := netip.ParseAddr(id.Data)
		return msg.ID{Type: id.Type, Data: a.AsSlice()}, err == nil
	case ikev2.ID_KEY_ID:
		b, err := hex.DecodeString(id.Data)
		return msg.ID{Type: id.Type, Data: b}, err == nil
	}
	return msg.ID{Type: id.Type, Data: []byte(id.Data)}, id.Type != 0
}

// textID writes an identity for people.
func textID(id msg.ID) string {
	switch id.Type {
	case ikev2.ID_IPV4_ADDR, ikev2.ID_IPV6_ADDR:
		if a, ok := netip.AddrFromSlice(id.Data); ok {
			return a.String()
		}
	case ikev2.ID_FQDN, ikev2.ID_RFC822_ADDR:
		return fmt.Sprintf("%q", id.Data)
	}
	return fmt.Sprintf("%v %x", id.Type, id.Data)
}
