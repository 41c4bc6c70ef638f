// Package ttls is EAP-TTLSv0 (RFC 5281; with TLS 1.3, RFC 9427), in both roles: the server shows a certificate, and the client tells its password, or proves that it knows it,
// within TLS.
//
// # Settings
//
// Those of TLS: a server has the secrets "certificate" and "key", a client "ca" and the value "server-name" (unless IKE has proved the gateway's name, which then counts).
// A server has the secret "users", a user file (see package users) and its strip-domain, strip-realm and fold-case; a client has the secret "password". And perhaps
//
//	inner: "pap mschapv2"            what may be spoken inside: pap, mschapv2, eap-mschapv2, eap-gtc, eap-md5. A server lets in whatever is listed
//	                                 (unless set: all but eap-md5); a client speaks the first (unless set: mschapv2), or answers any EAP method that is listed
//	inner-identity: "alice"          as a client: the name inside, where only the server sees it (unless set: the EAP identity)
//
// # What it is worth
//
// The keys come from TLS alone, and so from whoever the client takes for its server: a client that does not check the server's certificate is lost, and here it always does.
package ttls

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/eapinner"
	"github.com/trike-ipsec/trike/plugins/internal/eaptls"
	"github.com/trike-ipsec/trike/plugins/internal/mschap"
	"github.com/trike-ipsec/trike/plugins/users"
)

// Ways to authenticate inside that are not EAP.
const (
	innerPAP    = "pap"
	innerMSCHAP = "mschapv2"
	eapPrefix   = "eap-"
)

const (
	maxPassword = 1024 // octets
	// label12 makes the keys under TLS 1.2 (RFC 5281 section 8).
	label12 = "ttls keying material"
)

// Method is EAP-TTLS. The zero value is ready for Configure.
type Method struct {
	log   *slog.Logger
	creds *eaptls.Credentials
	inner []string
	eap   *eapinner.Methods

	users    *users.File
	identity string
	password []byte // nil for none
}

// Format implements fmt.Formatter, so that no verb shows the password: fmt asks no method of a field that is not exported.
func (Method) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("eap-ttls")) }

// Describe implements eapsdk.Method.
func (*Method) Describe() eapsdk.Description {
	settings := append(eaptls.Settings(),
		eapsdk.Setting{Name: "users", Secret: true, Help: "server: the user file"},
		eapsdk.Setting{Name: "password", Secret: true, Help: "client: its password"},
		eapsdk.Setting{Name: "inner", Help: "what may be spoken inside: pap, mschapv2, eap-mschapv2, eap-gtc, eap-md5; a client speaks the first"},
		eapsdk.Setting{Name: "inner-identity", Help: "client: its name inside the tunnel (default: the EAP identity)"})
	return eapsdk.Description{
		Name: "ttls", Version: "1", Type: eapsdk.TypeTTLS, Roles: []eapsdk.Role{eapsdk.Server, eapsdk.Client}, MakesKeys: true, Mutual: true,
		Settings: append(settings, users.NameSettings()...),
	}
}

// Configure implements eapsdk.Method.
func (m *Method) Configure(ctx context.Context, c eapsdk.Config, log *slog.Logger) error {
	m.log = log
	text, server := c.Secrets["users"]
	secret, client := c.Secrets["password"]
	if server == client {
		return errors.New("EAP-TTLS needs the secret users to be a server, or password to be a client, and not both")
	}
	var err error
	if m.creds, err = eaptls.ParseCredentials(c); err != nil {
		return err
	}
	if err := m.configureInner(ctx, c, client, log); err != nil {
		return err
	}
	m.identity = c.Values["inner-identity"]
	if client {
		return m.configureClient(secret)
	}
	names, err := users.NamesFrom(c.Values)
	if err != nil {
		return err
	}
	if m.users, err = users.Read(text, names); err != nil {
		return fmt.Errorf("secret users: %w", err)
	}
	_, err = m.creds.ServerTLS(false)
	return err
}

func (m *Method) configureClient(secret []byte) error {
	m.password = []byte(strings.TrimRight(string(secret), "\r\n"))
	if len(m.password) == 0 || len(m.password) > maxPassword {
		return fmt.Errorf("secret password has %d octets: it has to be 1 to %d", len(m.password), maxPassword)
	}
	if _, err := mschap.HashPassword(string(m.password)); err != nil && m.inner[0] == innerMSCHAP {
		return fmt.Errorf("secret password: %w", err)
	}
	// Any name: who the server is to be is known when a session begins.
	_, err := m.creds.ClientTLS("gateway")
	return err
}

func (m *Method) configureInner(ctx context.Context, c eapsdk.Config, client bool, log *slog.Logger) error {
	m.inner = strings.FieldsFunc(c.Values["inner"], func(r rune) bool { return r == ' ' || r == ',' })
	switch {
	case len(m.inner) == 0 && client:
		m.inner = []string{innerMSCHAP}
	case len(m.inner) == 0:
		m.inner = []string{innerPAP, innerMSCHAP, "eap-mschapv2", "eap-gtc"}
	}
	var inside []string
	for _, name := range m.inner {
		eap, isEAP := strings.CutPrefix(name, eapPrefix)
		if isEAP {
			inside = append(inside, eap)
		}
		if !isEAP && name != innerPAP && name != innerMSCHAP {
			return fmt.Errorf("inner: %q is none of pap, mschapv2, eap-mschapv2, eap-gtc and eap-md5", name)
		}
	}
	if len(inside) == 0 {
		return nil
	}
	var err error
	m.eap, err = eapinner.Configure(ctx, c, inside, log)
	return err
}

func (m *Method) allows(inner string) bool { return slices.Contains(m.inner, inner) }

// Begin implements eapsdk.Method.
func (m *Method) Begin(ctx context.Context, b eapsdk.Begin) (eapsdk.Session, eapsdk.Step, error) {
	if m.creds == nil {
		return nil, eapsdk.Step{}, errors.New("EAP-TTLS has not been configured")
	}
	conf, err := m.creds.TLSFor(b, false)
	if err != nil {
		return nil, eapsdk.Step{}, err
	}
	var inner eaptls.Inner
	switch {
	case b.Role == eapsdk.Server && m.users == nil:
		return nil, eapsdk.Step{}, errors.New("EAP-TTLS cannot be a server: it was given no secret users")
	case b.Role == eapsdk.Client && m.password == nil:
		return nil, eapsdk.Step{}, errors.New("EAP-TTLS cannot be a client: it was given no secret password")
	case b.Role == eapsdk.Server:
		inner = &server{method: m, begin: b}
	default:
		if inner, err = newClient(m, b); err != nil {
			return nil, eapsdk.Step{}, err
		}
	}
	return eaptls.Start(ctx, eaptls.Config{
		Type: eapsdk.TypeTTLS, Versioned: true, TLS: conf, Label12: label12, Fragment: m.creds.Fragment,
		NeedEMS: m.creds.NeedEMS, Log: m.log,
	}, b, inner)
}

// implicitChallenge is what MS-CHAPv2 takes for the server's challenge, and an identifier behind it: nobody chooses it, so nobody can carry an answer from one tunnel into
// another (RFC 5281 section 11.1; with TLS 1.3 the same label without a context, RFC 9427 section 2.3).
func implicitChallenge(t *eaptls.Tunnel) (c mschap.Challenge, identifier uint8, err error) {
	b, err := t.Export("ttls challenge", nil, mschap.ChallengeSize+1)
	if err != nil {
		return c, 0, err
	}
	return mschap.Challenge(b[:mschap.ChallengeSize]), b[mschap.ChallengeSize], nil
}

func refuse(format string, args ...any) (eaptls.Turn, error) {
	return eaptls.Turn{Outcome: eapsdk.Failure, Reason: fmt.Sprintf(format, args...)}, nil
}

func say(b []byte) (eaptls.Turn, error) {
	return eaptls.Turn{Outcome: eapsdk.Continue, Send: b}, nil
}
