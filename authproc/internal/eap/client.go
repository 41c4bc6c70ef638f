package eap

import (
	"fmt"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// ClientConfig is what a client's conversation begins with.
type ClientConfig struct {
	Identity string // who we are to the server
	Method   Method // the one that we answer with
	// NeedKeys and NeedMutual: EAP-only authentication, where nothing but the method proves the server.
	NeedKeys, NeedMutual bool
}

// Client is the peer's side of one conversation.
type Client struct {
	cfg    ClientConfig
	state  state
	rounds int
	begun  bool
	last   uint8 // identifier of the last request
	seen   bool  // there was a request
}

// NewClient makes a conversation. It begins with the server's first packet.
func NewClient(cfg ClientConfig) *Client { return &Client{cfg: cfg, state: waiting} }

// Packet takes one of the server's.
func (c *Client) Packet(b []byte) Action {
	if c.state != waiting {
		return c.fail("the server sent an EAP packet out of turn")
	}
	if c.rounds++; c.rounds > maxRounds {
		return c.fail(fmt.Sprintf("no end after %d EAP packets", maxRounds))
	}
	if m := c.cfg.Method; c.cfg.NeedKeys && !m.MakesKeys || c.cfg.NeedMutual && !m.Mutual {
		return c.fail(fmt.Sprintf("EAP plugin %q makes no keys or does not prove the server, which EAP-only authentication needs (RFC 5998 section 4)", m.Name))
	}
	p, err := Parse(b)
	if err != nil {
		return c.fail("the server sent " + err.Error())
	}
	switch p.Code {
	case Request:
		return c.request(p)
	case Success, Failure:
		return c.ended(p)
	}
	return c.fail(fmt.Sprintf("the server sent an EAP %v", p.Code))
}

func (c *Client) request(p Packet) Action {
	if c.seen && c.begun && p.Identifier == c.last {
		return c.fail(fmt.Sprintf("the server sent two EAP requests with identifier %d", p.Identifier))
	}
	c.last, c.seen = p.Identifier, true
	switch {
	case p.Type == eapsdk.TypeIdentity && !c.begun:
		return Action{Kind: Send, Packet: frame(Response, p.Identifier, append([]byte{byte(eapsdk.TypeIdentity)}, c.cfg.Identity...)...)}
	case p.Type == eapsdk.TypeNotification: // RFC 3748 section 5.2: it is always answered
		return Action{Kind: Send, Packet: frame(Response, p.Identifier, byte(eapsdk.TypeNotification))}
	case p.Type != c.cfg.Method.Type && !c.begun:
		// RFC 3748 section 5.3.1: name what we would do.
		return Action{Kind: Send, Packet: frame(Response, p.Identifier, byte(eapsdk.TypeNak), byte(c.cfg.Method.Type))}
	case p.Type != c.cfg.Method.Type:
		return c.fail(fmt.Sprintf("the server asks for EAP type %d in the middle of %s", p.Type, name(c.cfg.Method)))
	}
	c.state = working
	if !c.begun {
		c.begun = true
		return Action{Kind: Begin, Method: c.cfg.Method, Identity: c.cfg.Identity, Packet: p.whole}
	}
	return Action{Kind: Next, Method: c.cfg.Method, Packet: p.whole}
}

func (c *Client) ended(p Packet) Action {
	switch {
	case p.Code == Failure && !c.begun:
		return c.fail(fmt.Sprintf("the server refuses %s before %s could begin: it does not know the name, or offers other methods only", quote(c.cfg.Identity), name(c.cfg.Method)))
	case !c.begun:
		return c.fail("the server says EAP Success without authentication")
	}
	c.state = working
	return Action{Kind: Next, Method: c.cfg.Method, Packet: p.whole}
}

// Step takes what the method does next, or its fault.
func (c *Client) Step(step eapsdk.Step, err error) Action {
	if c.state != working {
		return c.fail("EAP plugin " + c.cfg.Method.Name + " spoke out of turn")
	}
	if err != nil {
		return c.fail(fmt.Sprintf("EAP plugin %q: %v", c.cfg.Method.Name, err))
	}
	switch step.Outcome {
	case eapsdk.Continue:
		p, err := Parse(step.Packet)
		if err != nil || p.Code != Response || p.Identifier != c.last {
			return c.fail(fmt.Sprintf("EAP plugin %q broke the rules: what it sends is no response to request %d", c.cfg.Method.Name, c.last))
		}
		c.state = waiting
		return Action{Kind: Send, Packet: step.Packet}
	case eapsdk.Success:
		c.state = over
		if (c.cfg.Method.MakesKeys || len(step.MSK) > 0) && len(step.MSK) != eapsdk.MaxMSK {
			return c.fail(fmt.Sprintf("EAP plugin %q broke the rules: an MSK of %d octets", c.cfg.Method.Name, len(step.MSK)))
		}
		return Action{Kind: End, OK: true, Result: step, Identity: c.cfg.Identity, Method: c.cfg.Method}
	case eapsdk.Failure:
		c.state = over
		return Action{Kind: End, Packet: step.Packet, Reason: fmt.Sprintf("EAP plugin %q: %s", c.cfg.Method.Name, reason(step.Reason))}
	}
	return c.fail(fmt.Sprintf("EAP plugin %q broke the rules: %v", c.cfg.Method.Name, step.Outcome))
}

func (c *Client) fail(why string) Action {
	open := c.begun && (c.state == working || c.state == waiting)
	c.state = over
	return Action{Kind: End, Reason: why, Abort: open}
}

// Abort tells whether a session is open in Method when the conversation is given up now.
func (c *Client) Abort() (Method, bool) {
	open := c.begun && (c.state == working || c.state == waiting)
	c.state = over
	return c.cfg.Method, open
}
