// Package servers carries RADIUS requests to a group of servers and brings back answers that can be believed.
//
//	g := servers.New(servers.Config{…})
//	a, err := g.Exchange(ctx, nil, request) // any server: the first that lives
//	a, err = g.Exchange(ctx, a.From, next)  // the same server, which knows the conversation's State
//	g.Close()
//
// Over UDP a request is repeated with back-off (RFC 5080 section 2.2.1); over TLS (RFC 6614) it is sent once, as TCP repeats by itself. A server that lets all
// tries pass is dead for a while: requests go to the next one, until a single request is let through to see. Requests of the same socket differ in their
// identifier, 256 at once, so there are more sockets when there are more requests.
package servers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"layeh.com/radius"
)

// Endpoint is where a server listens.
type Endpoint struct {
	Host string // a name or an address
	Port string
	TLS  bool // RADIUS over TLS (RFC 6614)
}

// String is as in the policy.
func (e Endpoint) String() string {
	if e.TLS {
		return "radsec://" + net.JoinHostPort(e.Host, e.Port)
	}
	return net.JoinHostPort(e.Host, e.Port)
}

// Bounds on a group.
const (
	MaxServers = 16
	maxLinks   = 16 // sockets or connections a server, so 4096 requests at once
)

// Config is what a Group is made of.
type Config struct {
	Servers []Endpoint    // best first; 1 to MaxServers
	Secret  []byte        // shared with all servers of UDP; those of TLS have "radsec" (RFC 6614 section 2.3)
	Timeout time.Duration // before the first repetition; each later one waits twice as long
	Tries   int           // how often a request is sent to a server, the first time included
	Dead    time.Duration // how long a server that did not answer is passed over
	TLS     *tls.Config   // for servers of TLS; without ServerName, each has to prove its own Host
	// Dial opens a socket; nil is the network.
	Dial func(ctx context.Context, e Endpoint) (net.Conn, error)
	Log  *slog.Logger
}

// Group is servers that stand in for each other. Its methods may be called at the same time.
type Group struct {
	config  Config
	servers []*Server
}

// Server is one of a group.
type Server struct {
	endpoint Endpoint
	secret   []byte
	config   *Config

	// Requests run side by side, and the sockets' readers beside them.
	mu      sync.Mutex
	links   []*link
	closed  bool
	until   time.Time // dead until then; zero when it lives
	probing bool      // one request is out to see whether it lives again
	heard   time.Time // its last answer
}

// String is the server's endpoint.
func (s *Server) String() string { return s.endpoint.String() }

// Answer is what a server said.
type Answer struct {
	*radius.Packet
	Request []byte // the octets that were answered; keys in the answer are bound to them
	Secret  []byte // that both sides know
	From    *Server
}

// ErrNoAnswer is in every error of Exchange that came from servers keeping silent.
var ErrNoAnswer = errors.New("no answer")

// What ends an exchange without a word against the server.
var (
	errRequest = errors.New("the request cannot be written")
	errFull    = errors.New("too many requests wait for it already")
	errHurried = errors.New("it was given too little time")
)

// New makes a group; nothing is opened before the first request.
func New(c Config) *Group {
	g := &Group{config: c}
	for _, e := range c.Servers {
		s := &Server{endpoint: e, secret: c.Secret, config: &g.config}
		if e.TLS {
			s.secret = []byte("radsec")
		}
		g.servers = append(g.servers, s)
	}
	return g
}

// Close ends all that is under way.
func (g *Group) Close() {
	for _, s := range g.servers {
		s.mu.Lock()
		links := s.links
		s.links, s.closed = nil, true
		s.mu.Unlock()
		for _, l := range links {
			l.close(errClosed)
		}
	}
}

// Exchange sends a request and waits for its answer. With pinned only that server is asked: the conversation's State is its own. Otherwise the living are
// asked in order, and only if none answers the dead ones too. p's identifier and authenticator are set on the way.
func (g *Group) Exchange(ctx context.Context, pinned *Server, p *radius.Packet) (Answer, error) {
	order := []*Server{pinned}
	if pinned == nil {
		order = g.order(time.Now())
	}
	var failed []string
	for i, s := range order {
		began := time.Now()
		a, err := s.exchange(ctx, share(ctx, began, len(order)-i), p)
		if err == nil {
			s.lives()
			return a, nil
		}
		failed = append(failed, fmt.Sprintf("%s: %v", s, err))
		switch {
		case errors.Is(err, errRequest), errors.Is(err, errClosed):
			s.letGo()
			return Answer{}, err
		case errors.Is(err, errFull), errors.Is(err, errHurried), errors.Is(ctx.Err(), context.Canceled):
			s.letGo()
		default:
			s.fails(began, time.Now(), err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return Answer{}, fmt.Errorf("%w from the RADIUS servers (%s)", ErrNoAnswer, strings.Join(failed, "; "))
}

// share is when the first of n servers must have answered, so that a silent one does not use up what its stand-ins need; zero for the last.
func share(ctx context.Context, now time.Time, n int) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok || n == 1 {
		return time.Time{}
	}
	return now.Add(deadline.Sub(now) / time.Duration(n))
}

// order is the servers as they are to be asked. One that has been dead for long enough stands where it ranks again.
func (g *Group) order(now time.Time) []*Server {
	var living, dead []*Server
	for _, s := range g.servers {
		s.mu.Lock()
		if s.until.IsZero() || !now.Before(s.until) && !s.probing {
			living = append(living, s)
		} else {
			dead = append(dead, s)
		}
		s.mu.Unlock()
	}
	return slices.Concat(living, dead)
}

// lives notes that a server answered.
func (s *Server) lives() {
	s.mu.Lock()
	was := s.until
	s.until, s.probing, s.heard = time.Time{}, false, time.Now()
	s.mu.Unlock()
	if !was.IsZero() {
		s.config.Log.Info("RADIUS server answers again", "server", s.String())
	}
}

// letGo ends a probe that came to no end.
func (s *Server) letGo() {
	s.mu.Lock()
	s.probing = false
	s.mu.Unlock()
}

// fails notes that a server did not answer a request that began then. One that answered others meanwhile is not dead. A dead one's sockets are given up, so that a name is looked up anew.
func (s *Server) fails(began, now time.Time, err error) {
	s.mu.Lock()
	if s.heard.After(began) {
		s.mu.Unlock()
		return
	}
	first := s.until.IsZero()
	s.until, s.probing = now.Add(s.config.Dead), false
	var idle []*link
	s.links = slices.DeleteFunc(s.links, func(l *link) bool {
		if l.idle() {
			idle = append(idle, l)
			return true
		}
		return false
	})
	s.mu.Unlock()
	for _, l := range idle {
		l.close(errClosed)
	}
	if first {
		text := "RADIUS server does not answer; it is asked again from time to time"
		if len(s.config.Servers) > 1 {
			text = "RADIUS server does not answer; the others are asked, and it again from time to time"
		}
		s.config.Log.Warn(text, "server", s.String(), "error", err)
	}
}

// exchange asks one server, until a time if that is not zero.
func (s *Server) exchange(ctx context.Context, until time.Time, p *radius.Packet) (Answer, error) {
	if !until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	s.mu.Lock()
	s.probing = !s.until.IsZero()
	s.mu.Unlock()
	began := time.Now()
	a, err := s.once(ctx, p)
	if errors.Is(err, errBroken) && ctx.Err() == nil {
		// Servers close connections that were idle; a request may cross with that. On a new connection it is sent again (RFC 6613 section 2.6.2), once.
		a, err = s.once(ctx, p)
	}
	if err != nil && ctx.Err() != nil && time.Since(began) < s.config.Timeout {
		err = fmt.Errorf("%w: %w", errHurried, err)
	}
	return a, err
}

func (s *Server) once(ctx context.Context, p *radius.Packet) (Answer, error) {
	c, err := s.begin(ctx, p)
	if err != nil {
		return Answer{}, err
	}
	return s.wait(ctx, c)
}

// wait sends a request until it is answered or the tries are used up.
func (s *Server) wait(ctx context.Context, c *call) (Answer, error) {
	defer c.end()
	c.send()
	wait := s.config.Timeout
	for try := 1; ; try++ {
		// Clients that repeat in step would keep a slow server busy with repetitions: hence the jitter (RFC 5080 section 2.2.1).
		t := time.NewTimer(wait + time.Duration(rand.Int64N(int64(wait)/5+1)))
		select {
		case got := <-c.answer:
			t.Stop()
			if got.err != nil {
				return Answer{}, got.err
			}
			return Answer{Packet: got.packet, Request: c.request, Secret: s.secret, From: s}, nil
		case <-ctx.Done():
			t.Stop()
			return Answer{}, c.silence(try)
		case <-t.C:
		}
		if try >= s.config.Tries {
			return Answer{}, c.silence(try)
		}
		if !s.endpoint.TLS {
			c.send()
		}
		wait *= 2
	}
}

// begin finds room for a request on one of the server's sockets, and opens another if all are full.
func (s *Server) begin(ctx context.Context, p *radius.Packet) (*call, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, errClosed
		}
		s.links = slices.DeleteFunc(s.links, (*link).dead)
		links := slices.Clone(s.links)
		s.mu.Unlock()
		for _, l := range links {
			c, err := l.begin(p, s.secret)
			if err != nil {
				return nil, err
			}
			if c != nil {
				return c, nil
			}
		}
		if len(links) >= maxLinks {
			return nil, errFull
		}
		conn, err := s.dial(ctx)
		if err != nil {
			return nil, fmt.Errorf("it cannot be reached: %w", err)
		}
		l := newLink(conn, s.endpoint.TLS)
		s.mu.Lock()
		// Others may have opened some at the same time; one too many does not hurt, but none may be left behind by Close.
		full := s.closed || len(s.links) >= 2*maxLinks
		if !full {
			s.links = append(s.links, l)
		}
		s.mu.Unlock()
		if full {
			l.close(errClosed)
			continue
		}
		go l.read(s.secret, s.lives)
	}
}

func (s *Server) dial(ctx context.Context) (net.Conn, error) {
	// A connection that does not come about fails as fast as a request that is not answered.
	total := s.config.Timeout * (1<<s.config.Tries - 1)
	ctx, cancel := context.WithTimeout(ctx, total)
	defer cancel()
	if s.config.Dial != nil {
		return s.config.Dial(ctx, s.endpoint)
	}
	address := net.JoinHostPort(s.endpoint.Host, s.endpoint.Port)
	if !s.endpoint.TLS {
		// A connected socket: the kernel passes on what comes from the server's address and port alone.
		return new(net.Dialer).DialContext(ctx, "udp", address)
	}
	if s.config.TLS == nil {
		return nil, errors.New("no TLS certificates are set")
	}
	c := s.config.TLS.Clone()
	if c.ServerName == "" {
		c.ServerName = s.endpoint.Host
	}
	return (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", address)
}
