package eaptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eappacket"
)

// Bounds of a conversation.
const (
	maxRounds  = 1000
	maxRepeats = 50 // of one packet, before the link is given up
)

// Beginner is what sessions come from: an eapsdk.Method, or a plugin that is Running.
type Beginner interface {
	Begin(context.Context, eapsdk.Begin) (eapsdk.Session, eapsdk.Step, error)
}

// Link is what lies between the two sides. The zero value brings every packet once. EAP Success and Failure always arrive: IKE carries them, and EAP itself never sends them again.
type Link struct {
	// Lose and Repeat are the chances, 0 to 1, that a packet is lost and that it comes twice. They need Rand.
	Lose, Repeat float64
	Rand         *rand.Rand
	// Mangle, unless nil, sees each packet on its way to the side of that role, and gives what comes there.
	Mangle func(to eapsdk.Role, packet []byte) []byte
}

func (l *Link) lost() bool     { return l.Lose > 0 && l.Rand.Float64() < l.Lose }
func (l *Link) repeated() bool { return l.Repeat > 0 && l.Rand.Float64() < l.Repeat }

func (l *Link) carry(to eapsdk.Role, packet []byte) []byte {
	if l.Mangle == nil {
		return packet
	}
	return l.Mangle(to, packet)
}

// Talk is a conversation that has ended.
type Talk struct {
	// Server and Client are the last steps of both sides.
	Server, Client eapsdk.Step
	// Packets are those that were said, in both directions in turn, the server's first. What was lost and came again stands once.
	Packets [][]byte
	// Lost and Repeated count what the link did.
	Lost, Repeated int
}

// Converse has a server and a client talk until both have ended. b says who the client is; b.Identifier is that of the first request, and b.Packet is the server's to begin with. The
// layer below is the plainest: the server asks again for what does not come, and both sides see everything that comes twice. A session that answers a repeated packet otherwise than it
// did the first time (RFC 3748 section 4.1), or has a fault, is an error; a side that refuses the other is none.
func Converse(ctx context.Context, server, client Beginner, b eapsdk.Begin, link Link) (Talk, error) {
	c := conversation{link: link, begin: b, beginClient: client}
	err := c.run(ctx, server)
	return c.talk, err
}

// conversation is one that is on.
type conversation struct {
	link           Link
	begin          eapsdk.Begin
	beginClient    Beginner
	server, client eapsdk.Session
	talk           Talk
}

func (c *conversation) run(ctx context.Context, server Beginner) (err error) {
	c.begin.Role = eapsdk.Server
	if c.server, c.talk.Server, err = server.Begin(ctx, c.begin); err != nil {
		return fmt.Errorf("the server does not begin: %w", err)
	}
	defer func() { c.giveUp(err) }()
	request := c.talk.Server.Packet
	c.talk.Packets = append(c.talk.Packets, request)
	for range maxRounds {
		if c.talk.Server.Outcome != eapsdk.Continue {
			return c.last(ctx)
		}
		if err := c.exchange(ctx, c.talk.Server.Packet); err != nil || c.talk.Client.Outcome != eapsdk.Continue {
			return err
		}
	}
	return fmt.Errorf("the conversation has no end after %d requests", maxRounds)
}

// giveUp ends what is still open.
func (c *conversation) giveUp(err error) {
	why := "the other side has ended"
	if err != nil {
		why = err.Error()
	}
	if c.server != nil && c.talk.Server.Outcome == eapsdk.Continue {
		c.server.Abort(why)
	}
	if c.client != nil && c.talk.Client.Outcome == eapsdk.Continue {
		c.client.Abort(why)
	}
}

// exchange brings a request to the client and the response to the server, as often as the link makes it needed.
func (c *conversation) exchange(ctx context.Context, request []byte) error {
	request = c.link.carry(eapsdk.Client, request)
	asked := false
	for range maxRepeats {
		for range c.arrivals() {
			if err := c.ask(ctx, request, asked); err != nil || c.talk.Client.Outcome != eapsdk.Continue {
				return err
			}
			asked = true
		}
		if !asked {
			continue
		}
		if n := c.arrivals(); n > 0 {
			return c.answer(ctx, n)
		}
	}
	return fmt.Errorf("a packet was lost %d times in a row: the link is too bad", maxRepeats)
}

// arrivals draws how often a packet arrives.
func (c *conversation) arrivals() int {
	switch {
	case c.link.lost():
		c.talk.Lost++
		return 0
	case c.link.repeated():
		c.talk.Repeated++
		return 2
	}
	return 1
}

// ask brings a request to the client, for the first time or again.
func (c *conversation) ask(ctx context.Context, request []byte, again bool) (err error) {
	before := c.talk.Client.Packet
	if c.client == nil {
		b := c.begin
		b.Role, b.Packet, b.Identifier = eapsdk.Client, request, 0
		if c.client, c.talk.Client, err = c.beginClient.Begin(ctx, b); err != nil {
			c.client = nil
			return fmt.Errorf("the client does not begin: %w", err)
		}
	} else if c.talk.Client, err = c.client.Next(ctx, request); err != nil {
		return fmt.Errorf("the client has a fault: %w", err)
	}
	if again && (c.talk.Client.Outcome != eapsdk.Continue || !bytes.Equal(c.talk.Client.Packet, before)) {
		return fmt.Errorf("the client is asked the same again, and does not answer the same again: %v", told(c.talk.Client))
	}
	return nil
}

// answer brings the response to the server, n times.
func (c *conversation) answer(ctx context.Context, n int) (err error) {
	response := c.link.carry(eapsdk.Server, c.talk.Client.Packet)
	if c.talk.Server, err = c.server.Next(ctx, response); err != nil {
		return fmt.Errorf("the server has a fault: %w", err)
	}
	c.talk.Packets = append(c.talk.Packets, response, verdict(c.talk.Server, response))
	for range n - 1 {
		if c.talk.Server.Outcome != eapsdk.Continue {
			break
		}
		before := c.talk.Server.Packet
		if c.talk.Server, err = c.server.Next(ctx, response); err != nil {
			return fmt.Errorf("the server has a fault when a response comes twice: %w", err)
		}
		if c.talk.Server.Outcome != eapsdk.Continue || !bytes.Equal(c.talk.Server.Packet, before) {
			return fmt.Errorf("the server gets the same response again, and does not ask the same again: %v", told(c.talk.Server))
		}
	}
	return nil
}

// last brings the server's last word to the client.
func (c *conversation) last(ctx context.Context) (err error) {
	if c.client == nil {
		return nil
	}
	word := c.link.carry(eapsdk.Client, c.talk.Packets[len(c.talk.Packets)-1])
	if c.talk.Client, err = c.client.Next(ctx, word); err != nil {
		return fmt.Errorf("the client has a fault: %w", err)
	}
	if c.talk.Client.Outcome == eapsdk.Continue {
		return errors.New("the client goes on after the server's last word")
	}
	return nil
}

// verdict is the packet of a server's step: its own, or the one that trike makes of the outcome.
func verdict(s eapsdk.Step, response []byte) []byte {
	code := eappacket.Failure
	switch {
	case len(s.Packet) > 0:
		return s.Packet
	case s.Outcome == eapsdk.Success:
		code = eappacket.Success
	}
	p := eappacket.Packet{Code: code}
	if len(response) > 1 {
		p.Identifier = response[1]
	}
	return p.Append(nil)
}

// told says what a step is, without its key.
func told(s eapsdk.Step) string {
	switch {
	case s.Outcome == eapsdk.Failure:
		return fmt.Sprintf("failure (%q)", s.Reason)
	case len(s.Packet) > 0:
		return fmt.Sprintf("%v with a packet of %d octets that begins % x", s.Outcome, len(s.Packet), s.Packet[:min(len(s.Packet), 8)])
	}
	return s.Outcome.String()
}
