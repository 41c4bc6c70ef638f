package authn

import (
	"fmt"
	"slices"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// Sign makes our AUTH for a connection. The identity is the plan's, whatever ikeproc believes that we are. After EAP (w.Proof) it is made with what EAP left. The
// Octets' key is wiped.
func (s *State) Sign(m *msg.Sign, w With) *msg.Signed {
	defer m.Octets.SKp.Close()
	fail := func(format string, args ...any) *msg.Signed {
		return &msg.Signed{Req: m.Req, Error: fmt.Sprintf("connection %q: ", clip(m.Connection, 64)) + fmt.Sprintf(format, args...)}
	}
	c := s.conns[m.Connection]
	switch {
	case c == nil:
		return fail("the plan has no such connection")
	case c.fault != "":
		return fail("%s", c.fault)
	case w.Proof != nil && !slices.Contains(w.Proof.Connections, c.name):
		return fail("the peer did not authenticate by EAP for it")
	}
	if m.Octets.IDReserved != [3]byte{} {
		return fail("our own identity goes out with reserved octets of 0 (RFC 7296 section 3.5)")
	}
	out := &msg.Signed{Req: m.Req, ID: c.local}
	if m.Initiator && w.Proof == nil {
		out.Requests = s.requests(c.remoteAuth.Authorities)
	}
	if w.Proof == nil && c.localAuth.Method == plan.AuthEAP {
		if !m.Initiator {
			return fail("a responder cannot authenticate itself by EAP (RFC 7296 section 2.16)")
		}
		out.EAP, out.EAPOnly = true, c.localAuth.EAPOnly
		return out
	}
	o, err := check(&m.Octets, m.Initiator, true)
	if err != nil {
		return fail("not signed: %v", err)
	}
	out.Method = uint8(ikev2.AuthSharedKey)
	switch {
	case w.Proof != nil:
		out.Data = o.auth(w.Proof.key(o), c.local)
	case c.localAuth.Method == plan.AuthPSK:
		out.Data = o.auth(s.keys[c.localAuth.Secret].Reveal(), c.local)
	default:
		if err := s.signCertificate(c, o, m, out); err != nil {
			return fail("certificate %q: %v", c.localAuth.Certificate, err)
		}
	}
	return out
}
