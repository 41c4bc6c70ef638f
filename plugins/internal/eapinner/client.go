package eapinner

import (
	"context"
	"fmt"
	"slices"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eappacket"
)

// maxNaks is how often a server may propose what we do not do.
const maxNaks = 4

// Client answers, inside the tunnel.
type Client struct {
	methods *Methods
	begin   eapsdk.Begin
	session eapsdk.Session
	current eapsdk.Type
	last    uint8
	naks    int
}

// Answer begins the client's side. b.Identity is the inner identity; b.ServerName is how the outer method's TLS proved the server to be called.
func (m *Methods) Answer(b eapsdk.Begin) *Client { return &Client{methods: m, begin: b} }

// Identity is the identity said unasked, which is how TTLS begins.
func (c *Client) Identity(identifier uint8) []byte {
	return eappacket.Packet{Code: eappacket.Response, Identifier: identifier, Type: eapsdk.TypeIdentity, Data: []byte(c.begin.Identity)}.Append(nil)
}

// Next answers the server's packet: Continue with a Packet, or Failure with a Reason.
func (c *Client) Next(ctx context.Context, packet []byte) (eapsdk.Step, error) {
	p, err := eappacket.Parse(packet)
	switch {
	case err != nil:
		return fail("%v", err)
	case p.Code != eappacket.Request:
		return fail("the server sent a %v", p.Code)
	}
	c.last = p.Identifier
	switch {
	case p.Type == eapsdk.TypeIdentity && c.session == nil:
		return say(c.Identity(p.Identifier))
	case p.Type == eapsdk.TypeNotification:
		return say(eappacket.Packet{Code: eappacket.Response, Identifier: p.Identifier, Type: eapsdk.TypeNotification}.Append(nil))
	case c.session == nil && c.methods.of(p.Type) == nil:
		return c.nak(p)
	case c.session == nil:
		return c.start(ctx, p.Type, packet)
	case p.Type != c.current:
		return fail("the server went over from EAP type %d to %d", c.current, p.Type)
	}
	step, err := c.session.Next(ctx, packet)
	if err != nil || step.Outcome == eapsdk.Failure {
		c.session = nil
	}
	return step, err
}

func say(packet []byte) (eapsdk.Step, error) {
	return eapsdk.Step{Outcome: eapsdk.Continue, Packet: packet}, nil
}

func (c *Client) nak(p eappacket.Packet) (eapsdk.Step, error) {
	if c.naks++; c.naks > maxNaks {
		return fail("the server does not propose any of the methods that we have (%v)", c.methods.types())
	}
	return say(eappacket.Packet{Code: eappacket.Response, Identifier: p.Identifier, Type: eapsdk.TypeNak, Data: slices.Clone(c.methods.types())}.Append(nil))
}

func (c *Client) start(ctx context.Context, t eapsdk.Type, packet []byte) (eapsdk.Step, error) {
	c.begin.Role, c.begin.Packet = eapsdk.Client, packet
	session, step, err := c.methods.of(t).Begin(ctx, c.begin)
	if err != nil {
		return step, err
	}
	if step.Outcome == eapsdk.Continue {
		c.session, c.current = session, t
	}
	return step, nil
}

// End tells the inner method what the outer one heard, and gives its last step. Success without a method that agrees is a Failure.
func (c *Client) End(ctx context.Context, success bool) (eapsdk.Step, error) {
	if c.session == nil {
		return fail("the server ended it before a method was complete")
	}
	code := eappacket.Failure
	if success {
		code = eappacket.Success
	}
	step, err := c.session.Next(ctx, eappacket.Packet{Code: code, Identifier: c.last}.Append(nil))
	c.session = nil
	if err == nil && step.Outcome == eapsdk.Continue {
		return eapsdk.Step{}, fmt.Errorf("inner EAP type %d went on after the end", c.current)
	}
	return step, err
}

// Abort ends the inner method's session, if there is one.
func (c *Client) Abort(reason string) {
	if c.session != nil {
		c.session.Abort(reason)
		c.session = nil
	}
}
