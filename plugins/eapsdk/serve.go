package eapsdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	wire "github.com/trike-ipsec/trike/plugins/eapsdk/trikeeapv1"
)

// What trike starts a plugin with, so that it knows that it is one: the variable Cookie=Protocol. HandshakeVersion is go-plugin's.
const (
	Cookie           = "TRIKE_EAP_PLUGIN"
	Protocol         = "trike.eap.v1"
	HandshakeVersion = 1
)

// maxSessions bounds the sessions that are open in one plugin. trike has a bound of its own.
const maxSessions = 16384

// maxMessage is the most octets of one message between trike and a plugin: an EAP packet and its company.
const maxMessage = 1 << 20

// Serve runs a method as a plugin, and returns when trike ends it. Started by hand the program says what it is and exits with status 1.
//
// Log by the logger that Configure brings: it writes to standard error, which trike puts into its own log, some lines a second at most.
func Serve(m Method) {
	if os.Getenv(Cookie) != Protocol {
		fmt.Fprintf(os.Stderr, "This is %s, an EAP method for trike, which starts it itself: name the file in the policy's plugins. `trike plugin test FILE` tries it.\n", m.Describe().Name)
		os.Exit(1)
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{ProtocolVersion: HandshakeVersion, MagicCookieKey: Cookie, MagicCookieValue: Protocol},
		Plugins:         plugin.PluginSet{"eap": &served{server: NewService(m, os.Stderr)}},
		Logger:          hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr}),
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage))...)
		},
	})
}

// served brings a Service into go-plugin.
type served struct {
	plugin.NetRPCUnsupportedPlugin
	server *Service
}

func (s *served) GRPCServer(_ *plugin.GRPCBroker, g *grpc.Server) error {
	s.server.Register(g)
	return nil
}

func (*served) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a plugin is no client")
}

// Service answers trike for a Method. Serve is all that most authors need; it is apart for tests that run a method within their own process.
type Service struct {
	wire.UnimplementedMethodServer
	wire.UnimplementedAccountingServer
	method Method
	log    *slog.Logger

	mu       sync.Mutex
	sessions map[uint64]*session
}

type session struct {
	Session
	role Role
	mu   sync.Mutex // one call at a time
	over bool
}

// NewService answers for m, whose log goes to out.
func NewService(m Method, out io.Writer) *Service {
	return &Service{method: m, log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey { // trike's log has the time
			return slog.Attr{}
		}
		return a
	}})), sessions: map[uint64]*session{}}
}

// Register adds the services to g.
func (s *Service) Register(g *grpc.Server) {
	wire.RegisterMethodServer(g, s)
	if _, ok := s.method.(Accounting); ok {
		wire.RegisterAccountingServer(g, s)
	}
}

// Describe answers with the method's description.
func (s *Service) Describe(context.Context, *wire.DescribeRequest) (*wire.Description, error) {
	d := s.method.Describe()
	_, d.Accounting = s.method.(Accounting)
	return d.wire(), nil
}

// Configure hands the policy's settings on.
func (s *Service) Configure(ctx context.Context, c *wire.Config) (out *wire.Configured, err error) {
	defer s.survive("Configure", func(why error) { out, err = &wire.Configured{Error: why.Error()}, nil })
	if err := s.method.Configure(ctx, Config{Values: c.GetValues(), Secrets: c.GetSecrets()}, s.log); err != nil {
		return &wire.Configured{Error: clip(err.Error())}, nil
	}
	return &wire.Configured{}, nil
}

// Begin opens a session.
func (s *Service) Begin(ctx context.Context, w *wire.BeginRequest) (out *wire.Step, err error) {
	b, err := begin(w)
	if err != nil {
		return nil, err
	}
	defer s.survive("Begin", func(why error) { out, err = nil, why })
	if err := s.room(w.GetId()); err != nil {
		return nil, err
	}
	own, st, err := s.method.Begin(ctx, b)
	if err != nil {
		return nil, err
	}
	if st.Outcome == Continue && own == nil {
		return nil, errors.New("the method begins a session and gives none")
	}
	if st.Outcome == Continue {
		s.mu.Lock()
		s.sessions[w.GetId()] = &session{Session: own, role: b.Role}
		s.mu.Unlock()
	}
	return st.wire(), nil
}

func (s *Service) room(id uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.sessions[id] != nil:
		return fmt.Errorf("session %d is open already", id)
	case len(s.sessions) >= maxSessions:
		return fmt.Errorf("%d sessions are open already", len(s.sessions))
	}
	return nil
}

// take finds a session, with its lock.
func (s *Service) take(id uint64) (*session, error) {
	s.mu.Lock()
	x := s.sessions[id]
	s.mu.Unlock()
	if x == nil {
		return nil, fmt.Errorf("there is no session %d", id)
	}
	x.mu.Lock()
	if x.over {
		x.mu.Unlock()
		return nil, fmt.Errorf("session %d is over", id)
	}
	return x, nil
}

// drop ends a session whose lock is held.
func (s *Service) drop(id uint64, x *session) {
	x.over = true
	s.mu.Lock()
	delete(s.sessions, id)
	s.mu.Unlock()
}

// Next goes on with a session.
func (s *Service) Next(ctx context.Context, w *wire.NextRequest) (out *wire.Step, err error) {
	x, err := s.take(w.GetId())
	if err != nil {
		return nil, err
	}
	defer x.mu.Unlock()
	defer s.survive("Next", func(why error) { out, err = nil, why; s.drop(w.GetId(), x) })
	if len(w.GetPacket()) > MaxPacket {
		return nil, fmt.Errorf("an EAP packet of %d octets", len(w.GetPacket()))
	}
	st, err := x.Session.Next(ctx, w.GetPacket())
	if err != nil || st.Outcome != Continue {
		s.drop(w.GetId(), x)
	}
	if err != nil {
		return nil, err
	}
	return st.wire(), nil
}

// Abort ends a session that is open.
func (s *Service) Abort(_ context.Context, w *wire.AbortRequest) (out *wire.Aborted, err error) {
	x, err := s.take(w.GetId())
	if err != nil {
		return &wire.Aborted{}, nil
	}
	defer x.mu.Unlock()
	defer s.survive("Abort", func(error) { out, err = &wire.Aborted{}, nil })
	s.drop(w.GetId(), x)
	x.Session.Abort(clip(w.GetReason()))
	return &wire.Aborted{}, nil
}

// Account hands a record on.
func (s *Service) Account(ctx context.Context, w *wire.Record) (out *wire.Accounted, err error) {
	defer s.survive("Account", func(why error) { out, err = &wire.Accounted{Error: why.Error()}, nil })
	r, err := record(w)
	if err != nil {
		return nil, err
	}
	if err := s.method.(Accounting).Account(ctx, r); err != nil {
		return &wire.Accounted{Error: clip(err.Error())}, nil
	}
	return &wire.Accounted{}, nil
}

// Commands sends what the back end wants, one at a time, and waits for the answer to each.
func (s *Service) Commands(stream grpc.BidiStreamingServer[wire.Delivered, wire.Command]) (err error) {
	defer s.survive("Commands", func(why error) { err = why })
	var one sync.Mutex
	var last uint64
	return s.method.(Accounting).Commands(stream.Context(), func(c Command) bool {
		one.Lock()
		defer one.Unlock()
		last++
		if stream.Send(c.wire(last)) != nil {
			return false
		}
		for {
			d, err := stream.Recv()
			if err != nil {
				return false
			}
			if d.GetId() == last {
				return d.GetKnown()
			}
		}
	})
}

// survive turns a panic into an error of this call alone.
func (s *Service) survive(call string, then func(error)) {
	if r := recover(); r != nil {
		s.log.Error("panic", "call", call, "what", fmt.Sprint(r), "where", clip(string(debug.Stack())))
		then(fmt.Errorf("the plugin panicked in %s: %.200v", call, r))
	}
}
