package mschapv2

import (
	"context"
	"fmt"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/turn"
	"github.com/trike-ipsec/trike/plugins/internal/mschap"
)

// client is one conversation on the side that answers. It has one password, so it does not try again when that is refused.
type client struct {
	hash mschap.Hash
	name string

	state     clientState
	challenge mschap.Challenge
	peer      mschap.Challenge
	nt        mschap.NTResponse
	refused   string // what the server said against us
}

type clientState uint8

const (
	waiting  clientState = iota // for a challenge
	answered                    // a success or failure is due
	trusted                     // the server has proved itself
	rejected                    // it has refused us
)

// Request implements turn.Client.
func (c *client) Request(_ context.Context, _ uint8, data []byte) (turn.Turn, error) {
	m, err := parseMessage(data)
	if err != nil {
		return turn.Fail("%v", err), nil
	}
	switch {
	case c.state == waiting && m.op == opChallenge:
		return c.answer(m), nil
	case c.state == answered && m.op == opSuccess:
		return c.check(m), nil
	case c.state == answered && m.op == opFailure:
		return c.giveUp(m), nil
	}
	return turn.Fail("server sends an EAP-MSCHAPv2 %v out of order", m.op), nil
}

// answer proves that we know the password.
func (c *client) answer(m message) turn.Turn {
	asked, err := parseChallenge(m.body)
	if err != nil {
		return turn.Fail("%v", err)
	}
	c.challenge, c.peer = asked.value, newChallenge()
	c.nt = mschap.Response(c.hash, c.challenge, c.peer, c.name)
	c.state = answered
	return turn.Say(message{opResponse, m.id, response{c.peer, c.nt, c.name}.marshal()}.marshal())
}

// check takes the server's proof. A server without the right one gets nothing more to hear.
func (c *client) check(m message) turn.Turn {
	proof, err := parseSuccess(m.body)
	if err != nil {
		return turn.Fail("%v", err)
	}
	if !mschap.CheckAuthenticatorResponse(c.hash, c.nt, c.challenge, c.peer, c.name, proof) {
		return turn.Fail("server does not know the password of %q: it is not who it should be, or has another password of that name", c.name)
	}
	c.state = trusted
	return turn.Say([]byte{byte(opSuccess)})
}

// giveUp takes a failure. The server ends with EAP Failure when it has our word.
func (c *client) giveUp(m message) turn.Turn {
	f, err := parseFailure(m.body)
	if err != nil {
		return turn.Fail("%v", err)
	}
	const shown = 100
	c.refused = fmt.Sprintf("server refuses %q: E=%d, %s; it says %.*q", c.name, f.code, f.why(), shown, f.text)
	c.state = rejected
	return turn.Say([]byte{byte(opFailure)})
}

// End implements turn.Client.
func (c *client) End(success bool) turn.Turn {
	switch {
	case success && c.state == trusted:
		return turn.Turn{Outcome: eapsdk.Success, MSK: mschap.MSK(c.hash, c.nt)}
	case success:
		return turn.Fail("server says success without having proved that it knows the password")
	case c.state == rejected:
		return turn.Fail("%s", c.refused)
	}
	return turn.Fail("server says failure in the midst of EAP-MSCHAPv2, without a reason")
}
