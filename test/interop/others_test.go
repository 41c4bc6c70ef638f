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

	"github.com/trike-ipsec/trike/internal/pkitest"
	"github.com/trike-ipsec/trike/test/bed"
)

// otherIKE and otherESP are what trike is told where the peer has no ML-KEM.
const (
	otherIKE = `		ike: proposals: ["aes256gcm16-prfsha384-ecp256"]
`
	libreswanESP = `		esp: proposals: ["aes256gcm16-ecp256"]
`
	// OpenIKED installs its child SAs by AF_KEY, which has no AEAD on Linux, and of its hashes only this one.
	openikedESP = `		esp: proposals: ["aes256-sha1"]
		legacy: true
`
)

// daemon is a peer of another make that runs on the right host, from the unpacked suite that TRIKE_PEER names.
type daemon struct {
	t    testing.TB
	host *bed.Host
	root string // the unpacked suite
	dir  string // this daemon's folder, as seen from inside root
	proc *bed.Proc
}

// newDaemon makes the folder. Both of these daemons have no ESP of their own.
func newDaemon(t testing.TB, h *bed.Host, program string) *daemon {
	t.Helper()
	d := &daemon{t: t, host: h, root: os.Getenv("TRIKE_PEER"), dir: "/run/" + h.NS}
	if _, err := os.Stat(filepath.Join(d.root, program)); d.root == "" || err != nil {
		t.Fatalf("%s is not in the folder that TRIKE_PEER names (%q): run test/interop/fetch-peers", program, d.root)
	}
	if err := os.RemoveAll(d.outside("")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(d.outside(""), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(d.outside("")) })
	return d
}

// needsKernel skips where the datapath is not the kernel's.
func needsKernel(t testing.TB, who string) {
	t.Helper()
	if !inKernel() {
		t.Skipf("%s has no ESP but the kernel's, and this run is about userspace ESP: it runs with TRIKE_DATAPATH=kernel", who)
	}
}

func (d *daemon) outside(name string) string { return filepath.Join(d.root, d.dir, name) }

func (d *daemon) put(name, content string) {
	d.t.Helper()
	if err := os.MkdirAll(filepath.Dir(d.outside(name)), 0o755); err != nil {
		d.t.Fatal(err)
	}
	write(d.t, d.outside(name), content)
}

// start runs the daemon. prepare is shell that runs before it, outside the suite's root.
func (d *daemon) start(prepare string, args ...string) {
	d.t.Helper()
	script := fmt.Sprintf("mount --rbind /dev %[1]s/dev && mount -t proc proc %[1]s/proc && mount --rbind /sys %[1]s/sys && %[2]s exec chroot %[1]s %[3]s", d.root, prepare, strings.Join(args, " "))
	p, err := d.host.Start(filepath.Base(args[0]), nil, "unshare", "-m", "sh", "-c", script)
	if err != nil {
		d.t.Fatal(err)
	}
	d.proc = p
	d.t.Cleanup(func() {
		if d.t.Failed() {
			d.t.Logf("%s of %s said:\n%s", args[0], d.host.Name, p.Output())
		}
		_ = p.Stop(5 * time.Second)
	})
}

// run runs a program of the suite.
func (d *daemon) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	return d.host.Run(ctx, append([]string{"chroot", d.root}, args...)...)
}

func (d *daemon) must(args ...string) {
	d.t.Helper()
	if out, err := d.run(args...); err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
}

// libreswan is a pluto.
type libreswan struct{ *daemon }

// startLibreswan starts pluto with this connection; files are its certificates, if it has any.
func startLibreswan(t testing.TB, lab *lab, conn string, own, ca *pkitest.Pair) *libreswan {
	t.Helper()
	s := &libreswan{newDaemon(t, lab.right, "usr/libexec/ipsec/pluto")}
	s.put("ipsec.conf", fmt.Sprintf(`config setup
	uniqueids=yes
conn peer
	keyexchange=ikev2
	left=%s
	leftsubnet=%s
	right=%s
	rightsubnet=%s
	ike=aes_gcm256-sha2_384-dh19
	esp=aes_gcm256
	leftupdown=/bin/true
	auto=ignore
%s
`, lab.r, lab.netR, lab.l, lab.netL, conn))
	s.put("ipsec.secrets", fmt.Sprintf("%s %s : PSK %q\n", lab.r, lab.l, psk))
	db := "sql:" + s.dir + "/nss"
	s.put("nss/empty", "")
	s.must("certutil", "-N", "-d", db, "--empty-password")
	if own != nil {
		s.put("right.pem", string(pkitest.PEM(own)))
		s.put("right.key", string(own.KeyPEM()))
		s.put("ca.pem", string(pkitest.PEM(ca)))
		in := func(name string) string { return s.dir + "/" + name }
		s.must("openssl", "pkcs12", "-export", "-in", in("right.pem"), "-inkey", in("right.key"), "-name", "right", "-out", in("right.p12"), "-passout", "pass:x")
		s.must("pk12util", "-i", in("right.p12"), "-d", db, "-W", "x", "-K", "")
		s.must("certutil", "-A", "-n", "ca", "-t", "CT,,", "-d", db, "-i", in("ca.pem"))
	}
	s.start("", "/usr/libexec/ipsec/pluto", "--nofork", "--stderrlog", "--config", s.dir+"/ipsec.conf", "--secretsfile", s.dir+"/ipsec.secrets", "--nssdir", s.dir+"/nss", "--ipsecdir", s.dir,
		"--rundir", s.dir, "--no-dnssec")
	if err := bed.Until(20*time.Second, "pluto's control socket", func() bool { _, err := os.Stat(s.outside("pluto.ctl")); return err == nil }); err != nil {
		t.Fatal(err, s.proc.Output())
	}
	s.must("/usr/libexec/ipsec/whack", "--rundir", s.dir, "--listen")
	s.must("/usr/libexec/ipsec/addconn", "--config", s.dir+"/ipsec.conf", "--ctlsocket", s.dir+"/pluto.ctl", "peer")
	return s
}

func (s *libreswan) up() {
	s.t.Helper()
	s.must("/usr/libexec/ipsec/whack", "--rundir", s.dir, "--name", "peer", "--initiate")
}

// startOpenIKED starts iked. mode is active (it initiates at once, and again until it is up) or passive.
func startOpenIKED(t testing.TB, lab *lab, mode, ids, auth string, own, ca *pkitest.Pair) *daemon {
	t.Helper()
	d := newDaemon(t, lab.right, "usr/sbin/iked")
	d.put("iked.conf", fmt.Sprintf(`ikev2 "peer" %s esp from %s to %s local %s peer %s ikesa enc aes-256-gcm prf hmac-sha2-384 group ecp256 childsa enc aes-256 auth hmac-sha1 %s %s
`, mode, lab.netR, lab.netL, lab.r, lab.l, ids, auth))
	if own == nil { // it wants a key of its own in any case
		own = pkitest.CA("unused", nil, time.Now())
	} else {
		d.put("etc/ca/ca.crt", string(pkitest.PEM(ca)))
		d.put("etc/certs/right.crt", string(pkitest.PEM(own)))
	}
	d.put("etc/private/local.key", string(own.KeyPEM()))
	d.put("etc/local.pub", string(own.PublicPEM()))
	for _, kind := range []string{"fqdn", "ipv4", "ipv6", "ufqdn"} {
		d.put("etc/pubkeys/"+kind+"/.empty", "")
	}
	// Its process for certificates is a user of its own.
	for _, name := range []string{"etc/ca/ca.crt", "etc/certs/right.crt", "etc/local.pub"} {
		if err := os.Chmod(d.outside(name), 0o644); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"etc/ca", "etc/certs", "etc/crls", "etc/ocsp"} {
		if err := os.MkdirAll(d.outside(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.start(fmt.Sprintf("mount --bind %s %s/etc/iked && ", d.outside("etc"), d.root), "/usr/sbin/iked", "-d", "-vv", "-f", d.dir+"/iked.conf", "-s", d.dir+"/iked.sock")
	if err := bed.Until(20*time.Second, "iked to have read its configuration", func() bool {
		return strings.Contains(d.proc.Output(), "config_getstatic: no stickyaddress") || !d.proc.Running()
	}); err != nil || !d.proc.Running() {
		t.Fatal(err, d.proc.Output())
	}
	return d
}

// up starts trike and brings the tunnel up from one side, with traffic in it.
func (lab *lab) meets(us *gateway, initiate func()) {
	lab.t.Helper()
	lab.watched(func() {
		initiate()
		us.settled(1, 1)
		lab.ping(10, 20*time.Millisecond)
	})
}

// TestLibreswan brings tunnels up with Libreswan 5, from either side: by a pre-shared key and by certificates.
func TestLibreswan(t *testing.T) {
	needsKernel(t, "Libreswan")
	const lines = "\tauthby=%s\n\tleftid=%s\n\trightid=%s\n"
	byCert := "\tleftcert=right\n\tleftsendcert=always\n\trightca=%%any\n"
	for _, k := range []struct{ name, key, authby, schemes string }{
		{"pre-shared key", "", "secret", ""},
		{"ECDSA P-256", "P-256", "ecdsa", ""},
		{"ECDSA P-384", "P-384", "ecdsa", ""},
		{"RSA-PSS", "RSA", "rsa-sha2", `, schemes: ["rsa-pss-sha256", "rsa-pss-sha384", "rsa-pss-sha512"]`},
	} {
		for _, initiator := range []string{"trike", "Libreswan"} {
			t.Run(k.name+"/"+initiator+" initiates", func(t *testing.T) {
				var us *gateway
				var peer *libreswan
				var lab *lab
				if k.key == "" {
					lab = newLab(t, false)
					peer = startLibreswan(t, lab, fmt.Sprintf(lines, k.authby, lab.r, lab.l), nil, nil)
					us = lab.trike(otherIKE + libreswanESP + "\t\tinitiate: \"never\"")
				} else {
					c := newCertified(t, k.key, false)
					c.schemes, c.more = k.schemes, otherIKE+libreswanESP+"\t\tinitiate: \"never\""
					lab = c.lab
					peer = startLibreswan(t, lab, fmt.Sprintf(lines+byCert, k.authby, "@right.example", "@left.example"), c.right, c.ca)
					us = c.trike()
				}
				lab.meets(us, func() {
					if initiator == "trike" {
						us.must("up", "peer")
					} else {
						peer.up()
					}
				})
				us.must("rekey", "peer")
				us.settled(1, 1)
				lab.ping(5, 20*time.Millisecond)
			})
		}
	}
}

// TestOpenIKED brings tunnels up with OpenIKED, from either side: by a pre-shared key and by certificates. It has no RSA-PSS.
func TestOpenIKED(t *testing.T) {
	needsKernel(t, "OpenIKED")
	for _, k := range []struct{ name, key, auth, schemes string }{
		{"pre-shared key", "", fmt.Sprintf("psk %q", psk), ""},
		{"ECDSA P-256", "P-256", "", ""},
		{"RSA PKCS #1 v1.5", "RSA", "", `, schemes: ["rsa-sha256", "rsa-sha384", "rsa-sha512"]`},
	} {
		for _, initiator := range []string{"trike", "OpenIKED"} {
			t.Run(k.name+"/"+initiator+" initiates", func(t *testing.T) {
				mode := map[string]string{"trike": "passive", "OpenIKED": "active"}[initiator]
				more := otherIKE + openikedESP + "\t\tinitiate: \"never\""
				var us *gateway
				lab, begin := (*lab)(nil), func() {}
				if k.key == "" {
					lab = newLab(t, false)
					us = lab.trike(more)
					begin = func() { startOpenIKED(t, lab, mode, fmt.Sprintf("srcid %s dstid %s", lab.r, lab.l), k.auth, nil, nil) }
				} else {
					c := newCertified(t, k.key, false)
					c.schemes, c.more = k.schemes, more
					lab, us = c.lab, c.trike()
					begin = func() { startOpenIKED(t, lab, mode, "srcid right.example dstid left.example", k.auth, c.right, c.ca) }
				}
				lab.meets(us, func() {
					begin()
					if initiator == "trike" {
						us.must("up", "peer")
					}
				})
			})
		}
	}
}
