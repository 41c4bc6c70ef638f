//go:build interop

package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/pkitest"
	"github.com/trike-ipsec/trike/test/bed"
)

// certified is a lab whose two gateways have certificates of one authority.
type certified struct {
	*lab
	ca, between *pkitest.Pair // between is nil where the authority signs itself
	left, right *pkitest.Pair
	schemes     string // of trike's policy
	more        string // more lines of its connection
	peerAuth    string // strongSwan's word for how the right one signs
	revocation  string
	raw         bool
}

func newKey(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var k crypto.Signer
	var err error
	switch kind {
	case "RSA":
		k, err = rsa.GenerateKey(rand.Reader, 2048)
	case "P-256":
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "P-384":
		k, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "P-521":
		k, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "Ed25519":
		_, k, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newCertified(t testing.TB, kind string, deep bool) *certified {
	t.Helper()
	now := time.Now()
	c := &certified{lab: newLab(t, false), ca: pkitest.CA("Acme", nil, now), peerAuth: "pubkey", revocation: "prefer"}
	issuer := c.ca
	if deep {
		c.between = pkitest.CA("Acme gateways", c.ca, now)
		issuer = c.between
	}
	c.left = pkitest.Leaf("left.example", issuer, newKey(t, kind), now)
	c.right = pkitest.Leaf("right.example", issuer, newKey(t, kind), now)
	return c
}

// chain is what a gateway sends: its certificate and what leads to the authority.
func (c *certified) chain(p *pkitest.Pair) []byte {
	if c.between == nil {
		return pkitest.PEM(p)
	}
	return pkitest.PEM(p, c.between)
}

// file is a file of the left gateway's.
func (c *certified) file(name string) string { return filepath.Join(c.bed.Dir, "left", name) }

// put writes the left gateway's files; others are put in their places when it runs already.
func (c *certified) put(leaf *pkitest.Pair, revoked ...*pkitest.Pair) {
	c.t.Helper()
	if err := os.MkdirAll(c.file(""), 0o755); err != nil {
		c.t.Fatal(err)
	}
	issuer := c.ca
	if c.between != nil {
		issuer = c.between
	}
	for name, content := range map[string][]byte{"left.pem": c.chain(leaf), "left.key": leaf.KeyPEM(), "ca.pem": pkitest.PEM(c.ca), "acme.crl": issuer.CRL(time.Now(), revoked...), "right.pub": c.right.PublicPEM()} {
		write(c.t, c.file(name+".new"), string(content))
		if err := os.Rename(c.file(name+".new"), c.file(name)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// trike starts the left gateway.
func (c *certified) trike() *gateway {
	c.t.Helper()
	c.put(c.left)
	datapath := "userspace"
	if inKernel() {
		datapath = "kernel"
	}
	own, ca := fmt.Sprintf("{file: %q, key: \"key\"}", c.file("left.pem")), fmt.Sprintf("{file: %q, crlFiles: [%q]}", c.file("ca.pem"), c.file("acme.crl"))
	if c.raw {
		own, ca = `{raw: true, key: "key"}`, fmt.Sprintf("{raw: true, file: %q}", c.file("right.pub"))
	}
	return startTrike(c.t, c.bed, c.lab.left, "left", fmt.Sprintf(`
	gateways: left: {address: "%s", id: "left.example", certificate: "left", networks: ["%s"], datapath: "%s"}
	connections: peer: {
		gateway: "left"
		peer: {address: "%s", id: "right.example", networks: ["%s"]}
		auth: certificate: {authorities: ["acme"], revocation: "%s"%s}
%s
	}
	certificates: left: %s
	authorities: acme: %s
	secrets: key: file: %q`, c.l, c.netL, datapath, c.r, c.netR, c.revocation, c.schemes, c.more, own, ca, c.file("left.key")))
}

// strongSwan starts the right gateway.
func (c *certified) strongSwan() *strongSwan {
	c.t.Helper()
	local, remote := "certs = right.pem", "cacerts = ca.pem"
	files := []credential{{"x509/right.pem", pkitest.PEM(c.right)}, {"x509ca/ca.pem", pkitest.PEM(c.ca)}, {"private/right.pem", c.right.KeyPEM()}}
	if c.between != nil {
		files = append(files, credential{"x509/between.pem", pkitest.PEM(c.between)})
	}
	if c.raw {
		local, remote = "pubkeys = right.pub", "pubkeys = left.pub"
		files = []credential{{"pubkey/right.pub", c.right.PublicPEM()}, {"pubkey/left.pub", c.left.PublicPEM()}, {"private/right.pem", c.right.KeyPEM()}}
	}
	s := startStrongSwan(c.t, c.lab.right, !inKernel(), "", fmt.Sprintf(`
connections { peer {
	version = 2
	local_addrs = %s
	remote_addrs = %s
	proposals = %s
	encap = %s
	local { auth = %s
		id = right.example
		%s }
	remote { auth = pubkey
		id = left.example
		%s }
	children { net { local_ts = %s
		remote_ts = %s
		esp_proposals = %s } }
} }
`, c.r, c.l, defaultIKE, yesNo(!inKernel()), c.peerAuth, local, remote, c.netR, c.netL, espHere(defaultESP)), files...)
	c.routeInside()
	return s
}

// TestCertificates brings tunnels up with each kind of key, from either side, by a chain of three and by raw public keys.
func TestCertificates(t *testing.T) {
	for _, k := range []struct {
		name, key, schemes, peerAuth string
		deep, raw                    bool
	}{
		{name: "RSA-PSS", key: "RSA", schemes: `, schemes: ["rsa-pss-sha256"]`, peerAuth: "rsa/pss-sha256"},
		{name: "RSA PKCS #1 v1.5", key: "RSA", schemes: `, schemes: ["rsa-sha384"]`, peerAuth: "rsa-sha384"},
		{name: "ECDSA P-256", key: "P-256"}, {name: "ECDSA P-384", key: "P-384"}, {name: "ECDSA P-521", key: "P-521"}, {name: "Ed25519", key: "Ed25519"},
		{name: "a chain of three", key: "P-256", deep: true},
		{name: "raw public keys", key: "P-256", raw: true},
	} {
		for _, initiator := range []string{"trike", "strongSwan"} {
			t.Run(k.name+"/"+initiator+" initiates", func(t *testing.T) {
				c := newCertified(t, k.key, k.deep)
				c.schemes, c.raw = k.schemes, k.raw
				if k.peerAuth != "" {
					c.peerAuth = k.peerAuth
				}
				peer := c.strongSwan()
				us := c.trike()
				c.watched(func() {
					if initiator == "trike" {
						us.must("up", "peer")
					} else {
						peer.up("net")
					}
					us.settled(1, 1)
					c.ping(10, 20*time.Millisecond)
				})
			})
		}
	}
}

// TestRevokedByList: a certificate that its issuer took back is refused, and the operator is told which and since when.
func TestRevokedByList(t *testing.T) {
	c := newCertified(t, "P-256", false)
	c.revocation = "require"
	c.strongSwan()
	us := c.trike()
	us.must("up", "peer") // it is good as yet
	us.settled(1, 1)
	us.must("down", "peer")
	c.put(c.left, c.right)
	us.must("apply", filepath.Join(c.bed.Dir, "left", "plans/left.plan.json"))
	out, err := us.Ask("up", "peer")
	if err == nil {
		t.Fatal("a revoked certificate was believed")
	}
	wants(t, out, "was revoked on", "right.example")
}

// TestWrongAuthority: each side refuses what it has no path to, and trike says which authorities it would take.
func TestWrongAuthority(t *testing.T) {
	c := newCertified(t, "P-256", false)
	c.right = pkitest.Leaf("right.example", pkitest.CA("Other", nil, time.Now()), nil, time.Now())
	c.strongSwan()
	us := c.trike()
	out, err := us.Ask("up", "peer")
	if err == nil {
		t.Fatal("a certificate of another authority was believed")
	}
	wants(t, out, "no path from certificate", "CN=Acme")
}

// TestCertificateRotation puts a new key and certificate in place under traffic: nothing is lost, no SA changes, and the next one is made with the new certificate.
func TestCertificateRotation(t *testing.T) {
	c := newCertified(t, "P-256", false)
	peer := c.strongSwan()
	us := c.trike()
	us.must("up", "peer")
	ike, child := bed.SPIs(us.settled(1, 1))
	next := pkitest.Leaf("left.example", c.ca, newKey(t, "Ed25519"), time.Now())
	c.pingDuring(3, func() {
		c.put(next)
		us.must("apply", filepath.Join(c.bed.Dir, "left", "plans/left.plan.json"))
	})
	if ike2, child2 := bed.SPIs(us.settled(1, 1)); ike2 != ike || child2 != child {
		t.Error("the rotation cost an SA")
	}
	us.must("down", "peer")
	us.must("up", "peer")
	us.settled(1, 1)
	c.ping(5, 20*time.Millisecond)
	if log := peer.log(); !strings.Contains(log, "with ED25519 successful") {
		t.Error("the peer did not see the new key")
	}
}
