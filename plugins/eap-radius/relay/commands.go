package relay

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/coa"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// warnEvery is how often the operator reads of requests that were dropped.
const warnEvery = time.Minute

// listener takes Disconnect and CoA requests from a socket.
type listener struct {
	conn    *net.UDPConn
	handler *coa.Handler
	log     *slog.Logger
	done    chan struct{} // closed when its goroutine has ended

	// Commands come and go; the socket's goroutine asks who is there.
	mu      sync.Mutex
	deliver func(eapsdk.Command) bool

	// Of the goroutine.
	dropped int
	warned  time.Time
}

// listen opens the socket of coa-listen and serves it.
func (r *Relay) listen() error {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(r.settings.coaListen))
	if err != nil {
		return err
	}
	l := &listener{conn: conn, log: r.log, done: make(chan struct{})}
	l.handler = coa.New(coa.Config{Secret: r.settings.secret, Clients: r.settings.coaClients, Window: r.settings.coaWindow, Ours: r.ours, Grants: grants,
		Carry: func(w coa.Wish) coa.Cause { return r.carry(l.who(), w) }})
	r.coa = l
	go l.serve()
	return nil
}

func (l *listener) close() {
	l.conn.Close()
	<-l.done
}

func (l *listener) who() func(eapsdk.Command) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deliver
}

func (l *listener) set(deliver func(eapsdk.Command) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliver = deliver
}

func (l *listener) serve() {
	defer close(l.done)
	buffer := make([]byte, 4096+1)
	for {
		n, from, err := l.conn.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		now := time.Now()
		if err != nil {
			// An ICMP error of an answer of ours, for example.
			l.drop(now, from, err)
			continue
		}
		answer, err := l.handler.Answer(now, from.Addr(), buffer[:n])
		if err == nil {
			_, err = l.conn.WriteToUDPAddrPort(answer, from)
		}
		if err != nil {
			l.drop(now, from, err)
		}
	}
}

// drop tells the operator of requests that came to nothing, once a minute: anybody can send some.
func (l *listener) drop(now time.Time, from netip.AddrPort, err error) {
	l.dropped++
	if now.Sub(l.warned) < warnEvery {
		return
	}
	l.log.Warn("Disconnect or CoA requests were dropped", "number", l.dropped, "last-from", from.Addr().Unmap().String(), "error", err)
	l.dropped, l.warned = 0, now
}

// Commands hands on what the servers want, until ctx ends.
func (r *Relay) Commands(ctx context.Context, deliver func(eapsdk.Command) bool) error {
	if r.coa != nil {
		r.coa.set(deliver)
		defer r.coa.set(nil)
	}
	<-ctx.Done()
	return nil
}

// ours reports whether a request means this gateway.
func (r *Relay) ours(identifier string, address netip.Addr) bool {
	if identifier != "" {
		return identifier == r.settings.identifier
	}
	return address == r.settings.address || address == r.settings.coaListen.Addr().Unmap() || r.sessions.local(address)
}

// carry hands one wish to trike. A wish that a Command has words for goes as it is; one that has more is resolved to its sessions here.
func (r *Relay) carry(deliver func(eapsdk.Command) bool, w coa.Wish) coa.Cause {
	if deliver == nil {
		return coa.ResourcesUnavailable
	}
	m := w.Match
	c := eapsdk.Command{Kind: w.Kind, Session: m.Session, Identity: m.Identity, Grants: w.Grants, Reason: w.Reason}
	if c.Reason == "" {
		c.Reason = "a RADIUS server wants it"
	}
	if m.Calling == "" && m.Called == "" && m.Port == "" && len(m.Addresses) < 2 {
		if len(m.Addresses) == 1 {
			c.Address = m.Addresses[0]
		}
		return found(deliver(c))
	}
	known := false
	for _, name := range r.sessions.fitting(m) {
		c.Session = name
		if deliver(c) {
			known = true
		}
	}
	return found(known)
}

func found(known bool) coa.Cause {
	if !known {
		return coa.SessionNotFound
	}
	return 0
}

// fitting are the sessions that a match means, in order.
func (s *sessions) fitting(m coa.Match) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, x := range s.all {
		text := func(want, is string) bool { return want == "" || want == is }
		if text(m.Session, name) && text(m.Identity, x.identity) && text(m.Port, x.connection) &&
			text(m.Calling, x.peer.Unmap().WithZone("").String()) && text(m.Called, x.local.Unmap().WithZone("").String()) &&
			!slices.ContainsFunc(m.Addresses, func(a netip.Addr) bool { return !slices.Contains(x.addresses, a) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// local reports whether a session that stands came to this address of ours.
func (s *sessions) local(a netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.all {
		if x.local.Unmap() == a {
			return true
		}
	}
	return false
}
