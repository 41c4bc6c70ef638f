package relay_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// authority issues certificates for one test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	var der []byte
	a.key, der = a.sign(template, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func (a *authority) sign(template *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent := a.cert
	if by == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, der
}

// issue makes a certificate for 127.0.0.1, or for another name, as PEM.
func (a *authority) issue(ip string) (cert, key []byte) {
	a.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: ip}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.ParseIP(ip)}}
	private, der := a.sign(template, a.key)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// server is what a server of this authority asks for and shows.
func (a *authority) server(ip string) *tls.Config {
	a.t.Helper()
	cert, key := a.issue(ip)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

func (a *authority) secrets() map[string][]byte {
	cert, key := a.issue("127.0.0.2")
	return map[string][]byte{"tls-ca": a.pem, "tls-certificate": cert, "tls-key": key}
}

func radsecMSK(t *testing.T) func(*radius.Packet, []byte) {
	return func(a *radius.Packet, raw []byte) {
		if err := packet.AddMSK(a, msk(), raw, []byte("radsec")); err != nil {
			t.Error(err)
		}
	}
}

func TestRADIUSOverTLSAuthenticatesBothWays(t *testing.T) {
	a := newAuthority(t)
	s := serveTLS(t, a.server("127.0.0.1"), md5Server("alice", "open", radsecMSK(t)))
	r := configured(t, map[string]string{"servers": s.address}, a.secrets())
	for range 3 {
		if step := converse(t, r, begin("alice"), "open"); step.Outcome != eapsdk.Success || len(step.MSK) != 64 {
			t.Errorf("%v %q", step.Outcome, step.Reason)
		}
	}
	for name, c := range map[string]struct {
		server  *tls.Config
		secrets map[string][]byte
	}{
		"a server of another authority": {newAuthority(t).server("127.0.0.1"), a.secrets()},
		"a server of another name":      {a.server("127.0.0.9"), a.secrets()},
		"a client of another authority": {a.server("127.0.0.1"), func() map[string][]byte { s := newAuthority(t).secrets(); s["tls-ca"] = a.pem; return s }()},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveTLS(t, c.server, func(*radius.Packet, []byte) *radius.Packet { t.Error("a request was carried"); return nil })
			r := configured(t, map[string]string{"servers": s.address, "tries": "2"}, c.secrets)
			if _, step, err := r.Begin(t.Context(), begin("alice")); err != nil || step.Outcome != eapsdk.Failure || !strings.Contains(step.Reason, "no answer") {
				t.Errorf("%v %q, %v", step.Outcome, step.Reason, err)
			}
		})
	}
}

// Servers close connections that were idle; the next request finds that out.
func TestBrokenConnectionIsMadeAnew(t *testing.T) {
	a := newAuthority(t)
	var n atomic.Int32
	handle := md5Server("alice", "open", radsecMSK(t))
	s := serveTLS(t, a.server("127.0.0.1"), func(p *radius.Packet, raw []byte) *radius.Packet {
		if n.Add(1)%2 == 1 {
			return nil // the connection is closed
		}
		return handle(p, raw)
	})
	r := configured(t, map[string]string{"servers": s.address}, a.secrets())
	if step := converse(t, r, begin("alice"), "open"); step.Outcome != eapsdk.Success {
		t.Errorf("%v %q", step.Outcome, step.Reason)
	}
}

func TestServerOfTLSStandsInForOneOfUDP(t *testing.T) {
	a := newAuthority(t)
	mute := serve(t, func(*radius.Packet, []byte) *radius.Packet { return nil })
	s := serveTLS(t, a.server("127.0.0.1"), md5Server("alice", "open", radsecMSK(t)))
	r := configured(t, map[string]string{"servers": mute.address + "," + s.address, "timeout": "20ms"}, a.secrets())
	if step := converse(t, r, begin("alice"), "open"); step.Outcome != eapsdk.Success {
		t.Errorf("%v %q", step.Outcome, step.Reason)
	}
	if n := len(mute.requests()); n != 3 {
		t.Errorf("the first server was asked %d times", n)
	}
}
