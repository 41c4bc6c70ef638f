package authn

import (
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
)

// Verify checks a peer's AUTH against the candidates, best first, and gives a grant for each that the peer may use. An identity that nobody has costs
// as much work as one that somebody has: the AUTH is then held against a key that fits nothing (RFC 7296 section 2.21.2). The Octets' key is wiped.
func (s *State) Verify(m *msg.Verify, issue *Issuer, now time.Time) *msg.Verified {
	defer m.Octets.SKp.Close()
	if m.Method != method {
		return &msg.Verified{Req: m.Req, Error: fmt.Sprintf("%s authenticates by %v, and only a shared key is served", who(m), ikev2.AuthMethod(m.Method))}
	}
	if len(m.PeerID.Data) == 0 || len(m.PeerID.Data) > maxID || len(m.LocalID.Data) > maxID {
		return &msg.Verified{Req: m.Req, Error: fmt.Sprintf("an identity of %d octets", len(m.PeerID.Data))}
	}
	o, err := check(&m.Octets, m.Initiator, false)
	if err != nil {
		return &msg.Verified{Req: m.Req, Error: "not verified: " + err.Error()}
	}
	fits, report := s.candidates(m)
	proved := s.prove(o, m, fits)
	out := &msg.Verified{Req: m.Req}
	for _, c := range fits {
		if !slices.Contains(proved, c.peerKey) {
			report.add(c.name, func() string {
				return fmt.Sprintf("AUTH is not made with our secret %q: the pre-shared keys differ", c.peerKey)
			})
			continue
		}
		out.Grants = append(out.Grants, issue.grant(c.name, m.PeerID, now))
	}
	if out.OK = len(out.Grants) > 0; !out.OK {
		out.Error = s.explain(m, report)
	}
	return out
}

// candidates are the connections whose identities fit, in the order given, each once. report says why the others do not.
func (s *State) candidates(m *msg.Verify) (fits []*connection, r *report) {
	r = new(report)
	peer, local := canonical(m.PeerID), canonical(m.LocalID)
	for _, name := range m.Connections {
		c := s.conns[name]
		switch {
		case c == nil:
			r.add(name, func() string { return "the plan has no such connection" })
		case c.canon != peer:
			r.add(name, func() string { return "the plan wants the peer to be " + text(c.peer) })
		case m.LocalID.Type != 0 && c.localCanon != local:
			r.add(name, func() string {
				return fmt.Sprintf("the peer wants us to be %s, and we are %s", text(m.LocalID), text(c.local))
			})
		case c.fault != "":
			r.add(name, func() string { return c.fault })
		case len(fits) >= maxGrants:
			r.add(name, func() string { return fmt.Sprintf("more than %d connections fit", maxGrants) })
		case !slices.Contains(fits, c):
			fits = append(fits, c)
		}
	}
	return fits, r
}

// prove names the secrets that the AUTH was made with. At least one key is tried, and no more than maxKeys.
func (s *State) prove(o octets, m *msg.Verify, fits []*connection) (proved []string) {
	var tried []string
	for _, c := range fits {
		if slices.Contains(tried, c.peerKey) || len(tried) == maxKeys {
			continue
		}
		tried = append(tried, c.peerKey)
		if subtle.ConstantTimeCompare(o.auth(s.keys[c.peerKey].Reveal(), m.PeerID), m.Data) == 1 {
			proved = append(proved, c.peerKey)
		}
	}
	if len(tried) == 0 {
		subtle.ConstantTimeCompare(o.auth(s.dummy.Reveal(), m.PeerID), m.Data)
	}
	return proved
}

// explain writes why nothing fits, for the operator: each connection that was tried, and those that would have fitted had they been tried.
func (s *State) explain(m *msg.Verify, r *report) string {
	var b strings.Builder
	b.WriteString(who(m))
	switch {
	case r.count == 0:
		b.WriteString(" fits no connection by its addresses and proposals")
	default:
		b.WriteString(": " + strings.Join(r.lines, "; "))
		if more := r.count - len(r.lines); more > 0 {
			fmt.Fprintf(&b, "; and %d more connections", more)
		}
	}
	for _, c := range s.byPeer[canonical(m.PeerID)] {
		if !slices.Contains(m.Connections, c.name) {
			fmt.Fprintf(&b, "; connection %q is for this peer, and its addresses or proposals do not fit", c.name)
			break
		}
	}
	return b.String()
}

func who(m *msg.Verify) string {
	if !m.PeerAddr.IsValid() {
		return "the peer " + text(m.PeerID)
	}
	return fmt.Sprintf("the peer %s at %v", text(m.PeerID), m.PeerAddr)
}

// report collects why connections do not fit; only the first few are told.
type report struct {
	lines []string
	count int
}

func (r *report) add(connection string, why func() string) {
	if r.count++; len(r.lines) < maxTold {
		r.lines = append(r.lines, fmt.Sprintf("connection %q: %s", clip(connection, 64), why()))
	}
}
