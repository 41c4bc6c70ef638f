package mschapv2

import (
	"context"
	"fmt"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/turn"
	"github.com/trike-ipsec/trike/plugins/internal/mschap"
)

// server is one conversation on the side that asks:
//
//	--> challenge
//	<-- response          the peer's proof
//	--> success           ours, or: --> failure R=1 with a new challenge, and a response again, or: --> failure R=0
//	<-- success           or: <-- failure
type server struct {
	method    *Method
	state     serverState
	id        uint8 // MS-CHAPv2-ID of the challenge that stands
	retry     bool  // that challenge came with a failure
	challenge mschap.Challenge
	left      int // retries

	// What success will say, once the peer has seen our proof.
	success turn.Turn
	// Why the peer was refused, once it was for good.
	refused string
}

type serverState uint8

const (
	challenged serverState = iota // a response is due
	proved                        // a success is due
	denied                        // a failure is due
)

// Respond implements turn.Server.
func (s *server) Respond(_ context.Context, identifier uint8, data []byte) (turn.Turn, error) {
	m, err := parseMessage(data)
	if err != nil {
		return turn.Fail("%v", err), nil
	}
	switch {
	case m.op == opChangePassword:
		return turn.Fail("peer wants to change its password, which this plugin does not do: change it where the user file is written"), nil
	case s.state == challenged && m.op == opResponse:
		return s.response(identifier, m), nil
	case s.state == challenged && s.retry && m.op == opFailure:
		return turn.Fail("%s, and the peer does not try again", s.refused), nil
	case s.state == proved && m.op == opSuccess:
		return s.success, nil
	case s.state == proved && m.op == opFailure:
		return turn.Fail("peer refuses the server's proof: its password is another, or someone changed the packets"), nil
	case s.state == denied && m.op == opFailure:
		return turn.Fail("%s", s.refused), nil
	}
	return turn.Fail("peer sends an EAP-MSCHAPv2 %v out of order", m.op), nil
}

// response checks the peer's proof. identifier is that of the EAP request before, and what is said next goes out under the following.
func (s *server) response(identifier uint8, m message) turn.Turn {
	// RFC 2759 section 6 has a retry carry the failure's identifier; Windows adds one to it, as in MS-CHAP of old.
	if m.id != s.id && !(s.retry && m.id == s.id+1) {
		return turn.Fail("peer answers MS-CHAPv2 challenge %d, and %d was asked", m.id, s.id)
	}
	r, err := parseResponse(m.body)
	if err != nil {
		return turn.Fail("%v", err)
	}
	// Everything up to the last question is done for every name alike: whether a name exists must not show in the time it takes.
	user := s.method.users.Find(r.name)
	hash := user.NTHash()
	right := mschap.Response(hash, s.challenge, r.peer, r.name).Equal(r.nt)
	proof := mschap.AuthenticatorResponse(hash, r.nt, s.challenge, r.peer, r.name)
	if !right || !user.Known {
		why := "wrong password of user %q"
		if !user.Known {
			why = "user %q is not in the user file"
		}
		return s.refuse(identifier+1, fmt.Sprintf(why, user.Name))
	}
	s.state = proved
	s.success = turn.Turn{Outcome: eapsdk.Success, MSK: mschap.MSK(hash, r.nt), Identity: user.Name, Groups: user.Groups}
	return turn.Say(message{opSuccess, m.id, []byte(proof + " M=OK")}.marshal())
}

// refuse says no, and asks again while retries are left.
func (s *server) refuse(id uint8, reason string) turn.Turn {
	s.refused, s.challenge, s.id = reason, newChallenge(), id
	s.retry = s.left > 0
	if s.retry {
		s.left--
	} else {
		s.state = denied
	}
	f := failure{code: errorAuthentication, retry: s.retry, challenge: s.challenge, text: "Authentication failed"}
	return turn.Say(message{opFailure, id, f.marshal()}.marshal())
}
