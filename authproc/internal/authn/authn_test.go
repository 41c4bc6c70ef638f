package authn

import (
	"bytes"
	"crypto/aes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"net/netip"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

// AU-01, AU-03: AUTH is what RFC 7296 section 2.15 says, put down here a second time from its text.
func TestAuthIsTheRFCs(t *testing.T) {
	hashes := map[ikev2.PRFID]func() hash.Hash{ikev2.PRF_HMAC_SHA1: sha1.New, ikev2.PRF_HMAC_SHA2_256: sha256.New, ikev2.PRF_HMAC_SHA2_384: sha512.New384, ikev2.PRF_HMAC_SHA2_512: sha512.New}
	for id, h := range hashes {
		mac := func(key []byte, data []byte) []byte {
			m := hmac.New(h, key)
			m.Write(data)
			return m.Sum(nil)
		}
		for _, initiator := range []bool{true, false} {
			o := someOctets(id, initiator)
			o.IntAuth = bytes.Repeat([]byte{5}, 2*h().Size()+4)
			id := append([]byte{2, 0, 0, 0}, "berlin.example"...)
			octets := bytes.Join([][]byte{o.Message, o.Nonce, mac(o.SKp.Reveal(), id), o.IntAuth}, nil)
			want := mac(mac([]byte("the key"), []byte("Key Pad for IKEv2")), octets)
			got := berlin(t, "the key").Sign(&msg.Sign{Connection: "paris", Initiator: initiator, Octets: o}, With{})
			if got.Error != "" || !bytes.Equal(got.Data, want) || got.Method != 2 || got.ID.Type != ikev2.ID_FQDN || string(got.ID.Data) != "berlin.example" {
				t.Errorf("%v: %+v, want %x", o.PRF, got, want)
			}
		}
	}
}

// KD-11: AES-XCBC-PRF-128 as RFC 4434 and RFC 3566 define it, for a message of whole blocks, put down from their text.
func TestXCBCIsTheRFCs(t *testing.T) {
	key := bytes.Repeat([]byte{3}, 16)
	data := bytes.Repeat([]byte{7}, 48)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	derive := func(b byte) []byte {
		out := make([]byte, 16)
		block.Encrypt(out, bytes.Repeat([]byte{b}, 16))
		return out
	}
	k1, err := aes.NewCipher(derive(1))
	if err != nil {
		t.Fatal(err)
	}
	e, k2 := make([]byte, 16), derive(2)
	for i := 0; i < len(data); i += 16 {
		for j := range e {
			e[j] ^= data[i+j]
			if i+16 == len(data) {
				e[j] ^= k2[j]
			}
		}
		k1.Encrypt(e, e)
	}
	p, ok := prfOf(ikev2.PRF_AES128_XCBC)
	if got := p.sum(key, data[:20], data[20:]); !ok || !bytes.Equal(got, e) {
		t.Errorf("%x, want %x", got, e)
	}
}

// All PRFs, both roles, with and without IKE_INTERMEDIATE: what one end signs, the other believes.
func TestBothEndsAgree(t *testing.T) {
	for _, p := range prfs {
		for _, initiator := range []bool{true, false} {
			for _, intAuth := range []int{0, 2*p.size + 4} {
				octets := func() msg.Octets {
					o := someOctets(p.id, initiator)
					o.IntAuth = make([]byte, intAuth)
					return o
				}
				s := berlin(t, "k").Sign(&msg.Sign{Connection: "paris", Initiator: initiator, Octets: octets()}, With{})
				v := paris(t, "k").Verify(&msg.Verify{Connections: []string{"berlin"}, Initiator: initiator, PeerID: s.ID, Method: s.Method, Data: s.Data, Octets: octets()}, With{Issuer: issuer(), Now: noon})
				if !v.OK || v.Grants[0].Connection != "berlin" || v.Grants[0].Expiry != noon.Unix()+GrantLife || !msg.GrantMAC(secret.Copy(grantKey), v.Grants[0]) {
					t.Errorf("%v, initiator %v, IntAuth %d: %+v %+v", p.id, initiator, intAuth, s, v)
				}
			}
		}
	}
}

// AU-01: reserved octets of the peer's ID payload are part of what it signed; a change anywhere in the octets is noticed.
func TestEveryOctetCounts(t *testing.T) {
	if v := exchange(t, berlin(t, "k"), paris(t, "k"), true, nil); !v.OK {
		t.Fatal(v.Error)
	}
	for what, change := range map[string]func(*msg.Verify){
		"message":       func(m *msg.Verify) { m.Octets.Message[100]++ },
		"nonce":         func(m *msg.Verify) { m.Octets.Nonce[0]++ },
		"SK_p":          func(m *msg.Verify) { m.Octets.SKp.Reveal()[0]++ },
		"IntAuth":       func(m *msg.Verify) { m.Octets.IntAuth = make([]byte, 68) },
		"reserved":      func(m *msg.Verify) { m.Octets.IDReserved[1] = 1 },
		"AUTH":          func(m *msg.Verify) { m.Data[31] ^= 1 },
		"AUTH too long": func(m *msg.Verify) { m.Data = append(m.Data, 0) },
		"no AUTH":       func(m *msg.Verify) { m.Data = nil },
		"another PRF":   func(m *msg.Verify) { m.Octets = someOctets(ikev2.PRF_HMAC_SHA2_512, true) },
	} {
		t.Run(what, func(t *testing.T) {
			refused(t, exchange(t, berlin(t, "k"), paris(t, "k"), true, change), `connection "berlin"`, `secret "k"`, "differ")
		})
	}
	// A peer with reserved octets that are not zero still authenticates.
	o := someOctets(ikev2.PRF_HMAC_SHA1, false)
	o.IDReserved = [3]byte{1, 2, 3}
	c, err := check(&o, false, false)
	if err != nil {
		t.Fatal(err)
	}
	id := msg.ID{Type: ikev2.ID_FQDN, Data: []byte("berlin.example")}
	auth := c.auth([]byte("k"), id)
	if v := paris(t, "k").Verify(&msg.Verify{Connections: []string{"berlin"}, PeerID: id, Method: 2, Data: auth, Octets: o}, With{Issuer: issuer(), Now: noon}); !v.OK {
		t.Error(v.Error)
	}
}

// AU-05, AU-09: whoever is refused, the operator learns why, connection by connection, and never a key.
func TestWhyAPeerIsRefused(t *testing.T) {
	const key = "very secret"
	for _, c := range []struct {
		what   string
		key    string // of the signer
		change func(*msg.Verify)
		want   []string
	}{
		{"another key", "another", nil, []string{`connection "berlin"`, `secret "k"`, "the pre-shared keys differ"}},
		{"another identity", key, func(m *msg.Verify) { m.PeerID.Data = []byte("rome.example") },
			[]string{`"rome.example"`, `connection "berlin": the plan wants the peer to be "berlin.example"`}},
		{"an identity of another type", key, func(m *msg.Verify) { m.PeerID.Type = ikev2.ID_RFC822_ADDR }, []string{"the plan wants the peer to be"}},
		{"a wish for another of us", key, func(m *msg.Verify) { m.LocalID = msg.ID{Type: ikev2.ID_FQDN, Data: []byte("oslo.example")} },
			[]string{`wants us to be "oslo.example", and we are "paris.example"`}},
		{"a signature", key, func(m *msg.Verify) { m.Method = 14 }, []string{"by a certificate, and the plan wants psk"}},
		{"no candidate", key, func(m *msg.Verify) { m.Connections = nil },
			[]string{"no connection by its addresses", `connection "berlin" is for this peer`}},
		{"a candidate that the plan does not have", key, func(m *msg.Verify) { m.Connections = []string{"x"} }, []string{`connection "x": the plan has no such connection`}},
		{"an empty identity", key, func(m *msg.Verify) { m.PeerID.Data = nil }, []string{"0 octets"}},
		{"an identity as long as a message", key, func(m *msg.Verify) { m.PeerID.Data = make([]byte, 60_000) }, []string{"60000 octets"}},
		{"its address is told", "another", func(m *msg.Verify) { m.PeerAddr = netip.MustParseAddr("203.0.113.7") }, []string{"at 203.0.113.7"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			v := exchange(t, berlin(t, c.key), paris(t, key), true, c.change)
			refused(t, v, c.want...)
			if strings.Contains(fmt.Sprint(v), key) {
				t.Error("the key is told")
			}
		})
	}
}

// User existence does not leak: an identity that nobody has costs as many PRF calls as one with a wrong key.
func TestUnknownIdentityCostsTheSame(t *testing.T) {
	s := paris(t, "k")
	real, _ := prfOf(ikev2.PRF_HMAC_SHA2_256)
	calls := func(peer string, candidates ...string) int {
		n := 0
		counted := prf{real.id, real.size, func(k []byte) hash.Hash { n++; return real.new(k) }}
		in := someOctets(real.id, true)
		m := &msg.Verify{Connections: candidates, PeerID: msg.ID{Type: ikev2.ID_FQDN, Data: []byte(peer)}, Data: make([]byte, 32)}
		fits, _ := s.candidates(m, wants(plan.AuthPSK, "a pre-shared key"))
		s.prove(octets{counted, &in}, m, fits)
		return n
	}
	known, unknown, none := calls("berlin.example", "berlin"), calls("nobody.example", "berlin"), calls("nobody.example")
	if known == 0 || known != unknown || known != none {
		t.Errorf("%d PRF calls for a known identity, %d for an unknown one, %d without a candidate", known, unknown, none)
	}
}

// A hostile peer's identity cannot write what it likes into the log, and many candidates cannot fill it.
func TestReportsAreBounded(t *testing.T) {
	var conns []plan.AuthConnection
	m := &msg.Verify{Initiator: true, Method: 2, PeerID: msg.ID{Type: ikev2.ID_FQDN, Data: []byte("x\n\x1b[2J" + strings.Repeat("y", 900))}, Octets: someOctets(ikev2.PRF_HMAC_SHA1, true)}
	for i := range 1000 {
		name := fmt.Sprintf("c%03d", i)
		conns = append(conns, between(name, fqdn("hub.example"), fqdn(name+".example"), "k"))
		m.Connections = append(m.Connections, name)
	}
	v := gateway(t, conns, "k", "key").Verify(m, With{Issuer: issuer(), Now: noon})
	refused(t, v, "and 992 more connections")
	if len(v.Error) > 2000 || strings.ContainsAny(v.Error, "\n\x1b") {
		t.Errorf("%d octets: %q", len(v.Error), v.Error)
	}
}

// Best first, each once; only those that the peer proved.
func TestGrantsInOrder(t *testing.T) {
	hub, spoke := fqdn("hub.example"), fqdn("spoke.example")
	conns := []plan.AuthConnection{between("a", hub, spoke, "k1"), between("b", hub, spoke, "k2"), between("c", hub, spoke, "k1"), between("d", hub, fqdn("other.example"), "k1")}
	s := gateway(t, conns, "k1", "one", "k2", "two")
	peer := gateway(t, []plan.AuthConnection{between("hub", spoke, hub, "k")}, "k", "one")
	signed := peer.Sign(&msg.Sign{Connection: "hub", Initiator: true, Octets: someOctets(ikev2.PRF_HMAC_SHA2_384, true)}, With{})
	v := s.Verify(&msg.Verify{Connections: []string{"d", "c", "b", "c", "nope", "a"}, Initiator: true, PeerID: signed.ID, Method: 2, Data: signed.Data,
		Octets: someOctets(ikev2.PRF_HMAC_SHA2_384, true)}, With{Issuer: issuer(), Now: noon})
	if !v.OK || len(v.Grants) != 2 || v.Grants[0].Connection != "c" || v.Grants[1].Connection != "a" || v.Grants[0].Serial >= v.Grants[1].Serial {
		t.Fatalf("%+v", v)
	}
}

// RFC 7296 section 3.5: what identities are equal.
func TestIdentities(t *testing.T) {
	is := func(typ ikev2.IDType, data string) plan.Identity { return plan.Identity{Type: typ, Data: data} }
	for _, c := range []struct {
		plan plan.Identity
		typ  ikev2.IDType
		wire string
		want bool
	}{
		{is(ikev2.ID_FQDN, "Paris.example"), ikev2.ID_FQDN, "pARIS.EXAMPLE", true},
		{is(ikev2.ID_FQDN, "paris.example"), ikev2.ID_FQDN, "paris.example.", false},
		{is(ikev2.ID_FQDN, "paris.example"), ikev2.ID_FQDN, "pari\u017f.example", false},
		{is(ikev2.ID_FQDN, "paris.example"), ikev2.ID_FQDN, "paris.example\x00", false},
		{is(ikev2.ID_FQDN, "paris.example"), ikev2.ID_KEY_ID, "paris.example", false},
		{is(ikev2.ID_RFC822_ADDR, "ops@paris.example"), ikev2.ID_RFC822_ADDR, "Ops@Paris.example", true},
		{is(ikev2.ID_IPV4_ADDR, "192.0.2.1"), ikev2.ID_IPV4_ADDR, "\xc0\x00\x02\x01", true},
		{is(ikev2.ID_IPV4_ADDR, "192.0.2.1"), ikev2.ID_IPV4_ADDR, "192.0.2.1", false},
		{is(ikev2.ID_IPV6_ADDR, "2001:db8::1"), ikev2.ID_IPV6_ADDR, "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01", true},
		{is(ikev2.ID_KEY_ID, "00ff"), ikev2.ID_KEY_ID, "\x00\xff", true},
		{is(ikev2.ID_KEY_ID, "6161"), ikev2.ID_KEY_ID, "AA", false},
	} {
		id, err := wireID(c.plan)
		if err != nil {
			t.Fatal(err)
		}
		if got := canonical(id) == canonical(msg.ID{Type: c.typ, Data: []byte(c.wire)}); got != c.want {
			t.Errorf("%v and %v %q: %v", c.plan, c.typ, c.wire, got)
		}
	}
	for _, bad := range []plan.Identity{is(ikev2.ID_IPV4_ADDR, "2001:db8::1"), is(ikev2.ID_IPV6_ADDR, "192.0.2.1"), is(ikev2.ID_IPV6_ADDR, "fe80::1%eth0"), is(ikev2.ID_KEY_ID, "xx"), is(ikev2.ID_KEY_ID, ""),
		is(ikev2.ID_FQDN, ""), is(0, ""), is(ikev2.ID_DER_ASN1_DN, "CN=x")} {
		s, problems := tryGateway([]plan.AuthConnection{between("c", fqdn("us.example"), bad, "k")}, "k", "key")
		if len(problems) != 1 || problems[0].Connection != "c" || problems[0].Pos.Line != 7 {
			t.Errorf("%v: %+v", bad, problems)
		}
		if v := s.Sign(&msg.Sign{Connection: "c", Octets: someOctets(ikev2.PRF_HMAC_SHA1, false)}, With{}); v.Error == "" || v.Data != nil {
			t.Errorf("%v: signed", bad)
		}
	}
}

// Only the connections that need a bad secret fail, and each says why.
func TestProblemsStayWithTheirConnections(t *testing.T) {
	hub := fqdn("hub.example")
	v := plan.AuthView{Secrets: []plan.Secret{{Name: "bad"}, {Name: "good"}, {Name: "late"}}, Connections: []plan.AuthConnection{
		between("a", hub, fqdn("a.example"), "good"), between("b", hub, fqdn("b.example"), "bad"), between("c", hub, fqdn("c.example"), "late"), between("d", hub, fqdn("d.example"), "none")}}
	v.Connections[0].Pos.Line = 1
	s, problems := New(v, []Secret{{Name: "good", Key: secret.Copy([]byte("k"))}, {Name: "bad", Err: ErrFile}, {Name: "stray", Key: secret.Copy([]byte("k"))}}, nil, noon)
	if len(problems) != 3 || problems[0].Connection != "b" || !strings.Contains(problems[0].Text, ErrFile.Error()) || !strings.Contains(problems[1].Text, "not handed over") || !strings.Contains(problems[2].Text, "not in the plan") {
		t.Fatalf("%+v", problems)
	}
	if x := s.Sign(&msg.Sign{Connection: "a", Octets: someOctets(ikev2.PRF_HMAC_SHA1, false)}, With{}); x.Error != "" {
		t.Error(x.Error)
	}
	x := s.Verify(&msg.Verify{Connections: []string{"b"}, PeerID: msg.ID{Type: ikev2.ID_FQDN, Data: []byte("b.example")}, Method: 2, Data: make([]byte, 20), Octets: someOctets(ikev2.PRF_HMAC_SHA1, false)}, With{Issuer: issuer(), Now: noon})
	refused(t, x, `secret "bad"`)
	if !s.Has("a") || s.Has("z") || len(s.Problems()) != 3 {
		t.Error("what the plan has is not known")
	}
}

// Keys are gone after Close, and what ikeproc sent is wiped as soon as it was used.
func TestKeysAreWiped(t *testing.T) {
	key := []byte("to be wiped")
	s, _ := New(plan.AuthView{Secrets: []plan.Secret{{Name: "k"}}, Connections: []plan.AuthConnection{between("c", fqdn("a"), fqdn("b"), "k")}}, []Secret{{Name: "k", Key: secret.New(key)}}, nil, noon)
	o := someOctets(ikev2.PRF_HMAC_SHA2_256, true)
	skp := o.SKp.Reveal()
	s.Sign(&msg.Sign{Connection: "c", Initiator: true, Octets: o}, With{})
	s.Close()
	if !bytes.Equal(skp, make([]byte, len(skp))) || !bytes.Equal(key, make([]byte, len(key))) {
		t.Errorf("%x %q", skp, key)
	}
}
