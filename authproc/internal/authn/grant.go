package authn

import (
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/secret"
)

// Issuer makes grants. It has one user at a time.
type Issuer struct {
	key    secret.Bytes
	serial uint64
}

// SetKey gives the issuer the key that it shares with xfrmproc, and takes it over.
func (i *Issuer) SetKey(key secret.Bytes) {
	i.key.Close()
	i.key = key
}

// Close wipes the key.
func (i *Issuer) Close() { i.key.Close() }

// open begins a grant. Serials rise also from one life of this process to the next, as time does. It is worth nothing before seal.
func (i *Issuer) open(connection string, peer msg.ID, now time.Time) msg.Grant {
	i.serial = max(i.serial+1, uint64(max(now.UnixNano(), 0)))
	return msg.Grant{Serial: i.serial, Session: i.serial, Connection: connection, PeerID: peer, Expiry: now.Unix() + GrantLife}
}

// seal vouches for it.
func (i *Issuer) seal(g *msg.Grant) { g.MAC = msg.MACGrant(i.key, *g) }

// Made tells whether a grant is ours.
func (i *Issuer) Made(g msg.Grant) bool { return msg.GrantMAC(i.key, g) }

// Renew extends a grant that is still true: ours, not run out, and for a connection that the plan still has with the same peer and a key that can be used. A key
// whose octets changed does not end what was authenticated with the old ones: so keys can be changed without an outage.
func (s *State) Renew(m *msg.Renew, issue *Issuer, now time.Time) *msg.Renewed {
	g := m.Grant
	fail := func(format string, args ...any) *msg.Renewed {
		return &msg.Renewed{Req: m.Req, Error: fmt.Sprintf("connection %q: ", clip(g.Connection, 64)) + fmt.Sprintf(format, args...)}
	}
	if !issue.Made(g) {
		return fail("the grant is not ours")
	}
	c := s.conns[g.Connection]
	switch {
	case g.Expiry <= now.Unix():
		return fail("the grant ran out %d s ago: the peer must authenticate again", now.Unix()-g.Expiry)
	case c == nil:
		return fail("the plan no longer has it")
	case !c.peer.is(g.PeerID):
		return fail("the plan now wants the peer to be %s, and this one is %s", c.peer, text(g.PeerID))
	case c.fault != "":
		return fail("%s", c.fault)
	}
	next := issue.open(c.name, g.PeerID, now)
	next.Session, next.User, next.Peer, next.Own = g.Session, g.User, g.Peer, g.Own
	issue.seal(&next)
	return &msg.Renewed{Req: m.Req, Grant: next}
}
