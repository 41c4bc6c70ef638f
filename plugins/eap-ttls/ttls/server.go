package ttls

import (
	"bytes"
	"context"
	"crypto/subtle"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/eapinner"
	"github.com/trike-ipsec/trike/plugins/internal/eaptls"
	"github.com/trike-ipsec/trike/plugins/internal/mschap"
)

// server is what a server says in the tunnel. The client begins.
type server struct {
	method *Method
	begin  eapsdk.Begin
	asked  bool         // the client has been let speak
	proved *eaptls.Turn // what success will say when the client has seen our proof
	eap    *eapinner.Server
}

// Turn implements eaptls.Inner.
func (s *server) Turn(ctx context.Context, t *eaptls.Tunnel, text []byte) (eaptls.Turn, error) {
	switch {
	case s.proved != nil && len(text) == 0:
		return *s.proved, nil
	case s.proved != nil:
		return refuse("the peer went on after MS-CHAPv2 was complete")
	case len(text) == 0 && s.asked:
		return refuse("the peer says nothing in the tunnel")
	case len(text) == 0:
		// With TLS 1.3 the handshake ends with the client's word, and it waits for ours.
		s.asked = true
		return say(nil)
	}
	m, err := readMessage(text, userName(), userPassword(), eapMessage(), msCHAPChallenge(), msCHAP2Response())
	if err != nil {
		return refuse("%v", err)
	}
	switch {
	case m.has(eapMessage()):
		return s.innerEAP(ctx, m[eapMessage()])
	case s.eap != nil:
		return refuse("the peer went over from EAP to something else")
	case m.has(userName(), userPassword()):
		return s.pap(ctx, m)
	case m.has(userName(), msCHAPChallenge(), msCHAP2Response()):
		return s.mschapv2(t, m)
	}
	return refuse("the peer wants to authenticate neither by PAP nor by MS-CHAPv2 nor by EAP")
}

// pap checks a password that is filled up with zeros (RFC 5281 section 11.2.5).
func (s *server) pap(ctx context.Context, m message) (eaptls.Turn, error) {
	if !s.method.allows(innerPAP) {
		return refuse("the peer wants PAP inside, which the setting inner does not let it")
	}
	password := bytes.TrimRight(m[userPassword()], "\x00")
	if len(password) > maxPassword {
		return refuse("the password has %d octets; %d is the most", len(password), maxPassword)
	}
	account, err := s.method.users.Verify(ctx, string(m[userName()]), password)
	if err != nil {
		return refuse("%v", err)
	}
	return eaptls.Turn{Outcome: eapsdk.Success, Identity: account.Name, Groups: account.Groups}, nil
}

// Layout of MS-CHAP2-Response (RFC 2548 section 2.3.2).
const (
	responseSize = 50
	peerAt       = 2
	ntAt         = 26
)

// mschapv2 checks the client's proof and gives ours (RFC 5281 section 11.2.4).
func (s *server) mschapv2(t *eaptls.Tunnel, m message) (eaptls.Turn, error) {
	if !s.method.allows(innerMSCHAP) {
		return refuse("the peer wants MS-CHAPv2 inside, which the setting inner does not let it")
	}
	challenge, identifier, err := implicitChallenge(t)
	if err != nil {
		return eaptls.Turn{}, err
	}
	response, name := m[msCHAP2Response()], string(m[userName()])
	switch {
	case len(response) != responseSize:
		return refuse("MS-CHAP2-Response has %d octets instead of %d", len(response), responseSize)
	case subtle.ConstantTimeCompare(m[msCHAPChallenge()], challenge[:]) != 1, response[0] != identifier:
		return refuse("the peer's MS-CHAPv2 is about another tunnel: its challenge is not the one of this TLS session")
	}
	peer, nt := mschap.Challenge(response[peerAt:peerAt+mschap.ChallengeSize]), mschap.NTResponse(response[ntAt:])
	// The same for every name, so that time does not tell whether one exists.
	user := s.method.users.Find(name)
	hash := user.NTHash()
	right := mschap.Response(hash, challenge, peer, name).Equal(nt)
	proof := mschap.AuthenticatorResponse(hash, nt, challenge, peer, name)
	switch {
	case !user.Known:
		return refuse("user %q is not in the user file", name)
	case !right:
		return refuse("wrong password of user %q", user.Name)
	}
	s.proved = &eaptls.Turn{Outcome: eapsdk.Success, Identity: user.Name, Groups: user.Groups}
	return say(appendAVP(nil, msCHAP2Success(), append([]byte{identifier}, proof...)))
}

func (s *server) innerEAP(ctx context.Context, packet []byte) (eaptls.Turn, error) {
	if s.method.eap == nil {
		return refuse("the peer wants EAP inside, which the setting inner does not let it")
	}
	if s.eap == nil {
		s.eap = s.method.eap.Serve(s.begin)
	}
	step, err := s.eap.Next(ctx, packet)
	switch {
	case err != nil:
		return eaptls.Turn{}, err
	case step.Outcome == eapsdk.Continue:
		return say(appendAVP(nil, eapMessage(), step.Packet))
	}
	return eaptls.Turn{Outcome: step.Outcome, Identity: step.Identity, Groups: step.Groups, Grants: step.Grants, Reason: step.Reason}, nil
}

// Abort implements eaptls.Inner.
func (s *server) Abort(reason string) {
	if s.eap != nil {
		s.eap.Abort(reason)
	}
}
