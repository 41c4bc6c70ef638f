package peap

import (
	"context"
	"crypto/rand"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eappacket"
	"github.com/trike-ipsec/trike/plugins/internal/eapinner"
	"github.com/trike-ipsec/trike/plugins/internal/eaptls"
)

// server is what a server says in the tunnel:
//
//	--> identity?            <-- identity
//	--> the method's         <-- the method's
//	--> result, binding      <-- result, binding
type server struct {
	method *Method
	eap    *eapinner.Server
	asked  bool
	sent   uint8 // identifier of the last inner request

	// When the inner method has ended and the result is out.
	ended *eapsdk.Step
	keys  compound
}

// Turn implements eaptls.Inner.
func (s *server) Turn(ctx context.Context, t *eaptls.Tunnel, text []byte) (eaptls.Turn, error) {
	switch {
	case len(text) == 0 && s.asked:
		return refuse("the peer says nothing in the tunnel")
	case len(text) == 0:
		s.asked = true
		return say(compress(s.eap.Ask(s.sent)))
	case !s.asked:
		return refuse("the peer speaks first in the tunnel, where it is the server's turn")
	}
	packet, whole := expand(text, eappacket.Response, s.sent)
	if s.ended != nil {
		return s.result(packet, whole)
	}
	step, err := s.eap.Next(ctx, packet)
	switch {
	case err != nil:
		return eaptls.Turn{}, err
	case step.Outcome == eapsdk.Continue:
		s.sent = step.Packet[1]
		return say(compress(step.Packet))
	}
	return s.conclude(t, step)
}

// conclude tells the result within the tunnel, where nobody else can.
func (s *server) conclude(t *eaptls.Tunnel, step eapsdk.Step) (eaptls.Turn, error) {
	s.ended = &step
	e := extensions{result: resultFailure}
	if step.Outcome == eapsdk.Success {
		e.result = resultSuccess
	}
	if step.Outcome == eapsdk.Success && s.method.binding != bindingNo {
		var err error
		if s.keys, err = bind(t, step.MSK); err != nil {
			return eaptls.Turn{}, err
		}
		e.binding = &binding{subtype: bindRequest}
		_, _ = rand.Read(e.binding.nonce[:]) // never fails: crypto/rand ends the program rather
		e.binding.mac = e.binding.sum(s.keys.cmk)
	}
	s.sent++
	return eaptls.Turn{Outcome: eapsdk.Continue, Reason: step.Reason,
		Send: eappacket.Packet{Code: eappacket.Request, Identifier: s.sent, Type: typeExtensions, Data: e.marshal()}.Append(nil)}, nil
}

// result takes the peer's word about it.
func (s *server) result(packet []byte, whole bool) (eaptls.Turn, error) {
	if s.ended.Outcome != eapsdk.Success {
		return refuse("%s", s.ended.Reason)
	}
	p, err := eappacket.Parse(packet)
	switch {
	case err != nil:
		return refuse("inner EAP: %v", err)
	case !whole || p.Type != typeExtensions || p.Identifier != s.sent:
		return refuse("the peer did not answer the result of PEAP, but sent EAP type %d", p.Type)
	}
	e, err := parseExtensions(p.Data)
	switch {
	case err != nil:
		return refuse("%v", err)
	case e.result != resultSuccess:
		return refuse("the peer refuses what the server has shown, by its Result TLV")
	case e.binding == nil && s.method.binding == bindingRequired:
		return refuse("the peer does not do crypto binding, which crypto-binding requires")
	case e.binding != nil && s.keys.cmk == nil:
		return refuse("the peer binds what was not asked to be bound")
	case e.binding != nil && (e.binding.subtype != bindResponse || !e.binding.right(s.keys.cmk)):
		return refuse("the peer's crypto binding is wrong: who speaks inside is not who speaks TLS")
	}
	turn := eaptls.Turn{Outcome: eapsdk.Success, Identity: s.ended.Identity, Groups: s.ended.Groups, Grants: s.ended.Grants}
	if e.binding != nil {
		turn.MSK = s.keys.msk()
	}
	return turn, nil
}

// Abort implements eaptls.Inner.
func (s *server) Abort(reason string) { s.eap.Abort(reason) }
