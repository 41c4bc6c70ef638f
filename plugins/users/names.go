package users

import (
	"fmt"
	"strings"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Names says which spellings of a name mean one user.
type Names struct {
	StripDomain bool // EXAMPLE\alice is alice
	StripRealm  bool // alice@example.com is alice
	FoldCase    bool // Alice is alice
}

// NameSettings are the settings that NamesFrom reads, for a method's Description.
func NameSettings() []eapsdk.Setting {
	return []eapsdk.Setting{
		{Name: "strip-domain", Help: `yes: EXAMPLE\alice is the user alice (no unless set)`},
		{Name: "strip-realm", Help: "yes: alice@example.com is the user alice (no unless set)"},
		{Name: "fold-case", Help: "yes: Alice is the user alice (no unless set)"},
	}
}

// NamesFrom reads the settings of a policy.
func NamesFrom(values map[string]string) (Names, error) {
	var n Names
	for _, s := range []struct {
		name string
		to   *bool
	}{{"strip-domain", &n.StripDomain}, {"strip-realm", &n.StripRealm}, {"fold-case", &n.FoldCase}} {
		switch v := values[s.name]; v {
		case "yes":
			*s.to = true
		case "no", "":
		default:
			return Names{}, fmt.Errorf("setting %s is %q: it has to be yes or no", s.name, v)
		}
	}
	return n, nil
}

// Key is the spelling under which a name is looked up.
func (n Names) Key(name string) string {
	if n.StripDomain {
		if _, user, ok := strings.Cut(name, `\`); ok {
			name = user
		}
	}
	if n.StripRealm {
		if i := strings.LastIndexByte(name, '@'); i > 0 {
			name = name[:i]
		}
	}
	if n.FoldCase {
		name = strings.ToLower(name)
	}
	return name
}
