package authn

import (
	"slices"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/plan"
)

// bob says that he is root, so the connection of root's is chosen; what he proves is that he is bob.
func TestAConnectionIsForWhoThePeerProvesToBe(t *testing.T) {
	eap := func(pattern string, groups ...string) *connection {
		return &connection{remoteAuth: plan.Auth{Method: plan.AuthEAP, EAP: []string{"mschapv2"}, EAPIdentity: pattern, Groups: groups}}
	}
	s := &State{conns: map[string]*connection{"root's": eap("root"), "everybody's": eap(""), "the crew's": eap("*@example.org", "crew")}}
	all := []string{"root's", "the crew's", "everybody's"}
	left, _, why := s.Choose(all, "root")
	if !slices.Equal(left, []string{"root's", "everybody's"}) {
		t.Fatal(left, why)
	}
	for _, c := range []struct {
		plugin, user, group string
		left                []string
	}{
		{"mschapv2", "root", "", []string{"root's", "everybody's"}},
		{"mschapv2", "ROOT", "", []string{"root's", "everybody's"}},
		{"mschapv2", "bob", "", []string{"everybody's"}},
		{"mschapv2", "bob@example.org", "crew", []string{"the crew's", "everybody's"}},
		{"mschapv2", "bob@example.org", "guests", []string{"everybody's"}},
		{"gtc", "root", "", nil},
	} {
		if left, why := s.Admitted(all, c.plugin, c.user, []string{c.group}); !slices.Equal(left, c.left) {
			t.Errorf("%+v is admitted to %q: %s", c, left, why)
		}
	}
	if _, why := s.Admitted(left[:1], "mschapv2", "bob", nil); !strings.Contains(why, `authenticated as "bob"`) || !strings.Contains(why, `"root's" is for "root"`) {
		t.Error(why)
	}
}
