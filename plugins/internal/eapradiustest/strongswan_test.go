//go:build interop

package eapradiustest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/plugins/eap-md5/md5"
	"github.com/trike-ipsec/trike/plugins/eap-mschapv2/mschapv2"
	"github.com/trike-ipsec/trike/plugins/eap-tls/tlsmethod"
	"github.com/trike-ipsec/trike/plugins/eap-ttls/ttls"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/pkitest"
	"github.com/trike-ipsec/trike/test/bed"
)

// methodFolder names, for this program run again in a namespace, a folder with a method's settings; the folder's name is the method's.
const methodFolder = "EAPRADIUS_METHOD"

// TestServe is no test: it is a method behind RADIUS where strongSwan's gateway finds it.
func TestServe(t *testing.T) {
	dir := os.Getenv(methodFolder)
	if dir == "" {
		t.Skip("this is what TestStrongSwanAsThePeer runs in a namespace")
	}
	method := map[string]eapsdk.Method{"tls": &tlsmethod.Method{}, "ttls": &ttls.Method{}, "mschapv2": &mschapv2.Method{}, "md5": &md5.Method{}}[filepath.Base(dir)]
	config := eapsdk.Config{Values: map[string]string{"fragment-size": "600"}, Secrets: map[string][]byte{}}
	for _, s := range method.Describe().Settings {
		if b, err := os.ReadFile(filepath.Join(dir, s.Name)); err == nil && s.Secret {
			config.Secrets[s.Name] = b
		} else if err == nil {
			config.Values[s.Name] = string(b)
		}
	}
	if err := method.Configure(t.Context(), config, slog.Default()); err != nil {
		t.Fatal(err)
	}
	server, err := StartAt(method, []byte("shared"), "127.0.0.1:"+radiusPort)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("listening")
	for said := ""; ; time.Sleep(10 * time.Millisecond) {
		if last := server.Last(); last.Outcome > eapsdk.Continue && said != last.Identity+last.Reason {
			said = last.Identity + last.Reason
			fmt.Printf("%v: %s\n", last.Outcome, said)
		}
	}
}

// A strongSwan gateway asks a method of ours, by RADIUS, about a strongSwan peer. The peer's MSK and ours are the same, or IKE's AUTH would fail.
func TestStrongSwanAsThePeer(t *testing.T) {
	ca := pkitest.New("root", pkitest.ECDSA)
	server := ca.Sub("middle").Issue(pkitest.Leaf{CN: "aaa", DNS: "aaa.example", Server: true, Bulk: 1500})
	client := ca.Issue(pkitest.Leaf{CN: "alice", Email: "alice@example.org"})
	users := []byte("alice@example.org: wonderland\n")
	tls := map[string][]byte{"certificate": server.Chain, "key": server.Key, "ca": ca.PEM()}
	tunnelled := map[string][]byte{"certificate": server.Chain, "key": server.Key, "users": users, "inner": []byte("eap-mschapv2 eap-md5")}
	for i, c := range []struct {
		name, method, auth, version string
		settings                    map[string][]byte
	}{
		{"EAP-MSCHAPv2", "mschapv2", "auth = eap-mschapv2", "1.2", map[string][]byte{"users": users}},
		{"EAP-MD5", "md5", "auth = eap-md5", "1.2", map[string][]byte{"users": users}},
		{"EAP-TLS 1.2", "tls", "auth = eap-tls\n certs = alice.pem\n aaa_id = aaa.example", "1.2", tls},
		{"EAP-TLS 1.3", "tls", "auth = eap-tls\n certs = alice.pem\n aaa_id = aaa.example", "1.3", tls},
		{"TTLS and EAP-MSCHAPv2, TLS 1.2", "ttls", "auth = eap-ttls\n aaa_id = aaa.example", "1.2", tunnelled},
		{"TTLS and EAP-MSCHAPv2, TLS 1.3", "ttls", "auth = eap-ttls\n aaa_id = aaa.example", "1.3", tunnelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bed.NewFor(fmt.Sprintf("eap%d", i))
			t.Cleanup(b.Close)
			left, right := b.Host("left"), b.Host("right")
			b.Wire(left, "192.0.2.1/24", right, "192.0.2.2/24")
			left.Must("ip", "addr", "add", "10.1.0.1/32", "dev", "lo")
			right.Must("ip", "addr", "add", "10.2.0.1/32", "dev", "lo")
			if err := b.Err(); err != nil {
				t.Fatal(err)
			}
			radius := serveIn(t, left, c.method, c.settings)
			gateway := startCharon(t, left, c.version, nil, conf("192.0.2.1", "192.0.2.2", "10.1.0.1/32", "10.2.0.1/32",
				"auth = psk\n id = gw.example", "auth = eap-radius\n id = alice@example.org"))
			peer := startCharon(t, right, c.version, map[string][]byte{"x509ca/ca.pem": ca.PEM(), "x509/alice.pem": client.Chain, "private/alice.pem": client.Key},
				conf("192.0.2.2", "192.0.2.1", "10.2.0.1/32", "10.1.0.1/32", c.auth+"\n id = alice@example.org", "auth = psk\n id = gw.example"))
			if out, err := peer.swanctl("--initiate", "--child", "net", "--timeout", "20"); err != nil {
				t.Fatal(err, out)
			}
			if out, err := gateway.swanctl("--list-sas"); err != nil || !strings.Contains(out, "ESTABLISHED") {
				t.Error(err, out)
			}
			if !strings.Contains(radius.Output(), "success: alice@example.org") {
				t.Errorf("the method said %q", radius.Output())
			}
			if strings.Contains(c.method, "tls") && !strings.Contains(peer.log(), "negotiated TLS "+c.version) {
				t.Errorf("TLS was not %s", c.version)
			}
		})
	}
}

// serveIn runs TestServe on the host.
func serveIn(t *testing.T, h *bed.Host, method string, settings map[string][]byte) *bed.Proc {
	t.Helper()
	dir := filepath.Join(t.TempDir(), method)
	put(t, dir, settings)
	p, err := h.Start("radius", []string{methodFolder + "=" + dir}, os.Args[0], "-test.run=^TestServe$")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Stop(time.Second)
		if t.Failed() {
			t.Logf("the method said:\n%s", p.Output())
		}
	})
	if err := bed.Until(10*time.Second, "RADIUS", func() bool { return strings.Contains(p.Output(), "listening") }); err != nil {
		t.Fatal(err, p.Output())
	}
	return p
}

func put(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, contents := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, contents, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// conf is a swanctl.conf.
func conf(local, remote, lts, rts, localAuth, remoteAuth string) string {
	return fmt.Sprintf(`
connections { peer {
	version = 2
	local_addrs = %s
	remote_addrs = %s
	proposals = aes256gcm16-prfsha384-x25519
	encap = yes
	local { %s
	}
	remote { %s
	}
	children { net { local_ts = %s
		remote_ts = %s
		esp_proposals = aes256gcm16-x25519 } }
} }
secrets { ike-1 { secret = "correct horse battery staple" }
	eap-alice { id = alice@example.org
		secret = wonderland } }
`, local, remote, localAuth, remoteAuth, lts, rts)
}

// charon is strongSwan on one host, from the unpacked suite that TRIKE_PEER names.
type charon struct {
	host      *bed.Host
	root, dir string
}

func startCharon(t *testing.T, h *bed.Host, version string, files map[string][]byte, swanctl string) *charon {
	t.Helper()
	c := &charon{host: h, root: os.Getenv("TRIKE_PEER"), dir: "/run/" + h.NS}
	if c.root == "" {
		t.Fatal("TRIKE_PEER does not name the folder that test/interop/fetch-peers prints")
	}
	outside := filepath.Join(c.root, c.dir)
	if err := os.RemoveAll(outside); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(outside) })
	put(t, outside, files)
	put(t, outside, map[string][]byte{"swanctl.conf": []byte(swanctl), "strongswan.conf": fmt.Appendf(nil, `
charon-systemd {
	load = random nonce drbg openssl aes sha1 sha2 hmac kdf gmp curve25519 pem pkcs1 pkcs8 x509 pubkey constraints socket-default vici md4 md5 des eap-identity eap-radius eap-tls eap-ttls eap-mschapv2 eap-md5 kernel-libipsec kernel-netlink
	install_routes = no
	tls { version_max = %[2]s }
	plugins { vici { socket = unix://%[1]s/vici }
		eap-radius { secret = shared
			server = 127.0.0.1 } }
	filelog { log { path = %[1]s/charon.log
		flush_line = yes
		default = 1
		ike = 2
		tls = 2 } }
}
`, c.dir, version)})
	p, err := h.Start("charon", nil, "unshare", "-m", "sh", "-c", fmt.Sprintf(`
mount --rbind /dev %[1]s/dev && mount -t proc proc %[1]s/proc &&
exec chroot %[1]s /usr/bin/env STRONGSWAN_CONF=%[2]s/strongswan.conf /usr/sbin/charon-systemd`, c.root, c.dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("charon of %s said:\n%s", h.Name, c.log())
		}
		_ = p.Stop(5 * time.Second)
	})
	socket := filepath.Join(outside, "vici")
	if err := bed.Until(20*time.Second, "charon's control socket", func() bool { _, err := os.Stat(socket); return err == nil }); err != nil {
		t.Fatal(err, p.Output())
	}
	if out, err := c.swanctl("--load-all", "--file", c.dir+"/swanctl.conf"); err != nil {
		t.Fatal(err, out)
	}
	return c
}

func (c *charon) swanctl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args = append([]string{"chroot", c.root, "/usr/bin/env", "SWANCTL_DIR=" + c.dir, "STRONGSWAN_CONF=" + c.dir + "/strongswan.conf", "/usr/sbin/swanctl"}, args...)
	return c.host.Run(ctx, append(args, "--uri", "unix://"+c.dir+"/vici")...)
}

func (c *charon) log() string {
	b, err := os.ReadFile(filepath.Join(c.root, c.dir, "charon.log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}
