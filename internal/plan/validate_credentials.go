package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// credentials are the names that a plan's connections may authenticate by.
type credentials struct{ secrets, certificates, authorities map[string]bool }

func cleanPath(s string) bool {
	return path.IsAbs(s) && path.Clean(s) == s && !strings.ContainsAny(s, "\x00\n")
}

// checkCredentials holds certificates and authorities against the rules that authproc and triked rely on.
func (p *Plan) checkCredentials(secrets map[string]bool) (credentials, error) {
	known := credentials{secrets, map[string]bool{}, map[string]bool{}}
	if len(p.Certificates) > MaxConnections || len(p.Authorities) > MaxAuthorities {
		return known, fmt.Errorf("more certificates or authorities than a plan may have")
	}
	if len(p.Plugins) > 0 || len(p.Pools) > 0 {
		return known, fmt.Errorf("plugins and pools are not served by this version")
	}
	if err := sorted("certificate", p.Certificates, func(c Certificate) string { return c.Name }); err != nil {
		return known, err
	}
	for _, c := range p.Certificates {
		sources := 0
		for _, there := range []bool{c.PEM != "", c.File != "", c.Raw} {
			if there {
				sources++
			}
		}
		switch {
		case sources != 1:
			return known, fmt.Errorf("certificate %s: exactly one of a file, PEM and a raw key", c.Name)
		case c.File != "" && !cleanPath(c.File) || len(c.PEM) > MaxInline:
			return known, fmt.Errorf("certificate %s: %q is not a clean absolute path, or its PEM is too long", c.Name, c.File)
		case !secrets[c.Key] || c.Passphrase != "" && !secrets[c.Passphrase]:
			return known, fmt.Errorf("certificate %s: key %q or passphrase %q, which the plan does not have", c.Name, c.Key, c.Passphrase)
		}
		known.certificates[c.Name] = true
	}
	if err := sorted("authority", p.Authorities, func(a Authority) string { return a.Name }); err != nil {
		return known, err
	}
	for _, a := range p.Authorities {
		if (a.PEM == "") == (a.File == "") || a.File != "" && !cleanPath(a.File) || len(a.PEM) > MaxInline || len(a.CRLFiles) > 64 ||
			slices.ContainsFunc(a.CRLFiles, func(f string) bool { return !cleanPath(f) }) {
			return known, fmt.Errorf("authority %s: exactly one of a file and PEM, with clean absolute paths", a.Name)
		}
		if len(a.CRL) > 0 || len(a.OCSP) > 0 {
			return known, fmt.Errorf("authority %s: revocation by network is not served by this version", a.Name)
		}
		known.authorities[a.Name] = true
	}
	return known, nil
}

// checkAuth: both ends of a connection have a way to prove themselves, and identities that fit it.
func (k credentials) checkAuth(c *Connection) error {
	if err := c.Local.ID.check(); err != nil {
		return err
	}
	if (c.Remote.ID != Identity{}) {
		if err := c.Remote.ID.check(); err != nil {
			return err
		}
	}
	if c.Local.ID.several() || c.RemoteAuth.Method == AuthPSK && c.Remote.ID.several() {
		return fmt.Errorf("identity %q is a pattern where one is needed", c.Local.ID.Data+" "+c.Remote.ID.Data)
	}
	l, r := c.LocalAuth, c.RemoteAuth
	switch {
	case l.Method == AuthPSK && k.secrets[l.Secret]:
	case l.Method == AuthCertificate && k.certificates[l.Certificate]:
	default:
		return fmt.Errorf("authentication of this end by %q with secret %q or certificate %q, which the plan does not have", l.Method, l.Secret, l.Certificate)
	}
	switch {
	case r.Method == AuthPSK && k.secrets[r.Secret]:
	case r.Method == AuthCertificate && len(r.Authorities) > 0 && len(r.Authorities) <= MaxAuthorities && !slices.ContainsFunc(r.Authorities, func(n string) bool { return !k.authorities[n] }):
	default:
		return fmt.Errorf("authentication of the peer by %q with secret %q or authorities %q, which the plan does not have", r.Method, r.Secret, r.Authorities)
	}
	if r.MinRSABits < 0 || r.MinRSABits > 16384 || !slices.Contains([]Revocation{RevocationOff, RevocationPrefer, RevocationRequire}, r.Revocation) {
		return fmt.Errorf("RSA keys of %d bits, revocation %q", r.MinRSABits, r.Revocation)
	}
	for _, s := range append(slices.Clone(l.Schemes), r.Schemes...) {
		if !slices.Contains(allSchemes(), s) {
			return fmt.Errorf("signature scheme %q", s)
		}
	}
	if (c.Request.IPv4 || c.Request.IPv6) || len(c.Configure.Pools) > 0 || c.Accounting.Plugin != "" || len(l.EAP)+len(r.EAP) > 0 {
		return fmt.Errorf("EAP, pools and accounting are not served by this version")
	}
	return nil
}

func allSchemes() []Scheme {
	return []Scheme{SchemeEd25519, SchemeEd448, SchemeECDSA256, SchemeECDSA384, SchemeECDSA512, SchemePSS256, SchemePSS384, SchemePSS512, SchemeRSA256, SchemeRSA384, SchemeRSA512,
		SchemeRSALegacy}
}

// several tells whether an identity stands for more than one peer.
func (id Identity) several() bool {
	return id == Identity{} || strings.HasPrefix(id.Data, "*") || id.Type == ikev2.ID_DER_ASN1_DN && strings.Contains(strings.ReplaceAll(id.Data, " ", ""), "=*")
}
