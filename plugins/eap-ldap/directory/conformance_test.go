package directory

import (
	"testing"

	"github.com/trike-ipsec/trike/plugins/eap-gtc/gtc"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eaptest"
)

// What is asked of every plugin holds with a directory behind it.
func TestConformanceWithOpenLDAP(t *testing.T) {
	s := startSlapd(t)
	client := func(password string) eaptest.Side {
		return eaptest.Side{Start: eaptest.InProcess(func() eapsdk.Method { return &gtc.Method{} }), Settings: eapsdk.Config{Secrets: map[string][]byte{"password": []byte(password)}}}
	}
	wrong := client("looking-glass")
	eaptest.Conformance(t, eaptest.Config{
		Start: eaptest.InProcess(func() eapsdk.Method { return &Method{} }),
		Server: eaptest.Side{Settings: eapsdk.Config{Values: map[string]string{"url": "ldaps://" + s.ldaps, "bind-dn": "uid={user},ou=people,dc=example,dc=org"},
			Secrets: map[string][]byte{"ca": s.ca}}},
		Client: client("wonderland"), Wrong: &wrong,
	})
}
