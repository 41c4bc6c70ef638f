package eapinner

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

func methods(t testing.TB, secret, text string, names ...string) *Methods {
	t.Helper()
	m, err := Configure(context.Background(), eapsdk.Config{Secrets: map[string][]byte{secret: []byte(text)}}, names, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// packet is an EAP packet of a type.
func packet(code, identifier byte, kind eapsdk.Type, data string) []byte {
	n := 5 + len(data)
	return append([]byte{code, identifier, byte(n >> 8), byte(n), byte(kind)}, data...)
}

func TestWhatAnInnerServerRefuses(t *testing.T) {
	identity := packet(2, 5, eapsdk.TypeIdentity, "alice")
	for _, c := range []struct {
		name string
		in   [][]byte
		want string
	}{
		{"a request", [][]byte{packet(1, 5, eapsdk.TypeIdentity, "alice")}, "sent a request"},
		{"half a packet", [][]byte{{2, 5, 0}}, "shorter than its header"},
		{"a lying length", [][]byte{{2, 5, 0, 200, 1}}, "length"},
		{"no identity first", [][]byte{packet(2, 5, eapsdk.TypeGTC, "wonderland")}, "began with EAP type 6"},
		{"an empty identity", [][]byte{packet(2, 5, eapsdk.TypeIdentity, "")}, "0 octets"},
		{"an identity that was not asked for", [][]byte{packet(2, 6, eapsdk.TypeIdentity, "alice")}, "identifier 6"},
		{"an identity without end", [][]byte{packet(2, 5, eapsdk.TypeIdentity, strings.Repeat("a", 2000))}, "2000 octets"},
		{"a Nak of all", [][]byte{identity, packet(2, 6, eapsdk.TypeNak, "\x00")}, "none of the methods"},
		{"a Nak of one after the other", [][]byte{identity, packet(2, 6, eapsdk.TypeNak, "\x06"), packet(2, 7, eapsdk.TypeNak, "\x1a"), packet(2, 8, eapsdk.TypeNak, "\x1a")}, "none of the methods"},
		{"another identity", [][]byte{identity, packet(2, 6, eapsdk.TypeIdentity, "bob")}, ""},
	} {
		s := methods(t, "users", "alice: wonderland\n", "mschapv2", "gtc").Serve(eapsdk.Begin{})
		s.Ask(5)
		var step eapsdk.Step
		var err error
		for _, in := range c.in {
			if step, err = s.Next(context.Background(), in); err != nil {
				t.Fatal(err)
			}
			if step.Outcome != eapsdk.Continue {
				break
			}
		}
		if step.Outcome != eapsdk.Failure || !strings.Contains(step.Reason, c.want) {
			t.Errorf("%s: %v, %q; want %q", c.name, step.Outcome, step.Reason, c.want)
		}
		s.Abort("the test is over")
	}
}

func TestWhatAnInnerClientRefuses(t *testing.T) {
	challenge := packet(1, 6, eapsdk.TypeMD5, "\x10"+strings.Repeat("x", 16))
	for _, c := range []struct {
		name string
		in   [][]byte
		want string
	}{
		{"a response", [][]byte{packet(2, 5, eapsdk.TypeGTC, "x")}, "sent a response"},
		{"an inner Success", [][]byte{{3, 5, 0, 4}}, "sent a success"},
		{"methods of others for ever", [][]byte{packet(1, 1, 50, ""), packet(1, 2, 51, ""), packet(1, 3, 52, ""), packet(1, 4, 53, ""), packet(1, 5, 54, "")}, "does not propose any"},
		{"another method in the midst", [][]byte{challenge, packet(1, 7, eapsdk.TypeGTC, "Password: ")}, "went over from EAP type 4 to 6"},
	} {
		cl := methods(t, "password", "wonderland", "md5", "gtc").Answer(eapsdk.Begin{Identity: "alice", ServerName: "gw.example"})
		var step eapsdk.Step
		var err error
		for _, in := range c.in {
			if step, err = cl.Next(context.Background(), in); err != nil {
				t.Fatal(err)
			}
		}
		if step.Outcome != eapsdk.Failure || !strings.Contains(step.Reason, c.want) {
			t.Errorf("%s: %v, %q; want %q", c.name, step.Outcome, step.Reason, c.want)
		}
		cl.Abort("the test is over")
	}
	cl := methods(t, "password", "wonderland", "mschapv2").Answer(eapsdk.Begin{Identity: "alice", ServerName: "gw.example"})
	if step, err := cl.End(context.Background(), true); err != nil || step.Outcome != eapsdk.Failure {
		t.Errorf("success before any method: %v, %v", step.Outcome, err)
	}
}
