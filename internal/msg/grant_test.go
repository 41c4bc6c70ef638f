package msg

import (
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/secret"
)

func TestGrantMACCoversEveryField(t *testing.T) {
	key := secret.New([]byte("0123456789abcdef0123456789abcdef"))
	base := Grant{Serial: 7, Connection: "paris", PeerID: ID{Type: ikev2.ID_FQDN, Data: []byte("paris.example")}, Expiry: 1_800_000_000}
	base.MAC = MACGrant(key, base)
	if !GrantMAC(key, base) {
		t.Fatal("a true grant is refused")
	}
	for name, change := range map[string]func(*Grant){
		"serial":     func(g *Grant) { g.Serial++ },
		"connection": func(g *Grant) { g.Connection = "pari" },
		// The same octets with the border elsewhere.
		"border":   func(g *Grant) { g.Connection, g.PeerID.Data = "parisp", []byte("aris.example") },
		"type":     func(g *Grant) { g.PeerID.Type = ikev2.ID_RFC822_ADDR },
		"identity": func(g *Grant) { g.PeerID.Data = []byte("Paris.example") },
		"expiry":   func(g *Grant) { g.Expiry++ },
		"MAC":      func(g *Grant) { g.MAC[31] ^= 0x80 },
	} {
		g := base
		change(&g)
		if GrantMAC(key, g) {
			t.Errorf("the MAC does not cover the %s", name)
		}
	}
	if GrantMAC(secret.New([]byte("another key of thirty-two octets")), base) {
		t.Error("another key's grant is believed")
	}
	empty := base
	empty.MAC = MACGrant(secret.Bytes{}, empty)
	if GrantMAC(secret.Bytes{}, empty) {
		t.Error("without a key a grant is believed")
	}
}
