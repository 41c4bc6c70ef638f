package authn

import (
	"fmt"

	"github.com/trike-ipsec/trike/internal/msg"
)

// Sign makes our AUTH for a connection. The identity is the plan's, whatever ikeproc believes that we are. The Octets' key is wiped.
func (s *State) Sign(m *msg.Sign) *msg.Signed {
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
	}
	if m.Octets.IDReserved != [3]byte{} {
		return fail("our own identity goes out with reserved octets of 0 (RFC 7296 section 3.5)")
	}
	o, err := check(&m.Octets, m.Initiator, true)
	if err != nil {
		return fail("not signed: %v", err)
	}
	return &msg.Signed{Req: m.Req, ID: c.local, Method: method, Data: o.auth(s.keys[c.localKey].Reveal(), c.local)}
}
