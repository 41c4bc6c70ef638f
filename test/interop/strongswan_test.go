//go:build interop

package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/test/bed"
)

// strongSwan is a charon that runs in one namespace from the unpacked suite that TRIKE_PEER names.
type strongSwan struct {
	t    testing.TB
	host *bed.Host
	root string // the unpacked suite
	dir  string // this daemon's folder, as seen from inside root
	proc *bed.Proc
}

// credential is a file of keys or certificates.
type credential struct {
	name    string
	content []byte
}

// startStrongSwan starts charon with this swanctl.conf. userspace makes it carry ESP itself (kernel-libipsec) instead of
// the kernel. options are more lines of the charon section of strongswan.conf.
// files go into its folder of credentials, by their names there ("x509ca/ca.pem").
func startStrongSwan(t testing.TB, h *bed.Host, userspace bool, options, swanctl string, files ...credential) *strongSwan {
	t.Helper()
	root := os.Getenv("TRIKE_PEER")
	if root == "" {
		t.Fatal("TRIKE_PEER does not name the folder that fetch-peers prints")
	}
	s := &strongSwan{t: t, host: h, root: root, dir: "/run/" + h.NS}
	outside := filepath.Join(root, s.dir)
	if err := os.RemoveAll(outside); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(outside) })
	load := "random nonce drbg openssl aes sha1 sha2 hmac xcbc cmac kdf gmp curve25519 chapoly ctr ccm pem pkcs1 pkcs8 x509 pubkey constraints revocation socket-default vici eap-identity eap-mschapv2 eap-md5 eap-tls eap-ttls md5"
	if userspace {
		load += " kernel-libipsec"
	}
	load += " kernel-netlink"
	write(t, filepath.Join(outside, "strongswan.conf"), fmt.Sprintf(`
charon-systemd {
	load = %s
	install_routes = no
	retransmit_timeout = 1.0
	retransmit_tries = 4
	plugins { vici { socket = unix://%s/vici } }
	journal { default = -1 }
	filelog { log { path = %s/charon.log
		flush_line = yes
		default = 1
		ike = 2
		chd = 2
		cfg = 2
		enc = 1
		knl = 1 } }
	%s
}
`, load, s.dir, s.dir, options))
	write(t, filepath.Join(outside, "swanctl.conf"), swanctl)
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(outside, f.name)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(outside, f.name), string(f.content))
	}
	p, err := h.Start("charon", nil, "unshare", "-m", "sh", "-c", fmt.Sprintf(`
mount --rbind /dev %[1]s/dev && mount -t proc proc %[1]s/proc &&
exec chroot %[1]s /usr/bin/env STRONGSWAN_CONF=%[2]s/strongswan.conf /usr/sbin/charon-systemd`, root, s.dir))
	if err != nil {
		t.Fatal(err)
	}
	s.proc = p
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("charon of %s said:\n%s", h.Name, s.log())
		}
		_ = p.Stop(5 * time.Second)
	})
	socket := filepath.Join(outside, "vici")
	if err := bed.Until(20*time.Second, "charon's control socket", func() bool { _, err := os.Stat(socket); return err == nil }); err != nil {
		t.Fatal(err, p.Output())
	}
	if out, err := s.swanctl("--load-all", "--file", s.dir+"/swanctl.conf"); err != nil {
		t.Fatal(err, out)
	}
	return s
}

// swanctl runs one command against this charon.
func (s *strongSwan) swanctl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	args = append([]string{"chroot", s.root, "/usr/bin/env", "STRONGSWAN_CONF=" + s.dir + "/strongswan.conf", "SWANCTL_DIR=" + s.dir, "/usr/sbin/swanctl"}, args...)
	return s.host.Run(ctx, append(args, "--uri", "unix://"+s.dir+"/vici")...)
}

// log is charon's own log.
func (s *strongSwan) log() string {
	b, err := os.ReadFile(filepath.Join(s.root, s.dir, "charon.log"))
	if err != nil {
		return err.Error() + "\n" + s.proc.Output()
	}
	return string(b)
}

// up initiates a child and fails the test when it does not come up.
func (s *strongSwan) up(child string) {
	s.t.Helper()
	if out, err := s.swanctl("--initiate", "--child", child, "--timeout", "20"); err != nil {
		s.t.Fatalf("strongSwan could not initiate %s: %v\n%s", child, err, out)
	}
}

// sas is `swanctl --list-sas`.
func (s *strongSwan) sas() string {
	s.t.Helper()
	out, err := s.swanctl("--list-sas")
	if err != nil {
		s.t.Fatal(err, out)
	}
	return out
}

// has waits until the list of SAs holds this text.
func (s *strongSwan) has(text string) {
	s.t.Helper()
	if err := bed.Until(15*time.Second, "strongSwan's SAs to show "+text, func() bool { return strings.Contains(s.sas(), text) }); err != nil {
		s.t.Fatalf("%v\n%s", err, s.sas())
	}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
