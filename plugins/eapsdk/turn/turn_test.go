package turn

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// echo says what it is told; "yes" and "no" end it.
type echo struct{ heard int }

func (e *echo) Respond(_ context.Context, _ uint8, data []byte) (Turn, error) {
	e.heard++
	switch string(data) {
	case "yes":
		return Turn{Outcome: eapsdk.Success, Identity: "alice"}, nil
	case "no":
		return Fail("told to"), nil
	}
	return Say(data), nil
}

func (e *echo) Request(ctx context.Context, id uint8, data []byte) (Turn, error) {
	return e.Respond(ctx, id, data)
}

func (e *echo) End(success bool) Turn {
	if success {
		return Turn{Outcome: eapsdk.Success}
	}
	return Fail("server says no")
}

func packet(code, id, kind byte, data string) []byte {
	return append([]byte{code, id, 0, byte(5 + len(data)), kind}, data...)
}

func next(t *testing.T, s eapsdk.Session, p []byte) eapsdk.Step {
	t.Helper()
	step, err := s.Next(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return step
}

func TestTheServerCountsItsIdentifiersPast255(t *testing.T) {
	s, step := Serve(eapsdk.TypeGTC, 254, []byte("hi"), new(echo))
	for _, id := range []byte{254, 255, 0, 1} {
		// --> Request/GTC
		if want := packet(1, id, 6, "hi"); !bytes.Equal(step.Packet, want) {
			t.Fatalf("%x, want %x", step.Packet, want)
		}
		// <-- Response/GTC
		step = next(t, s, packet(2, id, 6, "hi"))
	}
	if step = next(t, s, packet(2, 2, 6, "yes")); step.Outcome != eapsdk.Success || step.Identity != "alice" {
		t.Errorf("%+v", step)
	}
	if _, err := s.Next(t.Context(), packet(2, 3, 6, "yes")); err == nil {
		t.Error("an ended session goes on")
	}
}

func TestWhatEndsAServersConversation(t *testing.T) {
	for name, p := range map[string][]byte{
		"a request":             packet(1, 9, 6, "hi"),
		"another identifier":    packet(2, 8, 6, "hi"),
		"another method":        packet(2, 9, 4, "hi"),
		"a Nak":                 packet(2, 9, 3, "\x1a"),
		"EAP Success":           {3, 9, 0, 4},
		"a length past the end": {2, 9, 0, 60, 6},
		"nothing":               {},
	} {
		s, _ := Serve(eapsdk.TypeGTC, 9, []byte("hi"), new(echo))
		if step := next(t, s, p); step.Outcome != eapsdk.Failure || step.Reason == "" || step.Packet != nil {
			t.Errorf("%s: %+v", name, step)
		}
	}
}

func TestARepeatedResponseIsAnsweredAsBefore(t *testing.T) {
	side := new(echo)
	s, _ := Serve(eapsdk.TypeGTC, 9, []byte("hi"), side)
	once := next(t, s, packet(2, 9, 6, "go on"))
	again := next(t, s, packet(2, 9, 6, "go on"))
	if !bytes.Equal(once.Packet, again.Packet) || side.heard != 1 {
		t.Errorf("%x and %x, heard %d times", once.Packet, again.Packet, side.heard)
	}
	if step := next(t, s, packet(2, 9, 6, "other")); step.Outcome != eapsdk.Failure {
		t.Errorf("a second, different answer: %+v", step)
	}
}

func TestARepeatedRequestGetsTheSameResponse(t *testing.T) {
	side := new(echo)
	s, once, err := Reply(t.Context(), eapsdk.TypeGTC, packet(1, 9, 6, "hi"), side)
	if err != nil {
		t.Fatal(err)
	}
	again := next(t, s, packet(1, 9, 6, "hi"))
	if !bytes.Equal(once.Packet, packet(2, 9, 6, "hi")) || !bytes.Equal(once.Packet, again.Packet) || side.heard != 1 {
		t.Errorf("%x and %x, heard %d times", once.Packet, again.Packet, side.heard)
	}
	if step := next(t, s, packet(1, 10, 2, "mind the gap")); !bytes.Equal(step.Packet, packet(2, 10, 2, "")) {
		t.Errorf("a notification is answered by %x", step.Packet)
	}
	if step := next(t, s, []byte{4, 11, 0, 4}); step.Outcome != eapsdk.Failure || step.Reason != "server says no" {
		t.Errorf("%+v", step)
	}
}

func TestWhatEndsAClientsConversation(t *testing.T) {
	for name, p := range map[string][]byte{
		"a response":     packet(2, 10, 6, "hi"),
		"another method": packet(1, 10, 4, "hi"),
		"rubbish":        {9, 9},
	} {
		s, _, err := Reply(t.Context(), eapsdk.TypeGTC, packet(1, 9, 6, "hi"), new(echo))
		if err != nil {
			t.Fatal(err)
		}
		if step := next(t, s, p); step.Outcome != eapsdk.Failure || step.Reason == "" {
			t.Errorf("%s: %+v", name, step)
		}
	}
}

func TestNoConversationGoesOnForever(t *testing.T) {
	s, step := Serve(eapsdk.TypeGTC, 0, []byte("hi"), new(echo))
	turns := 0
	for id := byte(0); step.Outcome == eapsdk.Continue; id++ {
		step = next(t, s, packet(2, id, 6, "hi"))
		turns++
	}
	if turns != MaxTurns+1 {
		t.Errorf("the server's side ended after %d", turns)
	}
	s, step, err := Reply(t.Context(), eapsdk.TypeGTC, packet(1, 9, 6, "hi"), new(echo))
	if err != nil {
		t.Fatal(err)
	}
	for turns = 1; step.Outcome == eapsdk.Continue; turns++ {
		step = next(t, s, packet(1, 9, 6, "hi"))
	}
	if turns != MaxTurns+1 {
		t.Errorf("the client's side ended after %d", turns)
	}
}

func TestAReasonIsBounded(t *testing.T) {
	if step := Fail("%s", strings.Repeat("x", 5000)).step(); len(step.Reason) != eapsdk.MaxText {
		t.Errorf("%d octets", len(step.Reason))
	}
}
