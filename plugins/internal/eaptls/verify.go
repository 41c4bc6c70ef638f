package eaptls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// ServerTLS is the TLS of a server. With clients true a client has to show a certificate of our authorities that is meant for clients.
func (c *Credentials) ServerTLS(clients bool) (*tls.Config, error) {
	if c.Certificate == nil {
		return nil, fmt.Errorf("a server needs %s and %s", SettingCertificate, SettingKey)
	}
	conf := c.base()
	if clients {
		if c.Roots == nil {
			return nil, fmt.Errorf("a server needs %s, to know its clients by", SettingCA)
		}
		// Our own check, below, says to the operator what crypto/tls's would only say to the peer.
		conf.ClientAuth = tls.RequireAnyClientCert
		conf.ClientCAs = c.Roots
		conf.VerifyConnection = func(state tls.ConnectionState) error {
			return c.verify(state, x509.ExtKeyUsageClientAuth)
		}
	}
	return conf, nil
}

// ClientTLS is the TLS of a client, which knows the server by our authorities and by its name. identity is the server's as IKE proved it, "" for none; the setting
// server-name comes before it.
func (c *Credentials) ClientTLS(identity string) (*tls.Config, error) {
	name := c.ServerName
	if name == "" {
		name = identity
	}
	switch {
	case c.Roots == nil:
		return nil, fmt.Errorf("a client needs %s, to know the server by", SettingCA)
	case name == "":
		return nil, fmt.Errorf("a client needs %s, because the gateway has not proved a name by IKE", SettingServerName)
	}
	conf := c.base()
	// The check is ours whole: VerifyConnection.
	conf.InsecureSkipVerify = true
	if net.ParseIP(name) == nil && !strings.ContainsAny(name, "@= ") {
		conf.ServerName = name // also says it in the ClientHello
	}
	conf.VerifyConnection = func(state tls.ConnectionState) error {
		if err := c.verify(state, x509.ExtKeyUsageServerAuth); err != nil {
			return err
		}
		if err := c.stapled(state); err != nil {
			return err
		}
		return named(state.PeerCertificates[0], name)
	}
	return conf, nil
}

// base is what both sides have: no tickets, since a session that is resumed proves nothing anew, and no renegotiation, which is crypto/tls's default.
func (c *Credentials) base() *tls.Config {
	conf := &tls.Config{MinVersion: c.min, MaxVersion: c.max, CipherSuites: suites12(), SessionTicketsDisabled: true, Time: c.Now}
	if c.Certificate != nil {
		conf.Certificates = []tls.Certificate{*c.Certificate}
	}
	return conf
}

func (c *Credentials) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// verify checks the other side's certificate: path, time, purpose, key sizes and revocation.
func (c *Credentials) verify(state tls.ConnectionState, usage x509.ExtKeyUsage) error {
	certs := state.PeerCertificates
	switch {
	case len(certs) == 0:
		return errors.New("the other side showed no certificate")
	case len(certs) > maxChain:
		return fmt.Errorf("the other side showed %d certificates; %d is the most", len(certs), maxChain)
	}
	leaf := certs[0]
	chains, err := c.paths(state, usage)
	if err != nil {
		return fmt.Errorf("the certificate of %q, issued by %q: %w%s", leaf.Subject, leaf.Issuer, err, remedy(err))
	}
	// RFC 5280 section 4.2.1.3: a key that signs handshakes may sign.
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return fmt.Errorf("the certificate of %q is not for signatures (key usage), which TLS needs", leaf.Subject)
	}
	var why error
	for _, chain := range chains {
		if why = c.acceptable(chain); why == nil {
			return nil
		}
	}
	return why
}

// paths are those from the other side's certificate to one of our authorities.
func (c *Credentials) paths(state tls.ConnectionState, usage x509.ExtKeyUsage) ([][]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	return state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: c.Roots, Intermediates: between, CurrentTime: c.now(), KeyUsages: []x509.ExtKeyUsage{usage}})
}

// remedy is what an operator can do about the commonest errors.
func remedy(err error) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return ": if it is to be trusted, add its authority to " + SettingCA
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return ": its extended key usage is for something else"
	}
	return ""
}

// acceptable holds one path to what crypto/x509 does not look at.
func (c *Credentials) acceptable(chain []*x509.Certificate) error {
	for _, cert := range chain[:max(1, len(chain)-1)] {
		if err := strong(cert); err != nil {
			return err
		}
	}
	return c.revoked(chain)
}

// named checks that the server's certificate is for the name: a DNS name, an address, a mail address or a whole distinguished name.
func named(cert *x509.Certificate, name string) error {
	var ok bool
	switch {
	case strings.Contains(name, "="):
		ok = sameDN(cert.Subject.String(), name)
	case strings.Contains(name, "@"):
		ok = slices.ContainsFunc(cert.EmailAddresses, func(have string) bool { return sameMail(have, name) })
	default:
		ok = cert.VerifyHostname(name) == nil
	}
	if ok {
		return nil
	}
	return fmt.Errorf("the server's certificate is for %s and not for %q, the name that is wanted: correct %s, or give the server a certificate for that name",
		listed(Names(cert)), name, SettingServerName)
}

// TLSFor is the TLS of the side that a session plays. clients is as in ServerTLS.
func (c *Credentials) TLSFor(b eapsdk.Begin, clients bool) (*tls.Config, error) {
	switch b.Role {
	case eapsdk.Server:
		return c.ServerTLS(clients)
	case eapsdk.Client:
		return c.ClientTLS(b.ServerName)
	}
	return nil, fmt.Errorf("no side of the conversation is called %s", b.Role)
}
