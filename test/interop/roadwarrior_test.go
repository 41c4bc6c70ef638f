//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/pkitest"
	"github.com/trike-ipsec/trike/test/bed"
)

// roads is trike with a network behind it, and laptops behind one NAT: all of them come from its address.
type roads struct {
	t       *testing.T
	bed     *bed.Bed
	hub     *bed.Host
	us      *gateway
	wire    string // the interface of the NAT towards the hub: at the hub itself, a capture shows what the kernel decrypted, too
	ca, own *pkitest.Pair
	nat     *bed.Host
	laptops []*laptop
}

// laptop is strongSwan as a road warrior.
type laptop struct {
	*strongSwan
	host   *bed.Host
	outer  string
	via    string
	wire   string // its interface
	v4, v6 string
}

// newRoads starts the hub, whose users are in a file. pools is the inside of `pools: {…}`, given what of it the connection names.
func newRoads(t *testing.T, pools, given string) *roads {
	t.Helper()
	r := layRoads(t)
	r.start("eap-mschapv2", `secrets: users: "users"`, pools, given, "")
	return r
}

// layRoads lays out the hub and the NAT.
func layRoads(t *testing.T) *roads {
	t.Helper()
	labs++
	b := bed.NewFor(fmt.Sprintf("i%d", labs))
	t.Cleanup(b.Close)
	r := &roads{t: t, bed: b, hub: b.Host("hub"), nat: b.Host("nat")}
	var wire string
	wire, r.wire = b.Wire(r.hub, "192.0.2.1/24", r.nat, "192.0.2.254/24")
	r.nat.Must("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; add rule ip nat post oifname "+r.wire+" masquerade")
	r.nat.Must("sysctl", "-qw", "net.ipv4.ip_forward=1")
	for _, a := range []string{"10.1.0.1/32", "2001:db8:1::1/128"} {
		r.hub.Must("ip", "addr", "add", a, "dev", "lo")
	}
	// Without trike, packets for the pools would cross in clear.
	r.hub.Route("10.99.0.0/16", "192.0.2.254")
	r.hub.Must("ip", "-6", "route", "add", "2001:db8:99::/64", "dev", wire)
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	r.ca = pkitest.CA("Acme", nil, time.Now())
	r.own = pkitest.Leaf("hub.example", r.ca, newKey(t, "P-256"), time.Now())
	dir := filepath.Join(b.Dir, "hub")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "hub.pem"), string(pkitest.PEM(r.own)))
	write(t, filepath.Join(dir, "hub.key"), string(r.own.KeyPEM()))
	write(t, filepath.Join(dir, "radius"), radiusSecret+"\n")
	write(t, filepath.Join(dir, "users"), "alice: wonderland staff\nbob: builder staff\ncarol: christmas staff\n")
	return r
}

// start starts the hub with this plugin for logins.
func (r *roads) start(plugin, settings, pools, given, connection string) {
	r.t.Helper()
	datapath := "userspace"
	if inKernel() {
		datapath = "kernel"
	}
	dir, file := filepath.Join(r.bed.Dir, "hub"), filepath.Join(os.Getenv("TRIKE_BIN"), "plugins", plugin)
	r.us = startTrike(r.t, r.bed, r.hub, "hub", fmt.Sprintf(`
	gateways: hub: {address: "192.0.2.1", id: "hub.example", certificate: "hub", networks: ["10.1.0.0/16", "2001:db8:1::/48"], datapath: "%s"}
	pools: {%s}
	connections: peer: {
		gateway: "hub"
		peer: {address: "any", id: "any"}
		auth: eap: plugins: ["login"]
		configure: {%s}
		%s
	}
	certificates: hub: {file: "%[5]s/hub.pem", key: "key"}
	plugins: login: {file: %[6]q, sha256: "%[7]s", %[8]s}
	secrets: {
		key: file: "%[5]s/hub.key"
		users: file: "%[5]s/users"
		radius: file: "%[5]s/radius"
	}`, datapath, pools, given, connection, dir, file, sum(r.t, file), settings))
}

// laptop puts a laptop behind the NAT.
func (r *roads) laptop(user, password string) *laptop {
	r.t.Helper()
	n := len(r.laptops) + 1
	l := &laptop{host: r.bed.Host(fmt.Sprintf("laptop%d", n)), outer: fmt.Sprintf("172.16.%d.1", n), via: fmt.Sprintf("172.16.%d.254", n)}
	l.wire, _ = r.bed.Wire(l.host, l.outer+"/24", r.nat, l.via+"/24")
	l.host.Route("192.0.2.0/24", l.via)
	if err := r.bed.Err(); err != nil {
		r.t.Fatal(err)
	}
	// Both call themselves by the same private name, as machines behind NATs do: the user tells them apart.
	l.strongSwan = startStrongSwan(r.t, l.host, !inKernel(), "", fmt.Sprintf(`
connections { hub {
	version = 2
	local_addrs = %s
	remote_addrs = 192.0.2.1
	vips = 0.0.0.0, ::
	proposals = %s
	encap = %s
	local { auth = eap-mschapv2
		id = 192.168.1.10
		eap_id = %s }
	remote { auth = pubkey
		id = hub.example
		cacerts = ca.pem }
	children { net { remote_ts = 10.1.0.0/16, 2001:db8:1::/48
		esp_proposals = %s } }
} }
secrets { eap-1 { id = %[4]s
	secret = %[6]s } }
`, l.outer, defaultIKE, yesNo(!inKernel()), user, espHere(defaultESP), password), credential{"x509ca/ca.pem", pkitest.PEM(r.ca)})
	r.laptops = append(r.laptops, l)
	return l
}

var givenAddress = regexp.MustCompile(`local  '192.168.1.10' @ \S+( \[(\S+)( (\S+))?\])?`)

// connect brings the laptop up and learns which addresses it was given.
func (l *laptop) connect() {
	l.t.Helper()
	l.up("net")
	l.learn()
}

func (l *laptop) learn() {
	l.t.Helper()
	m := givenAddress.FindStringSubmatch(l.sas())
	if m == nil {
		l.t.Fatalf("the laptop was given no address:\n%s", l.sas())
	}
	l.v4, l.v6 = "", ""
	for _, a := range []string{m[2], m[4]} {
		switch {
		case strings.Contains(a, ":"):
			l.v6 = a
		case a != "":
			l.v4 = a
		}
	}
	dev := []string{"via", l.via}
	if !inKernel() {
		dev = []string{"dev", "ipsec0"}
	}
	l.host.Must(append(append([]string{"ip", "route", "replace", "10.1.0.0/16"}, dev...), "src", l.v4)...)
	if l.v6 != "" {
		on := l.wire
		if !inKernel() {
			on = "ipsec0"
		}
		l.host.Must("ip", "-6", "route", "replace", "2001:db8:1::/48", "dev", on, "src", l.v6)
	}
}

// pace is between two pings: ping waits for the last answer no longer than that, and a busy machine may need a while.
const pace = 100 * time.Millisecond

// ping sends from the laptop, by its given addresses, into the hub's network, and back from there. This is about where packets go: a run that lost one, on a busy machine, is done again.
func (r *roads) ping(l *laptop, count int) {
	r.t.Helper()
	r.pings(l.host, "10.1.0.1", l.v4, count)
	r.pings(r.hub, l.v4, "10.1.0.1", count)
	if l.v6 != "" {
		r.pings(l.host, "2001:db8:1::1", l.v6, count)
	}
}

func (r *roads) pings(from *bed.Host, to, source string, count int) {
	r.t.Helper()
	got, out := from.Ping(to, source, count, pace)
	if got > 0 && got < count {
		r.t.Logf("%d of %d pings from %s to %s came back; once more:\n%s", got, count, source, to, out)
		got, out = from.Ping(to, source, count, pace)
	}
	if got != count {
		r.t.Errorf("%d of %d pings from %s to %s came back:\n%s", got, count, source, to, out)
	}
}

// TestRoadWarriors: two laptops behind one NAT, with one IKE identity, get an address each and reach the network, and nothing crosses in clear. Who comes again gets the
// same address; a rekey keeps it; a pool that is empty is said to be.
func TestRoadWarriors(t *testing.T) {
	r := newRoads(t, `four: addresses: "10.99.0.0/24", six: addresses: "2001:db8:99::/64"`, `pools: ["four", "six"], dns: ["10.1.0.53"], domains: ["acme.example"]`)
	alice, bob := r.laptop("alice", "wonderland"), r.laptop("bob", "builder")
	clear, err := r.nat.Capture(r.wire, "net 10.0.0.0/8 or ip6 net 2001:db8:99::/64")
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // for the plugin
	alice.connect()
	bob.connect()
	if alice.v4 == bob.v4 || alice.v4 == "" || alice.v6 == "" || alice.v6 == bob.v6 {
		t.Fatalf("alice has %q and %q, bob %q and %q", alice.v4, alice.v6, bob.v4, bob.v6)
	}
	r.us.settled(2, 2)
	r.ping(alice, 10)
	r.ping(bob, 10)

	for _, l := range []*laptop{alice, bob} { // each end rekeys, and the traffic stays with its owner
		if out, err := l.swanctl("--rekey", "--child", "net"); err != nil {
			t.Fatal(err, out)
		}
		if out, err := l.swanctl("--rekey", "--ike", "hub"); err != nil {
			t.Fatal(err, out)
		}
	}
	time.Sleep(2 * time.Second)
	r.us.settled(2, 2)
	r.ping(alice, 10)
	r.ping(bob, 10)

	was := alice.v4
	if out, err := alice.swanctl("--terminate", "--ike", "hub"); err != nil {
		t.Fatal(err, out)
	}
	r.us.settled(1, 1)
	if got, _ := r.hub.Ping(was, "10.1.0.1", 3, 20*time.Millisecond); got != 0 {
		t.Error("an address that nobody has answers")
	}
	r.ping(bob, 5)
	alice.connect()
	if alice.v4 != was {
		t.Errorf("alice had %s and was given %s", was, alice.v4)
	}
	r.ping(alice, 5)
	r.ping(bob, 5)
	clear.Stop()
	if n, err := clear.Count(""); err != nil || n != 0 {
		t.Errorf("%d packets of the tunnels crossed in clear (%v)", n, err)
	}
}

// TestEmptyPool: the second laptop finds no address. Its IKE SA stands without a child, as RFC 7296 section 3.15.4 wants, and the operator reads why.
func TestEmptyPool(t *testing.T) {
	r := newRoads(t, `one: addresses: "10.99.0.7-10.99.0.7"`, `pools: ["one"]`)
	alice, bob := r.laptop("alice", "wonderland"), r.laptop("bob", "builder")
	time.Sleep(time.Second)
	alice.connect()
	if out, err := bob.swanctl("--initiate", "--child", "net", "--timeout", "10"); err == nil {
		t.Fatalf("bob was let in:\n%s", out)
	}
	if !strings.Contains(bob.log(), "INTERNAL_ADDRESS_FAILURE") && !strings.Contains(bob.log(), "INT_ADDR_FAIL") {
		t.Errorf("bob was not told why")
	}
	out, err := r.us.Ask("status")
	if err != nil {
		t.Fatal(err)
	}
	wants(t, out, "INTERNAL_ADDRESS_FAILURE", "no IPv4 address is left in one: all 1 are in use")
	r.ping(alice, 5)
}

// kill ends one process of the hub with SIGKILL, and waits for its successor.
func (r *roads) kill(process string) {
	r.t.Helper()
	running := func() (pid int) {
		s, err := r.us.Status()
		if err != nil {
			return 0
		}
		for _, p := range s.Processes {
			if p.Name == process && p.State == "running" {
				pid = p.PID
			}
		}
		return pid
	}
	old := running()
	if old == 0 {
		r.t.Fatalf("%s does not run", process)
	}
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		r.t.Fatal(err)
	}
	if err := bed.Until(20*time.Second, "the next "+process, func() bool { pid := running(); return pid != 0 && pid != old }); err != nil {
		r.t.Fatal(err)
	}
}

// TestLeasesOutliveProcesses: each process is killed in turn. Who comes again gets the address that it had, and nobody else gets it meanwhile; what the others carry goes on.
func TestLeasesOutliveProcesses(t *testing.T) {
	r := newRoads(t, `four: addresses: "10.99.0.0/24", six: addresses: "2001:db8:99::/64"`, `pools: ["four", "six"]`)
	alice, bob, carol := r.laptop("alice", "wonderland"), r.laptop("bob", "builder"), r.laptop("carol", "christmas")
	time.Sleep(time.Second)
	alice.connect()
	bob.connect()
	hers, his := alice.v4, bob.v4
	for _, process := range []string{"authproc", "ikeproc", "xfrmproc"} {
		if process == "xfrmproc" && !inKernel() {
			continue // the pairs go with it, and a laptop does not ask again until it notices
		}
		r.kill(process)
		r.ping(bob, 5)
		if _, err := alice.swanctl("--terminate", "--ike", "hub", "--force", "--timeout", "1"); err != nil {
			t.Logf("%v", err) // an ikeproc that has forgotten the SA does not answer
		}
		time.Sleep(2 * time.Second) // for the plugin
		if process == "authproc" {
			carol.connect()
		}
		alice.connect()
		if alice.v4 != hers || bob.v4 != his || carol.v4 == hers || carol.v4 == his {
			t.Fatalf("after the end of %s alice has %s, had %s; bob %s, carol %s", process, alice.v4, hers, bob.v4, carol.v4)
		}
		for _, l := range []*laptop{alice, bob, carol} {
			r.ping(l, 5)
		}
	}
}
