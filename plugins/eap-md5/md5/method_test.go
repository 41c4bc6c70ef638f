package md5

import (
	"bytes"
	"context"
	"crypto/md5"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

const house = "alice: wonderland staff\nbob: nt-hash:44ebba8d5312b8d611474411f56989ae\n"

func configured(t *testing.T, secrets ...string) *Method {
	t.Helper()
	c := eapsdk.Config{Values: map[string]string{"fold-case": "yes"}, Secrets: map[string][]byte{}}
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

func TestALogin(t *testing.T) {
	server, client := configured(t, "users", house), configured(t, "password", "wonderland\n")
	s, ask := begin(t, server, eapsdk.Begin{Role: eapsdk.Server, Identity: "Alice", Identifier: 7})
	// --> Request/MD5-Challenge: 16 octets, and a name
	if p := ask.Packet; len(p) != 5+1+16+5 || p[0] != 1 || p[1] != 7 || p[4] != 4 || p[5] != 16 || string(p[22:]) != "trike" {
		t.Fatalf("%x", p)
	}
	cs, answer := begin(t, client, eapsdk.Begin{Role: eapsdk.Client, Identity: "Alice", Packet: ask.Packet})
	// <-- Response/MD5-Challenge: MD5 of identifier, password and challenge
	want := md5.Sum(slices.Concat([]byte{7}, []byte("wonderland"), ask.Packet[6:22]))
	if p := answer.Packet; p[0] != 2 || !bytes.Equal(p[6:22], want[:]) || string(p[22:]) != "Alice" {
		t.Fatalf("%x", p)
	}
	step := next(t, s, answer.Packet)
	if step.Outcome != eapsdk.Success || step.Identity != "alice" || !slices.Equal(step.Groups, []string{"staff"}) || step.MSK != nil {
		t.Errorf("%+v", step)
	}
	if step := next(t, cs, []byte{3, 7, 0, 4}); step.Outcome != eapsdk.Success || step.MSK != nil {
		t.Errorf("%+v", step)
	}
}

func TestLoginsThatFail(t *testing.T) {
	for name, reason := range map[string]string{"alice": "wrong password of user \"alice\"", "bob": "has an NT hash", "mallory": "not in the user file"} {
		s, ask := begin(t, configured(t, "users", house), eapsdk.Begin{Role: eapsdk.Server, Identity: name})
		cs, answer := begin(t, configured(t, "password", "clientPass"), eapsdk.Begin{Role: eapsdk.Client, Identity: name, Packet: ask.Packet})
		if step := next(t, s, answer.Packet); step.Outcome != eapsdk.Failure || step.Packet != nil || !strings.Contains(step.Reason, reason) {
			t.Errorf("%s: %+v", name, step)
		}
		if step := next(t, cs, []byte{4, 0, 0, 4}); step.Outcome != eapsdk.Failure || !strings.Contains(step.Reason, "refuses") {
			t.Errorf("%s: %+v", name, step)
		}
	}
}

func TestValuesThatLie(t *testing.T) {
	for name, data := range map[string][]byte{"nothing": {}, "size 0": {0, 1}, "size past the end": {17, 1, 2}, "a size alone": {1}, "15 octets": append([]byte{15}, make([]byte, 15)...)} {
		s, _ := begin(t, configured(t, "users", house), eapsdk.Begin{Role: eapsdk.Server, Identity: "alice"})
		if step := next(t, s, append([]byte{2, 0, 0, byte(5 + len(data)), 4}, data...)); step.Outcome != eapsdk.Failure {
			t.Errorf("%s: %+v", name, step)
		}
	}
}

func TestAClientDoesNotAnswerTwice(t *testing.T) {
	s, _ := begin(t, configured(t, "password", "x"), eapsdk.Begin{Role: eapsdk.Client, Identity: "alice", Packet: []byte{1, 1, 0, 8, 4, 2, 8, 9}})
	if step := next(t, s, []byte{1, 2, 0, 8, 4, 2, 8, 9}); step.Outcome != eapsdk.Failure || !strings.Contains(step.Reason, "second") {
		t.Errorf("%+v", step)
	}
}

func TestWhatCannotBegin(t *testing.T) {
	if err := new(Method).Configure(context.Background(), eapsdk.Config{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a method without a secret")
	}
	if err := new(Method).Configure(context.Background(), eapsdk.Config{Secrets: map[string][]byte{"password": []byte("\n")}}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a client with an empty password")
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
	f.Add([]byte{2, 9, 0, 22, 4, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	f.Add([]byte{2, 9, 0, 6, 3, 26})
	f.Add([]byte{2, 9, 255, 255, 4, 16})
	f.Fuzz(func(t *testing.T, in []byte) {
		s, _ := begin(t, configured(t, "users", house), eapsdk.Begin{Role: eapsdk.Server, Identity: "alice", Identifier: 9})
		if step := next(t, s, in); step.Outcome != eapsdk.Failure || step.Reason == "" {
			t.Fatalf("%x: %+v", in, step)
		}
	})
}

func FuzzClient(f *testing.F) {
	f.Add([]byte{1, 9, 0, 8, 4, 2, 8, 9}, []byte{3, 9, 0, 4})
	f.Add([]byte{1, 9, 0, 8, 4, 2, 8, 9}, []byte{1, 10, 0, 5, 2})
	f.Add([]byte{1, 9, 0, 6, 4, 255}, []byte{4, 9, 0, 4})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s, step := begin(t, configured(t, "password", "wonderland"), eapsdk.Begin{Role: eapsdk.Client, Identity: "alice", Packet: first})
		if bytes.Contains(step.Packet, []byte("wonderland")) && !bytes.Contains(first, []byte("wonderland")) {
			t.Fatal("the password is sent")
		}
		if step.Outcome == eapsdk.Continue {
			next(t, s, second)
		}
	})
}
