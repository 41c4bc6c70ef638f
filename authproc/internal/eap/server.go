package eap

import (
	"errors"
	"fmt"
	"strings"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// ServerConfig is what a server's conversation begins with.
type ServerConfig struct {
	// Identifier is that of the first request; any will do.
	Identifier uint8
	// Identity is who the peer says it is by IDi. Ask has it asked for its EAP identity all the same.
	Identity string
	Ask      bool
	// NeedKeys: only methods that make keys may be used (EAP-only authentication, which also wants Mutual).
	NeedKeys, NeedMutual bool
}

// Server is the authenticator's side of one conversation.
type Server struct {
	cfg        ServerConfig
	state      state
	identifier uint8 // of the last request
	rounds     int
	identity   string
	response   []byte   // the Response/Identity, whole
	methods    []Method // that are still to be tried
	method     Method
	spoken     bool // the method has had an answer to a request of its own: no Nak any more (RFC 3748 section 5.3.1)
}

type state uint8

const (
	idle state = iota
	asking
	choosing
	working // the method has the word
	waiting // the peer has
	over
)

// NewServer makes a conversation.
func NewServer(cfg ServerConfig) *Server {
	return &Server{cfg: cfg, identifier: cfg.Identifier, identity: cfg.Identity}
}

// Start begins.
func (s *Server) Start() Action {
	if !s.cfg.Ask {
		s.state = choosing
		return Action{Kind: Choose, Identity: s.identity}
	}
	s.state = asking
	return Action{Kind: Send, Packet: frame(Request, s.identifier, byte(eapsdk.TypeIdentity))}
}

// Packet takes one of the peer's.
func (s *Server) Packet(b []byte) Action {
	if s.state != asking && s.state != waiting {
		return s.fail("the peer sent an EAP packet out of turn")
	}
	if s.rounds++; s.rounds > maxRounds {
		return s.fail(fmt.Sprintf("no end after %d EAP packets", maxRounds))
	}
	p, err := Parse(b)
	switch {
	case err != nil:
		return s.fail("the peer sent " + err.Error())
	case p.Code != Response:
		return s.fail(fmt.Sprintf("the peer sent an EAP %v where a Response belongs", p.Code))
	case p.Identifier != s.identifier:
		return s.fail(fmt.Sprintf("the peer answered EAP request %d, and %d was asked last", p.Identifier, s.identifier))
	case s.state == asking:
		return s.identified(p)
	case p.Type == eapsdk.TypeNak || p.Type == eapsdk.TypeExpanded && s.method.Type != eapsdk.TypeExpanded && s.method.Type != 0:
		if s.method.Type != 0 { // a relay's server deals with it
			return s.nak(p)
		}
	case s.method.Type != 0 && p.Type != s.method.Type:
		return s.fail(fmt.Sprintf("the peer answered %v with EAP type %d", name(s.method), p.Type))
	default:
		s.spoken = true
	}
	s.state = working
	return Action{Kind: Next, Method: s.method, Packet: p.whole}
}

func (s *Server) identified(p Packet) Action {
	if p.Type != eapsdk.TypeIdentity {
		return s.fail(fmt.Sprintf("the peer answered the question for its EAP identity with type %d", p.Type))
	}
	identity, err := identityOf(p.Data)
	if err != nil {
		return s.fail("the peer sent " + err.Error())
	}
	s.identity, s.response, s.state = identity, append([]byte(nil), p.whole...), choosing
	return Action{Kind: Choose, Identity: identity}
}

// Chosen says which methods this identity may use, best first. With none, why is told to the operator, and the peer is refused.
func (s *Server) Chosen(methods []Method, why string) Action {
	if s.state != choosing {
		return s.fail("a method was chosen out of turn")
	}
	for _, m := range methods {
		switch {
		case s.cfg.NeedKeys && !m.MakesKeys:
			why = fmt.Sprintf("EAP plugin %q makes no keys, which EAP-only authentication needs (RFC 5998 section 4)", m.Name)
		case s.cfg.NeedMutual && !m.Mutual:
			why = fmt.Sprintf("EAP plugin %q does not prove the server to the client, which EAP-only authentication needs (RFC 5998 section 4)", m.Name)
		default:
			s.methods = append(s.methods, m)
		}
	}
	if len(s.methods) == 0 {
		if why == "" {
			why = "no EAP method is offered to it"
		}
		return s.fail(fmt.Sprintf("%s: %s", quote(s.identity), why))
	}
	return s.begin(0)
}

// begin starts the method at this place in the list. The ones before it will not be tried again.
func (s *Server) begin(at int) Action {
	s.method, s.methods, s.state = s.methods[at], append(append([]Method(nil), s.methods[:at]...), s.methods[at+1:]...), working
	s.spoken = false
	s.identifier++
	response := s.response
	if response == nil { // a relay's server wants one, whoever asked
		response = frame(Response, s.identifier-1, append([]byte{byte(eapsdk.TypeIdentity)}, s.identity...)...)
	}
	return Action{Kind: Begin, Method: s.method, Identity: s.identity, Packet: response, Identifier: s.identifier}
}

// nak is the peer's refusal of a method, with those that it would take instead.
func (s *Server) nak(p Packet) Action {
	if s.spoken {
		return s.fail(fmt.Sprintf("the peer refused %s after it had begun with it", name(s.method)))
	}
	var wants []string
	for _, want := range nakked(p) {
		for i, m := range s.methods {
			if m.Type == want || m.Type == 0 {
				a := s.begin(i)
				a.Abort = true
				return a
			}
		}
		wants = append(wants, fmt.Sprint(uint8(want)))
	}
	offered := "nothing else"
	if len(wants) > 0 {
		offered = "EAP type " + strings.Join(wants, ", ")
	}
	a := s.fail(fmt.Sprintf("the peer does not want %s and asks for %s; the policy offers it no such plugin", name(s.method), offered))
	a.Abort = true
	return a
}

// nakked lists the types that a Nak asks for (RFC 3748 sections 5.3.1 and 5.3.2); 0 among them means none.
func nakked(p Packet) (out []eapsdk.Type) {
	if p.Type == eapsdk.TypeNak {
		for _, t := range p.Data[:min(len(p.Data), 16)] {
			if t != 0 {
				out = append(out, eapsdk.Type(t))
			}
		}
		return out
	}
	// Expanded Nak: vendor 0 type 3, then expanded types of 8 octets.
	d := p.Data
	if len(d) < 7 || [7]byte(d) != [7]byte{0, 0, 0, 0, 0, 0, byte(eapsdk.TypeNak)} {
		return nil
	}
	for d = d[7:]; len(d) >= 8 && len(out) < 16; d = d[8:] {
		if [7]byte(d) == [7]byte{byte(eapsdk.TypeExpanded)} && d[7] != 0 {
			out = append(out, eapsdk.Type(d[7]))
		}
	}
	return out
}

// Step takes what the method does next, or its fault.
func (s *Server) Step(step eapsdk.Step, err error) Action {
	if s.state != working {
		return s.fail("EAP plugin " + s.method.Name + " spoke out of turn")
	}
	if err != nil {
		return s.fail(fmt.Sprintf("EAP plugin %q: %v", s.method.Name, err))
	}
	if err := s.legal(step); err != nil {
		a := s.fail(fmt.Sprintf("EAP plugin %q broke the rules: %v", s.method.Name, err))
		a.Abort = step.Outcome == eapsdk.Continue
		return a
	}
	switch step.Outcome {
	case eapsdk.Continue:
		s.identifier, s.state = step.Packet[1], waiting
		return Action{Kind: Send, Packet: step.Packet}
	case eapsdk.Success:
		s.state = over
		if step.Identity == "" {
			step.Identity = s.identity
		}
		packet := step.Packet
		if packet == nil {
			packet = frame(Success, s.identifier)
		}
		return Action{Kind: End, OK: true, Packet: packet, Result: step, Identity: s.identity, Method: s.method}
	}
	a := s.fail(fmt.Sprintf("%s is refused by EAP plugin %q: %s", quote(s.identity), s.method.Name, reason(step.Reason)))
	if step.Packet != nil {
		a.Packet = step.Packet
	}
	return a
}

// legal holds a step against the protocol (RFC 3748 section 4).
func (s *Server) legal(step eapsdk.Step) error {
	if step.Outcome != eapsdk.Continue && len(step.Packet) == 0 {
		return s.keys(step)
	}
	p, err := Parse(step.Packet)
	want := map[eapsdk.Outcome]Code{eapsdk.Continue: Request, eapsdk.Success: Success, eapsdk.Failure: Failure}[step.Outcome]
	switch {
	case err != nil:
		return err
	case want == 0:
		return fmt.Errorf("%v", step.Outcome)
	case p.Code != want:
		return fmt.Errorf("%v with an EAP %v", step.Outcome, p.Code)
	case p.Code == Request && s.method.Type != 0 && p.Type != s.method.Type && p.Type != eapsdk.TypeNotification:
		return fmt.Errorf("a request of EAP type %d by a method of type %d", p.Type, s.method.Type)
	case p.Code == Request && s.spoken && p.Identifier == s.identifier:
		return fmt.Errorf("two requests with identifier %d", p.Identifier)
	}
	return s.keys(step)
}

func (s *Server) keys(step eapsdk.Step) error {
	switch {
	case step.Outcome != eapsdk.Success && len(step.MSK) > 0:
		return errors.New("an MSK without success")
	case step.Outcome != eapsdk.Success:
	case len(step.MSK) == 0 && (s.method.Type == 0 && !s.cfg.NeedKeys || !s.method.MakesKeys):
		// What a relay carries may make no keys, and the relay's own policy says whether that is good enough.
	case len(step.MSK) != eapsdk.MaxMSK:
		return fmt.Errorf("an MSK of %d octets", len(step.MSK))
	}
	return nil
}

// fail ends the conversation. The peer gets EAP Failure and nothing else.
func (s *Server) fail(why string) Action {
	open := s.state == working || s.state == waiting
	s.state = over
	return Action{Kind: End, Packet: frame(Failure, s.identifier), Reason: why, Abort: open && s.method.Name != ""}
}

// Abort tells whether a session is open in Method when the conversation is given up now.
func (s *Server) Abort() (Method, bool) {
	open := s.state == working || s.state == waiting
	s.state = over
	return s.method, open
}

func name(m Method) string { return fmt.Sprintf("EAP plugin %q (type %d)", m.Name, uint8(m.Type)) }

func reason(s string) string {
	if s == "" {
		return "it does not say why"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s[:min(len(s), eapsdk.MaxText)])
}
