package authn

import (
	"crypto/subtle"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// Verify checks a peer's AUTH against the candidates, best first, and gives a grant for each that the peer may use. An identity that nobody has costs
// as much work as one that somebody has: the AUTH is then held against a key that fits nothing (RFC 7296 section 2.21.2). The Octets' key is wiped.
func (s *State) Verify(m *msg.Verify, w With) *msg.Verified {
	defer m.Octets.SKp.Close()
	fail := func(format string, args ...any) *msg.Verified {
		return &msg.Verified{Req: m.Req, Error: fmt.Sprintf(format, args...)}
	}
	if len(m.PeerID.Data) == 0 || len(m.PeerID.Data) > maxID || len(m.LocalID.Data) > maxID {
		return fail("an identity of %d octets", len(m.PeerID.Data))
	}
	o, err := check(&m.Octets, m.Initiator, false)
	if err != nil {
		return fail("not verified: %v", err)
	}
	var proved []*connection
	var r *report
	switch by := ikev2.AuthMethod(m.Method); {
	case w.Proof != nil:
		proved, r = s.byProof(o, m, w.Proof)
	case by == ikev2.AuthSharedKey:
		proved, r = s.bySecret(o, m)
	case by == ikev2.AuthSignature, by == ikev2.AuthRSA, by == ikev2.AuthECDSA256, by == ikev2.AuthECDSA384, by == ikev2.AuthECDSA521:
		proved, r = s.byCertificate(o, m, w.Now)
	default:
		return fail("%s authenticates by %v, which is not served", who(m), by)
	}
	if len(proved) == 0 {
		return &msg.Verified{Req: m.Req, Error: s.explain(m, r)}
	}
	return s.letIn(proved, m, w)
}

// letIn gives grants for what was proved. Where we are a client whose own part is EAP, that comes first.
func (s *State) letIn(proved []*connection, m *msg.Verify, w With) *msg.Verified {
	out := &msg.Verified{Req: m.Req, OK: true}
	if !m.Initiator && w.Proof == nil && proved[0].localAuth.Method == plan.AuthEAP {
		out.More = true
		return out
	}
	for i, c := range proved {
		g := w.Issuer.open(c.name, m.PeerID, w.Now)
		if w.Proof != nil {
			g.User = w.Proof.User
		}
		if i == 0 && m.HasConfig {
			if m.Initiator {
				out.Config, out.InternalAddressFailure = s.configure(c, m, &g, w)
			} else if own, err := c.given(m.Config); err != nil {
				return &msg.Verified{Req: m.Req, Error: fmt.Sprintf("connection %q: %v", c.name, err)}
			} else {
				g.Own = own
			}
		}
		if i == 0 && w.Proof != nil {
			out.Reauth = uint32(min(w.Proof.Grants.SessionTimeout/time.Second, math.MaxUint32))
		}
		w.Issuer.seal(&g)
		out.Grants = append(out.Grants, g)
	}
	return out
}

// byProof checks an AUTH that was made with what EAP left. A client's server must be who its certificate said before.
func (s *State) byProof(o octets, m *msg.Verify, p *Proof) (proved []*connection, r *report) {
	var fits []*connection
	fits, r = s.candidates(m, func(c *connection) string {
		switch {
		case !slices.Contains(p.Connections, c.name):
			return "the peer did not authenticate by EAP for it"
		case p.PeerID.Type != 0 && canonical(p.PeerID) != canonical(m.PeerID):
			return "the server is " + text(m.PeerID) + " now, and was " + text(p.PeerID) + " before EAP"
		}
		return ""
	})
	if ikev2.AuthMethod(m.Method) != ikev2.AuthSharedKey || subtle.ConstantTimeCompare(o.auth(p.key(o), m.PeerID), m.Data) != 1 {
		for _, c := range fits {
			r.add(c.name, func() string { return "AUTH is not made with the key of the EAP method: somebody may stand between us" })
		}
		return nil, r
	}
	return fits, r
}

// bySecret checks an AUTH against the pre-shared keys of the candidates.
func (s *State) bySecret(o octets, m *msg.Verify) (proved []*connection, r *report) {
	fits, r := s.candidates(m, wants(plan.AuthPSK, "a pre-shared key"))
	good := s.prove(o, m, fits)
	for _, c := range fits {
		if !slices.Contains(good, c.remoteAuth.Secret) {
			r.add(c.name, func() string {
				return fmt.Sprintf("AUTH is not made with our secret %q: the pre-shared keys differ", c.remoteAuth.Secret)
			})
			continue
		}
		proved = append(proved, c)
	}
	return proved, r
}

// wants leaves the connections that want the peer to authenticate in this way.
func wants(method plan.AuthMethod, as string) func(*connection) string {
	return func(c *connection) string {
		if c.remoteAuth.Method == method {
			return ""
		}
		return fmt.Sprintf("the peer authenticates by %s, and the plan wants %s", as, c.remoteAuth.Method)
	}
}

// candidates are the connections whose identities fit and that nothing else speaks against, in the order given, each once. report says why the others do not.
func (s *State) candidates(m *msg.Verify, against func(*connection) string) (fits []*connection, r *report) {
	r = new(report)
	local := canonical(m.LocalID)
	for _, name := range m.Connections {
		c := s.conns[name]
		switch {
		case c == nil:
			r.add(name, func() string { return "the plan has no such connection" })
		case !c.peer.is(m.PeerID):
			r.add(name, func() string { return "the plan wants the peer to be " + c.peer.String() })
		case m.LocalID.Type != 0 && c.localCanon != local:
			r.add(name, func() string {
				return fmt.Sprintf("the peer wants us to be %s, and we are %s", text(m.LocalID), text(c.local))
			})
		case c.fault != "":
			r.add(name, func() string { return c.fault })
		case against(c) != "":
			r.add(name, func() string { return against(c) })
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
		if slices.Contains(tried, c.remoteAuth.Secret) || len(tried) == maxKeys {
			continue
		}
		tried = append(tried, c.remoteAuth.Secret)
		if subtle.ConstantTimeCompare(o.auth(s.keys[c.remoteAuth.Secret].Reveal(), m.PeerID), m.Data) == 1 {
			proved = append(proved, c.remoteAuth.Secret)
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
