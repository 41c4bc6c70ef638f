package engine

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/wire"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/status"
)

// configOf is the content of a peer's configuration payload of this type, for authproc, which alone reads it; ok is false without one.
func configOf(ps []wire.Payload, t ikev2.CFGType) (as []msg.ConfigAttribute, ok bool) {
	cp := wire.Find[*wire.CP](ps)
	if cp == nil || cp.Type != t {
		return nil, false
	}
	for _, a := range cp.Attributes {
		as = append(as, msg.ConfigAttribute{Type: uint16(a.Type), Value: append([]byte(nil), a.Value...)})
	}
	return as, true
}

// configReply writes what authproc gives the peer.
func configReply(as []msg.ConfigAttribute) []wire.Payload {
	if len(as) == 0 {
		return nil
	}
	cp := &wire.CP{Type: ikev2.CFG_REPLY}
	for _, a := range as {
		cp.Attributes = append(cp.Attributes, wire.ConfigAttribute{Type: ikev2.CFGAttribute(a.Type), Value: a.Value})
	}
	return []wire.Payload{cp}
}

// configRequest asks for what the policy says to ask for (RFC 7296 section 2.19).
func configRequest(r plan.Request) []wire.Payload {
	cp := &wire.CP{Type: ikev2.CFG_REQUEST}
	ask := func(list ...ikev2.CFGAttribute) {
		for _, t := range list {
			cp.Attributes = append(cp.Attributes, wire.ConfigAttribute{Type: t})
		}
	}
	if r.IPv4 {
		ask(ikev2.INTERNAL_IP4_ADDRESS, ikev2.INTERNAL_IP4_DNS)
	}
	if r.IPv6 {
		ask(ikev2.INTERNAL_IP6_ADDRESS, ikev2.INTERNAL_IP6_DNS)
	}
	if len(cp.Attributes) == 0 {
		return nil
	}
	return []wire.Payload{cp}
}

// gives tells whether a connection's peers get addresses of a pool: all that is sent to them is then selected by that address.
func gives(c *plan.Connection) bool { return len(c.Configure.Pools) > 0 }

func asks(c *plan.Connection) bool { return c.Request.IPv4 || c.Request.IPv6 }

// leased leaves of a child's remote selectors what the pool gave this peer.
func leased(ss []plan.Selector, given []netip.Addr) (out []msg.TS) {
	for _, a := range given {
		for _, s := range ss {
			if s.Prefix.Contains(a) {
				out = append(out, msg.TS{Protocol: s.Protocol, PortFirst: s.PortFirst, PortLast: s.PortLast, First: a, Last: a})
			}
		}
	}
	return out
}

// assigned puts, for selectors that mean our own address, the addresses that the peer gave us; before it did, any address of the families that we ask for.
func assigned(ss []plan.Selector, own []netip.Addr, r plan.Request) (out []msg.TS) {
	for _, s := range ss {
		if s.Prefix.IsValid() {
			out = append(out, selectors([]plan.Selector{s}, netip.Addr{})...)
			continue
		}
		for _, a := range own {
			out = append(out, selectors([]plan.Selector{s}, a)...)
		}
		if len(own) > 0 {
			continue
		}
		for _, any := range []struct {
			asked bool
			all   netip.Prefix
		}{{r.IPv4, netip.PrefixFrom(netip.IPv4Unspecified(), 0)}, {r.IPv6, netip.PrefixFrom(netip.IPv6Unspecified(), 0)}} {
			if any.asked {
				s.Prefix = any.all
				out = append(out, selectors([]plan.Selector{s}, netip.Addr{})...)
			}
		}
	}
	return out
}

// withoutAddress says why a peer that has authenticated gets no child: no pool had an address for it, or it did not ask for the one that it needs. 0: nothing is
// missing (RFC 7296 sections 2.19 and 3.15.4).
func (e *Engine) withoutAddress(sa *ikeSA, v *msg.Verified) ikev2.NotifyType {
	c := sa.conn
	switch {
	case v.InternalAddressFailure != "":
		e.problem(c, sa, status.Problem{Code: "no-address-left", Text: "INTERNAL_ADDRESS_FAILURE: " + v.InternalAddressFailure})
		return ikev2.INTERNAL_ADDRESS_FAILURE
	case gives(&c.cfg) && len(sa.grant.Peer) == 0:
		e.problem(c, sa, status.Problem{Code: "no-address-asked", Text: "FAILED_CP_REQUIRED: " + sa.remote.String() + " asks for no address, and the connection's pools serve those alone that do",
			Hint: "have the peer ask for a virtual address (strongSwan: vips = 0.0.0.0), or give it a connection without pools"})
		return ikev2.FAILED_CP_REQUIRED
	}
	return 0
}

// lifetimeOf tells the peer when it must authenticate again, and ends the SA then (RFC 4478).
func (e *Engine) lifetimeOf(sa *ikeSA, seconds uint32) []wire.Payload {
	if seconds == 0 {
		return nil
	}
	sa.reauthAt = e.now.Add(time.Duration(seconds) * time.Second)
	e.reauthLater(sa)
	return []wire.Payload{wire.NotifyStatus(ikev2.AUTH_LIFETIME, binary.BigEndian.AppendUint32(nil, seconds))}
}

// reauthLater sets the alarm of an SA whose peer's time is bounded. A rekey takes the bound along.
func (e *Engine) reauthLater(sa *ikeSA) {
	if sa.reauthAt.IsZero() {
		return
	}
	sa.timers.reauth.stop()
	sa.timers.reauth = e.after(sa.reauthAt.Sub(e.now), func() {
		sa.cause = "session-timeout"
		e.deleteIKE(sa, "the peer's session time is over: it must authenticate again", false)
	})
}

// terminate ends the IKE SAs of a session by authproc's word.
func (e *Engine) terminate(m *msg.Terminate) {
	for _, sa := range e.all() {
		if sa.conn != nil && sa.state >= stateUp && sa.grant.Session == m.Session {
			sa.cause = "admin-reset"
			e.deleteIKE(sa, m.Reason, false)
		}
	}
}

// samePeer tells whether two IKE SAs are with one and the same: by who it proved to be in EAP, where it did, and else by its identity. Clients behind NATs often
// call themselves by private addresses that many have.
func samePeer(a, b *ikeSA) bool {
	if a.grant.User != "" || b.grant.User != "" {
		return a.grant.User == b.grant.User
	}
	return sameID(a.peerID, b.peerID)
}
