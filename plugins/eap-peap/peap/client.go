package peap

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eappacket"
	"github.com/trike-ipsec/trike/plugins/internal/eapinner"
	"github.com/trike-ipsec/trike/plugins/internal/eaptls"
)

// client is what a client says in the tunnel: answers.
type client struct {
	method *Method
	eap    *eapinner.Client
	heard  bool
	number uint8 // of the inner requests, which come without one
}

func newClient(m *Method, b eapsdk.Begin) (*client, error) {
	if m.identity != "" {
		b.Identity = m.identity
	}
	if b.Identity == "" {
		return nil, errors.New("PEAP needs a name: set inner-identity, or give the connection an EAP identity")
	}
	// TLS will have proved the server before anything is said inside.
	if m.creds.ServerName != "" {
		b.ServerName = m.creds.ServerName
	}
	return &client{method: m, eap: m.eap.Answer(b)}, nil
}

// Turn implements eaptls.Inner.
func (c *client) Turn(ctx context.Context, t *eaptls.Tunnel, text []byte) (eaptls.Turn, error) {
	if len(text) == 0 {
		if c.heard {
			return refuse("the server says nothing in the tunnel")
		}
		return say(nil)
	}
	c.heard = true
	c.number++
	packet, whole := expand(text, eappacket.Request, c.number)
	if whole {
		c.number = packet[1]
	}
	if whole && eapsdk.Type(text[4]) == typeExtensions {
		return c.result(ctx, t, packet)
	}
	step, err := c.eap.Next(ctx, packet)
	switch {
	case err != nil:
		return eaptls.Turn{}, err
	case step.Outcome != eapsdk.Continue:
		return refuse("%s", step.Reason)
	}
	return say(compress(step.Packet))
}

// result takes the server's word about how it went, and gives ours.
func (c *client) result(ctx context.Context, t *eaptls.Tunnel, packet []byte) (eaptls.Turn, error) {
	p, err := eappacket.Parse(packet)
	if err != nil {
		return refuse("inner EAP: %v", err)
	}
	e, err := parseExtensions(p.Data)
	if err != nil {
		return refuse("%v", err)
	}
	turn, answer, err := c.judge(ctx, t, e)
	if err != nil {
		return turn, err
	}
	answer.result = resultSuccess
	if turn.Outcome != eapsdk.Success {
		answer = extensions{result: resultFailure}
	}
	turn.Send = eappacket.Packet{Code: eappacket.Response, Identifier: p.Identifier, Type: typeExtensions, Data: answer.marshal()}.Append(nil)
	return turn, nil
}

// judge holds the server's result against what the inner method says and against the binding.
func (c *client) judge(ctx context.Context, t *eaptls.Tunnel, e extensions) (turn eaptls.Turn, answer extensions, err error) {
	no := func(reason string) (eaptls.Turn, extensions, error) {
		return eaptls.Turn{Outcome: eapsdk.Failure, Reason: reason}, extensions{}, nil
	}
	if e.result == 0 {
		return no("the server's last packet in the tunnel has no Result TLV")
	}
	step, err := c.eap.End(ctx, e.result == resultSuccess)
	switch {
	case err != nil:
		return turn, answer, err
	case step.Outcome != eapsdk.Success:
		return no(step.Reason)
	case e.result != resultSuccess:
		return no("the server refused us within the tunnel")
	case e.binding == nil && c.method.binding == bindingRequired:
		return no("the server does not do crypto binding, which crypto-binding requires")
	case e.binding == nil || c.method.binding == bindingNo:
		return eaptls.Turn{Outcome: eapsdk.Success}, answer, nil
	}
	keys, err := bind(t, step.MSK)
	if err != nil {
		return turn, answer, err
	}
	if e.binding.subtype != bindRequest || !e.binding.right(keys.cmk) {
		return no("the server's crypto binding is wrong: who speaks inside is not who speaks TLS")
	}
	answer.binding = &binding{subtype: bindResponse}
	_, _ = rand.Read(answer.binding.nonce[:]) // never fails: crypto/rand ends the program rather
	answer.binding.mac = answer.binding.sum(keys.cmk)
	return eaptls.Turn{Outcome: eapsdk.Success, MSK: keys.msk()}, answer, nil
}

// Abort implements eaptls.Inner.
func (c *client) Abort(reason string) { c.eap.Abort(reason) }
