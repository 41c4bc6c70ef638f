// Package md5 is EAP-MD5 (RFC 3748 section 5.4), on both sides. It is here for peers that know nothing better, most of them test suites.
//
// # Settings
//
// A server has the secret "users", a user file (see package users) with passwords: a user whose line has an NT hash cannot come in this way. It may have
//
//	name: "vpn"          what the server calls itself; nobody checks it
//	strip-domain, strip-realm, fold-case: "yes"   which spellings of a name mean one user
//
// A client has the secret "password", the password alone; a line's end behind it does not count. Its name is the EAP identity of the policy.
//
// # What it is worth
//
// Only the peer proves anything, and no key comes of it: IKEv2 takes it beside a server's certificate alone, and EAP-only authentication never. Whoever plays the server can try
// passwords against what he has heard at leisure.
package md5

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/turn"
	"github.com/trike-ipsec/trike/plugins/users"
)

const (
	challengeSize = 16
	maxName       = 253
)

// What a parser finds wrong.
var (
	errValue = errors.New("EAP-MD5 value has a size that does not fit its packet")
	errSize  = errors.New("EAP-MD5 response is not 16 octets")
)

// Method is EAP-MD5. The zero value is ready for Configure.
type Method struct {
	users       *users.File
	name        string
	password    []byte
	hasPassword bool
}

// Describe implements eapsdk.Method.
func (*Method) Describe() eapsdk.Description {
	return eapsdk.Description{
		Name: "md5", Version: "1", Type: eapsdk.TypeMD5, Roles: []eapsdk.Role{eapsdk.Server, eapsdk.Client},
		Settings: append([]eapsdk.Setting{
			{Name: "users", Secret: true, Help: "server: the user file, with passwords and not NT hashes"},
			{Name: "password", Secret: true, Help: "client: its password"},
			{Name: "name", Help: "server: what it calls itself (trike unless set)"},
		}, users.NameSettings()...),
	}
}

// Configure implements eapsdk.Method.
func (m *Method) Configure(_ context.Context, c eapsdk.Config, log *slog.Logger) error {
	text, server := c.Secrets["users"]
	password, client := c.Secrets["password"]
	if !server && !client {
		return errors.New("EAP-MD5 has no secret: give it users to be a server or password to be a client")
	}
	if m.name = c.Values["name"]; m.name == "" {
		m.name = "trike"
	}
	if len(m.name) > maxName || strings.ContainsFunc(m.name, unicode.IsControl) {
		return fmt.Errorf("setting name is %d octets or has control characters: it may have %d octets", len(m.name), maxName)
	}
	m.password, m.hasPassword = []byte(strings.TrimRight(string(password), "\r\n")), client
	if client && len(m.password) == 0 {
		return errors.New("secret password is empty")
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
			return nil, eapsdk.Step{}, errors.New("EAP-MD5 cannot be a server: it was given no secret users")
		}
		s := &server{users: m.users, identity: b.Identity}
		_, _ = rand.Read(s.challenge[:]) // never fails: crypto/rand ends the program rather
		session, step := turn.Serve(eapsdk.TypeMD5, b.Identifier, marshal(s.challenge[:], m.name), s)
		return session, step, nil
	case eapsdk.Client:
		if !m.hasPassword {
			return nil, eapsdk.Step{}, errors.New("EAP-MD5 cannot be a client: it was given no secret password")
		}
		return turn.Reply(ctx, eapsdk.TypeMD5, b.Packet, &client{password: m.password, name: b.Identity})
	}
	return nil, eapsdk.Step{}, fmt.Errorf("EAP-MD5 knows no %v", b.Role)
}

// server asks once.
type server struct {
	users     *users.File
	identity  string
	challenge [challengeSize]byte
}

// Respond implements turn.Server. The name in the response says nothing (RFC 3748 section 5.4 has the identity for that).
func (s *server) Respond(_ context.Context, identifier uint8, data []byte) (turn.Turn, error) {
	value, _, err := parse(data)
	if err != nil {
		return turn.Fail("%v", err), nil
	}
	if len(value) != md5.Size {
		return turn.Fail("%v", errSize), nil
	}
	// The same is done for every name: whether it exists must not show in the time it takes.
	user := s.users.Find(s.identity)
	password, whole := user.Password()
	want := digest(identifier, password, s.challenge[:])
	right := subtle.ConstantTimeCompare(want[:], value) == 1
	switch {
	case !user.Known:
		return turn.Fail("user %q is not in the user file", s.identity), nil
	case !whole:
		return turn.Fail("user %q has an NT hash in the user file, and EAP-MD5 needs the password", user.Name), nil
	case !right:
		return turn.Fail("wrong password of user %q", user.Name), nil
	}
	return turn.Turn{Outcome: eapsdk.Success, Identity: user.Name, Groups: user.Groups}, nil
}

// client answers once.
type client struct {
	password []byte
	name     string
	answered bool
}

// Request implements turn.Client.
func (c *client) Request(_ context.Context, identifier uint8, data []byte) (turn.Turn, error) {
	if c.answered {
		return turn.Fail("server asks a second EAP-MD5 challenge"), nil
	}
	challenge, _, err := parse(data)
	if err != nil {
		return turn.Fail("%v", err), nil
	}
	c.answered = true
	sum := digest(identifier, c.password, challenge)
	return turn.Say(marshal(sum[:], c.name)), nil
}

// End implements turn.Client.
func (c *client) End(success bool) turn.Turn {
	switch {
	case !c.answered:
		return turn.Fail("server ends EAP-MD5 before it has asked")
	case !success:
		return turn.Fail("server refuses the name or password of %q", c.name)
	}
	return turn.Turn{Outcome: eapsdk.Success}
}

// digest is the response of CHAP (RFC 1994 section 4.1).
func digest(identifier uint8, password, challenge []byte) [md5.Size]byte {
	h := md5.New()
	h.Write([]byte{identifier})
	h.Write(password)
	h.Write(challenge)
	return [md5.Size]byte(h.Sum(nil))
}

// parse reads Value-Size, Value and Name. The value has at least one octet (RFC 1994 section 4.1).
func parse(b []byte) (value []byte, name string, err error) {
	if len(b) < 2 || b[0] == 0 || int(b[0]) > len(b)-1 {
		return nil, "", errValue
	}
	end := 1 + int(b[0])
	return b[1:end], string(b[end:]), nil
}

func marshal(value []byte, name string) []byte {
	b := append([]byte{byte(len(value))}, value...)
	return append(b, name...)
}
