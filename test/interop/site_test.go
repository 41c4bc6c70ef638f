//go:build interop

package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/test/bed"
)

// suite is one negotiation written down twice: for trike's policy and for strongSwan.
type suite struct {
	name            string
	trike           string // lines of the connection in the policy
	ike, esp        string // strongSwan's proposals
	shown           string // what strongSwan's list of SAs must show
	userspaceCannot string // why kernel-libipsec cannot do it, if it cannot
}

// lab is trike on the left, strongSwan on the right, a wire between them, and a network behind each on its loopback.
type lab struct {
	t           testing.TB
	bed         *bed.Bed
	left, right *bed.Host
	wire        string // right's interface
	l, r        string // outer addresses
	inL, inR    string // an address in each network
	netL, netR  string
	v6          bool
}

var families = []struct {
	name                             string
	l, r, inL, inR, netL, netR, bits string
}{
	{"IPv4", "192.0.2.1", "192.0.2.2", "10.1.0.1", "10.2.0.1", "10.1.0.0/16", "10.2.0.0/16", "/24"},
	{"IPv6", "2001:db8::1", "2001:db8::2", "2001:db8:1::1", "2001:db8:2::1", "2001:db8:1::/48", "2001:db8:2::/48", "/64"},
}

var labs int

func newLab(t testing.TB, v6 bool) *lab {
	t.Helper()
	f := families[0]
	if v6 {
		f = families[1]
	}
	labs++
	b := bed.NewFor(fmt.Sprintf("i%d", labs))
	t.Cleanup(b.Close)
	lab := &lab{t: t, bed: b, l: f.l, r: f.r, inL: f.inL, inR: f.inR, netL: f.netL, netR: f.netR, v6: v6}
	lab.left, lab.right = b.Host("left"), b.Host("right")
	_, lab.wire = b.Wire(lab.left, f.l+f.bits, lab.right, f.r+f.bits)
	lab.inside()
	return lab
}

// inside puts an address of each network on its gateway, and without trike or strongSwan packets between them would cross in clear.
func (lab *lab) inside() {
	lab.t.Helper()
	bits := "/32"
	if lab.v6 {
		bits = "/128"
	}
	lab.left.Must("ip", "addr", "add", lab.inL+bits, "dev", "lo")
	lab.right.Must("ip", "addr", "add", lab.inR+bits, "dev", "lo")
	lab.left.Route(lab.netR, lab.r)
	lab.right.Route(lab.netL, lab.l)
	if err := lab.bed.Err(); err != nil {
		lab.t.Fatal(err)
	}
}

// trike starts the left gateway. connection holds more lines of the connection "peer".
func (lab *lab) trike(connection string) *gateway {
	lab.t.Helper()
	return startTrike(lab.t, lab.bed, lab.left, "left", lab.policy(lab.r, connection))
}

func (lab *lab) policy(peer, connection string) string { return lab.policyOf("left", peer, connection) }

// policyOf is the policy of a gateway of this name at the left address.
func (lab *lab) policyOf(name, peer, connection string) string {
	datapath := "userspace"
	if inKernel() {
		datapath = "kernel"
	}
	return fmt.Sprintf(`
	gateways: %[7]s: {address: "%[1]s", networks: ["%[2]s"], datapath: "%[3]s"}
	connections: peer: {
		gateway: "%[7]s"
		peer: {address: "%[4]s", id: "%[5]s", networks: ["%[6]s"]}
		auth: psk: secret: "peer"
%[8]s
	}`, lab.l, lab.netL, datapath, peer, lab.r, lab.netR, name, connection)
}

// strongSwan starts the right gateway. conn and child hold more lines of their sections.
func (lab *lab) strongSwan(ike, esp, conn, child string) *strongSwan {
	lab.t.Helper()
	s := startStrongSwan(lab.t, lab.right, !inKernel(), "", lab.swanctl(ike, esp, conn, child, psk))
	lab.routeInside()
	return s
}

// routeInside sends strongSwan's packets for the left network where its datapath takes them.
func (lab *lab) routeInside() {
	if inKernel() {
		return
	}
	family := "-4"
	if lab.v6 {
		family = "-6"
	}
	lab.right.Must("ip", family, "route", "replace", lab.netL, "dev", "ipsec0", "src", lab.inR)
	if err := lab.bed.Err(); err != nil {
		lab.t.Fatal(err)
	}
}

func (lab *lab) swanctl(ike, esp, conn, child, key string) string {
	return fmt.Sprintf(`
connections { peer {
	version = 2
	local_addrs = %s
	remote_addrs = %s
	proposals = %s
	encap = %s
	%s
	local { auth = psk
		id = %[1]s }
	remote { auth = psk
		id = %[2]s }
	children { net { local_ts = %[6]s
		remote_ts = %[7]s
		esp_proposals = %[8]s
		%[9]s } }
} }
secrets { ike-1 { secret = "%[10]s" } }
`, lab.r, lab.l, ike, yesNo(!inKernel()), conn, lab.netR, lab.netL, esp, child, key)
}

// ping sends count pings from the left network into the right one and wants them all back.
func (lab *lab) ping(count int, interval time.Duration) {
	lab.t.Helper()
	if got, out := lab.left.Ping(lab.inR, lab.inL, count, interval); got != count {
		lab.t.Errorf("%d of %d pings came back:\n%s", got, count, out)
	}
}

// pingDuring pings through the tunnel, 20 a second, while do works, and wants not one lost.
func (lab *lab) pingDuring(seconds int, do func()) {
	lab.t.Helper()
	type result struct {
		got int
		out string
	}
	count := seconds * 20
	done := make(chan result, 1)
	go func() {
		got, out := lab.left.Ping(lab.inR, lab.inL, count, 50*time.Millisecond)
		done <- result{got, out}
	}()
	time.Sleep(300 * time.Millisecond)
	do()
	if r := <-done; r.got != count {
		lab.t.Errorf("%d of %d pings came back:\n%s", r.got, count, r.out)
	}
}

// watched runs do with a capture on the wire and wants ESP on it and nothing of the networks in clear.
func (lab *lab) watched(do func()) {
	lab.t.Helper()
	c, err := lab.right.Capture(lab.wire, "")
	if err != nil {
		lab.t.Fatal(err)
	}
	do()
	c.Stop()
	// The receiving interface shows a decrypted packet of tunnel mode once more, so only what leaves is looked at.
	clear, err := c.Count(fmt.Sprintf("(src net %s and dst net %s) and not ether dst %s", lab.netR, lab.netL, lab.mac()))
	if err != nil {
		lab.t.Fatal(err)
	}
	esp, err := c.Count("esp or (udp port 4500 and udp[8:4] != 0) or (ip6 proto 17 and port 4500)")
	if err != nil {
		lab.t.Fatal(err)
	}
	if esp == 0 || clear != 0 {
		lab.t.Errorf("on the wire: %d ESP packets, %d in clear", esp, clear)
	}
}

// mac is the hardware address of the right end of the wire.
func (lab *lab) mac() string {
	out, err := lab.right.Run(lab.t.Context(), "cat", "/sys/class/net/"+lab.wire+"/address")
	if err != nil {
		lab.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}
