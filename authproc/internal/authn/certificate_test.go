package authn

import (
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/pkitest"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

// certified is a gateway with a certificate; its peer chains to ca.
type certified struct {
	local, remote plan.Identity
	own           []*pkitest.Pair // leaf first
	ca            *pkitest.Pair
	crls          [][]byte
	change        func(*plan.AuthConnection)
}

func (c certified) state(t testing.TB) (*State, []msg.Problem) {
	t.Helper()
	conn := plan.AuthConnection{Name: "x", Local: plan.Endpoint{ID: c.local}, Remote: plan.Endpoint{ID: c.remote},
		LocalAuth: plan.Auth{Method: plan.AuthCertificate, Certificate: "own"}, RemoteAuth: plan.Auth{Method: plan.AuthCertificate, Authorities: []string{"ca"}}}
	if c.change != nil {
		c.change(&conn)
	}
	v := plan.AuthView{Gateway: "g", Secrets: []plan.Secret{{Name: "key"}}, Certificates: []plan.Certificate{{Name: "own", Key: "key", File: "/own"}},
		Authorities: []plan.Authority{{Name: "ca", PEM: string(pkitest.PEM(c.ca))}}, Connections: []plan.AuthConnection{conn}}
	files := []File{{Kind: "certificate", Name: "own", Data: pkitest.PEM(c.own...)}}
	for _, l := range c.crls {
		files = append(files, File{Kind: "crl", Name: "ca", Data: l})
	}
	return New(v, []Secret{{Name: "key", Key: secret.Copy(c.own[0].KeyPEM())}}, files, noon)
}

// between two certified gateways: the initiator signs, the responder checks.
func certifiedExchange(t *testing.T, from, to certified, change func(*msg.Verify)) *msg.Verified {
	t.Helper()
	signer, p := from.state(t)
	checker, q := to.state(t)
	if len(p)+len(q) > 0 {
		t.Fatalf("problems: %+v %+v", p, q)
	}
	signed := signer.Sign(&msg.Sign{Req: 1, Connection: "x", Initiator: true, Hashes: []uint16{2, 3, 4, 5}, Octets: someOctets(ikev2.PRF_HMAC_SHA2_256, true)}, With{})
	if signed.Error != "" {
		t.Fatal(signed.Error)
	}
	m := &msg.Verify{Req: 2, Connections: []string{"x"}, Initiator: true, PeerID: signed.ID, Method: signed.Method, Data: signed.Data, Certs: signed.Certs,
		Octets: someOctets(ikev2.PRF_HMAC_SHA2_256, true)}
	if change != nil {
		change(m)
	}
	v := checker.Verify(m, With{Issuer: issuer(), Now: noon})
	if v.OK != (len(v.Grants) > 0) || v.OK != (v.Error == "") {
		t.Fatalf("an answer that contradicts itself: %+v", v)
	}
	return v
}

func TestCertificates(t *testing.T) {
	ca := pkitest.CA("root", nil, noon)
	sub := pkitest.CA("sub", ca, noon)
	other := pkitest.CA("other", nil, noon)
	berlin, paris := pkitest.Leaf("berlin.example", sub, nil, noon), pkitest.Leaf("paris.example", ca, nil, noon)
	b := certified{local: fqdn("berlin.example"), remote: fqdn("paris.example"), own: []*pkitest.Pair{berlin, sub}, ca: ca}
	p := certified{local: fqdn("paris.example"), remote: fqdn("berlin.example"), own: []*pkitest.Pair{paris}, ca: ca}
	dn := plan.Identity{Type: ikev2.ID_DER_ASN1_DN, Data: "C=DE, O=Acme, CN=berlin.example"}
	anyDN := plan.Identity{Type: ikev2.ID_DER_ASN1_DN, Data: "C=DE, O=Acme, CN=*"}

	for name, c := range map[string]struct {
		from   func(*certified)
		to     func(*certified)
		change func(*msg.Verify)
		why    []string // none: it passes
	}{
		"a chain of three":          {},
		"any peer of the authority": {to: func(c *certified) { c.remote = plan.Identity{} }},
		"a pattern":                 {to: func(c *certified) { c.remote = fqdn("*.example") }},
		"another pattern":           {to: func(c *certified) { c.remote = fqdn("*.example.org") }, why: []string{`to be "*.example.org"`}},
		"a distinguished name":      {from: func(c *certified) { c.local = dn }, to: func(c *certified) { c.remote = dn }},
		"a pattern of one":          {from: func(c *certified) { c.local = dn }, to: func(c *certified) { c.remote = anyDN }},
		"another authority":         {to: func(c *certified) { c.ca = other }, why: []string{"no path", "CN=other"}},
		"no certificate":            {change: func(m *msg.Verify) { m.Certs = nil }, why: []string{"sent no certificate"}},
		"without the intermediate":  {change: func(m *msg.Verify) { m.Certs = m.Certs[:1] }, why: []string{"no path"}},
		"a name that is not in it":  {to: func(c *certified) { c.remote = plan.Identity{} }, change: func(m *msg.Verify) { m.PeerID.Data = []byte("rome.example") }, why: []string{"does not name the identity", "berlin.example"}},
		"the signature of another":  {change: func(m *msg.Verify) { m.Data[len(m.Data)-1] ^= 1 }, why: []string{"not made with the certificate's key"}},
		"other octets":              {change: func(m *msg.Verify) { m.Octets.Message[30] ^= 1 }, why: []string{"not made with the certificate's key"}},
		"a scheme against the policy": {to: func(c *certified) {
			c.change = func(a *plan.AuthConnection) { a.RemoteAuth.Schemes = []plan.Scheme{plan.SchemeEd25519} }
		}, why: []string{"signed by ecdsa-sha256"}},
		"revoked": {to: func(c *certified) {
			c.crls = [][]byte{ca.CRL(noon, sub)}
			c.change = func(a *plan.AuthConnection) { a.RemoteAuth.Revocation = plan.RevocationPrefer }
		}, why: []string{"was revoked on"}},
		"nothing known of revocation": {to: func(c *certified) {
			c.change = func(a *plan.AuthConnection) { a.RemoteAuth.Revocation = plan.RevocationRequire }
		}, why: []string{"nothing is known"}},
		"a raw key that nobody expects": {change: func(m *msg.Verify) {
			m.Certs = []msg.Cert{{Encoding: ikev2.CertRawPublicKey, Data: berlin.Cert.RawSubjectPublicKeyInfo}}
		}, why: []string{"raw public key"}},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := b, p
			if c.from != nil {
				c.from(&from)
			}
			if c.to != nil {
				c.to(&to)
			}
			v := certifiedExchange(t, from, to, c.change)
			if c.why == nil && !v.OK {
				t.Fatal(v.Error)
			}
			if c.why != nil {
				refused(t, v, c.why...)
			}
		})
	}
}

// RFC 7670: keys without certificates, each known to the other.
func TestRawPublicKeys(t *testing.T) {
	berlin, paris := pkitest.Leaf("b", nil, nil, noon), pkitest.Leaf("p", nil, nil, noon)
	raw := func(own, peer *pkitest.Pair, local, remote string) *State {
		t.Helper()
		v := plan.AuthView{Secrets: []plan.Secret{{Name: "key"}}, Certificates: []plan.Certificate{{Name: "own", Key: "key", Raw: true}},
			Authorities: []plan.Authority{{Name: "peer", Raw: true, PEM: string(peer.Cert.RawSubjectPublicKeyInfo)}},
			Connections: []plan.AuthConnection{{Name: "x", Local: plan.Endpoint{ID: fqdn(local)}, Remote: plan.Endpoint{ID: fqdn(remote)},
				LocalAuth: plan.Auth{Method: plan.AuthCertificate, Certificate: "own"}, RemoteAuth: plan.Auth{Method: plan.AuthCertificate, Authorities: []string{"peer"}}}}}
		s, problems := New(v, []Secret{{Name: "key", Key: secret.Copy(own.KeyPEM())}}, nil, noon)
		if len(problems) > 0 {
			t.Fatalf("%+v", problems)
		}
		return s
	}
	from, to := raw(berlin, paris, "berlin.example", "paris.example"), raw(paris, berlin, "paris.example", "berlin.example")
	signed := from.Sign(&msg.Sign{Connection: "x", Initiator: true, Hashes: []uint16{2}, Octets: someOctets(ikev2.PRF_HMAC_SHA2_256, true)}, With{})
	if len(signed.Certs) != 1 || signed.Certs[0].Encoding != ikev2.CertRawPublicKey || len(signed.Requests) != 1 || signed.Requests[0].Encoding != ikev2.CertRawPublicKey {
		t.Fatalf("%+v", signed)
	}
	verify := func(certs []msg.Cert) *msg.Verified {
		return to.Verify(&msg.Verify{Connections: []string{"x"}, Initiator: true, PeerID: signed.ID, Method: signed.Method, Data: signed.Data, Certs: certs,
			Octets: someOctets(ikev2.PRF_HMAC_SHA2_256, true)}, With{Issuer: issuer(), Now: noon})
	}
	if v := verify(signed.Certs); !v.OK {
		t.Error(v.Error)
	}
	if v := verify(nil); !v.OK {
		t.Errorf("a key that both know need not be sent: %s", v.Error)
	}
	refused(t, verify([]msg.Cert{{Encoding: ikev2.CertRawPublicKey, Data: paris.Cert.RawSubjectPublicKeyInfo}}), "none of those that the policy takes")
}

// What cannot authenticate is known before a peer comes.
func TestProblemsOfOurOwnCertificate(t *testing.T) {
	ca := pkitest.CA("root", nil, noon)
	leaf := pkitest.Leaf("berlin.example", ca, nil, noon)
	good := certified{local: fqdn("berlin.example"), remote: fqdn("paris.example"), own: []*pkitest.Pair{leaf}, ca: ca}
	for name, c := range map[string]struct {
		change func(*certified)
		why    string
	}{
		"another name": {func(c *certified) { c.local = fqdn("rome.example") }, "does not fit our identity"},
		"another key":  {func(c *certified) { c.own = []*pkitest.Pair{{Cert: leaf.Cert, Key: pkitest.NewKey()}} }, "is not that of certificate"},
		"it has ended": {func(c *certified) {
			c.own = []*pkitest.Pair{pkitest.Leaf("berlin.example", ca, nil, noon.Add(-400*24*time.Hour))}
		}, "ended on"},
		"no certificate": {func(c *certified) { c.change = func(a *plan.AuthConnection) { a.LocalAuth.Certificate = "none" } }, `certificate "none" is not in the plan`},
		"no authority": {func(c *certified) {
			c.change = func(a *plan.AuthConnection) { a.RemoteAuth.Authorities = []string{"none"} }
		}, `authority "none" is not in the plan`},
		"another DN":       {func(c *certified) { c.local = plan.Identity{Type: ikev2.ID_DER_ASN1_DN, Data: "CN=x"} }, "our identity is to be"},
		"an identity none": {func(c *certified) { c.local = plan.Identity{Type: ikev2.ID_DER_ASN1_DN, Data: "x"} }, "want TYPE=value"},
	} {
		t.Run(name, func(t *testing.T) {
			g := good
			c.change(&g)
			_, problems := g.state(t)
			if len(problems) != 1 {
				t.Fatalf("%+v", problems)
			}
			refused(t, &msg.Verified{Error: problems[0].Text}, c.why)
		})
	}
	s, _ := good.state(t)
	if cs := s.Certificates(noon.Add(340 * 24 * time.Hour)); len(cs) != 2 || cs[0].Problem == "" || cs[1].Problem == "" {
		t.Errorf("nothing is said of certificates that end soon: %+v", cs)
	}
}
