package live

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/test/bed"
)

// inKernel tells whether this run uses the kernel's ESP.
func inKernel() bool { return os.Getenv("TRIKE_DATAPATH") == "kernel" }

// site is two gateways with a host behind each, and a network between them that would carry clear text:
//
//	alice 10.1.0.2 ── berlin 198.51.100.1 ══ net ══ 203.0.113.1 paris ── 10.2.0.2 bob
//
// All have IPv6 as well, which the tunnel carries inside IPv4: alice is 2001:db8:1::2 and bob 2001:db8:2::2.
type site struct {
	t                              *testing.T
	bed                            *bed.Bed
	alice, berlin, net, paris, bob *bed.Host
	wan                            string // the network's interface towards berlin
	b, p                           *bed.Trike
}

var sites int

// newSite lays out the site and starts both gateways with the policy, and brings the tunnel up.
func newSite(t *testing.T) *site {
	t.Helper()
	if os.Geteuid() != 0 || os.Getenv("TRIKE_BIN") == "" {
		t.Skip("whole gateways need root, and their programs in the folder that TRIKE_BIN names: run `make test`")
	}
	sites++
	b := bed.NewFor(fmt.Sprintf("l%d", sites))
	t.Cleanup(b.Close)
	s := &site{t: t, bed: b, alice: b.Host("alice"), berlin: b.Host("berlin"), net: b.Host("net"), paris: b.Host("paris"), bob: b.Host("bob")}
	b.Wire(s.alice, "10.1.0.2/16 2001:db8:1::2/64", s.berlin, "10.1.0.1/16 2001:db8:1::1/64")
	_, s.wan = b.Wire(s.berlin, "198.51.100.1/24 2001:db8:a::1/64", s.net, "198.51.100.254/24 2001:db8:a::254/64")
	b.Wire(s.net, "203.0.113.254/24 2001:db8:b::254/64", s.paris, "203.0.113.1/24 2001:db8:b::1/64")
	b.Wire(s.paris, "10.2.0.1/16 2001:db8:2::1/64", s.bob, "10.2.0.2/16 2001:db8:2::2/64")
	for _, r := range []struct {
		h         *bed.Host
		to4, via4 string
		to6, via6 string
	}{
		{s.alice, "default", "10.1.0.1", "default", "2001:db8:1::1"}, {s.berlin, "default", "198.51.100.254", "default", "2001:db8:a::254"},
		{s.bob, "default", "10.2.0.1", "default", "2001:db8:2::1"}, {s.paris, "default", "203.0.113.254", "default", "2001:db8:b::254"},
		{s.net, "10.1.0.0/16", "198.51.100.1", "2001:db8:1::/48", "2001:db8:a::1"}, {s.net, "10.2.0.0/16", "203.0.113.1", "2001:db8:2::/48", "2001:db8:b::1"},
	} {
		r.h.Route(r.to4, r.via4)
		r.h.Route(r.to6, r.via6)
	}
	s.must(b.Err())
	for _, bob := range []string{"10.2.0.2", "2001:db8:2::2"} {
		if got, out := s.alice.Ping(bob, "", 2, 200*time.Millisecond); got != 2 {
			t.Fatalf("the hosts cannot reach each other without trike: %s", out)
		}
	}
	s.must(os.Mkdir(s.path("policy"), 0o755))
	s.must(os.WriteFile(s.path("key"), []byte(psk+"\n"), 0o600))
	s.write(s.policy(""))
	out, err := s.berlin.Run(t.Context(), bin("trike"), "compile", "-o", s.path("plans"), s.path("policy"))
	if err != nil {
		t.Fatal(err, out)
	}
	s.b, s.p = s.start(s.berlin), s.start(s.paris)
	s.ask(s.b, "up", "berlin-paris")
	s.settled()
	return s
}

const psk = "only a test writes its key into a source file"

func bin(name string) string { return filepath.Join(os.Getenv("TRIKE_BIN"), name) }

func (s *site) path(name string) string { return filepath.Join(s.bed.Dir, name) }

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// policy is the site's policy. more goes into the link.
func (s *site) policy(more string) string {
	datapath := "userspace"
	if inKernel() {
		datapath = "kernel"
	}
	return fmt.Sprintf(`package site

import "github.com/trike-ipsec/trike/schema"

policy: schema.#Policy
policy: {
	gateways: berlin: {address: "198.51.100.1", networks: ["10.1.0.0/16", "2001:db8:1::/48"], datapath: "%[1]s"}
	gateways: paris: {address: "203.0.113.1", networks: ["10.2.0.0/16", "2001:db8:2::/48"], datapath: "%[1]s"}
	links: "berlin-paris": {
		auth: psk: secret: "site"
		%[3]s
	}
	secrets: site: file: "%[2]s"
}
`, datapath, s.path("key"), more)
}

func (s *site) write(policy string) {
	s.t.Helper()
	s.must(os.WriteFile(s.path("policy/policy.cue"), []byte(policy), 0o644))
}

func (s *site) start(h *bed.Host) *bed.Trike {
	s.t.Helper()
	g, err := h.StartTrike(os.Getenv("TRIKE_BIN"), s.path("plans/"+h.Name+".plan.json"))
	if g != nil {
		s.t.Cleanup(func() {
			if s.t.Failed() && g.Proc != nil {
				s.t.Logf("%s said:\n%s", h.Name, g.Proc.Output())
			}
		})
	}
	s.must(err)
	return g
}

// ask has a gateway do something, and wants it done.
func (s *site) ask(g *bed.Trike, verb string, args ...string) string {
	s.t.Helper()
	out, err := g.Ask(verb, args...)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// settled waits until both gateways have one IKE SA and one pair, and returns berlin's.
func (s *site) settled() status.Connection {
	s.t.Helper()
	_, err := s.p.Settled(30*time.Second, "berlin-paris", 1, 1)
	s.must(err)
	c, err := s.b.Settled(30*time.Second, "berlin-paris", 1, 1)
	s.must(err)
	return c
}

func (s *site) status(g *bed.Trike) status.Gateway {
	s.t.Helper()
	st, err := g.Status()
	s.must(err)
	return st
}

// pid is the process number of one of a gateway's processes.
func (s *site) pid(g *bed.Trike, name string) int {
	s.t.Helper()
	if name == "triked" {
		return g.Proc.PID()
	}
	for _, p := range s.status(g).Processes {
		if p.Name == name {
			return p.PID
		}
	}
	s.t.Fatalf("no process %s", name)
	return 0
}

// pinging pings from alice to bob, 20 a second, while do works, and says how many of how many came back.
func (s *site) pinging(seconds int, do func()) (got, sent int, out string) {
	s.t.Helper()
	sent = seconds * 20
	done := make(chan struct{})
	go func() {
		defer close(done)
		got, out = s.alice.Ping("10.2.0.2", "", sent, 50*time.Millisecond)
	}()
	time.Sleep(500 * time.Millisecond)
	do()
	<-done
	return got, sent, out
}

// unharmed fails if one ping is lost while do works.
func (s *site) unharmed(seconds int, do func()) {
	s.t.Helper()
	if got, sent, out := s.pinging(seconds, do); got != sent {
		s.t.Errorf("%d of %d pings came back:\n%s", got, sent, out)
	}
}

// reach waits until the hosts reach each other.
func (s *site) reach(limit time.Duration) {
	s.t.Helper()
	s.must(bed.Until(limit, "the hosts to reach each other", func() bool {
		got, _ := s.alice.Ping("10.2.0.2", "", 1, 100*time.Millisecond)
		return got == 1
	}))
}

// guarded does its work under a capture of the network between the gateways, and wants ESP there and not one packet of the hosts' in clear.
func (s *site) guarded(do func()) {
	s.t.Helper()
	c, err := s.net.Capture(s.wan, "")
	s.must(err)
	do()
	c.Stop()
	clear, err := c.Count("net 10.0.0.0/8 or net 2001:db8:1::/48 or net 2001:db8:2::/48")
	s.must(err)
	esp, err := c.Count("esp or udp port 4500")
	s.must(err)
	if clear != 0 || esp == 0 {
		s.t.Errorf("between the gateways: %d packets in clear, %d of ESP", clear, esp)
	}
}
