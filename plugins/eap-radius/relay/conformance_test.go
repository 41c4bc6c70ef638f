package relay_test

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eap-mschapv2/mschapv2"
	"github.com/trike-ipsec/trike/plugins/eap-radius/relay"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eaptest"
	"github.com/trike-ipsec/trike/plugins/internal/eapradiustest"
)

// The relay holds what is asked of every plugin, as far as it is the relay's: between it and a client of EAP-MSCHAPv2 stands a server that speaks the method.
func TestRelayConforms(t *testing.T) {
	back := &mschapv2.Method{}
	if err := back.Configure(t.Context(), eapsdk.Config{Secrets: map[string][]byte{"users": []byte("alice: wonderland\n")}}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	server, err := eapradiustest.Start(back, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	client := func(password string) eaptest.Side {
		return eaptest.Side{Start: eaptest.InProcess(func() eapsdk.Method { return &mschapv2.Method{} }), Settings: eapsdk.Config{Secrets: map[string][]byte{"password": []byte(password)}}}
	}
	wrong := client("looking-glass")
	eaptest.Conformance(t, eaptest.Config{
		Start:  eaptest.InProcess(func() eapsdk.Method { return relay.New() }),
		Server: eaptest.Side{Settings: eapsdk.Config{Values: map[string]string{"servers": fmt.Sprintf("127.0.0.1:%d", server.Port()), "acct-servers": "none"}, Secrets: map[string][]byte{"secret": []byte(secret)}}},
		Client: client("wonderland"), Wrong: &wrong,
	})
}
