package relay

import (
	"net/netip"
	"sync"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// maxSessions bounds what is kept of sessions; past it, old ones are forgotten. What is lost then is comfort: NAS-IP-Address in accounting, and Disconnect by other
// than the session, the user or one address.
const maxSessions = 1 << 17

// session is what we know of one that was let in.
type session struct {
	local, peer netip.Addr
	connection  string
	identity    string
	addresses   []netip.Addr
}

// sessions are those that were let in and have not ended. The zero value is ready. Conversations, accounting and commands meet here, hence the mutex.
type sessions struct {
	mu  sync.Mutex
	all map[string]session
}

// begin notes that a peer was let in.
func (s *sessions) begin(b eapsdk.Begin, identity string) {
	s.put(b.Session, func(x *session) {
		x.local, x.peer, x.connection, x.identity = b.Local, b.Peer, b.Connection, identity
	})
}

// account notes what a record says of its session.
func (s *sessions) account(r eapsdk.Record) {
	s.put(r.Session, func(x *session) {
		x.peer, x.connection, x.identity, x.addresses = r.Peer, r.Connection, r.Identity, r.Addresses
	})
}

func (s *sessions) put(name string, change func(*session)) {
	if name == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]session{}
	}
	x, ok := s.all[name]
	for old := range s.all {
		if ok || len(s.all) < maxSessions {
			break
		}
		delete(s.all, old)
	}
	change(&x)
	s.all[name] = x
}

func (s *sessions) get(name string) session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[name]
}

func (s *sessions) end(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, name)
}
