package eaptest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Bounds on what a program may say while it starts and runs.
const (
	maxFirstLine = 4096     // octets, as trike reads
	maxWords     = 16 << 10 // octets of standard error that are kept: its last
)

// Starter starts a plugin anew. ctx bounds the start, not the run.
type Starter func(ctx context.Context) (*Running, error)

// Running is a plugin that runs. Its methods may be called from any goroutine.
type Running struct {
	Remote *eapsdk.Remote
	number atomic.Uint64
	stop   func()
	once   sync.Once
	words  func() string
}

// Stop ends the plugin and waits for its end.
func (r *Running) Stop() { r.once.Do(r.stop) }

// Words are the last that the plugin wrote to standard error.
func (r *Running) Words() string { return r.words() }

// Begin opens a session under a number that was not used before. Whether or not it fails, Abort may be called.
func (r *Running) Begin(ctx context.Context, b eapsdk.Begin) (eapsdk.Session, eapsdk.Step, error) {
	s := &session{remote: r.Remote, number: r.number.Add(1), role: b.Role}
	if b.Session == "" {
		b.Session = fmt.Sprintf("eaptest-%d", s.number)
	}
	step, err := r.Remote.Begin(ctx, s.number, b)
	return s, step, err
}

// session is one of a plugin that runs.
type session struct {
	remote *eapsdk.Remote
	number uint64
	role   eapsdk.Role
}

func (s *session) Next(ctx context.Context, packet []byte) (eapsdk.Step, error) {
	return s.remote.Next(ctx, s.number, s.role, packet)
}

// abortTime bounds Abort, which has no context of its own.
const abortTime = 20 * time.Second

func (s *session) Abort(reason string) {
	ctx, cancel := context.WithTimeout(context.Background(), abortTime)
	defer cancel()
	_ = s.remote.Abort(ctx, s.number, reason)
}

// Program starts an executable with the environment that trike gives it: its temporary folder and the handshake's variables, nothing else.
func Program(file string) Starter {
	return func(ctx context.Context) (*Running, error) {
		file, err := filepath.Abs(file) // the program runs in a folder of its own
		if err != nil {
			return nil, err
		}
		dir, err := os.MkdirTemp("", "eap") // short: a socket's path has 108 octets
		if err != nil {
			return nil, err
		}
		r, err := start(ctx, file, dir)
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		return r, nil
	}
}

func start(ctx context.Context, file, dir string) (*Running, error) {
	words := &tail{}
	cmd := exec.Command(file)
	cmd.Dir, cmd.Env = dir, []string{"TMPDIR=" + dir, eapsdk.Cookie + "=" + eapsdk.Protocol, "PLUGIN_PROTOCOL_VERSIONS=1"}
	cmd.Stderr = words
	cmd.WaitDelay = time.Second // for what it started and left, which may keep the pipes open
	inGroup(cmd)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line := make(chan string, 1)
	go func() { line <- firstLine(stdout) }()
	end := sync.OnceFunc(func() { killGroup(cmd); _ = cmd.Wait(); _ = os.RemoveAll(dir) })
	var said string
	select {
	case said = <-line:
	case <-ctx.Done():
		end()
		return nil, fmt.Errorf("it does not say that it is ready: %w%s", ctx.Err(), words.after())
	}
	remote, err := dial(said)
	if err != nil {
		end()
		return nil, fmt.Errorf("%w%s", err, words.after())
	}
	drained, cancel := context.WithCancel(context.Background())
	go remote.Drain(drained)
	return &Running{Remote: remote, words: words.String, stop: func() { cancel(); _ = remote.Close(); end() }}, nil
}

// firstLine reads the handshake, and takes away what comes behind it.
func firstLine(stdout io.Reader) string {
	in := bufio.NewReaderSize(stdout, maxFirstLine)
	line, _, _ := in.ReadLine()
	said := string(line)
	go func() { _, _ = io.Copy(io.Discard, in) }()
	return said
}

func dial(said string) (*eapsdk.Remote, error) {
	socket, err := eapsdk.SocketOf(said)
	if err != nil {
		return nil, err
	}
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	r, err := eapsdk.Connect(c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return r, nil
}

// tail keeps the last of what is written.
type tail struct {
	mu sync.Mutex // the program's output comes in a goroutine of its own
	b  []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if n := len(t.b) - maxWords; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(string(t.b), "?"))
}

func (t *tail) after() string {
	if s := t.String(); s != "" {
		return "; it wrote: " + s
	}
	return ""
}

// InProcess runs a method within this process, behind the same protocol as a program: for tests that count what they cover, or look at races. make is called for each start.
func InProcess(make func() eapsdk.Method) Starter {
	return serving(func(g *grpc.Server, words io.Writer) { eapsdk.NewService(make(), words).Register(g) })
}

// serving runs whatever register adds to a server.
func serving(register func(*grpc.Server, io.Writer)) Starter {
	return func(context.Context) (*Running, error) {
		ours, its := net.Pipe()
		words := &tail{}
		g := grpc.NewServer()
		register(g, words)
		l := newOneConn(its)
		go func() { _ = g.Serve(l) }()
		remote, err := eapsdk.Connect(ours)
		if err != nil {
			return nil, errors.Join(err, ours.Close(), l.Close())
		}
		return &Running{Remote: remote, words: words.String, stop: func() { _ = remote.Close(); _ = l.Close(); g.Stop() }}, nil
	}
}

// oneConn is a listener for a connection that is there already.
type oneConn struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newOneConn(c net.Conn) *oneConn {
	l := &oneConn{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	l.conns <- c
	return l
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }
