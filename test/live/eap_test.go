package live

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/pkitest"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/test/bed"
)

// secretText is a plugin's secret by its setting, which is the file's name here, too.
type secretText struct{ name, text string }

// eapSite is a site where paris has a certificate and asks berlin for a password by EAP-MSCHAPv2.
func eapSite(t *testing.T) *site {
	s := certificateSite(t)
	s.authenticate(bin("plugins/eap-mschapv2"), secretText{"users", "alice: wonderland staff\n"}, secretText{"password", "wonderland\n"}, "staff")
	return s
}

// certificateSite is a site whose gateways have certificates.
func certificateSite(t *testing.T) *site {
	s := newSite(t)
	now := time.Now()
	ca := pkitest.CA("Acme", nil, now)
	s.must(os.WriteFile(s.path("ca.pem"), pkitest.PEM(ca), 0o600))
	for _, name := range []string{"berlin", "paris"} {
		leaf := pkitest.Leaf(name+".example.org", ca, pkitest.NewKey(), now)
		s.must(os.WriteFile(s.path(name+".pem"), pkitest.PEM(leaf), 0o600))
		s.must(os.WriteFile(s.path(name+".key"), leaf.KeyPEM(), 0o600))
	}
	p := strings.ReplaceAll(s.policy(""), `auth: psk: secret: "site"`, `auth: certificate: authorities: ["ca"]`)
	p = strings.Replace(p, "policy: {\n", fmt.Sprintf(`policy: {
	authorities: ca: file: "%[1]s/ca.pem"
	for name in ["berlin", "paris"] {
		gateways: (name): {id: "\(name).example.org", certificate: name}
		certificates: (name): {file: "%[1]s/\(name).pem", key: name}
		secrets: (name): file: "%[1]s/\(name).key"
	}
`, s.bed.Dir), 1)
	s.write(p)
	if out, err := s.berlin.Run(t.Context(), bin("trike"), "compile", "-o", s.path("plans"), s.path("policy")); err != nil {
		t.Fatal(err, out)
	}
	return s
}

// authenticate has berlin prove that it is alice by a plugin, and paris ask by it.
func (s *site) authenticate(file string, server, client secretText, groups ...string) {
	s.t.Helper()
	b, err := os.ReadFile(file)
	s.must(err)
	sum := sha256.Sum256(b)
	give := func(p *plan.Plan, x secretText) {
		s.must(os.WriteFile(s.path(x.name), []byte(x.text), 0o600))
		p.Secrets = append(p.Secrets, plan.Secret{Name: x.name, File: s.path(x.name)})
		p.Plugins = []plan.Plugin{{Name: "method", File: file, SHA256: hex.EncodeToString(sum[:]), Secrets: []plan.PluginSecret{{Name: x.name, Secret: x.name}}}}
	}
	s.edit("berlin", func(p *plan.Plan) {
		give(p, client)
		p.Connections[0].LocalAuth = plan.Auth{Method: plan.AuthEAP, EAP: []string{"method"}, EAPIdentity: "alice"}
	})
	s.edit("paris", func(p *plan.Plan) {
		give(p, server)
		c := &p.Connections[0]
		c.RemoteAuth = plan.Auth{Method: plan.AuthEAP, EAP: []string{"method"}, AskIdentity: true, Groups: groups}
		c.Initiate, c.DPD.Restart = plan.InitiateNever, false
		for i := range c.Children {
			c.Children[i].Initiate = plan.InitiateNever
		}
	})
}

// edit changes a compiled plan.
func (s *site) edit(gateway string, change func(*plan.Plan)) {
	s.t.Helper()
	file := s.path("plans/" + gateway + ".plan.json")
	b, err := os.ReadFile(file)
	s.must(err)
	p, err := plan.Decode(b)
	s.must(err)
	change(p)
	slices.SortFunc(p.Secrets, func(a, b plan.Secret) int { return strings.Compare(a.Name, b.Name) })
	s.must(os.WriteFile(file, plan.Encode(p), 0o644))
}

// pluginRuns waits for a gateway's plugin, and is its process number.
func (s *site) pluginRuns(g *bed.Trike, not int) (pid int) {
	s.t.Helper()
	s.must(bed.Until(30*time.Second, "the plugin to run", func() bool {
		ps := s.status(g).Auth.Plugins
		if len(ps) == 1 && ps[0].State == "running" {
			pid = ps[0].PID
		}
		return pid != 0 && pid != not
	}))
	return pid
}

// Whole gateways with EAP: berlin is the client, with a password; paris has a certificate, and asks its plugin who may come in. Both plugins run as triked starts them.
func TestEAP(t *testing.T) {
	s := eapSite(t)
	s.ask(s.p, "apply", s.path("plans/paris.plan.json"))
	theirs := s.pluginRuns(s.p, 0)
	s.ask(s.b, "apply", s.path("plans/berlin.plan.json"))
	ours := s.pluginRuns(s.b, 0)
	s.ask(s.b, "up", "berlin-paris")
	s.settled()
	s.unharmed(1, func() {})
	s.plugin(theirs, "paris", s.pid(s.p, "authproc"))
	s.plugin(ours, "berlin", s.pid(s.b, "authproc"))
	t.Run("a plugin that is killed costs no tunnel, and is there again", func(t *testing.T) {
		s.unharmed(3, func() { s.must(syscall.Kill(theirs, syscall.SIGKILL)) })
		s.pluginRuns(s.p, theirs)
	})
	t.Run("a user who is gone comes in no more, and hears nothing", func(t *testing.T) {
		s.must(os.WriteFile(s.path("users"), []byte("bob: builder staff\n"), 0o600))
		s.ask(s.p, "apply", s.path("plans/paris.plan.json"))
		s.pluginRuns(s.p, theirs)
		s.ask(s.b, "down", "berlin-paris")
		if out, err := s.b.Ask("up", "berlin-paris"); err == nil {
			t.Errorf("alice came in: %s", out)
		}
		log := s.p.Proc.Output()
		if !strings.Contains(log, "alice") || strings.Contains(log, "wonderland") {
			t.Errorf("paris said: %s", log)
		}
	})
	t.Run("and comes in again with a new password", func(t *testing.T) {
		s.must(os.WriteFile(s.path("users"), []byte("alice: looking-glass staff\n"), 0o600))
		s.must(os.WriteFile(s.path("password"), []byte("looking-glass\n"), 0o600))
		s.ask(s.p, "apply", s.path("plans/paris.plan.json"))
		s.ask(s.b, "apply", s.path("plans/berlin.plan.json"))
		var said string
		if err := bed.Until(30*time.Second, "alice to come in", func() (ok bool) {
			out, err := s.b.Ask("up", "berlin-paris")
			said = out
			return err == nil
		}); err != nil {
			t.Fatal(err, said)
		}
		s.reach(10 * time.Second)
	})
	t.Run("a group that she is not in keeps her out", func(t *testing.T) {
		s.must(os.WriteFile(s.path("users"), []byte("alice: looking-glass guests\n"), 0o600))
		s.ask(s.p, "apply", s.path("plans/paris.plan.json"))
		s.ask(s.b, "down", "berlin-paris")
		s.must(bed.Until(30*time.Second, "alice to stay out", func() bool {
			_, err := s.b.Ask("up", "berlin-paris")
			return err != nil
		}))
	})
}

// plugin reads what a plugin is from /proc: a user of its own, no capability, no network and no neighbours of the host's, nothing open but its own
// and, of a script, the file that its interpreter reads.
func (s *site) plugin(pid int, of string, authproc int, script ...string) {
	s.t.Helper()
	read := func(pid int, name string) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		s.must(err)
		return string(b)
	}
	text := read(pid, "status")
	for _, want := range []string{"Uid:\t648", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(text, want) {
			s.t.Errorf("%s's plugin: no %q in\n%s", of, want, text)
		}
	}
	for _, ns := range []string{"net", "pid", "ipc", "uts", "user"} {
		own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns))
		s.must(err)
		others, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", authproc, ns))
		s.must(err)
		if own == others {
			s.t.Errorf("%s's plugin shares authproc's %s namespace", of, ns)
		}
	}
	for v := range strings.SplitSeq(strings.TrimRight(read(pid, "environ"), "\x00"), "\x00") {
		if !strings.HasPrefix(v, "PLUGIN_") && !strings.HasPrefix(v, "TRIKE_") && !strings.HasPrefix(v, "TMPDIR=") {
			s.t.Errorf("%s's plugin has %q in its environment", of, v)
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	s.must(err)
	for _, fd := range fds {
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		if err == nil && !strings.HasPrefix(to, "pipe:") && !strings.HasPrefix(to, "socket:") && !strings.HasPrefix(to, "anon_inode:") && to != "/dev/null" && !slices.Contains(script, to) {
			s.t.Errorf("%s's plugin has %s open", of, to)
		}
	}
}
