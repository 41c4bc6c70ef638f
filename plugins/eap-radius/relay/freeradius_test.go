package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/plugins/eap-md5/md5"
	"github.com/trike-ipsec/trike/plugins/eap-mschapv2/mschapv2"
	"github.com/trike-ipsec/trike/plugins/eap-peap/peap"
	"github.com/trike-ipsec/trike/plugins/eap-tls/tlsmethod"
	"github.com/trike-ipsec/trike/plugins/eap-ttls/ttls"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eaptest"
	"github.com/trike-ipsec/trike/plugins/internal/pkitest"
)

// freeRADIUS is Debian's FreeRADIUS on loopback, from where test/interop/fetch-freeradius unpacked it or from where it is installed.
type freeRADIUS struct {
	root, dir       string
	env             []string
	auth, acct, tls string // ports
	ca              *pkitest.Authority
	server, alice   pkitest.Pair
}

const radiusUsers = `
md5user      Cleartext-Password := "one two three", EAP-Type := MD5
             Reply-Message = "Hello"
chapuser     Cleartext-Password := "wonderland", EAP-Type := MSCHAPv2
             Framed-IP-Address = 10.9.8.7, Framed-IPv6-Address = 2001:db8::9, Session-Timeout = 3600, Acct-Interim-Interval = 600,
             Class = "gold", Filter-Id = "staff", Filter-Id += "admins"
alice        EAP-Type := TLS
             Class = "certified"
peapuser     EAP-Type := PEAP
ttlsuser     EAP-Type := TTLS
`

// Who may come in within the tunnels of PEAP and TTLS.
const radiusInner = `
peapuser     Cleartext-Password := "wonderland"
ttlsuser     Cleartext-Password := "wonderland"
`

const radiusConfig = `
prefix = %[1]s
name = freeradius
logdir = %[2]s
run_dir = %[2]s
confdir = %[2]s
libdir = %[3]s
max_request_time = 30
max_requests = 16384
security {
	reject_delay = 0
	status_server = yes
	allow_vulnerable_openssl = yes
}
client gateway {
	ipaddr = 127.0.0.1
	secret = "` + secret + `"
	require_message_authenticator = yes
}
clients radsec {
	client gateway {
		ipaddr = 127.0.0.1
		proto = tls
		secret = radsec
	}
}
thread pool {
	start_servers = 2
	max_servers = 8
	min_spare_servers = 1
	max_spare_servers = 4
}
modules {
	files {
		usersfile = ${confdir}/users
	}
	files within {
		usersfile = ${confdir}/inner
	}
	pap {
	}
	mschap {
		use_mppe = yes
		require_encryption = no
		require_strong = no
	}
	detail {
		filename = ${logdir}/detail
	}
	eap {
		default_eap_type = md5
		timer_expire = 60
		max_sessions = 4096
		tls-config common {
			private_key_file = ${confdir}/server.key
			certificate_file = ${confdir}/server.pem
			ca_file = ${confdir}/ca.pem
			tls_min_version = "1.2"
			tls_max_version = "%[4]s"
			cipher_list = "DEFAULT"
			ecdh_curve = ""
			fragment_size = 1024
		}
		md5 {
		}
		mschapv2 {
		}
		tls {
			tls = common
		}
		peap {
			tls = common
			default_eap_type = mschapv2
			virtual_server = inner
		}
		ttls {
			tls = common
			default_eap_type = md5
			virtual_server = inner
		}
	}
}
server outer {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = %[5]s
	}
	listen {
		type = acct
		ipaddr = 127.0.0.1
		port = %[6]s
	}
	listen {
		type = auth+acct
		ipaddr = 127.0.0.1
		port = %[7]s
		proto = tcp
		clients = radsec
		tls {
			private_key_file = ${confdir}/server.key
			certificate_file = ${confdir}/server.pem
			ca_file = ${confdir}/ca.pem
			tls_min_version = "1.2"
			tls_max_version = "1.3"
			cipher_list = "DEFAULT"
			ecdh_curve = ""
			require_client_cert = yes
			fragment_size = 8192
		}
	}
	authorize {
		files
		eap {
			ok = return
		}
	}
	authenticate {
		Auth-Type MS-CHAP {
			mschap
		}
		eap
	}
	accounting {
		detail
	}
}
server inner {
	authorize {
		within
		mschap
		eap {
			ok = return
		}
		pap
	}
	authenticate {
		Auth-Type PAP {
			pap
		}
		Auth-Type MS-CHAP {
			mschap
		}
		eap
	}
}
`

// findFreeRADIUS is where FreeRADIUS is, or skips the test.
func findFreeRADIUS(t *testing.T) string {
	t.Helper()
	peers := os.Getenv("TRIKE_PEERS")
	if peers == "" {
		peers = "/var/cache/trike-peers"
	}
	for _, root := range []string{filepath.Join(peers, "freeradius"), "/"} {
		if _, err := os.Stat(filepath.Join(root, "usr/sbin/freeradius")); err == nil {
			return root
		}
	}
	t.Skip("no FreeRADIUS is here: test/setup peers unpacks it")
	return ""
}

// startFreeRADIUS runs a server for one test.
func startFreeRADIUS(t *testing.T, tlsMax string) *freeRADIUS {
	t.Helper()
	f := &freeRADIUS{root: findFreeRADIUS(t), dir: t.TempDir(), ca: pkitest.New("FreeRADIUS test", pkitest.ECDSA)}
	port := func() string {
		_, p, err := net.SplitHostPort(freePort(t))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	f.auth, f.acct, f.tls = port(), port(), port()
	f.server = f.ca.Issue(pkitest.Leaf{CN: "radius.test", DNS: "radius.test", Server: true})
	f.alice = f.ca.Issue(pkitest.Leaf{CN: "alice", Email: "alice"})
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	lib := filepath.Join(f.root, "usr/lib/freeradius")
	f.env = []string{"PATH=/usr/bin:/bin", "LD_LIBRARY_PATH=" + strings.Join([]string{lib, filepath.Join(f.root, "usr/lib", triplet), filepath.Join(f.root, "lib", triplet)}, ":")}
	for name, text := range map[string]string{"users": radiusUsers, "inner": radiusInner, "server.pem": string(f.server.Chain), "server.key": string(f.server.Key), "ca.pem": string(f.ca.PEM()),
		"radiusd.conf": fmt.Sprintf(radiusConfig, f.root, f.dir, lib, tlsMax, f.auth, f.acct, f.tls)} {
		if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := os.Create(filepath.Join(f.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(filepath.Join(f.root, "usr/sbin/freeradius"), "-fxx", "-l", "stdout", "-n", "radiusd", "-d", f.dir, "-D", filepath.Join(f.root, "usr/share/freeradius"))
	cmd.Env, cmd.Stdout, cmd.Stderr = f.env, out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("FreeRADIUS said:\n%s", tail(f.read("log"), 12000))
		}
	})
	for range 200 {
		if strings.Contains(f.read("log"), "Ready to process requests") {
			return f
		}
		select {
		case <-ended:
			t.Fatal("FreeRADIUS ended by itself")
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatal("FreeRADIUS does not come up")
	return nil
}

func (f *freeRADIUS) read(name string) string {
	b, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		return ""
	}
	return string(b)
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// client is a method in the client's role.
func client(t *testing.T, m eapsdk.Method, values map[string]string, secrets map[string][]byte) eapsdk.Method {
	t.Helper()
	if err := m.Configure(t.Context(), eapsdk.Config{Values: values, Secrets: secrets}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return m
}

func (f *freeRADIUS) clients(t *testing.T) map[string]eapsdk.Method {
	name := map[string]string{"server-name": "radius.test"}
	inner := func(kind string) map[string]string {
		return map[string]string{"server-name": "radius.test", "inner": kind}
	}
	password := map[string][]byte{"ca": f.ca.PEM(), "password": []byte("wonderland")}
	return map[string]eapsdk.Method{
		"MSCHAPv2": client(t, new(mschapv2.Method), nil, map[string][]byte{"password": []byte("wonderland")}),
		"TLS":      client(t, new(tlsmethod.Method), name, map[string][]byte{"ca": f.ca.PEM(), "certificate": f.alice.Chain, "key": f.alice.Key}),
		"PEAP":     client(t, new(peap.Method), name, password),
		"TTLS":     client(t, new(ttls.Method), inner("pap"), password),
	}
}

var userOf = map[string]string{"MSCHAPv2": "chapuser", "TLS": "alice", "PEAP": "peapuser", "TTLS": "ttlsuser"}

func talk(t *testing.T, server, client eapsdk.Method, identity string) eaptest.Talk {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	b := begin(identity)
	b.Packet = nil
	got, err := eaptest.Converse(ctx, server, client, b, eaptest.Link{})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFreeRADIUSLetsPeersOfEveryMethodIn(t *testing.T) {
	for _, version := range []string{"1.2", "1.3"} {
		f := startFreeRADIUS(t, version)
		for name, method := range f.clients(t) {
			t.Run(name+" with TLS "+version, func(t *testing.T) {
				r := configured(t, map[string]string{"servers": "127.0.0.1:" + f.auth, "acct-servers": "none"}, nil)
				got := talk(t, r, method, userOf[name])
				if got.Server.Outcome != eapsdk.Success || got.Client.Outcome != eapsdk.Success {
					t.Fatalf("server %v %q, client %v %q", got.Server.Outcome, got.Server.Reason, got.Client.Outcome, got.Client.Reason)
				}
				if len(got.Server.MSK) != 64 || !bytes.Equal(got.Server.MSK, got.Client.MSK) {
					t.Errorf("the sides have different MSKs, of %d and %d octets", len(got.Server.MSK), len(got.Client.MSK))
				}
			})
		}
	}
}

// Four hundred at once are more than one socket has identifiers for.
func TestFreeRADIUSServesManyAtOnce(t *testing.T) {
	f := startFreeRADIUS(t, "1.2")
	r := configured(t, map[string]string{"servers": "127.0.0.1:" + f.auth, "acct-servers": "none", "timeout": "2s"}, nil)
	method := f.clients(t)["MSCHAPv2"]
	var wg sync.WaitGroup
	for range 400 {
		wg.Go(func() {
			b := begin("chapuser")
			b.Packet = nil
			got, err := eaptest.Converse(t.Context(), r, method, b, eaptest.Link{})
			if err != nil || got.Server.Outcome != eapsdk.Success || !bytes.Equal(got.Server.MSK, got.Client.MSK) {
				t.Errorf("%v %q, %v", got.Server.Outcome, got.Server.Reason, err)
			}
		})
	}
	wg.Wait()
}

func TestFreeRADIUSGrantsArrive(t *testing.T) {
	f := startFreeRADIUS(t, "1.2")
	r := configured(t, map[string]string{"servers": "127.0.0.1:" + f.auth, "acct-servers": "none"}, nil)
	got := talk(t, r, f.clients(t)["MSCHAPv2"], "chapuser").Server
	g := got.Grants
	if g.Address4.String() != "10.9.8.7" || g.Address6.String() != "2001:db8::9" || g.SessionTimeout != time.Hour || g.InterimEvery != 10*time.Minute ||
		len(g.Class) != 1 || string(g.Class[0]) != "gold" || strings.Join(got.Groups, " ") != "staff admins" {
		t.Errorf("grants %+v, groups %q", g, got.Groups)
	}
	// A wrong password is no: the reason names the server, and no password.
	wrong := client(t, new(mschapv2.Method), nil, map[string][]byte{"password": []byte("looking-glass")})
	if got := talk(t, r, wrong, "chapuser"); got.Server.Outcome != eapsdk.Failure || !strings.Contains(got.Server.Reason, "rejected") || got.Server.MSK != nil {
		t.Errorf("%v %q", got.Server.Outcome, got.Server.Reason)
	}
	// EAP-MD5 makes no keys.
	keyless := client(t, new(md5.Method), nil, map[string][]byte{"password": []byte("one two three")})
	if got := talk(t, r, keyless, "md5user"); got.Server.Outcome != eapsdk.Failure || !strings.Contains(got.Server.Reason, "keyless") {
		t.Errorf("%v %q", got.Server.Outcome, got.Server.Reason)
	}
	r = configured(t, map[string]string{"servers": "127.0.0.1:" + f.auth, "acct-servers": "none", "keyless": "allow"}, nil)
	if got := talk(t, r, keyless, "md5user"); got.Server.Outcome != eapsdk.Success {
		t.Errorf("%v %q", got.Server.Outcome, got.Server.Reason)
	}
}

func TestFreeRADIUSOverTLS(t *testing.T) {
	f := startFreeRADIUS(t, "1.2")
	pair := f.ca.Issue(pkitest.Leaf{CN: "gateway"})
	secrets := map[string][]byte{"tls-ca": f.ca.PEM(), "tls-certificate": pair.Chain, "tls-key": pair.Key}
	r := configured(t, map[string]string{"servers": "radsec://127.0.0.1:" + f.tls, "tls-server-name": "radius.test"}, secrets)
	for range 2 {
		if got := talk(t, r, f.clients(t)["MSCHAPv2"], "chapuser").Server; got.Outcome != eapsdk.Success {
			t.Fatalf("%v %q", got.Outcome, got.Reason)
		}
	}
	if err := r.Account(t.Context(), eapsdk.Record{Kind: eapsdk.Start, Session: "9", Identity: "chapuser", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if d := f.read("detail"); !strings.Contains(d, `Acct-Session-Id = "9"`) {
		t.Errorf("the detail file:\n%s", d)
	}
}

func TestFreeRADIUSKeepsTheAccounts(t *testing.T) {
	f := startFreeRADIUS(t, "1.2")
	r := configured(t, map[string]string{"servers": "127.0.0.1:" + f.auth, "acct-servers": "127.0.0.1:" + f.acct, "nas-identifier": "gw1"}, nil)
	step := talk(t, r, f.clients(t)["MSCHAPv2"], "chapuser").Server
	rec := eapsdk.Record{Session: "7", Connection: "roadwarrior", Identity: "chapuser", Peer: begin("").Peer, At: time.Now(), Class: step.Grants.Class}
	for _, kind := range []eapsdk.RecordKind{eapsdk.Start, eapsdk.Interim, eapsdk.Stop} {
		if rec.Kind = kind; kind != eapsdk.Start {
			rec.Duration, rec.BytesIn, rec.BytesOut, rec.Cause = time.Minute, 3<<32|5, 6, "session-timeout"
		}
		if err := r.Account(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	detail := f.read("detail")
	for _, want := range []string{"Acct-Status-Type = Accounting-On", "Acct-Status-Type = Start", "Acct-Status-Type = Interim-Update", "Acct-Status-Type = Stop",
		"Acct-Status-Type = Accounting-Off", `Acct-Session-Id = "7"`, `User-Name = "chapuser"`, "Class = 0x676f6c64", `NAS-Identifier = "gw1"`, "Acct-Input-Gigawords = 3",
		"Acct-Input-Octets = 5", "Acct-Output-Octets = 6", "Acct-Session-Time = 60", "Acct-Terminate-Cause = Session-Timeout", `Calling-Station-Id = "192.0.2.9"`,
		"NAS-IP-Address = 198.51.100.1", "Acct-Authentic = RADIUS"} {
		if !strings.Contains(detail, want) {
			t.Errorf("the detail file has no %q", want)
		}
	}
	if t.Failed() {
		t.Logf("detail:\n%s", detail)
	}
}

func TestRadclientEndsASession(t *testing.T) {
	root := findFreeRADIUS(t)
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	address := freePort(t)
	r := configured(t, map[string]string{"servers": "127.0.0.1", "acct-servers": "none", "coa-listen": address, "coa-clients": "127.0.0.0/8"}, nil)
	trike := &commands{knows: map[string]bool{"7": true}}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error)
	go func() { over <- r.Commands(ctx, trike.deliver) }()
	radclient := func(kind, secret, attributes string) string {
		t.Helper()
		cmd := exec.Command(filepath.Join(root, "usr/bin/radclient"), "-x", "-r", "1", "-t", "1", "-D", filepath.Join(root, "usr/share/freeradius"), address, kind, secret)
		cmd.Env = []string{"LD_LIBRARY_PATH=" + strings.Join([]string{filepath.Join(root, "usr/lib/freeradius"), filepath.Join(root, "usr/lib", triplet),
			filepath.Join(root, "lib", triplet)}, ":")}
		cmd.Stdin = strings.NewReader(attributes + "\n")
		out, _ := cmd.CombinedOutput() // its exit status tells a NAK from an ACK, as does what it says
		return string(out)
	}
	now := fmt.Sprint(time.Now().Unix())
	for _, c := range []struct{ kind, secret, attributes, want string }{
		{"disconnect", secret, `Acct-Session-Id = "7", User-Name = "chapuser", Message-Authenticator = 0x00, Event-Timestamp = ` + now, "Received Disconnect-ACK"},
		{"disconnect", secret, `Acct-Session-Id = "8", Message-Authenticator = 0x00, Event-Timestamp = ` + now, "Error-Cause = Session-Context-Not-Found"},
		{"coa", secret, `Acct-Session-Id = "7", Session-Timeout = 60, Message-Authenticator = 0x00, Event-Timestamp = ` + now, "Received CoA-ACK"},
		{"coa", secret, `Acct-Session-Id = "7", Idle-Timeout = 60, Message-Authenticator = 0x00, Event-Timestamp = ` + now, "Error-Cause = Unsupported-Attribute"},
		{"disconnect", "another secret", `Acct-Session-Id = "7", Message-Authenticator = 0x00, Event-Timestamp = ` + now, "No reply from server"},
		{"disconnect", secret, `Acct-Session-Id = "7", Event-Timestamp = ` + now, "No reply from server"},
	} {
		if out := radclient(c.kind, c.secret, c.attributes); !strings.Contains(out, c.want) {
			t.Errorf("%s %s:\n%s", c.kind, c.attributes, out)
		}
	}
	heard := trike.take()
	if len(heard) != 3 || heard[0].Kind != eapsdk.Disconnect || heard[0].Session != "7" || heard[2].Kind != eapsdk.Change || heard[2].Grants.SessionTimeout != time.Minute {
		t.Errorf("heard %+v", heard)
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
}
