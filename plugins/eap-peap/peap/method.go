// Package peap is PEAPv0 (draft-kamath-pppext-peapv0, [MS-PEAP]; with TLS 1.3, RFC 9427), in both roles: the server shows a certificate, and EAP-MSCHAPv2 or EAP-GTC runs within
// TLS. It is what Windows asks for beside EAP-MSCHAPv2.
//
// # Settings
//
// Those of TLS: a server has the secrets "certificate" and "key", a client "ca" and the value "server-name" (unless IKE has proved the gateway's name, which then counts).
// A server has the secret "users", a user file (see package users) and its strip-domain, strip-realm and fold-case; a client has the secret "password". And perhaps
//
//	inner: "mschapv2 gtc"         the methods that may run inside (unless set: mschapv2)
//	inner-identity: "alice"       as a client: the name inside, where only the server sees it (unless set: the EAP identity)
//	crypto-binding: "required"    no, optional (unless set) or required: whether both sides have to show that one and the same peer speaks TLS and the inner method
//
// # What it is worth
//
// Without crypto binding the keys come from TLS alone; with it, from TLS and the inner method. A server that has it optional asks for it always, and takes a peer that does not
// answer: then somebody who makes a user's machine speak EAP-MSCHAPv2 outside a tunnel can put the answers into a tunnel of his own. Require it where all peers have it.
// With TLS 1.3 the binding is made of the 128 octets of RFC 9427, as wpa_supplicant does; hostapd as a server (2.10) makes it of another export, so a client here refuses its
// binding: let it speak TLS 1.2, or set crypto-binding to no.
package peap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/eapinner"
	"github.com/trike-ipsec/trike/plugins/internal/eaptls"
	"github.com/trike-ipsec/trike/plugins/users"
)

// Values of the setting crypto-binding.
const (
	bindingNo       = "no"
	bindingOptional = "optional"
	bindingRequired = "required"
)

// Method is PEAP. The zero value is ready for Configure.
type Method struct {
	log      *slog.Logger
	creds    *eaptls.Credentials
	eap      *eapinner.Methods
	binding  string
	identity string
	role     eapsdk.Role
}

// Describe implements eapsdk.Method.
func (*Method) Describe() eapsdk.Description {
	settings := append(eaptls.Settings(),
		eapsdk.Setting{Name: "users", Secret: true, Help: "server: the user file"},
		eapsdk.Setting{Name: "password", Secret: true, Help: "client: its password"},
		eapsdk.Setting{Name: "inner", Help: "the methods that may run inside: mschapv2, gtc (default: mschapv2)"},
		eapsdk.Setting{Name: "inner-identity", Help: "client: its name inside the tunnel (default: the EAP identity)"},
		eapsdk.Setting{Name: "crypto-binding", Help: "no, optional or required: both sides show that one peer speaks TLS and the inner method (default: optional)"})
	return eapsdk.Description{
		Name: "peap", Version: "1", Type: eapsdk.TypePEAP, Roles: []eapsdk.Role{eapsdk.Server, eapsdk.Client}, MakesKeys: true, Mutual: true,
		Settings: append(settings, users.NameSettings()...),
	}
}

// Configure implements eapsdk.Method.
func (m *Method) Configure(ctx context.Context, c eapsdk.Config, log *slog.Logger) error {
	m.log = log
	_, server := c.Secrets["users"]
	_, client := c.Secrets["password"]
	if server == client {
		return errors.New("PEAP needs the secret users to be a server, or password to be a client, and not both")
	}
	if m.binding = c.Values["crypto-binding"]; m.binding == "" {
		m.binding = bindingOptional
	}
	if m.binding != bindingNo && m.binding != bindingOptional && m.binding != bindingRequired {
		return fmt.Errorf("crypto-binding: %q is none of no, optional and required", m.binding)
	}
	inner := strings.FieldsFunc(c.Values["inner"], func(r rune) bool { return r == ' ' || r == ',' })
	if len(inner) == 0 {
		inner = []string{"mschapv2"}
	}
	for _, name := range inner {
		if name != "mschapv2" && name != "gtc" {
			return fmt.Errorf("inner: %q is neither mschapv2 nor gtc", name)
		}
	}
	var err error
	if m.creds, err = eaptls.ParseCredentials(c); err != nil {
		return err
	}
	if m.eap, err = eapinner.Configure(ctx, c, inner, log); err != nil {
		return err
	}
	m.identity = c.Values["inner-identity"]
	if m.role = eapsdk.Server; client {
		m.role = eapsdk.Client
		// Any name: who the server is to be is known when a session begins.
		_, err = m.creds.ClientTLS("gateway")
		return err
	}
	_, err = m.creds.ServerTLS(false)
	return err
}

// Begin implements eapsdk.Method.
func (m *Method) Begin(ctx context.Context, b eapsdk.Begin) (eapsdk.Session, eapsdk.Step, error) {
	switch {
	case m.eap == nil:
		return nil, eapsdk.Step{}, errors.New("PEAP has not been configured")
	case b.Role != m.role:
		return nil, eapsdk.Step{}, fmt.Errorf("PEAP cannot be a %v: its secrets make it a %v", b.Role, m.role)
	}
	conf, err := m.creds.TLSFor(b, false)
	if err != nil {
		return nil, eapsdk.Step{}, err
	}
	var inner eaptls.Inner = &server{method: m, eap: m.eap.Serve(b)}
	if b.Role == eapsdk.Client {
		if inner, err = newClient(m, b); err != nil {
			return nil, eapsdk.Step{}, err
		}
	}
	return eaptls.Start(ctx, eaptls.Config{
		Type: eapsdk.TypePEAP, Versioned: true, TLS: conf, Label12: eaptls.Label12, Fragment: m.creds.Fragment,
		NeedEMS: m.creds.NeedEMS, Log: m.log,
	}, b, inner)
}

func refuse(format string, args ...any) (eaptls.Turn, error) {
	return eaptls.Turn{Outcome: eapsdk.Failure, Reason: fmt.Sprintf(format, args...)}, nil
}

func say(b []byte) (eaptls.Turn, error) {
	return eaptls.Turn{Outcome: eapsdk.Continue, Send: b}, nil
}
