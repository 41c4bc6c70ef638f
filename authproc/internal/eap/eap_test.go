package eap

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

var (
	md5   = Method{Name: "md5", Type: eapsdk.TypeMD5}
	chap  = Method{Name: "chap", Type: eapsdk.TypeMSCHAPv2, MakesKeys: true, Mutual: true}
	relay = Method{Name: "relay", MakesKeys: true}
	msk   = bytes.Repeat([]byte{7}, eapsdk.MaxMSK)
)

func request(id uint8, t eapsdk.Type, data ...byte) []byte {
	return frame(Request, id, append([]byte{byte(t)}, data...)...)
}

func response(id uint8, t eapsdk.Type, data ...byte) []byte {
	return frame(Response, id, append([]byte{byte(t)}, data...)...)
}

func more(packet []byte) eapsdk.Step { return eapsdk.Step{Outcome: eapsdk.Continue, Packet: packet} }

func want(t *testing.T, a Action, k Kind, packet []byte) Action {
	t.Helper()
	if a.Kind != k || packet != nil && !bytes.Equal(a.Packet, packet) {
		t.Fatalf("got %+v, want kind %d with % x", a, k, packet)
	}
	return a
}

func refused(t *testing.T, a Action, why string) {
	t.Helper()
	if a.Kind != End || a.OK || !strings.Contains(a.Reason, why) {
		t.Fatalf("got %+v, want the end with %q", a, why)
	}
}

// identified brings a server to the point where its method has sent request 6.
func identified(t *testing.T, m ...Method) *Server {
	t.Helper()
	s := NewServer(ServerConfig{Identifier: 5, Ask: true})
	// --> EAP-Request/Identity
	want(t, s.Start(), Send, request(5, eapsdk.TypeIdentity))
	// <-- EAP-Response/Identity
	a := want(t, s.Packet(response(5, eapsdk.TypeIdentity, []byte("alice")...)), Choose, nil)
	if a.Identity != "alice" {
		t.Fatalf("identity %q", a.Identity)
	}
	a = want(t, s.Chosen(m, ""), Begin, response(5, eapsdk.TypeIdentity, []byte("alice")...))
	if a.Identifier != 6 || a.Method != m[0] {
		t.Fatalf("%+v", a)
	}
	return s
}

func TestServerConversation(t *testing.T) {
	s := identified(t, chap)
	// --> EAP-Request/MSCHAPv2
	want(t, s.Step(more(request(6, chap.Type, 1)), nil), Send, request(6, chap.Type, 1))
	// <-- EAP-Response/MSCHAPv2
	want(t, s.Packet(response(6, chap.Type, 2)), Next, response(6, chap.Type, 2))
	// --> EAP-Success
	a := want(t, s.Step(eapsdk.Step{Outcome: eapsdk.Success, MSK: msk}, nil), End, frame(Success, 6))
	if !a.OK || a.Result.Identity != "alice" || !bytes.Equal(a.Result.MSK, msk) {
		t.Fatalf("%+v", a)
	}
	refused(t, s.Packet(response(6, chap.Type, 2)), "out of turn")
}

func TestServerTakesTheIdentityFromIKE(t *testing.T) {
	s := NewServer(ServerConfig{Identifier: 9, Identity: "bob"})
	if a := want(t, s.Start(), Choose, nil); a.Identity != "bob" {
		t.Fatalf("%+v", a)
	}
	want(t, s.Chosen([]Method{relay}, ""), Begin, response(9, eapsdk.TypeIdentity, []byte("bob")...))
}

// RFC 3748 section 5.3.1: a peer may refuse the first request of a method and name another.
func TestNakChoosesAnotherMethod(t *testing.T) {
	s := identified(t, chap, md5)
	want(t, s.Step(more(request(6, chap.Type, 1)), nil), Send, nil)
	a := want(t, s.Packet(response(6, eapsdk.TypeNak, 13, 4)), Begin, nil)
	if a.Method != md5 || a.Identifier != 7 || !a.Abort {
		t.Fatalf("%+v", a)
	}
	want(t, s.Step(more(request(7, md5.Type, 1)), nil), Send, nil)
	// It cannot go back to the one that it refused.
	a = s.Packet(response(7, eapsdk.TypeNak, 26))
	refused(t, a, "asks for EAP type 26")
	if !a.Abort {
		t.Error("the session of the refused method is left open")
	}
}

func TestNakComesTooLate(t *testing.T) {
	s := identified(t, chap, md5)
	want(t, s.Step(more(request(6, chap.Type, 1)), nil), Send, nil)
	want(t, s.Packet(response(6, chap.Type, 2)), Next, nil)
	want(t, s.Step(more(request(7, chap.Type, 3)), nil), Send, nil)
	refused(t, s.Packet(response(7, eapsdk.TypeNak, 4)), "after it had begun")
}

func TestExpandedNak(t *testing.T) {
	s := identified(t, chap, md5)
	want(t, s.Step(more(request(6, chap.Type, 1)), nil), Send, nil)
	a := want(t, s.Packet(response(6, eapsdk.TypeExpanded, 0, 0, 0, 0, 0, 0, 3, 254, 0, 0, 0, 0, 0, 0, 4)), Begin, nil)
	if a.Method != md5 {
		t.Fatalf("%+v", a)
	}
}

func TestPeersMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		packet []byte
		why    string
	}{
		"a length that lies":     {[]byte{2, 6, 0, 9, 26, 1}, "says that it has 9 octets"},
		"nothing":                {nil, "of 0 octets"},
		"no type":                {[]byte{2, 6, 0, 4}, "without a type"},
		"a request":              {request(6, chap.Type), "where a Response belongs"},
		"an unknown code":        {frame(9, 6, 26), "with code 9"},
		"another identifier":     {response(5, chap.Type, 2), "answered EAP request 5"},
		"another type":           {response(6, md5.Type, 2), "with EAP type 4"},
		"success from the peer":  {frame(Success, 6), "where a Response belongs"},
		"the identity once more": {response(6, eapsdk.TypeIdentity), "with EAP type 1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := identified(t, chap)
			want(t, s.Step(more(request(6, chap.Type, 1)), nil), Send, nil)
			a := s.Packet(c.packet)
			refused(t, a, c.why)
			if !a.Abort || !bytes.Equal(a.Packet, frame(Failure, 6)) {
				t.Errorf("%+v: want EAP Failure, and the session aborted", a)
			}
		})
	}
}

func TestPluginsMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		step eapsdk.Step
		err  error
		why  string
	}{
		"its own fault":          {eapsdk.Step{}, errors.New("it crashed"), "it crashed"},
		"no packet":              {more(nil), nil, "broke the rules"},
		"a response":             {more(response(6, chap.Type)), nil, "continue with an EAP Response"},
		"another type":           {more(request(6, md5.Type)), nil, "a request of EAP type 4"},
		"success with a failure": {eapsdk.Step{Outcome: eapsdk.Success, MSK: msk, Packet: frame(Failure, 6)}, nil, "success with an EAP Failure"},
		"a short key":            {eapsdk.Step{Outcome: eapsdk.Success, MSK: msk[:32]}, nil, "an MSK of 32 octets"},
		"no key":                 {eapsdk.Step{Outcome: eapsdk.Success}, nil, "an MSK of 0 octets"},
		"a key too early":        {eapsdk.Step{Outcome: eapsdk.Continue, Packet: request(6, chap.Type), MSK: msk}, nil, "an MSK without success"},
		"no outcome":             {eapsdk.Step{Packet: request(6, chap.Type)}, nil, "outcome 0"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, identified(t, chap).Step(c.step, c.err), c.why)
		})
	}
}

func TestEAPOnlyWantsKeysAndAMutualMethod(t *testing.T) {
	for _, m := range []Method{md5, relay} {
		s := NewServer(ServerConfig{NeedKeys: true, NeedMutual: true})
		want(t, s.Start(), Choose, nil)
		refused(t, s.Chosen([]Method{m}, ""), "EAP-only authentication needs")
	}
}

// What a relay carries is known only when it is over.
func TestRelayMayEndWithoutKeys(t *testing.T) {
	done := eapsdk.Step{Outcome: eapsdk.Success}
	if a := identified(t, relay).Step(done, nil); a.Kind != End || !a.OK {
		t.Errorf("%+v", a)
	}
	s := NewServer(ServerConfig{NeedKeys: true})
	want(t, s.Start(), Choose, nil)
	want(t, s.Chosen([]Method{relay}, ""), Begin, nil)
	refused(t, s.Step(done, nil), "an MSK of 0 octets")
	done.MSK = []byte("short")
	refused(t, identified(t, relay).Step(done, nil), "an MSK of 5 octets")
}

func TestConversationWithoutEnd(t *testing.T) {
	s := identified(t, chap)
	id := uint8(6)
	for i := 0; ; i++ {
		a := s.Step(more(request(id, chap.Type, 1)), nil)
		if a = s.Packet(response(id, chap.Type, 2)); a.Kind == End {
			refused(t, a, "no end after")
			if i > maxRounds {
				t.Errorf("it took %d rounds", i)
			}
			return
		}
		id++
	}
}

func TestClientConversation(t *testing.T) {
	c := NewClient(ClientConfig{Identity: "alice", Method: chap})
	// <-- EAP-Request/Identity, --> EAP-Response/Identity
	want(t, c.Packet(request(1, eapsdk.TypeIdentity)), Send, response(1, eapsdk.TypeIdentity, []byte("alice")...))
	// <-- EAP-Request/MD5, --> EAP-Response/Nak (MSCHAPv2)
	want(t, c.Packet(request(2, eapsdk.TypeMD5, 1)), Send, response(2, eapsdk.TypeNak, byte(chap.Type)))
	// <-- EAP-Request/Notification, --> EAP-Response/Notification
	want(t, c.Packet(request(3, eapsdk.TypeNotification, 'x')), Send, response(3, eapsdk.TypeNotification))
	want(t, c.Packet(request(4, chap.Type, 1)), Begin, request(4, chap.Type, 1))
	want(t, c.Step(more(response(4, chap.Type, 2)), nil), Send, response(4, chap.Type, 2))
	want(t, c.Packet(frame(Success, 4)), Next, frame(Success, 4))
	if a := want(t, c.Step(eapsdk.Step{Outcome: eapsdk.Success, MSK: msk}, nil), End, nil); !a.OK || !bytes.Equal(a.Result.MSK, msk) {
		t.Fatalf("%+v", a)
	}
}

func TestClientIsNotLetInForNothing(t *testing.T) {
	refused(t, NewClient(ClientConfig{Method: chap}).Packet(frame(Success, 1)), "without authentication")
	refused(t, NewClient(ClientConfig{Identity: "alice", Method: chap}).Packet(frame(Failure, 1)), `refuses "alice"`)
	refused(t, NewClient(ClientConfig{Method: md5, NeedKeys: true}).Packet(request(1, eapsdk.TypeIdentity)), "makes no keys")
	refused(t, NewClient(ClientConfig{Method: chap}).Packet(response(1, chap.Type)), "sent an EAP Response")
	c := NewClient(ClientConfig{Method: chap})
	want(t, c.Packet(request(4, chap.Type, 1)), Begin, nil)
	refused(t, c.Step(more(response(5, chap.Type)), nil), "no response to request 4")
}

// Whatever comes from the peer and from the plugin, both machines come to an end, and no more than once.
func FuzzConversation(f *testing.F) {
	f.Add(response(5, eapsdk.TypeIdentity, 'a'), response(6, chap.Type, 1), request(6, chap.Type), uint8(1))
	f.Add(response(5, eapsdk.TypeNak, 4), []byte{2, 6, 0, 1}, frame(Success, 6), uint8(2))
	f.Fuzz(func(t *testing.T, one, two, step []byte, outcome uint8) {
		out := eapsdk.Step{Outcome: eapsdk.Outcome(outcome), Packet: step}
		s := NewServer(ServerConfig{Identifier: 5, Ask: true})
		c := NewClient(ClientConfig{Identity: "alice", Method: chap})
		drive := func(packet func([]byte) Action, stepped func(eapsdk.Step, error) Action, chosen func() Action) {
			ended := false
			for i := range 2 * maxRounds {
				a := packet([][]byte{one, two}[i%2])
				for range 4 {
					switch a.Kind {
					case Choose:
						a = chosen()
					case Begin, Next:
						a = stepped(out, nil)
					}
				}
				if a.Kind == End {
					if ended && a.OK {
						t.Fatal("success after the end")
					}
					ended = true
				}
			}
			if !ended {
				t.Fatal("no end")
			}
		}
		s.Start()
		drive(s.Packet, s.Step, func() Action { return s.Chosen([]Method{chap, md5}, "") })
		drive(c.Packet, c.Step, nil)
	})
}
