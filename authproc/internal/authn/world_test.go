package authn

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

var (
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	grantKey = []byte("0123456789abcdef0123456789abcdef")
)

func fqdn(s string) plan.Identity { return plan.Identity{Type: ikev2.ID_FQDN, Data: s} }

// between is a connection between two identities with one secret for both ends.
func between(name string, local, remote plan.Identity, secret string) plan.AuthConnection {
	a := plan.Auth{Method: plan.AuthPSK, Secret: secret}
	return plan.AuthConnection{Name: name, Local: plan.Endpoint{ID: local}, Remote: plan.Endpoint{ID: remote}, LocalAuth: a, RemoteAuth: a, Pos: plan.Pos{Line: 7}}
}

// gateway makes a State; keys are name, content pairs.
func gateway(t testing.TB, conns []plan.AuthConnection, keys ...string) *State {
	t.Helper()
	s, problems := tryGateway(conns, keys...)
	if len(problems) > 0 {
		t.Fatalf("problems: %+v", problems)
	}
	return s
}

func tryGateway(conns []plan.AuthConnection, keys ...string) (*State, []msg.Problem) {
	v := plan.AuthView{Gateway: "g", Connections: conns}
	var secrets []Secret
	for i := 0; i < len(keys); i += 2 {
		v.Secrets = append(v.Secrets, plan.Secret{Name: keys[i]})
		secrets = append(secrets, Secret{Name: keys[i], Key: secret.Copy([]byte(keys[i+1]))})
	}
	return New(v, secrets, nil, noon)
}

// berlin and paris are the two ends of one tunnel.
func berlin(t testing.TB, key string) *State {
	return gateway(t, []plan.AuthConnection{between("paris", fqdn("berlin.example"), fqdn("paris.example"), "k")}, "k", key)
}

func paris(t testing.TB, key string) *State {
	return gateway(t, []plan.AuthConnection{between("berlin", fqdn("paris.example"), fqdn("berlin.example"), "k")}, "k", key)
}

func issuer() *Issuer {
	i := new(Issuer)
	i.SetKey(secret.Copy(grantKey))
	return i
}

// message is an IKE_SA_INIT of this role.
func message(initiator bool) []byte {
	b := make([]byte, 200)
	for i := range b {
		b[i] = byte(i + 1)
	}
	b[17], b[18], b[19] = 0x20, 34, 0x20
	copy(b[20:24], []byte{0, 0, 0, 0})
	if initiator {
		b[19] = 0x08
		clear(b[8:16])
	}
	binary.BigEndian.PutUint32(b[24:], uint32(len(b)))
	return b
}

// someOctets are well-formed octets of a signer of this role.
func someOctets(p ikev2.PRFID, initiator bool) msg.Octets {
	f, _ := prfOf(p)
	return msg.Octets{PRF: p, Message: message(initiator), Nonce: bytes.Repeat([]byte{9}, NonceLen), SKp: secret.New(bytes.Repeat([]byte{3}, f.size))}
}

// exchange has one end sign and the other check, and returns the answer.
func exchange(t testing.TB, signer, checker *State, initiator bool, change func(*msg.Verify)) *msg.Verified {
	t.Helper()
	var name, back string
	for n := range signer.conns {
		name = n
	}
	for n := range checker.conns {
		back = n
	}
	signed := signer.Sign(&msg.Sign{Req: 1, Connection: name, Initiator: initiator, Octets: someOctets(ikev2.PRF_HMAC_SHA2_256, initiator)}, With{})
	if signed.Error != "" || signed.Req != 1 {
		t.Fatalf("not signed: %+v", signed)
	}
	m := &msg.Verify{Req: 2, Connections: []string{back}, Initiator: initiator, PeerID: signed.ID, Method: signed.Method, Data: signed.Data, Octets: someOctets(ikev2.PRF_HMAC_SHA2_256, initiator)}
	if change != nil {
		change(m)
	}
	v := checker.Verify(m, With{Issuer: issuer(), Now: noon})
	if v.Req != 2 || v.OK != (len(v.Grants) > 0) || v.OK != (v.Error == "") {
		t.Fatalf("an answer that contradicts itself: %+v", v)
	}
	return v
}

func refused(t testing.TB, v *msg.Verified, parts ...string) {
	t.Helper()
	if v.OK {
		t.Fatal("it passed")
	}
	for _, p := range parts {
		if !strings.Contains(v.Error, p) {
			t.Errorf("%q does not say %q", v.Error, p)
		}
	}
}
