// Package gtc is EAP-GTC (RFC 3748 section 5.6), on both sides: the server shows a prompt, and the peer sends what its user types, as it is.
//
// # Settings
//
// A server has the secret "users", a user file (see package users), and perhaps
//
//	prompt: "Password: "   what the peer's software may show
//	strip-domain, strip-realm, fold-case: "yes"   which spellings of a name mean one user
//
// A client has the secret "password", the password alone; a line's end behind it does not count. Its name is the EAP identity of the policy.
//
// # What it is worth
//
// The password crosses in clear within IKE or TLS, so the server has to prove itself first: a client here does not answer a server that has not. No key comes of it, so EAP-only
// authentication never takes it. What speaks for it is what stands behind: the server sees the password, so any back end can check it, even one that keeps only a hash of
// its own kind. Serve is for plugins of such back ends; plugins/eap-ldap is one.
package gtc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/turn"
	"github.com/trike-ipsec/trike/plugins/users"
)

// Bounds in octets.
const (
	MaxPrompt   = 255
	MaxPassword = 1024
)

// DefaultPrompt is what a server asks unless told otherwise.
const DefaultPrompt = "Password: "

// Method is EAP-GTC. The zero value is ready for Configure.
type Method struct {
	users       *users.File
	prompt      string
	password    []byte
	hasPassword bool
}

// Describe implements eapsdk.Method.
func (*Method) Describe() eapsdk.Description {
	return eapsdk.Description{
		Name: "gtc", Version: "1", Type: eapsdk.TypeGTC, Roles: []eapsdk.Role{eapsdk.Server, eapsdk.Client},
		Settings: append([]eapsdk.Setting{
			{Name: "users", Secret: true, Help: "server: the user file"},
			{Name: "password", Secret: true, Help: "client: its password"},
			PromptSetting(),
		}, users.NameSettings()...),
	}
}

// PromptSetting is the setting that PromptFrom reads, for a method's Description.
func PromptSetting() eapsdk.Setting {
	return eapsdk.Setting{Name: "prompt", Help: fmt.Sprintf("server: what the peer's software may show (%q unless set)", DefaultPrompt)}
}

// PromptFrom reads what a server asks from a policy's settings.
func PromptFrom(values map[string]string) (string, error) {
	p, ok := values["prompt"]
	if !ok {
		return DefaultPrompt, nil
	}
	// RFC 3748 section 5.6: the message is UTF-8 and has at least one octet.
	if p == "" || len(p) > MaxPrompt || !utf8.ValidString(p) {
		return "", fmt.Errorf("setting prompt has %d octets: it has to be 1 to %d octets of UTF-8", len(p), MaxPrompt)
	}
	return p, nil
}

// Configure implements eapsdk.Method.
func (m *Method) Configure(_ context.Context, c eapsdk.Config, log *slog.Logger) error {
	text, server := c.Secrets["users"]
	password, client := c.Secrets["password"]
	if !server && !client {
		return errors.New("EAP-GTC has no secret: give it users to be a server or password to be a client")
	}
	var err error
	if m.prompt, err = PromptFrom(c.Values); err != nil {
		return err
	}
	m.password, m.hasPassword = []byte(strings.TrimRight(string(password), "\r\n")), client
	if client && (len(m.password) == 0 || len(m.password) > MaxPassword) {
		return fmt.Errorf("secret password has %d octets: it has to be 1 to %d", len(m.password), MaxPassword)
	}
	if !server {
		return nil
	}
	names, err := users.NamesFrom(c.Values)
	if err != nil {
		return err
	}
	if m.users, err = users.Read(text, names); err != nil {
		return fmt.Errorf("secret users: %w", err)
	}
	log.Info("user file read", "users", m.users.Len())
	return nil
}

// Begin implements eapsdk.Method.
func (m *Method) Begin(ctx context.Context, b eapsdk.Begin) (eapsdk.Session, eapsdk.Step, error) {
	switch b.Role {
	case eapsdk.Server:
		if m.users == nil {
			return nil, eapsdk.Step{}, errors.New("EAP-GTC cannot be a server: it was given no secret users")
		}
		session, step := Serve(b, m.prompt, m.users)
		return session, step, nil
	case eapsdk.Client:
		if !m.hasPassword {
			return nil, eapsdk.Step{}, errors.New("EAP-GTC cannot be a client: it was given no secret password")
		}
		return turn.Reply(ctx, eapsdk.TypeGTC, b.Packet, &client{password: m.password, name: b.Identity, server: b.ServerName})
	}
	return nil, eapsdk.Step{}, fmt.Errorf("EAP-GTC knows no %v", b.Role)
}

// Serve is a server's session with any back end behind it.
func Serve(b eapsdk.Begin, prompt string, back users.Verifier) (eapsdk.Session, eapsdk.Step) {
	return turn.Serve(eapsdk.TypeGTC, b.Identifier, []byte(prompt), &server{back: back, identity: b.Identity})
}

// server asks once.
type server struct {
	back     users.Verifier
	identity string
}

// Respond implements turn.Server.
func (s *server) Respond(ctx context.Context, _ uint8, data []byte) (turn.Turn, error) {
	if len(data) == 0 || len(data) > MaxPassword {
		return turn.Fail("EAP-GTC response of %q has %d octets: a password has 1 to %d", s.identity, len(data), MaxPassword), nil
	}
	account, err := s.back.Verify(ctx, s.identity, data)
	if err != nil {
		return turn.Fail("%v", err), nil
	}
	return turn.Turn{Outcome: eapsdk.Success, Identity: account.Name, Groups: account.Groups}, nil
}

// client answers once, a server that has proved itself.
type client struct {
	password []byte
	name     string
	server   string
	answered bool
}

// Request implements turn.Client.
func (c *client) Request(context.Context, uint8, []byte) (turn.Turn, error) {
	switch {
	case c.server == "":
		return turn.Fail("server asks for the password in clear without having proved who it is: have it authenticate by a certificate"), nil
	case c.answered:
		return turn.Fail("server asks for a second password, and there is none"), nil
	}
	c.answered = true
	return turn.Say(c.password), nil
}

// End implements turn.Client.
func (c *client) End(success bool) turn.Turn {
	switch {
	case !c.answered:
		return turn.Fail("server ends EAP-GTC before it has asked")
	case !success:
		return turn.Fail("server refuses the name or password of %q", c.name)
	}
	return turn.Turn{Outcome: eapsdk.Success}
}
