package ttls

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/eapinner"
	"github.com/trike-ipsec/trike/plugins/internal/eaptls"
	"github.com/trike-ipsec/trike/plugins/internal/mschap"
)

// client is what a client says in the tunnel. It begins.
type client struct {
	method *Method
	name   string
	spoken bool
	eap    *eapinner.Client // when the first that it speaks is EAP

	// check holds the server's proof against what it must be, when there is one to come.
	check func(proof string) bool
}

func newClient(m *Method, b eapsdk.Begin) (*client, error) {
	c := &client{method: m, name: m.identity}
	if c.name == "" {
		c.name = b.Identity
	}
	if c.name == "" {
		return nil, errors.New("EAP-TTLS needs a name: set inner-identity, or give the connection an EAP identity")
	}
	if strings.HasPrefix(m.inner[0], eapPrefix) {
		b.Identity = c.name
		// TLS will have proved the server before anything is said inside.
		if m.creds.ServerName != "" {
			b.ServerName = m.creds.ServerName
		}
		c.eap = m.eap.Answer(b)
	}
	return c, nil
}

// Turn implements eaptls.Inner.
func (c *client) Turn(ctx context.Context, t *eaptls.Tunnel, text []byte) (eaptls.Turn, error) {
	switch {
	case c.spoken && c.eap != nil:
		return c.innerEAP(ctx, text)
	case c.spoken:
		return c.last(text)
	case len(text) > 0:
		return refuse("the server speaks first in the tunnel, where it is the client's turn")
	}
	c.spoken = true
	switch {
	case c.eap != nil:
		return say(appendAVP(nil, eapMessage(), c.eap.Identity(0)))
	case c.method.inner[0] == innerPAP:
		return c.pap()
	}
	return c.mschapv2(t)
}

// pap tells the password, filled up to a multiple of 16 octets so that its length does not show (RFC 5281 section 11.2.5).
func (c *client) pap() (eaptls.Turn, error) {
	password := append([]byte(nil), c.method.password...)
	password = append(password, make([]byte, -len(password)&15)...)
	b := appendAVP(nil, userName(), []byte(c.name))
	return eaptls.Turn{Outcome: eapsdk.Success, Send: appendAVP(b, userPassword(), password)}, nil
}

func (c *client) mschapv2(t *eaptls.Tunnel) (eaptls.Turn, error) {
	challenge, identifier, err := implicitChallenge(t)
	if err != nil {
		return eaptls.Turn{}, err
	}
	hash, err := mschap.HashPassword(string(c.method.password))
	if err != nil {
		return eaptls.Turn{}, err
	}
	var peer mschap.Challenge
	_, _ = rand.Read(peer[:]) // never fails: crypto/rand ends the program rather
	nt := mschap.Response(hash, challenge, peer, c.name)
	c.check = func(proof string) bool {
		return len(proof) > 1 && proof[0] == identifier && mschap.CheckAuthenticatorResponse(hash, nt, challenge, peer, c.name, proof[1:])
	}
	response := append([]byte{identifier, 0}, peer[:]...)
	response = append(append(response, make([]byte, 8)...), nt[:]...)
	b := appendAVP(nil, userName(), []byte(c.name))
	b = appendAVP(b, msCHAPChallenge(), challenge[:])
	return say(appendAVP(b, msCHAP2Response(), response))
}

// last takes the server's proof.
func (c *client) last(text []byte) (eaptls.Turn, error) {
	m, err := readMessage(text, msCHAP2Success(), msCHAPError(), replyMessage())
	switch {
	case err != nil:
		return refuse("%v", err)
	case m.has(msCHAPError()):
		return refuse("the server refuses the name or password of %q", c.name)
	case !m.has(msCHAP2Success()):
		return refuse("the server did not prove by MS-CHAPv2 that it knows the password")
	case !c.check(proofOf(m[msCHAP2Success()])):
		return refuse("the server does not know the password of %q: its MS-CHAPv2 proof is wrong", c.name)
	}
	return eaptls.Turn{Outcome: eapsdk.Success}, nil
}

// proofOf is the identifier and "S=" with 40 digits; a server may put a message behind it.
func proofOf(b []byte) string {
	const size = 1 + 42
	return string(b[:min(len(b), size)])
}

func (c *client) innerEAP(ctx context.Context, text []byte) (eaptls.Turn, error) {
	m, err := readMessage(text, eapMessage(), replyMessage())
	switch {
	case err != nil:
		return refuse("%v", err)
	case !m.has(eapMessage()):
		return refuse("the server left EAP inside the tunnel")
	}
	step, err := c.eap.Next(ctx, m[eapMessage()])
	switch {
	case err != nil:
		return eaptls.Turn{}, err
	case step.Outcome != eapsdk.Continue:
		return refuse("%s", step.Reason)
	}
	return say(appendAVP(nil, eapMessage(), step.Packet))
}

// End implements eaptls.Ender.
func (c *client) End(ctx context.Context, success bool) (eaptls.Turn, error) {
	switch {
	case c.eap == nil && success:
		return refuse("the server said Success before the method was complete")
	case c.eap == nil:
		return refuse("the server refuses the name or password of %q", c.name)
	}
	step, err := c.eap.End(ctx, success)
	return eaptls.Turn{Outcome: step.Outcome, Reason: step.Reason}, err
}

// Abort implements eaptls.Inner.
func (c *client) Abort(reason string) {
	if c.eap != nil {
		c.eap.Abort(reason)
	}
}
