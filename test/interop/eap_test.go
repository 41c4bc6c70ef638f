//go:build interop

package interop

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/pkitest"
)

// eapCase is a method as both sides are told of it. The passwords are right.
type eapCase struct {
	plugin           string // of trike's
	auth             string // strongSwan's word, for the side that it is asked as
	server, client   string // settings and secrets of trike's plugin in each role, as CUE
	serverOf, peerOf string // strongSwan's options in each role
	byCertificate    bool   // names are the certificates', not alice's
	options          string // in strongswan.conf
}

// identity is who the client of this side is.
func (k *eapCase) identity(side string) string {
	if k.byCertificate {
		return side + ".example"
	}
	return "alice"
}

// withEAP is a lab in which the client has a name and a password, or a certificate, and the server a certificate.
func (c *certified) eapFiles() {
	c.put(c.left)
	for name, text := range map[string]string{"users": "alice: wonderland staff\n", "password": "wonderland\n"} {
		write(c.t, c.file(name), text)
	}
}

func sum(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// trikeEAP starts the left gateway as server or client of EAP.
func (c *certified) trikeEAP(k eapCase, server bool) *gateway {
	c.t.Helper()
	c.eapFiles()
	datapath := "userspace"
	if inKernel() {
		datapath = "kernel"
	}
	settings, auth := k.client, fmt.Sprintf(`eapClient: {plugin: "eap", identity: %q, authorities: ["acme"]}`, k.identity("left"))
	if server {
		settings, auth = k.server, `eap: {plugins: ["eap"], groups: [`+map[bool]string{true: `"staff"`}[strings.Contains(k.server, "users")]+`]}`
	}
	file := filepath.Join(os.Getenv("TRIKE_BIN"), "plugins", k.plugin)
	peer := fmt.Sprintf(`id: "right.example", networks: ["%s"]`, c.netR)
	if server {
		peer = fmt.Sprintf(`id: "any", networks: ["%s"]`, c.netR)
	}
	return startTrike(c.t, c.bed, c.lab.left, "left", fmt.Sprintf(`
	gateways: left: {address: "%s", id: "left.example", certificate: "left", networks: ["%s"], datapath: "%s"}
	connections: peer: {
		gateway: "left"
		peer: {address: "%s", %s}
		auth: %s
	}
	certificates: left: {file: %q, key: "key"}
	authorities: acme: file: %q
	plugins: eap: {file: %q, sha256: "%s", %s}
	secrets: {
		key: file: %q
		users: file: %q
		password: file: %q
		chain: file: %q
		ca: file: %q
	}`, c.l, c.netL, datapath, c.r, peer, auth, c.file("left.pem"), c.file("ca.pem"), file, sum(c.t, file), settings, c.file("left.key"), c.file("users"), c.file("password"), c.file("left.pem"),
		c.file("ca.pem")))
}

// strongSwanEAP starts the right gateway as client or server of EAP.
func (c *certified) strongSwanEAP(k eapCase, server bool) *strongSwan {
	c.t.Helper()
	files := []credential{{"x509/right.pem", pkitest.PEM(c.right)}, {"x509ca/ca.pem", pkitest.PEM(c.ca)}, {"private/right.pem", c.right.KeyPEM()}}
	local := fmt.Sprintf("auth = %s\n\t\tid = right.example\n\t\teap_id = %s\n\t\t%s", k.auth, k.identity("right"), k.peerOf)
	remote := "auth = pubkey\n\t\tid = left.example\n\t\tcacerts = ca.pem"
	if server {
		local = "auth = pubkey\n\t\tid = right.example\n\t\tcerts = right.pem"
		remote = fmt.Sprintf("auth = %s\n\t\tid = left.example\n\t\teap_id = %%any\n\t\t%s", k.auth, k.serverOf)
	}
	s := startStrongSwan(c.t, c.lab.right, !inKernel(), k.options, fmt.Sprintf(`
connections { peer {
	version = 2
	local_addrs = %s
	remote_addrs = %s
	proposals = %s
	encap = %s
	local { %s }
	remote { %s }
	children { net { local_ts = %s
		remote_ts = %s
		esp_proposals = %s } }
} }
secrets { eap-alice { id = alice
	secret = wonderland } }
`, c.r, c.l, defaultIKE, yesNo(!inKernel()), local, remote, c.netR, c.netL, espHere(defaultESP)), files...)
	c.routeInside()
	return s
}

// upWhenReady: a plugin needs a moment after the gateway has started.
func upWhenReady(t testing.TB, us *gateway) {
	t.Helper()
	var out string
	var err error
	for range 20 {
		if out, err = us.Ask("up", "peer"); err == nil {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Fatal(err, out)
}

// TestEAP brings tunnels up by EAP, with strongSwan as the peer and as the server.
func TestEAP(t *testing.T) {
	for name, k := range map[string]eapCase{
		"MSCHAPv2": {plugin: "eap-mschapv2", auth: "eap-mschapv2", server: `secrets: users: "users"`, client: `secrets: password: "password"`},
		"TLS": {plugin: "eap-tls", auth: "eap-tls", server: `secrets: {certificate: "chain", key: "key", ca: "ca"}`, client: `secrets: {certificate: "chain", key: "key", ca: "ca"}`,
			serverOf: "cacerts = ca.pem", peerOf: "certs = right.pem", byCertificate: true},
		"TTLS": {plugin: "eap-ttls", auth: "eap-ttls", server: `settings: inner: "eap-mschapv2", secrets: {certificate: "chain", key: "key", users: "users"}`,
			client: `settings: inner: "eap-mschapv2", secrets: {ca: "ca", password: "password"}`, options: "plugins { eap-ttls { phase2_method = mschapv2 } }"},
		"MD5": {plugin: "eap-md5", auth: "eap-md5", server: `secrets: users: "users"`, client: `secrets: password: "password"`},
	} {
		for _, role := range []string{"server", "client"} {
			t.Run(name+"/trike as "+role, func(t *testing.T) {
				c := newCertified(t, "P-256", false)
				peer := c.strongSwanEAP(k, role == "client")
				us := c.trikeEAP(k, role == "server")
				c.watched(func() {
					if role == "client" {
						upWhenReady(t, us)
					} else {
						time.Sleep(time.Second) // for the plugin
						peer.up("net")
					}
					us.settled(1, 1)
					c.ping(10, 20*time.Millisecond)
				})
			})
		}
	}
}

// TestEAPWrongPassword: the peer hears no more than that it failed, and the operator all of it.
func TestEAPWrongPassword(t *testing.T) {
	c := newCertified(t, "P-256", false)
	k := eapCase{plugin: "eap-mschapv2", auth: "eap-mschapv2", server: `secrets: users: "users"`}
	c.strongSwanEAP(k, true)
	c.eapFiles()
	k.client = `secrets: password: "users"` // a file with other words in it
	us := c.trikeEAP(k, false)
	var out string
	for range 20 {
		var err error
		if out, err = us.Ask("up", "peer"); err == nil {
			t.Fatal("a wrong password was believed")
		}
		if strings.Contains(out, "refuses us") {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	wants(t, out, "refuses us", `EAP plugin "eap"`)
	if strings.Contains(out, "wonderland") {
		t.Error("the error has the password")
	}
}
