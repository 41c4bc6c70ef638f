package live

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/test/bed"
)

// apply applies the policy on berlin.
func (s *site) apply(what string) (string, error) {
	return s.b.Ask("apply", what)
}

// applyBoth applies the policy on both gateways, and waits until the tunnel has so many pairs of SAs on both.
func (s *site) applyBoth(pairs int) {
	s.t.Helper()
	for _, g := range []*bed.Trike{s.b, s.p} {
		s.ask(g, "apply", s.path("policy"))
	}
	for _, g := range []*bed.Trike{s.b, s.p} {
		_, err := g.Settled(30*time.Second, "berlin-paris", 1, pairs)
		s.must(err)
	}
}

// unmoved fails if do changes an SA of the tunnel or costs it a packet.
func (s *site) unmoved(do func()) {
	s.t.Helper()
	ike, child := bed.SPIs(s.settled())
	s.unharmed(1, do)
	if ike2, child2 := bed.SPIs(s.settled()); ike != ike2 || child != child2 {
		s.t.Errorf("the SAs went from %s/%s to %s/%s", ike, child, ike2, child2)
	}
}

// One brace is missing, one field is misspelt, one secret is not there, one octet of a plan was changed: the apply fails, says where, and nothing moves.
func TestBadChange(t *testing.T) {
	s := newSite(t)
	good := s.policy("")
	hash := s.status(s.b).PlanHash
	for name, c := range map[string]struct{ policy, want string }{
		"one brace":                          {strings.Replace(good, "policy: {", "policy: ", 1), "policy.cue:"},
		"one field":                          {strings.Replace(good, "networks", "network", 1), "policy.cue:7:"},
		"one bad connection among good ones": {s.withMore(`links: "berlin-rome": auth: psk: secret: "site"`), "rome"},
		"one secret that is not there": {s.withMore(`secrets: other: file: "/nonexistent/other.psk"
	connections: other: {gateway: "berlin", peer: {address: "198.51.100.77", networks: ["10.77.0.0/16"]}, auth: psk: secret: "other"}`), "/nonexistent/other.psk"},
		"another gateway's": {strings.Replace(good, "gateways: berlin", "gateways: rome", 1), "rome"},
		"another datapath":  {strings.NewReplacer(`"userspace"`, `"kernel"`, `"kernel"`, `"userspace"`).Replace(good), "restart triked"},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.write(c.policy)
			s.unmoved(func() {
				out, err := s.apply(s.path("policy"))
				if err == nil || !strings.Contains(out, c.want) {
					t.Errorf("apply: %v, and it should have said %q:\n%s", err, c.want, out)
				}
			})
		})
	}
	s.t = t
	b, err := os.ReadFile(s.path("plans/berlin.plan.json"))
	s.must(err)
	s.must(os.WriteFile(s.path("changed.plan.json"), bytes.Replace(b, []byte("10.2.0.0/16"), []byte("10.0.0.0/8"), 1), 0o644))
	s.must(os.WriteFile(s.path("cut.plan.json"), b[:len(b)/2], 0o644))
	s.unmoved(func() {
		for _, name := range []string{"changed.plan.json", "cut.plan.json"} {
			if out, err := s.apply(s.path(name)); err == nil {
				t.Errorf("%s was applied:\n%s", name, out)
			}
		}
	})
	if now := s.status(s.b).PlanHash; now != hash {
		t.Errorf("plan %s is in force, and was %s", now, hash)
	}
}

// withMore is the policy with more in it.
func (s *site) withMore(more string) string {
	return strings.Replace(s.policy(""), "policy: {\n", "policy: {\n\t"+more+"\n", 1)
}

// Changes that do not touch the tunnel do not move it: another connection comes, changes, and goes; a lifetime of its own changes without a rekey.
func TestGoodChange(t *testing.T) {
	s := newSite(t)
	other := `connections: other: {gateway: "berlin", initiate: "never", peer: {address: "198.51.100.77", networks: ["10.77.0.0/16"]}, auth: psk: secret: "site"}`
	for _, c := range []struct{ name, policy, want string }{
		{"another connection comes", s.withMore(other), "other"},
		{"it changes", s.withMore(strings.Replace(other, "10.77", "10.78", 1)), "other"},
		{"it goes", s.policy(""), "other"},
		{"a lifetime", s.policy(`lifetime: rekey: "2h"`), "berlin-paris"},
		{"the same again", s.policy(`lifetime: rekey: "2h"`), "in force already"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			s.write(c.policy)
			s.unmoved(func() {
				if out, err := s.apply(s.path("policy")); err != nil || !strings.Contains(out, c.want) {
					t.Errorf("apply: %v, and it should have named %q:\n%s", err, c.want, out)
				}
			})
		})
	}
}

// A child comes to a link that carries traffic, and goes again: the child beside it and the IKE SA stay, and not one packet is lost.
func TestAnotherChild(t *testing.T) {
	s := newSite(t)
	before := s.settled()
	ike, net := bed.SPIs(before)
	s.write(s.policy(`children: {lab: {local: ["10.91.0.0/16"], remote: ["10.92.0.0/16"]}, net: {}}`))
	s.unharmed(2, func() { s.applyBoth(2) })
	with, err := s.b.Connection("berlin-paris")
	s.must(err)
	if !slices.ContainsFunc(with.Children, func(c status.Child) bool { return c.Name == "lab" && len(c.SAs) == 1 }) {
		t.Errorf("the child lab is not up: %+v", with.Children)
	}
	with.Children = slices.DeleteFunc(with.Children, func(c status.Child) bool { return c.Name == "lab" })
	if ike2, net2 := bed.SPIs(with); ike2 != ike || net2 != net {
		t.Errorf("with another child beside it the SAs went from %s/%s to %s/%s", ike, net, ike2, net2)
	}
	s.write(s.policy(""))
	s.unharmed(2, func() { s.applyBoth(1) })
	if ike2, net2 := bed.SPIs(s.settled()); ike2 != ike || net2 != net {
		t.Errorf("without it the SAs went from %s/%s to %s/%s", ike, net, ike2, net2)
	}
}
