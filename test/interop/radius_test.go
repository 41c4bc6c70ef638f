//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/test/bed"
)

const radiusSecret = "between the gateway and its RADIUS server"

// freeRADIUS is Debian's, from where fetch-freeradius unpacked it, in the namespace of one host.
type freeRADIUS struct {
	t         *testing.T
	host      *bed.Host
	root, dir string
	libraries string
}

const radiusConfig = `
prefix = %[1]s
name = freeradius
logdir = %[2]s
run_dir = %[2]s
confdir = %[2]s
libdir = %[1]s/usr/lib/freeradius
security {
	reject_delay = 0
	allow_vulnerable_openssl = yes
}
client gateway {
	ipaddr = 127.0.0.1
	secret = "%[3]s"
	require_message_authenticator = yes
}
modules {
	files {
		usersfile = ${confdir}/users
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
		default_eap_type = mschapv2
		mschapv2 {
		}
	}
}
server gateway {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = 1812
	}
	listen {
		type = acct
		ipaddr = 127.0.0.1
		port = 1813
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
`

func startFreeRADIUS(t *testing.T, h *bed.Host, users string) *freeRADIUS {
	t.Helper()
	peers := os.Getenv("TRIKE_PEERS")
	if peers == "" {
		peers = filepath.Dir(os.Getenv("TRIKE_PEER"))
	}
	f := &freeRADIUS{t: t, host: h, root: filepath.Join(peers, "freeradius"), dir: t.TempDir()}
	if _, err := os.Stat(filepath.Join(f.root, "usr/sbin/freeradius")); err != nil {
		f.root = "/"
	}
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	f.libraries = "LD_LIBRARY_PATH=" + strings.Join([]string{f.root + "/usr/lib/freeradius", f.root + "/usr/lib/" + triplet, f.root + "/lib/" + triplet}, ":")
	write(t, filepath.Join(f.dir, "radiusd.conf"), fmt.Sprintf(radiusConfig, f.root, f.dir, radiusSecret))
	write(t, filepath.Join(f.dir, "users"), users)
	p, err := h.Start("freeradius", nil, "env", f.libraries, f.root+"/usr/sbin/freeradius", "-fxx", "-l", "stdout", "-n", "radiusd", "-d", f.dir, "-D", f.root+"/usr/share/freeradius")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("FreeRADIUS said:\n%s", p.Output())
		}
		_ = p.Stop(5 * time.Second)
	})
	if err := bed.Until(20*time.Second, "FreeRADIUS", func() bool { return strings.Contains(p.Output(), "Ready to process requests") }); err != nil {
		t.Fatal(err, p.Output())
	}
	return f
}

// detail waits until the accounts hold a text.
func (f *freeRADIUS) detail(want string) string {
	f.t.Helper()
	var text string
	err := bed.Until(20*time.Second, "the accounts to hold "+want, func() bool {
		b, _ := os.ReadFile(filepath.Join(f.dir, "detail"))
		text = string(b)
		return strings.Contains(text, want)
	})
	if err != nil {
		f.t.Fatalf("%v:\n%s", err, text)
	}
	return text
}

// disconnect is what an administrator of the RADIUS server types.
func (f *freeRADIUS) disconnect(user string) string {
	f.t.Helper()
	out, _ := f.host.Run(f.t.Context(), "sh", "-c", fmt.Sprintf(`echo 'User-Name = "%s", Message-Authenticator = 0x00, Event-Timestamp = '$(date +%%s) | %s %s/usr/bin/radclient -x -r 1 -t 3 -D %s/usr/share/freeradius 127.0.0.1:3799 disconnect '%s'`,
		user, f.libraries, f.root, f.root, radiusSecret))
	return out
}

// TestRADIUS: logins, addresses, accounts and their end are FreeRADIUS's. trike carries EAP there and back.
func TestRADIUS(t *testing.T) {
	r := layRoads(t)
	f := startFreeRADIUS(t, r.hub, `alice Cleartext-Password := "wonderland"
	Framed-IP-Address = 10.99.0.77, Class = "gold", Filter-Id = "staff"
`)
	r.start("eap-radius", `network: true, settings: {servers: "127.0.0.1", "coa-listen": "127.0.0.1:3799", "coa-clients": "127.0.0.0/8"}, secrets: secret: "radius"`,
		`four: addresses: "10.99.0.0/24"`, `pools: ["four"]`, `accounting: {plugin: "login", interim: "10s"}`)
	alice, mallory := r.laptop("alice", "wonderland"), r.laptop("alice", "looking-glass")
	time.Sleep(time.Second)
	if out, err := mallory.swanctl("--initiate", "--child", "net", "--timeout", "10"); err == nil {
		t.Fatalf("a wrong password was let in:\n%s", out)
	}
	alice.connect()
	if alice.v4 != "10.99.0.77" {
		t.Fatalf("the RADIUS server gives 10.99.0.77, and alice was given %q", alice.v4)
	}
	r.ping(alice, 10)
	f.detail("Acct-Status-Type = Interim-Update")
	if out := f.disconnect("mallory"); !strings.Contains(out, "Session-Context-Not-Found") {
		t.Errorf("of somebody who is not there:\n%s", out)
	}
	if out := f.disconnect("alice"); !strings.Contains(out, "Received Disconnect-ACK") {
		t.Errorf("of alice:\n%s", out)
	}
	r.us.settled(0, 0)
	text := f.detail("Acct-Status-Type = Stop")
	for _, want := range []string{`User-Name = "alice"`, "Acct-Status-Type = Start", "Class = 0x676f6c64", "Framed-IP-Address = 10.99.0.77", "Acct-Terminate-Cause = Admin-Reset"} {
		if !strings.Contains(text, want) {
			t.Errorf("the accounts lack %q", want)
		}
	}
	// Ten echo requests and ten replies each way at least, of 84 octets.
	last := text[strings.LastIndex(text, "Acct-Status-Type = Stop"):]
	for _, way := range []string{"Input", "Output"} {
		octets, packets := number(last, "Acct-"+way+"-Octets"), number(last, "Acct-"+way+"-Packets")
		if packets < 20 || octets != 84*packets {
			t.Errorf("%s: %d octets in %d packets", way, octets, packets)
		}
	}
	if t.Failed() {
		t.Logf("accounts:\n%s", text)
	}
}

// number is an attribute's value in the accounts, -1 without one.
func number(text, attribute string) (n int) {
	_, rest, found := strings.Cut(text, attribute+" = ")
	if _, err := fmt.Sscan(rest, &n); !found || err != nil {
		return -1
	}
	return n
}
