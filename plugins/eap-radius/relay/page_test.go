package relay_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eap-radius/relay"
)

func TestThePageKnowsEverySetting(t *testing.T) {
	page, err := os.ReadFile("../../../docs/eap-radius.md")
	if err != nil {
		t.Fatal(err)
	}
	var told, known []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)`( \\*secret\\*)? \\|").FindAllStringSubmatch(string(page), -1) {
		told = append(told, m[1]+m[2])
	}
	for _, s := range relay.New().Describe().Settings {
		if s.Secret {
			s.Name += " *secret*"
		}
		known = append(known, s.Name)
	}
	slices.Sort(told)
	slices.Sort(known)
	if !slices.Equal(told, known) {
		t.Errorf("docs/eap-radius.md has\n%q, the plugin\n%q", told, known)
	}
}
