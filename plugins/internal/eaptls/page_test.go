package eaptls_test

import (
	"os"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eap-peap/peap"
	"github.com/trike-ipsec/trike/plugins/eap-tls/tlsmethod"
	"github.com/trike-ipsec/trike/plugins/eap-ttls/ttls"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// The page tells of every setting that the plugins have, of which plugin it is, and whether it is secret; and of no other.
func TestThePageHasEverySetting(t *testing.T) {
	b, err := os.ReadFile("../../../docs/eap-tls.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(b), "<!-- settings:")
	if !ok {
		t.Fatal("docs/eap-tls.md has no table of settings")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	told := map[string]bool{}
	for _, line := range strings.Split(table, "\n") {
		cells := strings.Split(line, "|")
		if !strings.HasPrefix(line, "| `") || len(cells) < 4 {
			continue
		}
		for _, plugin := range strings.Split(strings.ReplaceAll(strings.TrimSpace(cells[2]), "all", "eap-tls, eap-ttls, eap-peap"), ", ") {
			told[plugin+" "+strings.TrimSpace(cells[1])] = true
		}
	}
	for plugin, m := range map[string]eapsdk.Method{"eap-tls": &tlsmethod.Method{}, "eap-ttls": &ttls.Method{}, "eap-peap": &peap.Method{}} {
		for _, s := range m.Describe().Settings {
			row := plugin + " `" + s.Name + "`"
			if s.Secret {
				row += " *secret*"
			}
			if !told[row] {
				t.Errorf("the page lacks %s", row)
			}
			delete(told, row)
		}
	}
	for row := range told {
		t.Errorf("the page tells of %s, which there is not", row)
	}
}
