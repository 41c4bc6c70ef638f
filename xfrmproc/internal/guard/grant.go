package guard

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// grant checks that authproc vouched, for this connection, for the peer that the plan means, and that the word still holds. Nothing
// of the grant is believed before its MAC is seen to be right.
func (c *check) grant(m *msg.InstallChild) *Refusal {
	g := m.Grant
	switch {
	case !msg.GrantMAC(c.key, g):
		return c.refuse("the grant was not made by authproc")
	case g.Connection != m.Connection:
		return c.refuse("the grant is for connection %q", clip(g.Connection))
	case c.now.Unix() >= g.Expiry:
		return c.refuse("the grant ran out %d s ago: the peer must authenticate again", c.now.Unix()-g.Expiry)
	case !sameIdentity(g.PeerID, c.conn.Remote.ID):
		return c.refuse("the grant is for another peer than %s", c.conn.Remote.ID.Data)
	}
	return nil
}

// sameIdentity compares an identity as on the wire with the plan's. Names compare as DNS and mail do, without case. Where the plan means several peers, or a distinguished
// name, which only authproc reads, the grant's MAC binds the peer to the connection.
func sameIdentity(id msg.ID, want plan.Identity) bool {
	if (want == plan.Identity{}) {
		return true
	}
	if id.Type != want.Type {
		return false
	}
	switch want.Type {
	case ikev2.ID_IPV4_ADDR, ikev2.ID_IPV6_ADDR:
		a, err := netip.ParseAddr(want.Data)
		return err == nil && bytes.Equal(id.Data, a.AsSlice())
	case ikev2.ID_DER_ASN1_DN:
		return true
	case ikev2.ID_FQDN, ikev2.ID_RFC822_ADDR:
		if suffix, several := strings.CutPrefix(want.Data, "*"); several {
			name := string(id.Data)
			return len(name) > len(suffix) && strings.EqualFold(name[len(name)-len(suffix):], suffix)
		}
		return strings.EqualFold(string(id.Data), want.Data)
	case ikev2.ID_KEY_ID:
		b, err := hex.DecodeString(want.Data)
		return err == nil && bytes.Equal(id.Data, b)
	}
	return false
}
