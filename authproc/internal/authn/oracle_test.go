package authn

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

// What is signed and what is checked must be an IKE_SA_INIT of the signer's role: nothing else, and never the other role's.
func TestOnlyItsOwnInitIsSigned(t *testing.T) {
	for what, change := range map[string]func(o *msg.Octets){
		"a message of the other role": func(o *msg.Octets) { o.Message = message(o.Message[19]&flagInitiator == 0) },
		"an IKE_AUTH":                 func(o *msg.Octets) { o.Message[18] = 35 },
		"IKE version 1":               func(o *msg.Octets) { o.Message[17] = 0x10 },
		"no initiator's SPI":          func(o *msg.Octets) { clear(o.Message[:8]) },
		"the wrong responder's SPI": func(o *msg.Octets) {
			if o.Message[19]&flagInitiator != 0 {
				o.Message[15] = 1
			} else {
				clear(o.Message[8:16])
			}
		},
		"a message ID":                       func(o *msg.Octets) { o.Message[23] = 1 },
		"a longer message than it says":      func(o *msg.Octets) { o.Message = append(o.Message, 0) },
		"a shorter message than it says":     func(o *msg.Octets) { o.Message = o.Message[:len(o.Message)-1] },
		"both flags":                         func(o *msg.Octets) { o.Message[19] = flagInitiator | flagResponse },
		"no flag":                            func(o *msg.Octets) { o.Message[19] = 0 },
		"no message":                         func(o *msg.Octets) { o.Message = nil },
		"a header cut short":                 func(o *msg.Octets) { o.Message = o.Message[:27] },
		"a message larger than UDP can hold": func(o *msg.Octets) { o.Message = make([]byte, 70_000) },
		"a nonce of 15 octets":               func(o *msg.Octets) { o.Nonce = o.Nonce[:15] },
		"a nonce of 257 octets":              func(o *msg.Octets) { o.Nonce = make([]byte, 257) },
		"no nonce":                           func(o *msg.Octets) { o.Nonce = nil },
		"SK_p cut short":                     func(o *msg.Octets) { o.SKp = secret.New(o.SKp.Reveal()[1:]) },
		"no SK_p":                            func(o *msg.Octets) { o.SKp = secret.Bytes{} },
		"IntAuth of another length":          func(o *msg.Octets) { o.IntAuth = make([]byte, 67) },
		"a PRF that is not served":           func(o *msg.Octets) { o.PRF = ikev2.PRF_HMAC_MD5 },
		"no PRF":                             func(o *msg.Octets) { o.PRF = 0 },
	} {
		for _, initiator := range []bool{true, false} {
			o := someOctets(ikev2.PRF_HMAC_SHA2_256, initiator)
			change(&o)
			if s := berlin(t, "k").Sign(&msg.Sign{Connection: "paris", Initiator: initiator, Octets: o}, With{}); s.Error == "" || s.Data != nil || !strings.Contains(s.Error, `connection "paris"`) {
				t.Errorf("%s, initiator %v: %+v", what, initiator, s)
			}
			o = someOctets(ikev2.PRF_HMAC_SHA2_256, initiator)
			change(&o)
			v := paris(t, "k").Verify(&msg.Verify{Connections: []string{"berlin"}, Initiator: initiator, PeerID: msg.ID{Type: ikev2.ID_FQDN, Data: []byte("berlin.example")}, Method: 2, Data: make([]byte, 32), Octets: o}, With{Issuer: issuer(), Now: noon})
			if v.OK || v.Error == "" {
				t.Errorf("%s, initiator %v: verified %+v", what, initiator, v)
			}
		}
	}
	o := someOctets(ikev2.PRF_HMAC_SHA2_256, true)
	o.IDReserved[0] = 1
	if s := berlin(t, "k").Sign(&msg.Sign{Connection: "paris", Initiator: true, Octets: o}, With{}); s.Error == "" {
		t.Error("signed with reserved octets")
	}
	if s := berlin(t, "k").Sign(&msg.Sign{Connection: "rome", Initiator: true, Octets: someOctets(ikev2.PRF_HMAC_SHA2_256, true)}, With{}); s.Error == "" {
		t.Error("signed for a connection that is not there")
	}
}

// A hostile ikeproc knows SK_p and chooses nonce and IntAuth. Where one end of the signed octets could be read as another field, it would have us sign the peer's octets
// as our own. Both ways of moving the border are closed.
func TestBordersCannotBeMoved(t *testing.T) {
	s := berlin(t, "k")
	peer := msg.ID{Type: ikev2.ID_FQDN, Data: []byte("paris.example")}
	us := msg.ID{Type: ikev2.ID_FQDN, Data: []byte("berlin.example")}
	for _, p := range prfs {
		intAuth := 2*p.size + 4
		skp := func() secret.Bytes { return secret.New(bytes.Repeat([]byte{3}, p.size)) }
		maced := func(id msg.ID) []byte { return p.sum(skp().Reveal(), []byte{byte(id.Type), 0, 0, 0}, id.Data) }

		// We sign with IntAuth, and the peer's octets have a longer nonce and none.
		tail := append(bytes.Repeat([]byte{1}, intAuth-p.size), maced(peer)...)
		nonce := bytes.Repeat([]byte{9}, NonceLen)
		signed := s.Sign(&msg.Sign{Connection: "paris", Initiator: true, Octets: msg.Octets{PRF: p.id, Message: message(true), Nonce: nonce, SKp: skp(), IntAuth: tail}}, With{})
		if signed.Error != "" {
			t.Fatal(signed.Error)
		}
		long := bytes.Join([][]byte{nonce, maced(us), tail[:intAuth-p.size]}, nil)
		forged := &msg.Verify{Connections: []string{"paris"}, Initiator: true, PeerID: peer, Method: 2, Data: signed.Data, Octets: msg.Octets{PRF: p.id, Message: message(true), Nonce: long, SKp: skp()}}
		refused(t, s.Verify(forged, With{Issuer: issuer(), Now: noon}), "our nonces have 32 octets")
		c := octets{p, &msg.Octets{Message: message(true), Nonce: long, SKp: skp()}}
		if !bytes.Equal(c.auth([]byte("k"), peer), signed.Data) {
			t.Fatal("the forgery would not have worked: the test tests nothing")
		}

		// The peer's octets have IntAuth, and we sign with a longer nonce and none.
		long = bytes.Join([][]byte{nonce, maced(peer), bytes.Repeat([]byte{1}, intAuth-p.size)}, nil)
		m := &msg.Sign{Connection: "paris", Initiator: true, Octets: msg.Octets{PRF: p.id, Message: message(true), Nonce: long, SKp: skp()}}
		if signed := s.Sign(m, With{}); signed.Error == "" {
			t.Errorf("%v: signed a nonce of %d octets", p.id, len(long))
		}
		// Peers with nonces of any other length are served.
		for n := minNonce; n <= maxNonce; n++ {
			m := &msg.Sign{Connection: "paris", Initiator: true, Octets: msg.Octets{PRF: p.id, Message: message(true), Nonce: make([]byte, n), SKp: skp()}}
			if signed := s.Sign(m, With{}); (signed.Error == "") != (n != NonceLen+intAuth) {
				t.Errorf("%v: nonce of %d octets: %q", p.id, n, signed.Error)
			}
		}
	}
}

// An identity that is ours in one connection and the peer's in another, with one key, would let ikeproc show our own AUTH as the peer's.
func TestMirrorsAreRefused(t *testing.T) {
	a, b, c := fqdn("a.example"), fqdn("B.example"), fqdn("c.example")
	for _, x := range []struct {
		what  string
		conns []plan.AuthConnection
		keys  []string
		bad   []string
	}{
		{"one connection with itself", []plan.AuthConnection{between("x", a, a, "k")}, []string{"k", "key"}, []string{"x"}},
		{"two connections", []plan.AuthConnection{between("x", a, b, "k"), between("y", fqdn("b.EXAMPLE"), c, "k")}, []string{"k", "key"}, []string{"x"}},
		{"both ways", []plan.AuthConnection{between("x", a, b, "k"), between("y", b, a, "k")}, []string{"k", "key"}, []string{"x", "y"}},
		{"two secrets with the same octets", []plan.AuthConnection{between("x", a, b, "k"), between("y", b, c, "l")}, []string{"k", "key", "l", "key"}, []string{"x"}},
		{"two secrets that differ", []plan.AuthConnection{between("x", a, b, "k"), between("y", b, c, "l")}, []string{"k", "key", "l", "other"}, nil},
		{"a hub and its spokes", []plan.AuthConnection{between("x", a, b, "k"), between("y", a, c, "k")}, []string{"k", "key"}, nil},
	} {
		_, problems := tryGateway(x.conns, x.keys...)
		var got []string
		for _, p := range problems {
			got = append(got, p.Connection)
			if !strings.Contains(p.Text, "could not be told from us") {
				t.Errorf("%s: %s", x.what, p.Text)
			}
		}
		if strings.Join(got, " ") != strings.Join(x.bad, " ") {
			t.Errorf("%s: problems with %q, want %q", x.what, got, x.bad)
		}
	}
}

// Whatever a hostile ikeproc asks to be signed, nothing of it passes as the peer's.
func TestNothingSignedPassesAsThePeers(t *testing.T) {
	const seed = 20260301
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	s := berlin(t, "k")
	var signatures [][]byte
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	octets := func(p prf, initiator bool) msg.Octets {
		m := random(28 + rng.IntN(300))
		m[17], m[18], m[19] = 0x20, 34, 0x20
		clear(m[20:24])
		if initiator {
			m[19] = 8
			clear(m[8:16])
		}
		binary.BigEndian.PutUint32(m[24:], uint32(len(m)))
		o := msg.Octets{PRF: p.id, Message: m, Nonce: random(16 + rng.IntN(241)), SKp: secret.New(random(p.size))}
		if rng.IntN(2) == 0 {
			o.IntAuth = random(2*p.size + 4)
		}
		return o
	}
	for range 2000 {
		p, initiator := prfs[rng.IntN(len(prfs))], rng.IntN(2) == 0
		o := octets(p, initiator)
		copyOf := o
		copyOf.SKp = secret.Copy(o.SKp.Reveal())
		if x := s.Sign(&msg.Sign{Connection: "paris", Initiator: initiator, Octets: o}, With{}); x.Error == "" {
			signatures = append(signatures, x.Data)
		}
		if len(signatures) == 0 {
			continue
		}
		copyOf.Nonce = append(copyOf.Nonce, make([]byte, NonceLen)...)[:NonceLen]
		v := s.Verify(&msg.Verify{Connections: []string{"paris"}, Initiator: initiator, PeerID: msg.ID{Type: ikev2.ID_FQDN, Data: []byte("paris.example")}, Method: 2,
			Data: signatures[rng.IntN(len(signatures))], Octets: copyOf}, With{Issuer: issuer(), Now: noon})
		if v.OK {
			t.Fatalf("our own signature passed: %+v", v)
		}
	}
	if len(signatures) < 1000 {
		t.Fatalf("only %d signatures: the test tests little", len(signatures))
	}
}
