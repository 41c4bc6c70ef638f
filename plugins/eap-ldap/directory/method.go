// Package directory lets users in by their password in an LDAP directory or Active Directory. To the peer it is EAP-GTC (RFC 3748 section 5.6): the peer sends the password, and
// the directory is asked by a bind (RFC 4513 section 5.1.3) whether it is right. trike keeps no password, and what the directory says of locked, expired or disabled accounts holds.
// The plugin needs the network: its policy says so.
//
// # Settings
//
//	url: "ldaps://dc1.example.com ldaps://dc2.example.com"   tried in this order; ldap:// is LDAP with StartTLS, never without
//	server-name: "dc.example.com"     the name in the certificate; the URL's unless set
//	timeout: "5"                      seconds that one login may take, 1 to 30
//	prompt: "Password: "              what the peer's software may show
//	strip-domain, strip-realm: "yes"  which part of a peer's name is the user's (see package users)
//
// The secret "ca" holds the certificates, in PEM, that the directory's has to lead to. Then one of three ways to find the user:
//
//	bind-dn: "uid={user},ou=people,dc=example,dc=org"   every user lies there
//
//	bind-name: "{user}@example.org"                     Active Directory takes a name for a DN
//
//	service-dn: "cn=trike,ou=services,dc=example,dc=org"   with the secret service-password: find the user first
//	search-base: "dc=example,dc=org"
//	search-filter: "(&(objectClass=person)(uid={user}))"
//
// And perhaps groups, for the policy to choose by. A directory that cannot say which groups a user has lets the user not in:
//
//	group-attribute: "memberOf"       of the user's own entry; with bind-name it needs search-base and search-filter
//	group-base: "ou=groups,dc=example,dc=org"
//	group-filter: "(member={dn})"     or (memberUid={user}); a group's name is its cn
//	groups: "staff,admins"            those that count; all, up to 64, unless set
//
// # Names
//
// A directory takes "alice", "ALICE" and, in Active Directory, "álice" for one. trike must not take them for three, so letters count alike and a name is ASCII without spaces at its ends; any other
// is refused. A user is known to the rest of trike by that name in lower case.
package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/trike-ipsec/trike/plugins/eap-gtc/gtc"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Method is EAP-GTC with a directory behind it. The zero value is ready for Configure.
type Method struct {
	back   *Directory
	prompt string
}

// Describe implements eapsdk.Method.
func (*Method) Describe() eapsdk.Description {
	return eapsdk.Description{
		Name: "ldap", Version: "1", Type: eapsdk.TypeGTC, Roles: []eapsdk.Role{eapsdk.Server},
		Settings: append(settings(), gtc.PromptSetting()),
	}
}

// Configure implements eapsdk.Method. It does not ask the directory: a gateway starts while its directory is down.
func (m *Method) Configure(_ context.Context, c eapsdk.Config, log *slog.Logger) error {
	var err error
	if m.prompt, err = gtc.PromptFrom(c.Values); err != nil {
		return err
	}
	m.back, err = New(c, log)
	return err
}

// Begin implements eapsdk.Method.
func (m *Method) Begin(_ context.Context, b eapsdk.Begin) (eapsdk.Session, eapsdk.Step, error) {
	if b.Role != eapsdk.Server {
		return nil, eapsdk.Step{}, fmt.Errorf("EAP-GTC with a directory is no %v: use eap-gtc", b.Role)
	}
	if m.back == nil {
		return nil, eapsdk.Step{}, errors.New("the directory is not configured")
	}
	session, step := gtc.Serve(b, m.prompt, m.back)
	return session, step, nil
}
