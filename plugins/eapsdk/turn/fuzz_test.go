package turn

import (
	"context"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eappacket"
)

// endless never comes to an end by itself: every success would be the lockstep's own doing.
type endless struct{ heard int }

func (e *endless) Respond(context.Context, uint8, []byte) (Turn, error) {
	e.heard++
	return Say([]byte{1}), nil
}

func (e *endless) Request(context.Context, uint8, []byte) (Turn, error) {
	e.heard++
	return Say([]byte{2}), nil
}

func (*endless) End(bool) Turn { return Fail("it never ends well") }

// FuzzSessions: whatever the other side sends, a session says good packets of its method or Failure with a reason, and no more of either after its end.
func FuzzSessions(f *testing.F) {
	f.Add([]byte{2, 7, 0, 6, 255, 1}, []byte{2, 8, 0, 6, 255, 1}, uint8(7))
	f.Add([]byte{1, 7, 0, 5, 255}, []byte{1, 7, 0, 5, 255}, uint8(0))
	f.Add([]byte{1, 9, 0, 6, 2, 'x'}, []byte{3, 9, 0, 4}, uint8(255))
	f.Add([]byte{2, 7, 0, 6, 3, 4}, []byte{4, 7, 0, 4}, uint8(7))
	f.Fuzz(func(t *testing.T, one, two []byte, identifier uint8) {
		server, client := &endless{}, &endless{}
		ss, step := Serve(255, identifier, []byte{0}, server)
		sound(t, step, eappacket.Request)
		cs, step, err := Reply(t.Context(), 255, one, client)
		if err != nil {
			t.Fatal(err)
		}
		sound(t, step, eappacket.Response)
		overC := step.Outcome != eapsdk.Continue
		drive(t, ss, [][]byte{one, two}, eappacket.Request, false)
		drive(t, cs, [][]byte{two, one}, eappacket.Response, overC)
		if server.heard > MaxTurns+1 || client.heard > MaxTurns+1 {
			t.Errorf("the method was asked %d and %d times", server.heard, client.heard)
		}
	})
}

// drive gives a session packets until it has ended, and some beyond.
func drive(t *testing.T, s eapsdk.Session, packets [][]byte, code eappacket.Code, over bool) {
	t.Helper()
	for i := range 3 * MaxTurns {
		step, err := s.Next(t.Context(), packets[i%len(packets)])
		if (err != nil) != over {
			t.Fatalf("over: %v, and it says %+v, %v", over, step, err)
		}
		if over {
			continue
		}
		sound(t, step, code)
		over = step.Outcome != eapsdk.Continue
	}
	if !over {
		t.Error("the conversation has no end")
	}
}

func sound(t *testing.T, step eapsdk.Step, code eappacket.Code) {
	t.Helper()
	if step.Outcome == eapsdk.Failure && step.Reason != "" && len(step.Packet) == 0 {
		return
	}
	p, err := eappacket.Parse(step.Packet)
	if step.Outcome != eapsdk.Continue || err != nil || p.Code != code || p.Type != 255 && p.Type != eapsdk.TypeNotification {
		t.Fatalf("%+v: %v", step, err)
	}
}
