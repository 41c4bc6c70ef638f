package engine_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

// falseAuth is an authproc for pre-shared keys: it joins the octets of RFC 7296 section 2.15 itself.
type falseAuth struct {
	n       *node
	secrets map[string]string // by connection; a missing one is "a shared secret"
	serial  uint64
	life    time.Duration // of a grant
	deaf    bool          // answers nothing
	signs   int
	asked   [][]string // candidates of every Verify
	lease   netip.Addr // what a peer that asks for an address is given
	noLease string     // or why it is not
	reauth  uint32
	usage   []*msg.Usage
}

var grantKey = secret.New([]byte("a key that only authproc and xfrmproc have"))

func newFalseAuth(n *node) *falseAuth {
	return &falseAuth{n: n, secrets: map[string]string{}, life: 24 * time.Hour}
}

func (a *falseAuth) hear(m msg.Message) {
	if a.deaf {
		return
	}
	switch m := m.(type) {
	case *msg.Sign:
		a.n.tell(engine.FromAuth{Msg: a.sign(m)})
	case *msg.Verify:
		a.n.tell(engine.FromAuth{Msg: a.verify(m)})
	case *msg.Renew:
		if c := a.connection(m.Grant.Connection); c == nil {
			a.n.tell(engine.FromAuth{Msg: &msg.Renewed{Req: m.Req, Error: "the connection is gone"}})
		} else {
			g := a.grant(m.Grant.Connection, m.Grant.PeerID)
			g.Session, g.Peer, g.Own = m.Grant.Session, m.Grant.Peer, m.Grant.Own
			g.MAC = msg.MACGrant(grantKey, g)
			a.n.tell(engine.FromAuth{Msg: &msg.Renewed{Req: m.Req, Grant: g}})
		}
	case *msg.Usage:
		a.usage = append(a.usage, m)
	default:
		a.n.w.t.Errorf("authproc hears %T", m)
	}
}

func (a *falseAuth) connection(name string) *plan.Connection {
	for i := range a.n.view.Connections {
		if a.n.view.Connections[i].Name == name {
			return &a.n.view.Connections[i]
		}
	}
	return nil
}

func (a *falseAuth) secret(connection string) secret.Bytes {
	if s, ok := a.secrets[connection]; ok {
		return secret.New([]byte(s))
	}
	return secret.New([]byte("a shared secret"))
}

// pskAuth is prf(prf(secret, "Key Pad for IKEv2"), RealMessage | Nonce | prf(SK_p, ID') | IntAuth).
func pskAuth(psk secret.Bytes, o *msg.Octets, id msg.ID) []byte {
	body := append([]byte{byte(id.Type), o.IDReserved[0], o.IDReserved[1], o.IDReserved[2]}, id.Data...)
	maced, err := suite.PRF(o.PRF, o.SKp, body)
	if err != nil {
		return nil
	}
	key, err := suite.PRF(o.PRF, psk, []byte("Key Pad for IKEv2"))
	if err != nil {
		return nil
	}
	auth, err := suite.PRF(o.PRF, key, o.Message, o.Nonce, maced.Reveal(), o.IntAuth)
	if err != nil {
		return nil
	}
	return auth.Reveal()
}

func wireID(id plan.Identity) msg.ID {
	switch id.Type {
	case ikev2.ID_IPV4_ADDR, ikev2.ID_IPV6_ADDR:
		return msg.ID{Type: id.Type, Data: netip.MustParseAddr(id.Data).AsSlice()}
	}
	return msg.ID{Type: id.Type, Data: []byte(id.Data)}
}

func (a *falseAuth) sign(m *msg.Sign) *msg.Signed {
	a.signs++
	c := a.connection(m.Connection)
	if c == nil {
		return &msg.Signed{Req: m.Req, Error: "no such connection"}
	}
	if len(m.Octets.Message) < 28 || len(m.Octets.Nonce) < 16 || (m.Octets.Message[19]&0x20 == 0) != m.Initiator {
		a.n.w.t.Errorf("%s: asked to sign what is not this side's IKE_SA_INIT message", a.n.name)
	}
	id := wireID(c.Local.ID)
	return &msg.Signed{Req: m.Req, ID: id, Method: uint8(ikev2.AuthSharedKey), Data: pskAuth(a.secret(m.Connection), &m.Octets, id)}
}

func (a *falseAuth) verify(m *msg.Verify) *msg.Verified {
	a.asked = append(a.asked, m.Connections)
	v := &msg.Verified{Req: m.Req}
	for _, name := range m.Connections {
		c := a.connection(name)
		switch {
		case c == nil:
			v.Error += name + ": no such connection; "
		case !sameID(m.PeerID, wireID(c.Remote.ID)):
			v.Error += name + ": another peer; "
		case m.LocalID.Type != 0 && !sameID(m.LocalID, wireID(c.Local.ID)):
			v.Error += name + ": not our name; "
		case m.Method != uint8(ikev2.AuthSharedKey) || !bytes.Equal(m.Data, pskAuth(a.secret(name), &m.Octets, m.PeerID)):
			v.Error += name + ": the secret differs; "
		default:
			v.OK = true
			v.Grants = append(v.Grants, a.grant(name, m.PeerID))
		}
	}
	if v.OK && m.HasConfig {
		a.configure(m, v)
	}
	return v
}

// configure gives the lease, or takes what was given.
func (a *falseAuth) configure(m *msg.Verify, v *msg.Verified) {
	g := &v.Grants[0]
	switch {
	case !m.Initiator:
		for _, x := range m.Config {
			if addr, ok := netip.AddrFromSlice(x.Value); ok && ikev2.CFGAttribute(x.Type) == ikev2.INTERNAL_IP4_ADDRESS {
				g.Own = append(g.Own, addr)
			}
		}
	case a.lease.IsValid():
		v.Config = []msg.ConfigAttribute{{Type: uint16(ikev2.INTERNAL_IP4_ADDRESS), Value: a.lease.AsSlice()}}
		g.Peer, v.Reauth = []netip.Addr{a.lease}, a.reauth
	default:
		v.InternalAddressFailure = a.noLease
	}
	g.MAC = msg.MACGrant(grantKey, *g)
}

func sameID(a, b msg.ID) bool { return a.Type == b.Type && bytes.EqualFold(a.Data, b.Data) }

func (a *falseAuth) grant(connection string, peer msg.ID) msg.Grant {
	a.serial++
	g := msg.Grant{Serial: a.serial, Session: a.serial, Connection: connection, PeerID: peer, Expiry: a.n.w.now.Add(a.life).Unix()}
	g.MAC = msg.MACGrant(grantKey, g)
	return g
}

// falsePath is a datapath that records what it is told, and holds the engine to the guard's law.
type falsePath struct {
	n        *node
	reserved map[uint32]*msg.AllocSPI
	pairs    map[uint32]*saPair // by inbound SPI
	nextSPI  uint32
	order    uint64
	deaf     bool
	refuse   func(m *msg.InstallChild) string
	excuse   func(why string) bool // tells of a refusal that the engine could not know of
	reloads  []uint64
	queries  int
	removed  []uint32
}

type saPair struct {
	msg.InstallChild
	keys                                     [4]secret.Bytes // EncrIn, IntegIn, EncrOut, IntegOut
	active                                   uint64          // order of activation, 0 for not yet
	known                                    bool            // the engine has named it since the link to it began
	lastIn                                   time.Time
	packetsIn, packetsOut, bytesIn, bytesOut uint64
}

func newFalsePath(n *node) *falsePath {
	p := &falsePath{n: n, nextSPI: 0x1000 * uint32(len(n.w.nodes)) << 8}
	p.clear()
	return p
}

func (p *falsePath) clear() {
	p.reserved, p.pairs = map[uint32]*msg.AllocSPI{}, map[uint32]*saPair{}
}

func (p *falsePath) hear(m msg.Message) {
	if p.deaf {
		return
	}
	reply := func(m msg.Message) { p.n.tell(engine.FromXFRM{Msg: m}) }
	switch m := m.(type) {
	case *msg.AllocSPI:
		if bad := p.plan(m.Connection, m.Child, m.Local, m.Remote); bad != "" {
			p.fault("AllocSPI: " + bad)
			reply(&msg.SPI{Req: m.Req, Error: bad})
			return
		}
		p.nextSPI += 7
		p.reserved[p.nextSPI] = m
		reply(&msg.SPI{Req: m.Req, SPI: p.nextSPI})
	case *msg.InstallChild:
		if p.refuse != nil {
			if why := p.refuse(m); why != "" {
				delete(p.reserved, m.SPIIn)
				reply(&msg.Refused{Req: m.Req, Reason: why})
				return
			}
		}
		if bad := p.guard(m); bad != "" {
			p.fault("InstallChild: " + bad)
			reply(&msg.Refused{Req: m.Req, Reason: bad})
			return
		}
		p.install(m)
		reply(&msg.Installed{Req: m.Req})
	case *msg.UpdateChild:
		p.name(m.SPIIn)
		q := p.pairs[m.SPIIn]
		if q == nil {
			reply(&msg.Refused{Req: m.Req, Reason: "no such SA"})
			return
		}
		if m.Activate && q.active == 0 {
			p.order++
			q.active = p.order
			p.removeOrphans(q)
		}
		if m.Remote.IsValid() {
			q.Local, q.Remote = m.Local, m.Remote
		}
		reply(&msg.Installed{Req: m.Req})
	case *msg.RemoveChild:
		delete(p.reserved, m.SPIIn)
		delete(p.pairs, m.SPIIn)
		p.removed = append(p.removed, m.SPIIn)
		reply(&msg.Installed{Req: m.Req})
	case *msg.QueryChild:
		p.queries++
		p.name(m.SPIIn)
		q := p.pairs[m.SPIIn]
		if q == nil {
			reply(&msg.Counters{Req: m.Req, SPIIn: m.SPIIn, Missing: true})
			return
		}
		c := &msg.Counters{Req: m.Req, SPIIn: m.SPIIn, BytesIn: q.bytesIn, BytesOut: q.bytesOut, PacketsIn: q.packetsIn, PacketsOut: q.packetsOut}
		if !q.lastIn.IsZero() {
			c.LastIn = q.lastIn.Unix()
		}
		reply(c)
	case *msg.ReloadDone:
		p.reloads = append(p.reloads, m.Serial)
	default:
		p.n.w.t.Errorf("xfrmproc hears %T", m)
	}
}

// forget: a new link has begun, and no engine knows of any pair yet.
func (p *falsePath) forget() {
	for _, q := range p.pairs {
		q.known = false
	}
	p.reserved = map[uint32]*msg.AllocSPI{}
}

func (p *falsePath) name(spi uint32) {
	if q := p.pairs[spi]; q != nil {
		q.known = true
	}
}

// removeOrphans drops the pairs of the same child that the engine does not know.
func (p *falsePath) removeOrphans(q *saPair) {
	for spi, o := range p.pairs {
		if !o.known && o.Connection == q.Connection && o.Child == q.Child {
			delete(p.pairs, spi)
		}
	}
}

func (p *falsePath) fault(s string) {
	if p.excuse == nil || !p.excuse(s) {
		p.n.w.t.Errorf("%s at %v: the datapath refuses: %s", p.n.name, p.n.w.now.Sub(epoch), s)
	}
}

func (p *falsePath) install(m *msg.InstallChild) {
	delete(p.reserved, m.SPIIn)
	p.name(m.Replaces)
	q := &saPair{InstallChild: *m, known: true}
	for i, k := range []secret.Bytes{m.EncrIn, m.IntegIn, m.EncrOut, m.IntegOut} {
		q.keys[i] = secret.Copy(k.Reveal())
	}
	q.EncrIn, q.IntegIn, q.EncrOut, q.IntegOut = secret.Bytes{}, secret.Bytes{}, secret.Bytes{}, secret.Bytes{}
	if !m.OutboundLater {
		p.order++
		q.active = p.order
	}
	p.pairs[m.SPIIn] = q
	if !m.OutboundLater {
		p.removeOrphans(q)
	}
}

// guard is what the real guard checks, in short.
func (p *falsePath) guard(m *msg.InstallChild) string {
	g := m.Grant
	if bad := p.plan(m.Connection, m.Child, m.Local.Addr(), m.Remote.Addr()); bad != "" {
		return bad
	}
	c, ch := p.find(m.Connection, m.Child)
	encr, integ, err := suite.ESP{Encr: m.Transform.Encr, KeyBits: m.Transform.KeyBits, Integ: m.Transform.Integ}.KeyLens()
	switch {
	case !msg.GrantMAC(grantKey, g):
		return "no grant of authproc's"
	case g.Connection != m.Connection || p.n.w.now.Unix() >= g.Expiry:
		return fmt.Sprintf("the grant is for %q until %d", g.Connection, g.Expiry)
	case p.reserved[m.SPIIn] == nil:
		return fmt.Sprintf("SPI %08x was not allocated here", m.SPIIn)
	case p.reserved[m.SPIIn].Child != m.Child || p.reserved[m.SPIIn].Connection != m.Connection:
		return "the SPI was allocated for another child"
	case m.SPIOut < 256:
		return "reserved outbound SPI"
	case m.Mode != ch.Mode:
		return "another mode than the plan's"
	case c.ForceEncap && !m.Encap:
		return "the plan forces encapsulation"
	case m.Encap && (m.Local.Port() != 4500 || m.Remote.Port() == 0):
		return fmt.Sprintf("encapsulation between %v and %v", m.Local, m.Remote)
	case err != nil || m.EncrIn.Len() != encr || m.EncrOut.Len() != encr || m.IntegIn.Len() != integ || m.IntegOut.Len() != integ:
		return "keys of wrong lengths"
	case m.EncrIn.Equal(m.EncrOut):
		return "the same key both ways"
	case !slices.ContainsFunc(ch.Proposals, func(o plan.ESPProposal) bool { return offersESP(o, m.Transform) }):
		return fmt.Sprintf("transform %v is not in the plan", m.Transform)
	case !allInside(m.TSLocal, ch.Local, ownOf(m)) || !allInside(m.TSRemote, ch.Remote, m.Remote.Addr()):
		return fmt.Sprintf("selectors %v %v are not inside the plan's", m.TSLocal, m.TSRemote)
	}
	if q := p.pairs[m.Replaces]; q != nil && (q.Connection != m.Connection || q.Child != m.Child) {
		return "it replaces another child's SA"
	}
	if n := len(p.of(m.Connection, m.Child)); n >= 16 {
		return fmt.Sprintf("%d pairs stand already", n)
	}
	return ""
}

func (p *falsePath) find(connection, child string) (*plan.Connection, *plan.Child) {
	c := p.n.auth.connection(connection)
	if c == nil {
		return nil, nil
	}
	for i := range c.Children {
		if c.Children[i].Name == child {
			return c, &c.Children[i]
		}
	}
	return c, nil
}

func (p *falsePath) plan(connection, child string, local, remote netip.Addr) string {
	c, ch := p.find(connection, child)
	switch {
	case c == nil || ch == nil:
		return fmt.Sprintf("the plan has no %q/%q", connection, child)
	case local != c.Local.Address:
		return fmt.Sprintf("local address %v", local)
	case c.Remote.Address.IsValid() && remote != c.Remote.Address:
		return fmt.Sprintf("remote address %v", remote)
	}
	return ""
}

func offersESP(o plan.ESPProposal, t msg.Transform) bool {
	integ := slices.Contains(o.Integ, t.Integ) || len(o.Integ) == 0 && t.Integ == ikev2.AUTH_NONE
	return integ && slices.Contains(o.Encr, plan.Encr{ID: t.Encr, KeyBits: t.KeyBits}) && slices.Contains(o.SN, t.SN)
}

// ownOf is what a selector without a prefix means: our address on the wire, or the one that the peer gave us.
func ownOf(m *msg.InstallChild) netip.Addr {
	if len(m.Grant.Own) > 0 {
		return m.Grant.Own[0]
	}
	return m.Local.Addr()
}

func allInside(ts []msg.TS, allowed []plan.Selector, own netip.Addr) bool {
	for _, t := range ts {
		if !slices.ContainsFunc(allowed, func(s plan.Selector) bool {
			if !s.Prefix.IsValid() {
				s.Prefix = netip.PrefixFrom(own, own.BitLen())
			}
			return s.Prefix.Contains(t.First) && s.Prefix.Contains(t.Last) && !t.Last.Less(t.First) &&
				(s.Protocol == 0 || s.Protocol == t.Protocol) && t.PortFirst <= t.PortLast && t.PortFirst >= s.PortFirst && t.PortLast <= s.PortLast
		}) {
			return false
		}
	}
	return len(ts) > 0
}

// of lists the pairs of a child by inbound SPI.
func (p *falsePath) of(connection, child string) (out []*saPair) {
	for _, q := range p.pairs {
		if q.Connection == connection && q.Child == child {
			out = append(out, q)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].SPIIn < out[j].SPIIn })
	return out
}

// outbound is the pair that traffic leaves on: the one activated last, or nil.
func (p *falsePath) outbound(connection, child string) (best *saPair) {
	for _, q := range p.of(connection, child) {
		if q.active != 0 && (best == nil || q.active > best.active) {
			best = q
		}
	}
	return best
}

// inventory lists what the datapath carries, as after a new link.
func (p *falsePath) inventory() *msg.Inventory {
	inv := &msg.Inventory{Datapath: "false", Why: "test"}
	for _, spi := range sortedSPIs(p.pairs) {
		q := p.pairs[spi]
		inv.Children = append(inv.Children, msg.Carried{Connection: q.Connection, Child: q.Child, SPIIn: q.SPIIn, SPIOut: q.SPIOut, Local: q.Local, Remote: q.Remote})
	}
	return inv
}

func sortedSPIs(m map[uint32]*saPair) (out []uint32) {
	for spi := range m {
		out = append(out, spi)
	}
	slices.Sort(out)
	return out
}

func (p *falsePath) String() string {
	var b strings.Builder
	for _, spi := range sortedSPIs(p.pairs) {
		q := p.pairs[spi]
		fmt.Fprintf(&b, "%s/%s in %08x out %08x active %d key %s\n", q.Connection, q.Child, q.SPIIn, q.SPIOut, q.active, fingerprint(q.keys[0]))
	}
	return b.String()
}
