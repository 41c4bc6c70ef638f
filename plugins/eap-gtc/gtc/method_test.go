package gtc

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/users"
)

const house = "alice: wonderland staff\nbob: nt-hash:44ebba8d5312b8d611474411f56989ae\n"

func configured(t *testing.T, secrets ...string) *Method {
	t.Helper()
	c := eapsdk.Config{Secrets: map[string][]byte{}}
	for i := 0; i < len(secrets); i += 2 {
		c.Secrets[secrets[i]] = []byte(secrets[i+1])
	}
	m := new(Method)
	if err := m.Configure(t.Context(), c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return m
}

func begin(t *testing.T, m *Method, b eapsdk.Begin) (eapsdk.Session, eapsdk.Step) {
	t.Helper()
	s, step, err := m.Begin(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return s, step
}

func next(t *testing.T, s eapsdk.Session, p []byte) eapsdk.Step {
	t.Helper()
	step, err := s.Next(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return step
}

func packet(code, id byte, data string) []byte {
	n := 5 + len(data)
	return append([]byte{code, id, byte(n >> 8), byte(n), 6}, data...)
}

func TestALogin(t *testing.T) {
	for name, password := range map[string]string{"alice": "wonderland", "bob": "clientPass\n"} {
		// --> Request/GTC "Password: "
		s, ask := begin(t, configured(t, "users", house), eapsdk.Begin{Role: eapsdk.Server, Identity: name, Identifier: 7})
		if !bytes.Equal(ask.Packet, packet(1, 7, DefaultPrompt)) {
			t.Fatalf("%q", ask.Packet)
		}
		// <-- Response/GTC
		cs, answer := begin(t, configured(t, "password", password), eapsdk.Begin{Role: eapsdk.Client, Identity: name, Packet: ask.Packet, ServerName: "gw"})
		step := next(t, s, answer.Packet)
		if step.Outcome != eapsdk.Success || step.Identity != name || step.MSK != nil || name == "alice" && !slices.Equal(step.Groups, []string{"staff"}) {
			t.Errorf("%+v", step)
		}
		if step := next(t, cs, []byte{3, 7, 0, 4}); step.Outcome != eapsdk.Success {
			t.Errorf("%+v", step)
		}
	}
}

func TestLoginsThatFail(t *testing.T) {
	for name, c := range map[string]struct{ user, password, reason string }{
		"wrong password":    {"alice", "hunter2", "wrong password of user \"alice\""},
		"no such user":      {"mallory", "hunter2", "not in the user file"},
		"an empty password": {"alice", "", "has 0 octets"},
		"one too long":      {"alice", strings.Repeat("hunter2", 200), "has 1400 octets"},
		"no UTF-8":          {"alice", "hunter2\xff", "wrong password"},
	} {
		s, _ := begin(t, configured(t, "users", house), eapsdk.Begin{Role: eapsdk.Server, Identity: c.user})
		step := next(t, s, packet(2, 0, c.password))
		if step.Outcome != eapsdk.Failure || step.Packet != nil || !strings.Contains(step.Reason, c.reason) || strings.Contains(step.Reason, "hunter") {
			t.Errorf("%s: %+v", name, step)
		}
	}
}

func TestAPasswordIsNotSentToAServerThatHasProvedNothing(t *testing.T) {
	_, step := begin(t, configured(t, "password", "wonderland"), eapsdk.Begin{Role: eapsdk.Client, Identity: "alice", Packet: packet(1, 1, "Password: ")})
	if step.Outcome != eapsdk.Failure || step.Packet != nil || !strings.Contains(step.Reason, "certificate") {
		t.Errorf("%+v", step)
	}
}

func TestAClientDoesNotAnswerTwice(t *testing.T) {
	s, _ := begin(t, configured(t, "password", "x"), eapsdk.Begin{Role: eapsdk.Client, Identity: "alice", ServerName: "gw", Packet: packet(1, 1, "Password: ")})
	if step := next(t, s, packet(1, 2, "New password: ")); step.Outcome != eapsdk.Failure || !strings.Contains(step.Reason, "second") {
		t.Errorf("%+v", step)
	}
}

// down is a back end that cannot say.
type down struct{}

func (down) Verify(context.Context, string, []byte) (users.Account, error) {
	return users.Account{}, errors.New("directory does not answer")
}

func TestABackEndThatCannotSayLetsNobodyIn(t *testing.T) {
	s, _ := Serve(eapsdk.Begin{Identity: "alice"}, DefaultPrompt, down{})
	if step := next(t, s, packet(2, 0, "wonderland")); step.Outcome != eapsdk.Failure || step.Reason != "directory does not answer" {
		t.Errorf("%+v", step)
	}
}

func TestWhatCannotBegin(t *testing.T) {
	for name, c := range map[string]eapsdk.Config{
		"no secret":                 {},
		"prompt has 0":              {Values: map[string]string{"prompt": ""}, Secrets: map[string][]byte{"users": []byte(house)}},
		"secret password has 0":     {Secrets: map[string][]byte{"password": []byte("\n")}},
		"strip-realm is \"please\"": {Values: map[string]string{"strip-realm": "please"}, Secrets: map[string][]byte{"users": []byte(house)}},
	} {
		if err := new(Method).Configure(t.Context(), c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := configured(t, "password", "x").Begin(t.Context(), eapsdk.Begin{Role: eapsdk.Server}); err == nil {
		t.Error("a server without users")
	}
	if _, _, err := configured(t, "users", house).Begin(t.Context(), eapsdk.Begin{Role: eapsdk.Client}); err == nil {
		t.Error("a client without a password")
	}
	if d := new(Method).Describe(); d.MakesKeys || d.Mutual {
		t.Errorf("%+v", d)
	}
}

func FuzzServer(f *testing.F) {
	f.Add(packet(2, 9, "wonderland!"))
	f.Add([]byte{2, 9, 0, 6, 3, 26})
	f.Add([]byte{2, 9, 255, 255, 6, 16})
	f.Fuzz(func(t *testing.T, in []byte) {
		s, _ := begin(t, configured(t, "users", house), eapsdk.Begin{Role: eapsdk.Server, Identity: "alice", Identifier: 9})
		step := next(t, s, in)
		if step.Outcome == eapsdk.Success && !bytes.HasPrefix(in, packet(2, 9, "wonderland")) || step.Outcome == eapsdk.Continue {
			t.Fatalf("%q: %+v", in, step)
		}
	})
}

func FuzzClient(f *testing.F) {
	f.Add(packet(1, 9, "Password: "), []byte{3, 9, 0, 4})
	f.Add(packet(1, 9, ""), []byte{1, 10, 0, 5, 2})
	f.Add([]byte{1, 9, 0, 6, 4, 255}, []byte{4, 9, 0, 4})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s, step := begin(t, configured(t, "password", "wonderland"), eapsdk.Begin{Role: eapsdk.Client, Identity: "alice", ServerName: "gw", Packet: first})
		if step.Outcome == eapsdk.Continue {
			next(t, s, second)
		}
	})
}
