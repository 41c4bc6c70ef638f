package servers_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/servers"
)

var secret = []byte("a secret for tests")

// script is what a server does with the nth datagram: the datagrams that it sends back.
type script func(n int, request []byte) [][]byte

// world is servers by name, reached by pipes that keep datagrams whole, in a synctest bubble.
type world struct {
	t       *testing.T
	mu      sync.Mutex
	scripts map[string]script
	asked   map[string]int
	dialled int
	log     strings.Builder
}

// Write takes a line of the operator's log.
func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(b)
}

// told is what the operator read.
func (w *world) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

func (w *world) times(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[name]
}

func newWorld(t *testing.T) *world {
	return &world{t: t, scripts: map[string]script{}, asked: map[string]int{}}
}

func (w *world) dial(_ context.Context, e servers.Endpoint) (net.Conn, error) {
	w.mu.Lock()
	w.dialled++
	w.mu.Unlock()
	here, there := net.Pipe()
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := there.Read(buffer)
			if err != nil {
				return
			}
			w.mu.Lock()
			w.asked[e.Host]++
			answers := w.scripts[e.Host](w.asked[e.Host], append([]byte(nil), buffer[:n]...))
			w.mu.Unlock()
			for _, a := range answers {
				if _, err := there.Write(a); err != nil {
					return
				}
			}
		}
	}()
	return here, nil
}

func (w *world) group(names ...string) *servers.Group {
	c := servers.Config{Secret: secret, Timeout: time.Second, Tries: 3, Dead: time.Minute, Dial: w.dial, Log: slog.New(slog.NewTextHandler(w, nil))}
	for _, n := range names {
		c.Servers = append(c.Servers, servers.Endpoint{Host: n, Port: "1812"})
	}
	return servers.New(c)
}

func access() *radius.Packet {
	return &radius.Packet{Code: radius.CodeAccessRequest, Attributes: radius.Attributes{{Type: packet.UserName, Attribute: []byte("alice")}}}
}

func says(code radius.Code, request []byte, with []byte) []byte {
	b, err := packet.SealAnswer(&radius.Packet{Code: code}, request, with)
	if err != nil {
		panic(err)
	}
	return b
}

func accepts(_ int, request []byte) [][]byte {
	return [][]byte{says(radius.CodeAccessAccept, request, secret)}
}

func silent(int, []byte) [][]byte { return nil }

func TestRequestIsRepeatedUntilAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var first []byte
		w.scripts["a"] = func(n int, request []byte) [][]byte {
			if n == 1 {
				first = request
			}
			if string(first) != string(request) {
				t.Error("a repetition differs from the request")
			}
			if n < 3 {
				return nil
			}
			return accepts(n, request)
		}
		g := w.group("a")
		defer g.Close()
		began := time.Now()
		a, err := g.Exchange(t.Context(), nil, access())
		if err != nil || a.Code != radius.CodeAccessAccept {
			t.Fatalf("%v, %v", a, err)
		}
		// 1 s, then 2 s, each with up to a fifth more.
		if d := time.Since(began); d < 3*time.Second || d > 3600*time.Millisecond {
			t.Errorf("the third try came after %s", d)
		}
	})
}

func TestBadAnswersAreAsGoodAsNone(t *testing.T) {
	for name, c := range map[string]struct {
		script script
		want   error
	}{
		"wrong authenticator": {func(_ int, r []byte) [][]byte { return [][]byte{says(radius.CodeAccessAccept, r, []byte("other"))} }, packet.ErrAuthenticator},
		"no Message-Authenticator": {func(_ int, r []byte) [][]byte {
			p := &radius.Packet{Code: radius.CodeAccessAccept, Identifier: r[1], Secret: secret, Authenticator: [16]byte(r[4:20])}
			b, err := p.Encode()
			if err != nil {
				t.Error(err)
			}
			return [][]byte{b}
		}, packet.ErrUnsigned},
		"lying length": {func(_ int, r []byte) [][]byte {
			b := says(radius.CodeAccessAccept, r, secret)
			b[3] += 9
			return [][]byte{b}
		}, packet.ErrMalformed},
		"another kind":         {func(_ int, r []byte) [][]byte { return [][]byte{says(radius.CodeAccountingResponse, r, secret)} }, packet.ErrUnexpected},
		"the request itself":   {func(_ int, r []byte) [][]byte { return [][]byte{r} }, packet.ErrUnexpected},
		"another's identifier": {func(_ int, r []byte) [][]byte { r[1]++; return accepts(0, r) }, servers.ErrNoAnswer},
		"one octet":            {func(int, []byte) [][]byte { return [][]byte{{2}} }, servers.ErrNoAnswer},
		"nothing":              {silent, servers.ErrNoAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.scripts["a"] = c.script
				g := w.group("a")
				defer g.Close()
				_, err := g.Exchange(t.Context(), nil, access())
				if !errors.Is(err, servers.ErrNoAnswer) || !strings.Contains(err.Error(), c.want.Error()) {
					t.Errorf("%v, want %v", err, c.want)
				}
				if w.times("a") != 3 {
					t.Errorf("asked %d times", w.times("a"))
				}
				if s := err.Error() + w.told(); strings.Contains(s, string(secret)) {
					t.Errorf("the secret is told: %s", s)
				}
			})
		})
	}
}

// A bad answer must not end the wait for the good one: else anybody could end logins.
func TestGoodAnswerCountsBehindBadOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.scripts["a"] = func(n int, r []byte) [][]byte {
			good := says(radius.CodeAccessReject, r, secret)
			return [][]byte{says(radius.CodeAccessAccept, r, []byte("forger")), {1, 2, 3}, good, good, good}
		}
		g := w.group("a")
		defer g.Close()
		for range 3 {
			if a, err := g.Exchange(t.Context(), nil, access()); err != nil || a.Code != radius.CodeAccessReject {
				t.Fatalf("%v, %v", a, err)
			}
		}
	})
}

// A late answer carries the identifier of a request that is long over; whoever has that identifier now must not take it.
func TestLateAnswerIsNobodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var late []byte
		w.scripts["a"] = func(n int, r []byte) [][]byte {
			if n <= 3 {
				late = says(radius.CodeAccessAccept, r, secret)
				return nil
			}
			late[1] = r[1]
			return [][]byte{late, says(radius.CodeAccessReject, r, secret)}
		}
		g := w.group("a")
		defer g.Close()
		if _, err := g.Exchange(t.Context(), nil, access()); !errors.Is(err, servers.ErrNoAnswer) {
			t.Fatalf("%v", err)
		}
		if a, err := g.Exchange(t.Context(), nil, access()); err != nil || a.Code != radius.CodeAccessReject {
			t.Fatalf("%v, %v", a, err)
		}
	})
}

func TestOthersStandInForASilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.scripts["a"], w.scripts["b"] = silent, accepts
		g := w.group("a", "b")
		defer g.Close()
		ask := func() (time.Duration, string) {
			t.Helper()
			began := time.Now()
			a, err := g.Exchange(t.Context(), nil, access())
			if err != nil {
				t.Fatal(err)
			}
			return time.Since(began), a.From.String()
		}
		if d, from := ask(); from != "b:1812" || d < 7*time.Second {
			t.Errorf("first: %s after %s", from, d)
		}
		// a is dead: nobody waits for it.
		if d, from := ask(); from != "b:1812" || d != 0 {
			t.Errorf("second: %s after %s", from, d)
		}
		// After a minute one request goes there; the others do not.
		time.Sleep(time.Minute)
		done := make(chan struct{})
		go func() { ask(); close(done) }()
		synctest.Wait()
		if d, from := ask(); from != "b:1812" || d != 0 {
			t.Errorf("beside the probe: %s after %s", from, d)
		}
		<-done
		// It comes back.
		time.Sleep(time.Minute)
		w.mu.Lock()
		w.scripts["a"] = accepts
		w.mu.Unlock()
		if d, from := ask(); from != "a:1812" || d != 0 {
			t.Errorf("after its return: %s after %s", from, d)
		}
		if log := w.told(); strings.Count(log, "does not answer") != 1 || strings.Count(log, "answers again") != 1 {
			t.Errorf("the operator read:\n%s", log)
		}
	})
}

func TestDeadlineIsSharedAmongServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.scripts["a"], w.scripts["b"] = silent, accepts
		g := w.group("a", "b")
		defer g.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		a, err := g.Exchange(ctx, nil, access())
		if err != nil || a.From.String() != "b:1812" {
			t.Fatalf("%v, %v", a.From, err)
		}
	})
}

// A server that was given no time to answer is not dead.
func TestHurriedCallerKillsNoServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.scripts["a"], w.scripts["b"] = silent, accepts
		g := w.group("a", "b")
		defer g.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := g.Exchange(ctx, nil, access()); err != nil {
			t.Fatal(err)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Second / 2); cancel() }()
		if _, err := g.Exchange(cancelled, nil, access()); err == nil {
			t.Fatal("an answer came to a cancelled request")
		}
		if w.told() != "" {
			t.Errorf("the operator read: %s", w.told())
		}
	})
}

// Servers drop single requests that they do not like, or have no room for.
func TestServerThatAnswersOthersIsNotDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.scripts["a"] = func(n int, r []byte) [][]byte {
			if bytes.Contains(r, []byte("bob")) {
				return nil
			}
			return accepts(n, r)
		}
		w.scripts["b"] = accepts
		g := w.group("a", "b")
		defer g.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			bob := &radius.Packet{Code: radius.CodeAccessRequest, Attributes: radius.Attributes{{Type: packet.UserName, Attribute: []byte("bob")}}}
			if a, err := g.Exchange(t.Context(), nil, bob); err != nil || a.From.String() != "b:1812" {
				t.Errorf("%v, %v", a.From, err)
			}
		}()
		time.Sleep(time.Second)
		for range 2 {
			if a, err := g.Exchange(t.Context(), nil, access()); err != nil || a.From.String() != "a:1812" {
				t.Errorf("%v, %v", a.From, err)
			}
			<-done
		}
		if w.told() != "" {
			t.Errorf("the operator read: %s", w.told())
		}
	})
}

func TestConversationStaysWithItsServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.scripts["a"], w.scripts["b"] = accepts, accepts
		g := w.group("a", "b")
		defer g.Close()
		a, err := g.Exchange(t.Context(), nil, access())
		if err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		w.scripts["a"] = silent
		w.mu.Unlock()
		if _, err := g.Exchange(t.Context(), a.From, access()); !errors.Is(err, servers.ErrNoAnswer) {
			t.Errorf("%v", err)
		}
		if w.times("b") != 0 {
			t.Error("another server was asked in the middle of a conversation")
		}
		if a, err := g.Exchange(t.Context(), nil, access()); err != nil || a.From.String() != "b:1812" {
			t.Errorf("a new conversation: %v, %v", a.From, err)
		}
	})
}

func TestAllIdentifiersInUseOpenAnotherSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.scripts["a"] = func(n int, r []byte) [][]byte {
			if n <= 600 {
				return nil
			}
			return accepts(n, r)
		}
		g := w.group("a")
		defer g.Close()
		var wg sync.WaitGroup
		for range 600 {
			wg.Go(func() {
				if _, err := g.Exchange(t.Context(), nil, access()); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if w.dialled != 3 {
			t.Errorf("%d sockets for 600 requests at once", w.dialled)
		}
	})
}

func TestTooLargeARequestIsNoServersFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.scripts["a"] = accepts
		g := w.group("a")
		defer g.Close()
		p := access()
		packet.AddEAP(p, make([]byte, 5000))
		if _, err := g.Exchange(t.Context(), nil, p); err == nil || errors.Is(err, servers.ErrNoAnswer) {
			t.Errorf("%v", err)
		}
		if w.told() != "" {
			t.Errorf("the operator read: %s", w.told())
		}
	})
}

func TestCloseEndsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.scripts["a"] = silent
		g := w.group("a")
		done := make(chan error)
		go func() {
			_, err := g.Exchange(t.Context(), nil, access())
			done <- err
		}()
		synctest.Wait()
		g.Close()
		if err := <-done; err == nil {
			t.Error("an answer came from a closed group")
		}
	})
}
