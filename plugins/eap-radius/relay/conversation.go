package relay

import (
	"context"
	"fmt"
	"unicode/utf8"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/servers"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// maxReason is how much of a server's Reply-Message the operator reads, in octets.
const maxReason = 300

// conversation is one peer's, with one server.
type conversation struct {
	relay *Relay
	begin eapsdk.Begin
	user  []byte          // what the peer said in its EAP Response/Identity
	from  *servers.Server // who answered first, and knows the conversation since
	state []byte          // of the last challenge
	has   bool            // there was a State, which may be empty
}

// failed is the step that ends a conversation.
func failed(format string, args ...any) eapsdk.Step {
	return eapsdk.Step{Outcome: eapsdk.Failure, Reason: cut(fmt.Sprintf(format, args...))}
}

func cut(s string) string { return packet.Printable([]byte(s), eapsdk.MaxText) }

func (c *conversation) start(ctx context.Context) (eapsdk.Step, error) {
	p := c.begin.Packet
	if !isResponse(p) || len(p) < 5 || eapsdk.Type(p[4]) != eapsdk.TypeIdentity {
		return failed("the peer began with something else than its EAP identity"), nil
	}
	// Copied as it is into User-Name; an empty one is stood in for (RFC 3579 section 2.1).
	c.user = p[5:]
	if len(c.user) == 0 {
		c.user = packet.Text("anonymous at " + c.begin.Peer.Unmap().String())
	}
	if len(c.user) > packet.MaxValue {
		return failed("the peer's EAP identity has %d octets; a RADIUS User-Name has room for %d", len(c.user), packet.MaxValue), nil
	}
	return c.ask(ctx, p), nil
}

// Next carries one packet of the peer's to the server.
func (c *conversation) Next(ctx context.Context, p []byte) (eapsdk.Step, error) {
	if !isResponse(p) {
		return failed("the peer sent something else than an EAP response"), nil
	}
	return c.ask(ctx, p), nil
}

// Abort has nothing to do: RADIUS servers forget a conversation by themselves.
func (c *conversation) Abort(string) {}

func isResponse(p []byte) bool {
	return len(p) >= 4 && p[0] == packet.EAPResponse && int(p[2])<<8|int(p[3]) == len(p)
}

// request is the Access-Request for one packet of the peer's (RFC 3579 section 2.1).
func (c *conversation) request(eap []byte) *radius.Packet {
	p := &radius.Packet{Code: radius.CodeAccessRequest}
	p.Add(packet.UserName, c.user)
	p.Add(packet.ServiceType, packet.Number(serviceFramed))
	p.Add(packet.FramedMTU, packet.Number(framedMTU))
	c.relay.settings.nas(p, c.begin)
	if c.begin.Session != "" {
		p.Add(packet.AcctSessionID, packet.Text(c.begin.Session))
	}
	packet.AddEAP(p, eap)
	if c.has {
		p.Add(packet.State, c.state)
	}
	return p
}

// ask carries a packet to the server and makes a step of what it says.
func (c *conversation) ask(ctx context.Context, eap []byte) eapsdk.Step {
	a, err := c.relay.auth.Exchange(ctx, c.from, c.request(eap))
	if err != nil {
		return failed("%v", err)
	}
	c.from = a.From
	return c.step(a)
}

// step makes a step of a server's answer.
func (c *conversation) step(a servers.Answer) eapsdk.Step {
	reply, err := packet.EAP(a.Packet)
	if err != nil {
		return failed("RADIUS server %s sent what is no EAP packet: %v", a.From, err)
	}
	switch a.Code {
	case radius.CodeAccessChallenge:
		return c.challenge(a, reply)
	case radius.CodeAccessAccept:
		return c.accept(a, reply)
	}
	return c.reject(a, reply)
}

func (c *conversation) challenge(a servers.Answer, reply []byte) eapsdk.Step {
	if len(reply) < 5 || reply[0] != packet.EAPRequest {
		return failed("RADIUS server %s sent a challenge without an EAP request", a.From)
	}
	c.state, c.has = a.Lookup(packet.State)
	return eapsdk.Step{Outcome: eapsdk.Continue, Packet: reply}
}

// reject ends the conversation with the server's no. Its EAP Failure is passed on; anything else in a reject would tell the peer something untrue (RFC 3579
// section 2.6.3).
func (c *conversation) reject(a servers.Answer, reply []byte) eapsdk.Step {
	step := failed("RADIUS server %s rejected the peer", a.From)
	var text []byte
	for _, m := range packet.All(a.Packet, packet.ReplyMessage) {
		text = append(text, m...)
	}
	if said := packet.Printable(text, maxReason); said != "" {
		step = failed("RADIUS server %s rejected the peer: %s", a.From, said)
	}
	if len(reply) == 4 && reply[0] == packet.EAPFailure {
		step.Packet = reply
	}
	return step
}

// accept ends the conversation with the server's yes, if all that belongs to it is there.
func (c *conversation) accept(a servers.Answer, reply []byte) eapsdk.Step {
	// A yes with an EAP packet that says something else would leave us and the peer with different ends (RFC 3579 section 2.6.3).
	if reply != nil && (len(reply) != 4 || reply[0] != packet.EAPSuccess) {
		return failed("RADIUS server %s accepted the peer, but told it something else by EAP", a.From)
	}
	msk, err := packet.MSK(a.Packet, a.Request, a.Secret)
	if err != nil {
		return failed("RADIUS server %s accepted the peer with a key that cannot be used: %v", a.From, err)
	}
	if msk == nil && !c.relay.settings.keyless {
		return failed("RADIUS server %s accepted the peer by an EAP method that makes no keys: let it offer another method, or set keyless to \"allow\"", a.From)
	}
	step := eapsdk.Step{Outcome: eapsdk.Success, Packet: reply, MSK: msk, Groups: c.relay.settings.groups.of(a.Packet), Grants: grants(a.Packet)}
	// Who the peer proved to be inside a tunnel, for example (RFC 2865 section 5.1).
	if user, ok := a.Lookup(packet.UserName); ok && len(user) > 0 && packet.Printable(user, packet.MaxValue) == string(user) && utf8.Valid(user) {
		step.Identity = string(user)
	}
	identity := step.Identity
	if identity == "" {
		identity = c.begin.Identity
	}
	c.relay.sessions.begin(c.begin, identity)
	return step
}
