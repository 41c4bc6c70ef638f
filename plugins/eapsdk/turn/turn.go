// Package turn drives the lockstep that every EAP method shares, so that a method says only what it answers: one request, one response (RFC 3748 section 4.1). It holds the
// identifiers in order, says a packet again that is asked for again, answers notifications, and ends a conversation once and for all. What does not belong into a
// conversation ends it: below IKE nothing is lost or turned round, so an odd packet is a broken or hostile peer.
//
//	session, step := turn.Serve(eapsdk.TypeGTC, begin.Identifier, prompt, server)
//	session, step, err := turn.Reply(ctx, eapsdk.TypeGTC, begin.Packet, client)
package turn

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eappacket"
)

// MaxTurns is how many requests one conversation may have.
const MaxTurns = 32

// Turn is what a method does next.
type Turn struct {
	// Send is the data that follows the type in the next packet. It counts while the outcome is 0 or Continue.
	Send []byte
	// Outcome is 0 to go on. The rest is as in eapsdk.Step.
	Outcome  eapsdk.Outcome
	MSK      []byte
	Identity string
	Groups   []string
	Reason   string
}

// Say goes on with data.
func Say(data []byte) Turn { return Turn{Send: data} }

// Fail ends with a reason for the operator.
func Fail(format string, args ...any) Turn {
	return Turn{Outcome: eapsdk.Failure, Reason: fmt.Sprintf(format, args...)}
}

// Server is a method's state on the side that asks.
type Server interface {
	// Respond takes the data of a response to the request that had this identifier. What it says next goes out under the following identifier.
	Respond(ctx context.Context, identifier uint8, data []byte) (Turn, error)
}

// Client is a method's state on the side that answers.
type Client interface {
	// Request takes the data of a request.
	Request(ctx context.Context, identifier uint8, data []byte) (Turn, error)
	// End takes the server's last word: EAP Success or Failure.
	End(success bool) Turn
}

// serverSession is a Server in conversation.
type serverSession struct {
	kind     eapsdk.Type
	side     Server
	sent     uint8  // identifier of the request that is out
	out      []byte // that request
	answered []byte // the response before it
	turns    int
	ended    bool
}

// Serve begins a conversation with the first request's data.
func Serve(kind eapsdk.Type, identifier uint8, first []byte, side Server) (eapsdk.Session, eapsdk.Step) {
	s := &serverSession{kind: kind, side: side, sent: identifier}
	s.out = eappacket.Packet{Code: eappacket.Request, Identifier: identifier, Type: kind, Data: first}.Append(nil)
	return s, eapsdk.Step{Outcome: eapsdk.Continue, Packet: s.out}
}

// Next implements eapsdk.Session.
func (s *serverSession) Next(ctx context.Context, packet []byte) (eapsdk.Step, error) {
	if s.ended {
		return eapsdk.Step{}, errEnded
	}
	p, err := eappacket.Parse(packet)
	switch {
	case err != nil:
		return s.end(Fail("%v", err)), nil
	case p.Code != eappacket.Response:
		return s.end(Fail("peer sends an EAP %v where a response belongs", p.Code)), nil
	case p.Identifier != s.sent && s.answered != nil && bytes.Equal(packet, s.answered):
		if s.turns++; s.turns > MaxTurns {
			return s.end(Fail("peer repeats itself without end")), nil
		}
		return eapsdk.Step{Outcome: eapsdk.Continue, Packet: s.out}, nil
	case p.Identifier != s.sent:
		return s.end(Fail("peer answers EAP request %d, and %d was asked", p.Identifier, s.sent)), nil
	case p.Type == eapsdk.TypeNak:
		return s.end(Fail("peer refuses EAP method %d and wants %v", s.kind, p.Data[:min(len(p.Data), 8)])), nil
	case p.Type != s.kind:
		return s.end(Fail("peer answers with EAP method %d, and %d was asked", p.Type, s.kind)), nil
	}
	turn, err := s.side.Respond(ctx, p.Identifier, p.Data)
	if err != nil {
		s.ended = true
		return eapsdk.Step{}, err
	}
	if s.turns++; turn.goesOn() && s.turns > MaxTurns {
		turn = Fail("the conversation has no end after %d requests", MaxTurns)
	}
	if !turn.goesOn() {
		return s.end(turn), nil
	}
	s.sent++
	s.answered = bytes.Clone(packet)
	s.out = eappacket.Packet{Code: eappacket.Request, Identifier: s.sent, Type: s.kind, Data: turn.Send}.Append(nil)
	return eapsdk.Step{Outcome: eapsdk.Continue, Packet: s.out}, nil
}

func (s *serverSession) end(t Turn) eapsdk.Step {
	s.ended = true
	return t.step()
}

// Abort implements eapsdk.Session.
func (s *serverSession) Abort(string) { s.ended = true }

// clientSession is a Client in conversation.
type clientSession struct {
	kind  eapsdk.Type
	side  Client
	asked []byte // the last request
	out   []byte // the response to it
	turns int
	ended bool
}

// Reply begins a conversation with the answer to the first request of this type.
func Reply(ctx context.Context, kind eapsdk.Type, request []byte, side Client) (eapsdk.Session, eapsdk.Step, error) {
	s := &clientSession{kind: kind, side: side}
	step, err := s.Next(ctx, request)
	return s, step, err
}

// Next implements eapsdk.Session.
func (s *clientSession) Next(ctx context.Context, packet []byte) (eapsdk.Step, error) {
	if s.ended {
		return eapsdk.Step{}, errEnded
	}
	p, err := eappacket.Parse(packet)
	if s.turns++; s.turns > MaxTurns {
		return s.end(Fail("the conversation has no end after %d packets", MaxTurns)), nil
	}
	switch {
	case err != nil:
		return s.end(Fail("%v", err)), nil
	case p.Code == eappacket.Success, p.Code == eappacket.Failure:
		return s.end(s.side.End(p.Code == eappacket.Success)), nil
	case p.Code != eappacket.Request:
		return s.end(Fail("server sends an EAP %v where a request belongs", p.Code)), nil
	case s.asked != nil && bytes.Equal(packet, s.asked):
		// RFC 3748 section 4.1: a request that comes again gets its response again, and not a second one.
		return eapsdk.Step{Outcome: eapsdk.Continue, Packet: s.out}, nil
	case p.Type == eapsdk.TypeNotification:
		// RFC 3748 section 5.2: it is answered by an empty one, and changes nothing.
		return s.say(packet, p, nil), nil
	case p.Type != s.kind:
		return s.end(Fail("server goes over from EAP method %d to %d", s.kind, p.Type)), nil
	}
	turn, err := s.side.Request(ctx, p.Identifier, p.Data)
	if err != nil {
		s.ended = true
		return eapsdk.Step{}, err
	}
	if !turn.goesOn() {
		return s.end(turn), nil
	}
	return s.say(packet, p, turn.Send), nil
}

// say answers request p with data.
func (s *clientSession) say(packet []byte, p eappacket.Packet, data []byte) eapsdk.Step {
	s.asked = bytes.Clone(packet)
	s.out = eappacket.Packet{Code: eappacket.Response, Identifier: p.Identifier, Type: p.Type, Data: data}.Append(nil)
	return eapsdk.Step{Outcome: eapsdk.Continue, Packet: s.out}
}

func (s *clientSession) end(t Turn) eapsdk.Step {
	s.ended = true
	return t.step()
}

// Abort implements eapsdk.Session.
func (s *clientSession) Abort(string) { s.ended = true }

func (t Turn) goesOn() bool { return t.Outcome == 0 || t.Outcome == eapsdk.Continue }

// step is how a conversation ends. Whatever a failure holds beside its reason stays behind.
func (t Turn) step() eapsdk.Step {
	if t.Outcome != eapsdk.Success {
		reason := t.Reason
		if reason == "" {
			reason = "the method failed without a word"
		}
		return eapsdk.Step{Outcome: eapsdk.Failure, Reason: reason[:min(len(reason), eapsdk.MaxText)]}
	}
	return eapsdk.Step{Outcome: eapsdk.Success, MSK: t.MSK, Identity: t.Identity, Groups: t.Groups}
}

// errEnded is the caller's mistake, not the peer's.
var errEnded = errors.New("EAP session has ended already")
