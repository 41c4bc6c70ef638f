package eapinner

import (
	"context"
	"fmt"
	"slices"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eappacket"
)

// Server asks, inside the tunnel.
type Server struct {
	methods *Methods
	begin   eapsdk.Begin
	asked   uint8 // identifier of the identity request, when there was one
	ask     bool

	session eapsdk.Session
	current eapsdk.Type
	answers int // to the current method
	tried   []byte
}

// Serve begins the server's side for the session that b describes.
func (m *Methods) Serve(b eapsdk.Begin) *Server { return &Server{methods: m, begin: b} }

// Ask is a request for the identity. Without it the peer says it unasked, as in TTLS.
func (s *Server) Ask(identifier uint8) []byte {
	s.asked, s.ask = identifier, true
	return eappacket.Packet{Code: eappacket.Request, Identifier: identifier, Type: eapsdk.TypeIdentity}.Append(nil)
}

func fail(format string, args ...any) (eapsdk.Step, error) {
	return eapsdk.Step{Outcome: eapsdk.Failure, Reason: "inner EAP: " + fmt.Sprintf(format, args...)}, nil
}

// Next takes the peer's packet. The step is the inner method's; its Packet counts with Continue alone.
func (s *Server) Next(ctx context.Context, packet []byte) (eapsdk.Step, error) {
	p, err := eappacket.Parse(packet)
	switch {
	case err != nil:
		return fail("%v", err)
	case p.Code != eappacket.Response:
		return fail("the peer sent a %v", p.Code)
	case s.session == nil:
		return s.identity(ctx, p, packet)
	case p.Type == eapsdk.TypeNak && s.answers == 0:
		return s.nak(ctx, p)
	}
	s.answers++
	step, err := s.session.Next(ctx, packet)
	if err != nil || step.Outcome != eapsdk.Continue {
		s.session = nil
	}
	return step, err
}

func (s *Server) identity(ctx context.Context, p eappacket.Packet, packet []byte) (eapsdk.Step, error) {
	switch {
	case len(s.tried) > 0:
		return fail("the conversation is over, and the peer sent another packet")
	case p.Type != eapsdk.TypeIdentity:
		return fail("the peer began with EAP type %d instead of its identity", p.Type)
	case s.ask && p.Identifier != s.asked:
		return fail("the identity has identifier %d, and was asked for with %d", p.Identifier, s.asked)
	case len(p.Data) == 0 || len(p.Data) > eapsdk.MaxIdentity:
		return fail("the identity has %d octets; 1 to %d are wanted", len(p.Data), eapsdk.MaxIdentity)
	}
	s.begin.Role, s.begin.Identity, s.begin.Packet = eapsdk.Server, string(p.Data), packet
	return s.start(ctx, s.methods.list[0], p.Identifier)
}

// nak goes on with the first of the peer's methods that is ours too and has not been tried (RFC 3748 section 5.3.1).
func (s *Server) nak(ctx context.Context, p eappacket.Packet) (eapsdk.Step, error) {
	for _, t := range s.methods.types() {
		if slices.Contains(p.Data, t) && !slices.Contains(s.tried, t) {
			s.session.Abort("the peer wants another method")
			return s.start(ctx, s.methods.of(eapsdk.Type(t)), p.Identifier)
		}
	}
	return fail("the peer wants none of the methods that we have: it offered EAP types %v, we have %v", p.Data[:min(len(p.Data), 16)], s.methods.types())
}

func (s *Server) start(ctx context.Context, m eapsdk.Method, before uint8) (eapsdk.Step, error) {
	s.current, s.answers = m.Describe().Type, 0
	s.tried = append(s.tried, byte(s.current))
	s.begin.Identifier = before + 1
	session, step, err := m.Begin(ctx, s.begin)
	if err != nil {
		return step, err
	}
	s.session = session
	return step, nil
}

// Abort ends the inner method's session, if there is one.
func (s *Server) Abort(reason string) {
	if s.session != nil {
		s.session.Abort(reason)
		s.session = nil
	}
}
