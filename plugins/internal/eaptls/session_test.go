package eaptls

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/pkitest"
)

// silent is an Inner that has nothing to say and counts how often it was told of an end.
type silent struct{ aborted int }

func (*silent) Turn(context.Context, *Tunnel, []byte) (Turn, error) {
	return Turn{Outcome: eapsdk.Success}, nil
}
func (s *silent) Abort(string) { s.aborted++ }

func credentials(t testing.TB) *Credentials {
	t.Helper()
	ca := pkitest.New("root", pkitest.ECDSA)
	pair := ca.Issue(pkitest.Leaf{CN: "gw", DNS: "gw.example", Server: true})
	c, err := ParseCredentials(eapsdk.Config{Secrets: map[string][]byte{"certificate": pair.Chain, "key": pair.Key, "ca": ca.PEM()}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func begin(t *testing.T, c *Credentials, b eapsdk.Begin, inner Inner, versioned bool) (*Session, eapsdk.Step) {
	t.Helper()
	conf, err := c.TLSFor(b, false)
	if err != nil {
		t.Fatal(err)
	}
	s, step, err := Start(context.Background(), Config{Type: eapsdk.TypeTLS, TLS: conf, Label12: Label12, Versioned: versioned}, b, inner)
	if err != nil {
		t.Fatal(err)
	}
	return s, step
}

func next(t *testing.T, s *Session, p Packet) eapsdk.Step {
	t.Helper()
	p.Type = eapsdk.TypeTLS
	step, err := s.Next(context.Background(), p.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return step
}

func TestWhatAServerRefuses(t *testing.T) {
	creds := credentials(t)
	conf, _ := creds.ClientTLS("gw.example")
	hello, _, err := NewTunnel(false, conf).Handshake(nil)
	if err != nil {
		t.Fatal(err)
	}
	response := func(id uint8, data []byte) Packet {
		return Packet{Code: CodeResponse, Identifier: id, Data: data}
	}
	many := make([]Packet, 0, MaxRounds+1)
	for i := range MaxRounds + 1 {
		p := Packet{Code: CodeResponse, Identifier: uint8(9 + i), More: true, HasLength: i == 0, Data: []byte{22}}
		if i == 0 {
			p.Length = 2000
		}
		many = append(many, p)
	}
	for _, c := range []struct {
		name string
		in   []Packet
		want string
	}{
		{"another identifier", []Packet{response(8, hello)}, "identifier 8, and the request had 9"},
		{"a request", []Packet{{Code: CodeRequest, Identifier: 9, Data: hello}}, "code 1 came where a server gets none"},
		{"Success", []Packet{{Code: CodeSuccess, Identifier: 9}}, "code 3"},
		{"Start", []Packet{{Code: CodeResponse, Identifier: 9, Start: true}}, "a response says Start"},
		{"another version", []Packet{{Code: CodeResponse, Identifier: 9, Low: 1, Data: hello}}, "version 1"},
		{"nothing at first", []Packet{response(9, nil)}, "empty message"},
		{"no TLS", []Packet{response(9, []byte("GET / HTTP/1.1\r\n\r\n"))}, "TLS handshake"},
		{"half a record", []Packet{response(9, hello[:100])}, "stands still"},
		{"two first flights", []Packet{response(9, hello), response(10, hello)}, "did not wait for the rest"},
		{"fragments without an end", many, "more than"},
		{"a message of 4 GiB", []Packet{{Code: CodeResponse, Identifier: 9, HasLength: true, More: true, Length: 1<<32 - 1, Data: hello}}, "longer than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inner := &silent{}
			creds.Fragment = MinFragment
			conf, _ := creds.ServerTLS(false)
			s, step, err := Start(context.Background(), Config{Type: eapsdk.TypeTLS, TLS: conf, Versioned: true, Fragment: MinFragment},
				eapsdk.Begin{Role: eapsdk.Server, Identifier: 9}, inner)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range c.in {
				step = next(t, s, p)
				if last := i == len(c.in)-1; !last && step.Outcome != eapsdk.Continue {
					t.Fatalf("packet %d: %v, %s", i+1, step.Outcome, step.Reason)
				}
			}
			if step.Outcome != eapsdk.Failure || !strings.Contains(step.Reason, c.want) {
				t.Errorf("%v, %q; want %q", step.Outcome, step.Reason, c.want)
			}
			if inner.aborted != 1 {
				t.Errorf("the method was told %d times of the end", inner.aborted)
			}
			if step := next(t, s, response(9, nil)); step.Outcome != eapsdk.Failure {
				t.Errorf("after the end: %v", step.Outcome)
			}
		})
	}
}

func TestTheSameResponseAgainGetsTheSameAnswer(t *testing.T) {
	creds := credentials(t)
	server, start := begin(t, creds, eapsdk.Begin{Role: eapsdk.Server, Identifier: 9}, &silent{}, false)
	defer server.Abort("done")
	client, hello := begin(t, creds, eapsdk.Begin{Role: eapsdk.Client, ServerName: "gw.example", Packet: start.Packet}, &silent{}, false)
	defer client.Abort("done")
	for range 3 {
		step, err := server.Next(context.Background(), hello.Packet)
		if err != nil || step.Outcome != eapsdk.Continue || step.Packet[1] != 10 {
			t.Fatalf("%v, %x, %s, %v", step.Outcome, step.Packet[:2], step.Reason, err)
		}
		again, err := client.Next(context.Background(), start.Packet)
		if err != nil || string(again.Packet) != string(hello.Packet) {
			t.Fatalf("the client's answer to the same request is another: %v, %s", err, again.Reason)
		}
	}
	// Not for ever.
	for n := 0; ; n++ {
		step, err := server.Next(context.Background(), hello.Packet)
		if err != nil || n > MaxRounds {
			t.Fatalf("after %d repetitions: %v", n, err)
		}
		if step.Outcome == eapsdk.Failure {
			break
		}
	}
}

func TestAClientTakesNoSuccessBeforeItsTime(t *testing.T) {
	creds := credentials(t)
	start := Packet{Code: CodeRequest, Identifier: 3, Type: eapsdk.TypeTLS, Start: true}.Bytes()
	client, _ := begin(t, creds, eapsdk.Begin{Role: eapsdk.Client, ServerName: "gw.example", Packet: start}, &silent{}, false)
	// <-- Success, in the midst of the handshake
	if step := next(t, client, Packet{Code: CodeSuccess, Identifier: 3}); step.Outcome != eapsdk.Failure || step.MSK != nil {
		t.Errorf("%v, %s", step.Outcome, step.Reason)
	}
}

func TestSessionsLeaveNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	creds := credentials(t)
	start := Packet{Code: CodeRequest, Identifier: 3, Type: eapsdk.TypeTLS, Start: true}.Bytes()
	const many = 100
	var sessions []*Session
	var inners []*silent
	for range many {
		inner := &silent{}
		s, _ := begin(t, creds, eapsdk.Begin{Role: eapsdk.Client, ServerName: "gw.example", Packet: start}, inner, false)
		sessions, inners = append(sessions, s), append(inners, inner)
	}
	if runtime.NumGoroutine() < many {
		t.Fatal("the test sees no coroutines, so it shows nothing")
	}
	for i, s := range sessions {
		s.Abort("the peer went away")
		s.Abort("again")
		if inners[i].aborted != 1 {
			t.Fatalf("the method was told %d times", inners[i].aborted)
		}
	}
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

func TestASessionHasALimitOfItsOwn(t *testing.T) {
	creds := credentials(t)
	synctest.Test(t, func(t *testing.T) {
		inner := &silent{}
		start := Packet{Code: CodeRequest, Identifier: 3, Type: eapsdk.TypeTLS, Start: true}.Bytes()
		s, _ := begin(t, creds, eapsdk.Begin{Role: eapsdk.Client, ServerName: "gw.example", Packet: start}, inner, false)
		time.Sleep(DefaultLimit + time.Second)
		synctest.Wait()
		if step := next(t, s, Packet{Code: CodeRequest, Identifier: 4}); step.Outcome != eapsdk.Failure || !strings.Contains(step.Reason, "longer than 3m0s") {
			t.Errorf("%v, %q", step.Outcome, step.Reason)
		}
		if inner.aborted != 1 {
			t.Errorf("the method was told %d times", inner.aborted)
		}
	})
}

// telling is an Inner that has failed, and tells the other side first.
type telling struct {
	silent
	told bool
}

func (i *telling) Turn(context.Context, *Tunnel, []byte) (Turn, error) {
	i.told = true
	return Turn{Outcome: eapsdk.Continue, Send: []byte{1}, Reason: "wrong password"}, nil
}

func TestAReasonIsNotLostWhenThePeerGoesAway(t *testing.T) {
	creds := credentials(t)
	var log bytes.Buffer
	inner := &telling{}
	conf, _ := creds.ServerTLS(false)
	server, start, err := Start(context.Background(), Config{Type: eapsdk.TypeTLS, TLS: conf, Log: slog.New(slog.NewTextHandler(&log, nil))},
		eapsdk.Begin{Role: eapsdk.Server, Session: "s7", Identifier: 9}, inner)
	if err != nil {
		t.Fatal(err)
	}
	client, said := begin(t, creds, eapsdk.Begin{Role: eapsdk.Client, ServerName: "gw.example", Packet: start.Packet}, &silent{}, false)
	defer client.Abort("done")
	for !inner.told {
		answer, err := server.Next(context.Background(), said.Packet)
		if err != nil || answer.Outcome != eapsdk.Continue {
			t.Fatalf("%v, %s, %v", answer.Outcome, answer.Reason, err)
		}
		if said, err = client.Next(context.Background(), answer.Packet); err != nil {
			t.Fatal(err)
		}
	}
	server.Abort("the peer is silent")
	if !strings.Contains(log.String(), "wrong password") || !strings.Contains(log.String(), "s7") {
		t.Errorf("the log says %q", log.String())
	}
}

// Whatever packets come, a session answers each or ends, and keeps nothing when it has ended.
func FuzzSession(f *testing.F) {
	creds := credentials(f)
	hello := Packet{Code: CodeResponse, Identifier: 9, Type: eapsdk.TypeTLS, HasLength: true, More: true, Length: 300, Data: make([]byte, 200)}.Bytes()
	f.Add(true, hello, Packet{Code: CodeResponse, Identifier: 10, Type: eapsdk.TypeTLS, Data: make([]byte, 100)}.Bytes())
	f.Add(false, Packet{Code: CodeRequest, Identifier: 9, Type: eapsdk.TypeTLS, Start: true}.Bytes(), []byte{3, 9, 0, 4})
	f.Fuzz(func(t *testing.T, serve bool, first, second []byte) {
		b := eapsdk.Begin{Role: eapsdk.Client, ServerName: "gw.example", Packet: first}
		if serve {
			b = eapsdk.Begin{Role: eapsdk.Server, Identifier: 9}
		}
		conf, err := creds.TLSFor(b, false)
		if err != nil {
			t.Fatal(err)
		}
		inner := &silent{}
		s, step, err := Start(context.Background(), Config{Type: eapsdk.TypeTLS, TLS: conf, Versioned: true}, b, inner)
		for _, p := range [][]byte{first, second} {
			if err != nil {
				t.Fatal(err)
			}
			if step.Outcome == eapsdk.Success {
				t.Fatal("a session succeeds without the other side")
			}
			if step.Outcome != eapsdk.Continue {
				break
			}
			if len(step.Packet) < prefixSize || len(step.Packet) > DefaultFragment {
				t.Fatalf("a packet has %d octets", len(step.Packet))
			}
			step, err = s.Next(context.Background(), p)
		}
		s.Abort("the test is over")
		if inner.aborted != 1 {
			t.Errorf("the method was told %d times", inner.aborted)
		}
	})
}

// What a handshake under way costs, in octets of heap and stack.
func BenchmarkMemoryOfAHandshake(b *testing.B) {
	creds := credentials(b)
	start := Packet{Code: CodeRequest, Identifier: 3, Type: eapsdk.TypeTLS, Start: true}.Bytes()
	const many = 1000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var sessions []*Session
		for range many {
			conf, err := creds.ClientTLS("gw.example")
			if err != nil {
				b.Fatal(err)
			}
			s, _, err := Start(b.Context(), Config{Type: eapsdk.TypeTLS, TLS: conf}, eapsdk.Begin{Role: eapsdk.Client, Packet: start}, &silent{})
			if err != nil {
				b.Fatal(err)
			}
			sessions = append(sessions, s)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/many, "B/session")
		for _, s := range sessions {
			s.Abort("done")
		}
	}
}
