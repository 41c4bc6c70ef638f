// Package tlsmethod is EAP-TLS (RFC 5216; with TLS 1.3, RFC 9190), in both roles: both sides show a certificate, and the keys come from TLS.
package tlsmethod

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/eaptls"
)

const settingIdentityFrom = "identity-from"

// Method is EAP-TLS. The zero value waits for Configure.
type Method struct {
	log   *slog.Logger
	creds *eaptls.Credentials
	from  string
}

// Describe implements eapsdk.Method.
func (m *Method) Describe() eapsdk.Description {
	settings := append(eaptls.Settings(), eapsdk.Setting{Name: settingIdentityFrom,
		Help: "as a server: the field of the certificate that names the peer: cn, email, dns or upn (default: whichever has the EAP identity)"})
	for i := range settings {
		switch settings[i].Name {
		case eaptls.SettingCertificate, eaptls.SettingKey, eaptls.SettingCA:
			settings[i].Required = true
		}
	}
	return eapsdk.Description{
		Name: "tls", Version: "1", Type: eapsdk.TypeTLS, Roles: []eapsdk.Role{eapsdk.Server, eapsdk.Client},
		MakesKeys: true, Mutual: true, Settings: settings,
	}
}

// Configure implements eapsdk.Method.
func (m *Method) Configure(_ context.Context, c eapsdk.Config, log *slog.Logger) error {
	m.log = log
	creds, err := eaptls.ParseCredentials(c)
	switch {
	case err != nil:
		return err
	case creds.Certificate == nil || creds.Roots == nil:
		return errors.New("certificate, key and ca are needed: in EAP-TLS both sides show a certificate")
	}
	from := c.Values[settingIdentityFrom]
	if from != "" && !slices.Contains([]string{eaptls.FieldCN, eaptls.FieldEmail, eaptls.FieldDNS, eaptls.FieldUPN}, from) {
		return fmt.Errorf("identity-from: %q is none of cn, email, dns and upn", from)
	}
	m.creds, m.from = creds, from
	return nil
}

// Begin implements eapsdk.Method.
func (m *Method) Begin(ctx context.Context, b eapsdk.Begin) (eapsdk.Session, eapsdk.Step, error) {
	if m.creds == nil {
		return nil, eapsdk.Step{}, errors.New("eap-tls has not been configured")
	}
	conf, err := m.creds.TLSFor(b, true)
	if err != nil {
		return nil, eapsdk.Step{}, err
	}
	var inner eaptls.Inner = &client{}
	if b.Role == eapsdk.Server {
		inner = &server{from: m.from, claimed: b.Identity}
	}
	return eaptls.Start(ctx, eaptls.Config{
		Type: eapsdk.TypeTLS, TLS: conf, Label12: eaptls.Label12, Fragment: m.creds.Fragment,
		NeedEMS: m.creds.NeedEMS, Log: m.log,
	}, b, inner)
}

// commitment is the application data with which a server says that no handshake message follows (RFC 9190 section 2.5): the protected success indication of TLS 1.3.
var commitment = []byte{0}

// server is what a server says in the tunnel: nothing but the commitment.
type server struct {
	from, claimed string
	committed     bool
}

// Turn implements eaptls.Inner.
func (s *server) Turn(_ context.Context, t *eaptls.Tunnel, text []byte) (eaptls.Turn, error) {
	if len(text) != 0 {
		return refuse("the peer sent %d octets in the tunnel, where EAP-TLS has none", len(text)), nil
	}
	state := t.State()
	who, err := eaptls.Who(state.PeerCertificates[0], s.from, s.claimed)
	if err != nil {
		return refuse("%v", err), nil
	}
	if state.Version >= tls.VersionTLS13 && !s.committed {
		s.committed = true
		// --> TLS application data 0x00
		return eaptls.Turn{Outcome: eapsdk.Continue, Send: commitment}, nil
	}
	return eaptls.Turn{Outcome: eapsdk.Success, Identity: who}, nil
}

// Abort implements eaptls.Inner.
func (*server) Abort(string) {}

// client is what a client says in the tunnel: nothing.
type client struct{}

// Turn implements eaptls.Inner.
func (*client) Turn(_ context.Context, t *eaptls.Tunnel, text []byte) (eaptls.Turn, error) {
	modern := t.State().Version >= tls.VersionTLS13
	switch {
	case modern && len(text) == 0:
		// The server had something else to say by TLS first, a ticket for example. Without the commitment it might yet refuse our certificate.
		return eaptls.Turn{Outcome: eapsdk.Continue}, nil
	case modern && !bytes.Equal(text, commitment), !modern && len(text) != 0:
		return refuse("the server sent %d octets in the tunnel, which are not the end of EAP-TLS", len(text)), nil
	}
	return eaptls.Turn{Outcome: eapsdk.Success}, nil
}

// Abort implements eaptls.Inner.
func (*client) Abort(string) {}

func refuse(format string, args ...any) eaptls.Turn {
	return eaptls.Turn{Outcome: eapsdk.Failure, Reason: fmt.Sprintf(format, args...)}
}
