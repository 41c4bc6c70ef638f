package eapsdk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
)

// toy is a method that asks once: the answer decides.
type toy struct {
	mu      sync.Mutex
	aborted []string
	records []Record
	known   []bool
}

func (*toy) Describe() Description {
	return Description{Name: "toy", Version: "1", Type: 200, Roles: []Role{Server, Client}, MakesKeys: true, Mutual: true, Settings: []Setting{{Name: "word", Secret: true, Required: true, Help: "the word"}}}
}

func (*toy) Configure(_ context.Context, c Config, log *slog.Logger) error {
	if string(c.Secrets["word"]) != "open" {
		return errors.New("the word is wrong\nor missing")
	}
	log.Info("ready", "values", len(c.Values))
	return nil
}

func (m *toy) Begin(_ context.Context, b Begin) (Session, Step, error) {
	switch b.Identity {
	case "panic":
		panic("at once")
	case "none":
		return nil, Step{Outcome: Continue, Packet: []byte{1, b.Identifier, 0, 5, 200}}, nil
	}
	return &toySession{m: m, b: b}, Step{Outcome: Continue, Packet: []byte{1, b.Identifier, 0, 5, 200}}, nil
}

type toySession struct {
	m *toy
	b Begin
}

func (s *toySession) Next(ctx context.Context, p []byte) (Step, error) {
	switch s.b.Identity {
	case "hang":
		<-ctx.Done()
		return Step{}, ctx.Err()
	case "crash":
		panic("in the middle")
	case "garbage":
		return Step{Outcome: 9}, nil
	}
	if len(p) > 5 && p[5] == 1 {
		return Step{Outcome: Success, MSK: bytes.Repeat([]byte{7}, MaxMSK), Identity: s.b.Identity, Groups: []string{"staff"}, Grants: Grants{SessionTimeout: time.Hour, Class: [][]byte{{1, 2}}}}, nil
	}
	return Step{Outcome: Failure, Reason: "wrong\x00answer"}, nil
}

func (s *toySession) Abort(reason string) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.aborted = append(s.m.aborted, reason)
}

func (m *toy) Account(_ context.Context, r Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records = append(m.records, r)
	return nil
}

func (m *toy) Commands(ctx context.Context, deliver func(Command) bool) error {
	for _, c := range []Command{{Kind: Disconnect, Session: "a"}, {Kind: Change, Session: "b", Grants: Grants{SessionTimeout: time.Minute}}} {
		known := deliver(c)
		m.mu.Lock()
		m.known = append(m.known, known)
		m.mu.Unlock()
	}
	<-ctx.Done()
	return ctx.Err()
}

// oneConn is a listener for a connection that is there already.
type oneConn struct {
	c    chan net.Conn
	done chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.c:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{} }

func connectTo(t *testing.T, m Method) *Remote {
	t.Helper()
	ours, its := net.Pipe()
	l := &oneConn{c: make(chan net.Conn, 1), done: make(chan struct{})}
	l.c <- its
	g := grpc.NewServer()
	NewService(m, io.Discard).Register(g)
	go func() { _ = g.Serve(l) }()
	r, err := Connect(ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(); close(l.done); g.Stop() })
	return r
}

// A session through all of it.
func TestSession(t *testing.T) {
	m := &toy{}
	r, ctx := connectTo(t, m), t.Context()
	d, err := r.Describe(ctx)
	if err != nil || d.Name != "toy" || d.Type != 200 || !d.Accounting || len(d.Roles) != 2 || !d.Settings[0].Required {
		t.Fatalf("%+v, %v", d, err)
	}
	if err := r.Configure(ctx, Config{}); err == nil || err.Error() != "the word is wrong or missing" {
		t.Errorf("wrong settings: %v", err)
	}
	if err := r.Configure(ctx, Config{Secrets: map[string][]byte{"word": []byte("open")}}); err != nil {
		t.Error(err)
	}
	s, err := r.Begin(ctx, 1, Begin{Role: Server, Identity: "alice\xff", Identifier: 9})
	if err != nil || s.Outcome != Continue || !bytes.Equal(s.Packet, []byte{1, 9, 0, 5, 200}) {
		t.Fatalf("%+v, %v", s, err)
	}
	s, err = r.Next(ctx, 1, Server, []byte{2, 9, 0, 6, 200, 1})
	if err != nil || s.Outcome != Success || len(s.MSK) != MaxMSK || s.Identity != "alice\uFFFD" || s.Grants.SessionTimeout != time.Hour || len(s.Grants.Class) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := r.Next(ctx, 1, Server, []byte{2, 9, 0, 4}); err == nil {
		t.Error("a session went on after its end")
	}
	if _, err := r.Begin(ctx, 2, Begin{Role: Client, Identity: "bob"}); err != nil {
		t.Fatal(err)
	}
	if err := r.Abort(ctx, 2, "no more\nof it"); err != nil || len(m.aborted) != 1 || m.aborted[0] != "no more of it" {
		t.Errorf("%v, %q", err, m.aborted)
	}
	if err := r.Abort(ctx, 2, ""); err != nil {
		t.Error(err)
	}
}

// What a plugin does wrong is told, and costs no other session.
func TestFaults(t *testing.T) {
	r, ctx := connectTo(t, &toy{}), t.Context()
	for id, who := range []string{"hang", "crash", "garbage", "fine"} {
		if _, err := r.Begin(ctx, uint64(id), Begin{Role: Server, Identity: who}); err != nil {
			t.Fatal(who, err)
		}
	}
	if _, err := r.Begin(ctx, 3, Begin{Role: Server}); err == nil || !strings.Contains(err.Error(), "open already") {
		t.Errorf("a number twice: %v", err)
	}
	if _, err := r.Begin(ctx, 9, Begin{Role: Server, Identity: "panic"}); err == nil || !strings.Contains(err.Error(), "panicked in Begin: at once") {
		t.Errorf("panic: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	answer := []byte{2, 0, 0, 6, 200, 1}
	for id, want := range []string{"DeadlineExceeded", "panicked in Next: in the middle", "the outcome 9"} {
		use := ctx
		if id == 0 {
			use = short
		}
		if s, err := r.Next(use, uint64(id), Server, answer); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v, want %q", s, err, want)
		}
	}
	if s, err := r.Next(ctx, 3, Server, answer); err != nil || s.Outcome != Success {
		t.Errorf("the session beside: %+v, %v", s, err)
	}
	if s, err := r.Begin(ctx, 10, Begin{Role: Server}); err != nil || s.Outcome != Continue {
		t.Fatal(err)
	}
	if s, err := r.Next(ctx, 10, Server, []byte{2, 0, 0, 4}); err != nil || s.Outcome != Failure || s.Reason != "wrong answer" {
		t.Errorf("%+v, %v", s, err)
	}
}

// The connection's end ends every call.
func TestGone(t *testing.T) {
	r := connectTo(t, &toy{})
	if _, err := r.Begin(t.Context(), 1, Begin{Role: Server, Identity: "hang"}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { _, err := r.Next(context.Background(), 1, Server, []byte{2, 0, 0, 4}); done <- err }()
	_ = r.Close()
	if err := <-done; err == nil {
		t.Error("a call outlived its connection")
	}
	if _, err := r.Describe(t.Context()); err == nil {
		t.Error("a call after the end")
	}
}

// Records and commands, both ways.
func TestAccounting(t *testing.T) {
	m := &toy{}
	r := connectTo(t, m)
	rec := Record{Kind: Stop, Session: "s", Identity: "alice", At: time.UnixMilli(1700000000000).UTC(), Duration: time.Minute, BytesIn: 1, PacketsOut: 2, Cause: "lost", Class: [][]byte{{9}}}
	if err := r.Account(t.Context(), rec); err != nil || len(m.records) != 1 || m.records[0].Duration != time.Minute || !m.records[0].At.Equal(rec.At) {
		t.Errorf("%v, %+v", err, m.records)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var got []Command
	err := r.Commands(ctx, func(c Command) bool {
		if got = append(got, c); len(got) == 2 {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		return c.Session == "a"
	})
	if err == nil || len(got) != 2 || got[0].Kind != Disconnect || got[1].Grants.SessionTimeout != time.Minute {
		t.Errorf("%v, %+v", err, got)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) != 2 || !m.known[0] || m.known[1] {
		t.Errorf("the back end heard %v", m.known)
	}
}
