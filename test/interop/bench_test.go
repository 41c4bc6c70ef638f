//go:build interop

package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/test/bed"
)

// The benchmarks measure trike and strongSwan in the same run, on the same machine, by the same load. Each is run once (-benchtime 1x).

// other is the same lab, seen from the other side: its strongSwan runs on the left.
func (lab *lab) other() *lab {
	o := *lab
	o.left, o.right, o.l, o.r, o.inL, o.inR, o.netL, o.netR = lab.right, lab.left, lab.r, lab.l, lab.inR, lab.inL, lab.netR, lab.netL
	return &o
}

const (
	benchIKE = "aes256gcm16-prfsha256-x25519"
	benchESP = "aes256gcm16-noesn"
	// Bound the benchmarks in count and in time.
	handshakes = 200
	streamTime = 5 * time.Second
)

const benchPolicy = `		ike: proposals: ["aes256gcm16-prfsha256-x25519"]
		esp: proposals: ["aes256gcm16-noesn"]
		initiate: "never"`

// BenchmarkPeerResponder: a strongSwan initiates, and the responder's CPU time counts: all processes of a gateway, from IKE_SA_INIT to the delete.
func BenchmarkPeerResponder(b *testing.B) {
	for _, who := range []string{"trike", "strongSwan"} {
		b.Run(who, func(b *testing.B) {
			lab := newLab(b, false)
			peer := lab.strongSwan(benchIKE, benchESP, "", "")
			var pids []int
			if who == "trike" {
				pids = lab.trike(benchPolicy).pids()
			} else {
				pids = append(pids, lab.other().strongSwan(benchIKE, benchESP, "", "").pid())
			}
			one := func() {
				peer.up("net")
				swan(b, peer, "--terminate", "--ike", "peer")
			}
			one() // what is made once is made now
			before := cpuTime(b, pids)
			for range handshakes {
				one()
			}
			b.ReportMetric((cpuTime(b, pids)-before).Seconds()*1e3/handshakes, "cpu-ms/handshake")
		})
	}
}

// BenchmarkPeerResponderLoad: a strongSwan initiates a hundred connections at once, several times over, and the responder's CPU time counts.
func BenchmarkPeerResponderLoad(b *testing.B) {
	const connections, rounds = 100, 5
	for _, who := range []string{"trike", "strongSwan"} {
		b.Run(who, func(b *testing.B) {
			lab := newLab(b, false)
			for i := range connections {
				lab.right.Must("ip", "addr", "add", fmt.Sprintf("192.0.2.%d/32", 100+i), "dev", lab.wire)
			}
			if err := lab.bed.Err(); err != nil {
				b.Fatal(err)
			}
			var pids []int
			if who == "trike" {
				pids = startTrike(b, lab.bed, lab.left, "left", lab.many(connections)).pids()
			} else {
				conf := strings.NewReplacer("remote_addrs = "+lab.r, "remote_addrs = %any", "id = "+lab.r, "id = %any").Replace(lab.other().swanctl(benchIKE, benchESP, "", "", psk))
				pids = []int{startStrongSwan(b, lab.left, true, "", conf).pid()}
			}
			var conf strings.Builder
			for i := range connections {
				conf.WriteString(strings.NewReplacer("peer {", fmt.Sprintf("c%d {", i), "net {", fmt.Sprintf("net%d {", i), "ike-1", fmt.Sprintf("ike-%d", i),
					"local_addrs = "+lab.r, fmt.Sprintf("local_addrs = 192.0.2.%d", 100+i), "id = "+lab.r, fmt.Sprintf("id = 192.0.2.%d", 100+i),
					lab.netR, fmt.Sprintf("10.2.%d.0/24", i)).Replace(lab.swanctl(benchIKE, benchESP, "", "start_action = start", psk)))
			}
			round := func() {
				initiator := startStrongSwan(b, lab.right, true, "", conf.String())
				if err := bed.Until(60*time.Second, "all connections to be up", func() bool { return strings.Count(initiator.sas(), "INSTALLED") == connections }); err != nil {
					b.Fatal(err, initiator.sas())
				}
				if err := initiator.proc.Stop(20 * time.Second); err != nil {
					b.Log(err)
				}
			}
			round()
			before := cpuTime(b, pids)
			for range rounds {
				round()
			}
			b.ReportMetric((cpuTime(b, pids)-before).Seconds()*1e3/(connections*rounds), "cpu-ms/handshake")
		})
	}
}

// many is the policy of a gateway with so many peers.
func (lab *lab) many(connections int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\tgateways: left: {address: %q, networks: [%q], datapath: \"userspace\"}\n", lab.l, lab.netL)
	for i := range connections {
		fmt.Fprintf(&b, "\tconnections: c%d: {gateway: \"left\", peer: {address: \"192.0.2.%d\", networks: [\"10.2.%d.0/24\"]}, auth: psk: secret: \"peer\"\n%s}\n",
			i, 100+i, i, benchPolicy)
	}
	return b.String()
}

func (g *gateway) pids() []int {
	g.t.Helper()
	st, err := g.Status()
	if err != nil {
		g.t.Fatal(err)
	}
	pids := []int{g.Proc.PID()}
	for _, p := range st.Processes {
		pids = append(pids, p.PID)
	}
	return pids
}

// cpuTime is what processes have used so far, in all their threads.
func cpuTime(t testing.TB, pids []int) (sum time.Duration) {
	t.Helper()
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(tasks) == 0 {
			t.Fatalf("process %d has gone (%v)", pid, err)
		}
		for _, name := range tasks {
			b, err := os.ReadFile(name)
			var ns int64
			if _, err2 := fmt.Sscan(string(b), &ns); err != nil || err2 != nil {
				continue // a thread that has ended
			}
			sum += time.Duration(ns)
		}
	}
	return sum
}

// pid is charon's own: `unshare` and `chroot` become it.
func (s *strongSwan) pid() int { return s.proc.PID() }

// BenchmarkPeerThroughput: one TCP stream through a tunnel between two gateways of the same make, both with userspace ESP.
func BenchmarkPeerThroughput(b *testing.B) {
	for _, who := range []string{"trike", "strongSwan"} {
		b.Run(who, func(b *testing.B) {
			lab := newLab(b, false)
			if who == "trike" {
				startTrike(b, lab.bed, lab.right, "right", lab.other().policyOf("right", lab.l, benchPolicy))
				us := lab.trike(benchPolicy)
				us.must("up", "peer")
			} else {
				lab.strongSwan(benchIKE, benchESP, "", "")
				lab.other().strongSwan(benchIKE, benchESP, "", "").up("net")
			}
			lab.ping(5, 20*time.Millisecond)
			b.ReportMetric(lab.stream()*8/1e9, "Gbit/s")
		})
	}
}

// stream sends over TCP from the left network to the right one, and returns the octets a second that arrive.
func (lab *lab) stream() float64 {
	lab.t.Helper()
	self, err := os.Executable()
	if err != nil {
		lab.t.Fatal(err)
	}
	to := net.JoinHostPort(lab.inR, "9000")
	sink, err := lab.right.Start("sink", []string{"INTEROP_SINK=" + to}, self)
	if err != nil {
		lab.t.Fatal(err)
	}
	if err := bed.Until(10*time.Second, "the sink to listen", func() bool { return strings.Contains(sink.Output(), "listening") }); err != nil {
		lab.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(lab.t.Context(), streamTime+20*time.Second)
	defer cancel()
	if out, err := lab.left.Run(ctx, "env", "INTEROP_SOURCE="+to, "INTEROP_FROM="+lab.inL, self); err != nil {
		lab.t.Fatal(err, out)
	}
	var rate float64
	if err := bed.Until(10*time.Second, "the sink's count", func() bool {
		n, _ := fmt.Sscanf(sink.Output(), "listening\n%f octets a second", &rate)
		return n == 1
	}); err != nil {
		lab.t.Fatal(err, sink.Output())
	}
	return rate
}

// TestMain is the benchmark's stream when a namespace runs this program again, and otherwise runs the tests.
func TestMain(m *testing.M) {
	err := error(nil)
	switch sink, source := os.Getenv("INTEROP_SINK"), os.Getenv("INTEROP_SOURCE"); {
	case sink != "":
		err = takeStream(sink)
	case source != "":
		err = sendStream(source, os.Getenv("INTEROP_FROM"))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func takeStream(at string) error {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Println("listening")
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	began := time.Now()
	n, err := io.Copy(io.Discard, c)
	fmt.Printf("%f octets a second\n", float64(n)/time.Since(began).Seconds())
	return err
}

func sendStream(to, from string) error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to)
	if err != nil {
		return err
	}
	defer c.Close()
	b := make([]byte, 256<<10)
	for began := time.Now(); time.Since(began) < streamTime; {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
	return nil
}
