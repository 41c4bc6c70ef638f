package live

import (
	"syscall"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/test/bed"
)

// Each process of a gateway is killed under traffic. Nothing leaves in clear; the traffic goes on unless what carried it was killed, and then comes back by itself; the tunnel is
// managed again.
func TestKill(t *testing.T) {
	for _, name := range []string{"ikeproc", "authproc", "xfrmproc"} {
		for _, of := range []string{"berlin", "paris"} {
			t.Run(name+" of "+of, func(t *testing.T) {
				s := newSite(t)
				g := map[string]*bed.Trike{"berlin": s.b, "paris": s.p}[of]
				s.guarded(func() {
					pid := s.pid(g, name)
					kill := func() { s.must(syscall.Kill(pid, syscall.SIGKILL)) }
					if name == "xfrmproc" && !inKernel() {
						if got, sent, out := s.pinging(6, kill); got < sent/4 {
							t.Errorf("%d of %d pings came back:\n%s", got, sent, out)
						}
					} else {
						s.unharmed(3, kill)
					}
					s.reach(20 * time.Second)
					s.managed(g, name)
				})
			})
		}
	}
}

// triked itself is killed: its processes end with it, what the kernel carries goes on, and what is protected stays protected. Started again, it takes over what still stands.
func TestKillTriked(t *testing.T) {
	s := newSite(t)
	s.guarded(func() {
		before := map[string]int{}
		for _, name := range []string{"ikeproc", "authproc", "xfrmproc"} {
			before[name] = s.pid(s.b, name)
		}
		kill := func() {
			s.b.Proc.Kill()
			for name, pid := range before {
				s.must(bed.Until(10*time.Second, name+" to end with triked", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH }))
			}
		}
		if inKernel() {
			s.unharmed(3, kill)
		} else if got, _, _ := s.pinging(3, kill); got < 5 {
			t.Errorf("%d pings came back while triked still ran", got)
		}
		if !inKernel() {
			if got, _ := s.alice.Ping("10.2.0.2", "", 5, 50*time.Millisecond); got != 0 {
				t.Errorf("%d pings came back without a datapath", got)
			}
		}
		s.must(s.b.Start())
		s.reach(60 * time.Second)
		s.managed(s.b, "")
	})
}

// managed fails unless the process runs again, both sides agree on one tunnel, and it can be rekeyed without a loss.
func (s *site) managed(g *bed.Trike, name string) {
	s.t.Helper()
	s.must(bed.Until(30*time.Second, "all processes to run", func() bool {
		st, err := g.Status()
		running := 0
		for _, p := range st.Processes {
			if p.State == "running" && (p.Name != name || p.Restarts == 1) {
				running++
			}
		}
		return err == nil && running == 3
	}))
	ike, child := bed.SPIs(s.settled())
	s.unharmed(1, func() { s.ask(g, "rekey", "berlin-paris") })
	s.unharmed(1, func() { s.ask(g, "rekey", "--ike", "berlin-paris") })
	s.alice.Ping("10.2.0.2", "", 3, 50*time.Millisecond)
	c := s.settled()
	if sa := c.Children[0].SAs[0]; sa.PacketsIn == 0 || sa.PacketsOut == 0 || sa.BytesIn < 84*sa.PacketsIn || sa.BytesOut < 84*sa.PacketsOut {
		s.t.Errorf("the status tells of %d octets in %d packets in, and %d in %d out", sa.BytesIn, sa.PacketsIn, sa.BytesOut, sa.PacketsOut)
	}
	if ike2, child2 := bed.SPIs(c); ike == ike2 || child == child2 {
		s.t.Errorf("the rekeys changed nothing: %s %s", ike2, child2)
	}
}
