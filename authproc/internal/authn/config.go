package authn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/trike-ipsec/trike/authproc/internal/pool"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
)

// Leases gives addresses of the plan's pools.
type Leases interface {
	Lease(w pool.Wish, now time.Time) (netip.Addr, error)
}

// maxAttributes is how many attributes of a configuration payload are looked at.
const maxAttributes = 256

// asked is what a peer's CFG_REQUEST asks for (RFC 7296 section 3.15.1).
type asked struct {
	ip4, ip6           bool
	want4, want6       netip.Addr
	dns4, dns6         bool
	domains            bool
	subnets4, subnets6 bool
}

func readRequest(as []msg.ConfigAttribute) (q asked) {
	for _, a := range as[:min(len(as), maxAttributes)] {
		switch ikev2.CFGAttribute(a.Type) {
		case ikev2.INTERNAL_IP4_ADDRESS:
			q.ip4 = true
			if len(a.Value) == 4 {
				q.want4 = wish(netip.AddrFrom4([4]byte(a.Value)))
			}
		case ikev2.INTERNAL_IP6_ADDRESS:
			q.ip6 = true
			if len(a.Value) >= 16 {
				q.want6 = wish(netip.AddrFrom16([16]byte(a.Value[:16])))
			}
		case ikev2.INTERNAL_IP4_DNS:
			q.dns4 = true
		case ikev2.INTERNAL_IP6_DNS:
			q.dns6 = true
		case ikev2.INTERNAL_DNS_DOMAIN:
			q.domains = true
		case ikev2.INTERNAL_IP4_SUBNET:
			q.subnets4 = true
		case ikev2.INTERNAL_IP6_SUBNET:
			q.subnets6 = true
		}
	}
	return q
}

// wish is an address that a peer names; the unspecified one means any.
func wish(a netip.Addr) netip.Addr {
	if a.IsUnspecified() || a.Is4In6() {
		return netip.Addr{}
	}
	return a
}

// configure answers a peer's CFG_REQUEST: it leases the addresses that it asks for, into g, and tells what else the connection gives. failure says, for the operator, which
// address could not be given; then there are none (RFC 7296 section 3.15.4).
func (s *State) configure(c *connection, m *msg.Verify, g *msg.Grant, w With) (reply []msg.ConfigAttribute, failure string) {
	q := readRequest(m.Config)
	var radius4, radius6 netip.Addr
	if w.Proof != nil {
		radius4, radius6 = w.Proof.Grants.Address4, w.Proof.Grants.Address6
	}
	for _, f := range []struct {
		asked       bool
		ip6         bool
		want, fixed netip.Addr
	}{{q.ip4, false, q.want4, radius4}, {q.ip6, true, q.want6, radius6}} {
		if !f.asked || !s.serves(c, f.ip6) {
			continue
		}
		a, err := s.lease(c, g, w, f.ip6, f.want, f.fixed)
		if err != nil {
			return nil, fmt.Sprintf("connection %q: %v", c.name, err)
		}
		g.Peer = append(g.Peer, a)
		reply = append(reply, addressAttribute(a))
	}
	for _, d := range c.configure.DNS {
		if d.Is4() && q.dns4 {
			reply = append(reply, attribute(ikev2.INTERNAL_IP4_DNS, d.AsSlice()))
		} else if d.Is6() && q.dns6 {
			reply = append(reply, attribute(ikev2.INTERNAL_IP6_DNS, d.AsSlice()))
		}
	}
	if q.domains && (q.dns4 || q.dns6) { // RFC 8598 section 3.1: only beside DNS servers
		for _, d := range c.configure.Domains {
			reply = append(reply, attribute(ikev2.INTERNAL_DNS_DOMAIN, []byte(d)))
		}
	}
	for _, p := range c.configure.Subnets {
		if p.Addr().Is4() && (q.subnets4 || q.ip4) {
			mask := binary.BigEndian.AppendUint32(p.Addr().AsSlice(), ^uint32(0)<<(32-p.Bits()))
			reply = append(reply, attribute(ikev2.INTERNAL_IP4_SUBNET, mask))
		} else if p.Addr().Is6() && (q.subnets6 || q.ip6) {
			reply = append(reply, attribute(ikev2.INTERNAL_IP6_SUBNET, append(p.Addr().AsSlice(), byte(p.Bits()))))
		}
	}
	return reply, ""
}

// serves tells whether the connection has a pool of this family.
func (s *State) serves(c *connection, ip6 bool) bool {
	for _, name := range c.configure.Pools {
		if p, ok := s.pools[name]; ok && p.First.Is6() == ip6 {
			return true
		}
	}
	return false
}

func (s *State) lease(c *connection, g *msg.Grant, w With, ip6 bool, want, fixed netip.Addr) (netip.Addr, error) {
	if w.Leases == nil {
		return netip.Addr{}, errors.New("no pool is served yet")
	}
	who := canonical(g.PeerID)
	if g.User != "" {
		who = "user " + g.User
	}
	wish := pool.Wish{Pools: c.configure.Pools, Who: who, Session: g.Session, IPv6: ip6, Want: want, Take: c.unique == "replace", Until: time.Unix(g.Expiry, 0)}
	if fixed.IsValid() {
		wish.Want, wish.Only = fixed, true
	}
	return w.Leases.Lease(wish, w.Now)
}

func addressAttribute(a netip.Addr) msg.ConfigAttribute {
	if a.Is4() {
		return attribute(ikev2.INTERNAL_IP4_ADDRESS, a.AsSlice())
	}
	return attribute(ikev2.INTERNAL_IP6_ADDRESS, append(a.AsSlice(), 128))
}

func attribute(t ikev2.CFGAttribute, v []byte) msg.ConfigAttribute {
	return msg.ConfigAttribute{Type: uint16(t), Value: v}
}

// given reads what a peer gives us, as its client (CFG_REPLY), and holds it against the policy.
func (c *connection) given(as []msg.ConfigAttribute) (own []netip.Addr, err error) {
	for _, a := range as[:min(len(as), maxAttributes)] {
		var x netip.Addr
		switch t := ikev2.CFGAttribute(a.Type); {
		case t == ikev2.INTERNAL_IP4_ADDRESS && len(a.Value) == 4 && c.request.IPv4:
			x = netip.AddrFrom4([4]byte(a.Value))
		case t == ikev2.INTERNAL_IP6_ADDRESS && len(a.Value) == 17 && c.request.IPv6:
			x = netip.AddrFrom16([16]byte(a.Value[:16]))
		default:
			continue
		}
		ok := false
		for _, p := range c.request.Accept {
			ok = ok || p.Contains(x)
		}
		switch {
		case !ok:
			return nil, fmt.Errorf("the peer gives us the address %v, which is in none of the prefixes that `request: accept` allows (%v)", x, c.request.Accept)
		case len(own) == 8:
			return nil, errors.New("the peer gives us more than 8 addresses")
		}
		own = append(own, x)
	}
	if len(own) == 0 && (c.request.IPv4 || c.request.IPv6) {
		return nil, errors.New("the peer gives us no address, and the policy says to ask for one")
	}
	return own, nil
}
