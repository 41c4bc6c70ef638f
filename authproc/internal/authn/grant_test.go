package authn

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

func parisGrant(t *testing.T) (*State, *Issuer, msg.Grant) {
	t.Helper()
	i := issuer()
	g := i.open("paris", msg.ID{Type: ikev2.ID_FQDN, Data: []byte("Paris.example")}, noon)
	g.User, g.Peer, g.Own = "alice", []netip.Addr{netip.MustParseAddr("10.9.0.7")}, []netip.Addr{netip.MustParseAddr("10.8.0.7")}
	i.seal(&g)
	return berlin(t, "k"), i, g
}

func TestRenew(t *testing.T) {
	s, i, g := parisGrant(t)
	later := noon.Add(12 * time.Hour)
	r := s.Renew(&msg.Renew{Req: 5, Grant: g}, i, later)
	if r.Error != "" || r.Req != 5 || r.Grant.Serial <= g.Serial || r.Grant.Expiry != later.Unix()+GrantLife || !msg.GrantMAC(secret.Copy(grantKey), r.Grant) || string(r.Grant.PeerID.Data) != "Paris.example" {
		t.Fatalf("%+v", r)
	}
	if r.Grant.Session != g.Session || r.Grant.User != g.User || !slices.Equal(r.Grant.Peer, g.Peer) || !slices.Equal(r.Grant.Own, g.Own) {
		t.Errorf("what the session has was lost: %+v", r.Grant)
	}
}

func TestWhatIsNotRenewed(t *testing.T) {
	s, i, good := parisGrant(t)
	resign := func(g msg.Grant) msg.Grant { g.MAC = msg.MACGrant(secret.Copy(grantKey), g); return g }
	for _, c := range []struct {
		what, want string
		change     func(g msg.Grant) msg.Grant
	}{
		{"a forged MAC", "not ours", func(g msg.Grant) msg.Grant { g.MAC[0] ^= 1; return g }},
		{"a later expiry", "not ours", func(g msg.Grant) msg.Grant { g.Expiry++; return g }},
		{"another connection", "not ours", func(g msg.Grant) msg.Grant { g.Connection = "rome"; return g }},
		{"another peer", "not ours", func(g msg.Grant) msg.Grant { g.PeerID.Data = []byte("rome"); return g }},
		{"nothing", "not ours", func(msg.Grant) msg.Grant { return msg.Grant{} }},
		{"one that ran out", "ran out", func(g msg.Grant) msg.Grant { g.Expiry = noon.Unix(); return resign(g) }},
		{"a connection that has gone", "no longer", func(g msg.Grant) msg.Grant { g.Connection = "rome"; return resign(g) }},
		{"an identity that changed", "now wants", func(g msg.Grant) msg.Grant { g.PeerID.Data = []byte("rome.example"); return resign(g) }},
	} {
		if r := s.Renew(&msg.Renew{Req: 1, Grant: c.change(good)}, i, noon); !strings.Contains(r.Error, c.want) || r.Grant.MAC != [32]byte{} || r.Req != 1 {
			t.Errorf("%s: %+v", c.what, r)
		}
	}
	broken, _ := tryGateway([]plan.AuthConnection{between("paris", fqdn("berlin.example"), fqdn("paris.example"), "k")})
	if r := broken.Renew(&msg.Renew{Grant: good}, i, noon); r.Error == "" {
		t.Error("renewed although the secret has gone")
	}
	// What the key of another gateway, or none, has made.
	other := new(Issuer)
	if r := s.Renew(&msg.Renew{Grant: good}, other, noon); r.Error == "" {
		t.Error("an issuer without a key renewed")
	}
}

// Serials rise also when the process was started again and the clock stands still within a life.
func TestSerialsRise(t *testing.T) {
	i := issuer()
	var last uint64
	for range 100 {
		g := i.open("c", msg.ID{}, noon)
		if g.Serial <= last {
			t.Fatal(g.Serial, last)
		}
		last = g.Serial
	}
	if g := issuer().open("c", msg.ID{}, noon.Add(time.Millisecond)); g.Serial <= last {
		t.Error("a new life began below the old one")
	}
}
