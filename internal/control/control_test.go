package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/status"
)

// gateway is a Handler that remembers what it was asked.
type gateway struct {
	did  chan Request
	plan []byte
	hang bool
}

func (g *gateway) Status(context.Context) (status.Gateway, error) {
	return status.Gateway{Gateway: "berlin"}, nil
}
func (g *gateway) Do(ctx context.Context, q Request) error {
	if g.hang {
		<-ctx.Done()
		close(g.did)
		return ctx.Err()
	}
	g.did <- q
	if q.Connection == "missing" {
		return errors.New("no connection \"missing\"\n  policy: policy.cue:1:1")
	}
	return nil
}
func (g *gateway) Apply(_ context.Context, plan []byte, _ bool) (Applied, error) {
	g.plan = plan
	return Applied{Serial: 2, Changes: []Change{{Kind: "added", Object: "connection", Name: "office"}}}, nil
}
func (g *gateway) Log(_ context.Context, follow bool, send func(status.Event) error) error {
	for i := range 3 {
		if err := send(status.Event{Text: fmt.Sprint("event ", i, follow)}); err != nil {
			return err
		}
	}
	return nil
}

func start(t *testing.T, g *gateway) Client {
	t.Helper()
	file := filepath.Join(t.TempDir(), "run", "control.sock")
	l, err := Listen(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, g) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return Client{Socket: file}
}

func TestEveryVerb(t *testing.T) {
	g := &gateway{did: make(chan Request, 1)}
	c := start(t, g)
	ctx := t.Context()
	if r, err := c.Do(ctx, Request{Verb: Status}, nil, nil); err != nil || r.Status.Gateway != "berlin" {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := c.Do(ctx, Request{Verb: Rekey, Connection: "office", IKE: true, Wait: true}, nil, nil); err != nil {
		t.Error(err)
	}
	if q := <-g.did; q.Verb != Rekey || q.Connection != "office" || !q.IKE || !q.Wait {
		t.Errorf("%+v arrived", q)
	}
	_, err := c.Do(ctx, Request{Verb: Up, Connection: "missing"}, nil, nil)
	var said *GatewayError
	if !errors.As(err, &said) || !strings.Contains(said.Text, "policy.cue:1:1") {
		t.Error(err)
	}
	plan := bytes.Repeat([]byte("plan\n"), 1<<18)
	if r, err := c.Do(ctx, Request{Verb: Apply}, plan, nil); err != nil || r.Applied.Serial != 2 || !bytes.Equal(g.plan, plan) {
		t.Errorf("%+v %v", r, err)
	}
	var events []string
	if _, err := c.Do(ctx, Request{Verb: Log, Follow: true}, nil, func(e status.Event) error { events = append(events, e.Text); return nil }); err != nil || len(events) != 3 {
		t.Error(events, err)
	}
}

// A caller that goes away does not leave its request behind.
func TestCallerThatHangsUp(t *testing.T) {
	g := &gateway{did: make(chan Request), hang: true}
	c := start(t, g)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { time.Sleep(20 * time.Millisecond); cancel() }()
	if _, err := c.Do(ctx, Request{Verb: Up, Connection: "office"}, nil, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-g.did
}

func TestRequestsThatAreNone(t *testing.T) {
	c := start(t, &gateway{did: make(chan Request, 1)})
	for _, raw := range []string{
		"\n", "{}\n", "null\n", `{"verb":"up"}` + "\n", `{"verb":"reboot"}` + "\n", `{"verb":"apply","size":-1}` + "\n", `{"verb":"apply","size":999999999999}` + "\n",
		`{"verb":"up","connection":"` + strings.Repeat("x", 300) + `"}` + "\n", strings.Repeat("x", 20<<10), "\x00\xff\n", `{"verb":["status"]}` + "\n",
	} {
		conn, err := net.Dial("unix", c.Socket)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(raw))
		_ = conn.(*net.UnixConn).CloseWrite()
		line, err := bufio.NewReader(conn).ReadBytes('\n')
		var r Reply
		if err != nil || json.Unmarshal(line, &r) != nil || !r.Done || r.Error == "" {
			t.Errorf("%.40q: answered %.80q, %v", raw, line, err)
		}
		conn.Close()
	}
	// A plan that is cut off on its way is not applied.
	conn, err := net.Dial("unix", c.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, `{"verb":"apply","size":100}`+"\nhalf a plan")
	_ = conn.(*net.UnixConn).CloseWrite()
	if line, _ := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "cut off") {
		t.Errorf("answered %q", line)
	}
}

func TestNobodyThere(t *testing.T) {
	_, err := Client{Socket: filepath.Join(t.TempDir(), "none")}.Do(t.Context(), Request{Verb: Status}, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "is triked running?") {
		t.Error(err)
	}
}

// Whatever a caller writes ends in a request that keeps the rules, or in an error.
func FuzzReadRequest(f *testing.F) {
	for _, q := range []Request{{Verb: Status}, {Verb: Rekey, Connection: "office", Child: "net", IKE: true}, {Verb: Apply, Size: 10}} {
		b, _ := json.Marshal(q)
		f.Add(append(b, '\n'))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		if len(q.Connection) > 256 || len(q.Child) > 256 || q.Verb == Apply && q.Size <= 0 || q.Verb == Up && q.Connection == "" {
			t.Fatalf("%+v came through", q)
		}
	})
}
