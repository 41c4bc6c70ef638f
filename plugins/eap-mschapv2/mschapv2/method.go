// Package mschapv2 is EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2, MS-CHAPv2 of RFC 2759, keys of RFC 3079), on both sides. It is what Windows, macOS, iOS and
// Android ask of a gateway for a name and a password.
//
// # Settings
//
// A server has the secret "users", a user file (see package users), and perhaps
//
//	name: "vpn"          what the server calls itself; nobody checks it
//	retries: "2"         how often a user may try again within one login, 0 to 3; 0 unless set: the client's software asks its user anyway
//	strip-domain, strip-realm, fold-case: "yes"   which spellings of a name mean one user
//
// A client has the secret "password", the password alone; a line's end behind it does not count. Its name is the EAP identity of the policy.
//
// # What it is worth
//
// Both sides prove that they know the password, and both get a key, so it may stand alone in IKEv2 by the letter of RFC 5998. By its sense it may not: whoever plays the
// server sees enough to find the password by trying 2^56 keys, at the most. Have the server prove itself by a certificate first, always.
//
// A user is admitted under the name that the response carried and proved, not under the EAP identity, which proves nothing. To the peer a name that is not in the file and a
// wrong password look alike and take equally long. Passwords are not changed here: a peer that asks for it is refused.
package mschapv2

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"unicode"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/turn"
	"github.com/trike-ipsec/trike/plugins/internal/mschap"
	"github.com/trike-ipsec/trike/plugins/users"
)

// maxRetries is the most that a policy may ask for.
const maxRetries = 3

// Method is EAP-MSCHAPv2. The zero value is ready for Configure.
type Method struct {
	users   *users.File
	retries int
	name    string

	password    mschap.Hash
	hasPassword bool
}

// Describe implements eapsdk.Method.
func (*Method) Describe() eapsdk.Description {
	return eapsdk.Description{
		Name: "mschapv2", Version: "1", Type: eapsdk.TypeMSCHAPv2, Roles: []eapsdk.Role{eapsdk.Server, eapsdk.Client}, MakesKeys: true, Mutual: true,
		Settings: append([]eapsdk.Setting{
			{Name: "users", Secret: true, Help: "server: the user file"},
			{Name: "password", Secret: true, Help: "client: its password"},
			{Name: "name", Help: "server: what it calls itself (trike unless set)"},
			{Name: "retries", Help: "server: how often a user may try again within one login, 0 to 3 (0 unless set)"},
		}, users.NameSettings()...),
	}
}

// Configure implements eapsdk.Method.
func (m *Method) Configure(_ context.Context, c eapsdk.Config, log *slog.Logger) error {
	text, server := c.Secrets["users"]
	password, client := c.Secrets["password"]
	if !server && !client {
		return errors.New("EAP-MSCHAPv2 has no secret: give it users to be a server or password to be a client")
	}
	var err error
	if m.retries, err = retries(c.Values["retries"]); err != nil {
		return err
	}
	if m.name = c.Values["name"]; m.name == "" {
		m.name = "trike"
	}
	if len(m.name) > maxName || strings.ContainsFunc(m.name, unicode.IsControl) {
		return fmt.Errorf("setting name is %d octets or has control characters: it may have %d octets", len(m.name), maxName)
	}
	if client {
		word := strings.TrimRight(string(password), "\r\n")
		if word == "" {
			return errors.New("secret password is empty")
		}
		if m.password, err = mschap.HashPassword(word); err != nil {
			return fmt.Errorf("secret password: %w", err)
		}
		m.hasPassword = true
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

func retries(value string) (int, error) {
	if value == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > maxRetries {
		return 0, fmt.Errorf("setting retries is %q: it has to be 0 to %d", value, maxRetries)
	}
	return n, nil
}

// Begin implements eapsdk.Method.
func (m *Method) Begin(ctx context.Context, b eapsdk.Begin) (eapsdk.Session, eapsdk.Step, error) {
	switch b.Role {
	case eapsdk.Server:
		if m.users == nil {
			return nil, eapsdk.Step{}, errors.New("EAP-MSCHAPv2 cannot be a server: it was given no secret users")
		}
		s := &server{method: m, id: b.Identifier, left: m.retries, challenge: newChallenge()}
		first := message{opChallenge, s.id, challenge{s.challenge, m.name}.marshal()}
		session, step := turn.Serve(eapsdk.TypeMSCHAPv2, b.Identifier, first.marshal(), s)
		return session, step, nil
	case eapsdk.Client:
		if !m.hasPassword {
			return nil, eapsdk.Step{}, errors.New("EAP-MSCHAPv2 cannot be a client: it was given no secret password")
		}
		if b.Identity == "" || len(b.Identity) > maxName {
			return nil, eapsdk.Step{}, fmt.Errorf("EAP-MSCHAPv2 needs a name of 1 to %d octets, and the EAP identity has %d", maxName, len(b.Identity))
		}
		return turn.Reply(ctx, eapsdk.TypeMSCHAPv2, b.Packet, &client{hash: m.password, name: b.Identity})
	}
	return nil, eapsdk.Step{}, fmt.Errorf("EAP-MSCHAPv2 knows no %v", b.Role)
}

func newChallenge() (c mschap.Challenge) {
	_, _ = rand.Read(c[:]) // never fails: crypto/rand ends the program rather
	return c
}
