package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// credentials are the names that a plan's connections may authenticate by.
type credentials struct {
	secrets, certificates, authorities, plugins map[string]bool
	pools                                       map[string]Pool
}

func cleanPath(s string) bool {
	return path.IsAbs(s) && path.Clean(s) == s && !strings.ContainsAny(s, "\x00\n")
}

// checkCredentials holds certificates and authorities against the rules that authproc and triked rely on.
func (p *Plan) checkCredentials(secrets map[string]bool) (credentials, error) {
	known := credentials{secrets, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]Pool{}}
	if len(p.Certificates) > MaxConnections || len(p.Authorities) > MaxAuthorities {
		return known, fmt.Errorf("more certificates or authorities than a plan may have")
	}
	if err := p.checkPools(known); err != nil {
		return known, err
	}
	if err := p.checkPlugins(known); err != nil {
		return known, err
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

// checkPlugins: each can be started, bounded, and told its settings.
func (p *Plan) checkPlugins(known credentials) error {
	if len(p.Plugins) > MaxPlugins {
		return fmt.Errorf("%d plugins: at most %d are possible", len(p.Plugins), MaxPlugins)
	}
	if err := sorted("plugin", p.Plugins, func(x Plugin) string { return x.Name }); err != nil {
		return err
	}
	for _, x := range p.Plugins {
		sum, err := hex.DecodeString(x.SHA256)
		switch {
		case !cleanPath(x.File):
			return fmt.Errorf("plugin %s: %q is not a clean absolute path", x.Name, x.File)
		case err != nil || len(sum) != sha256.Size || strings.ToLower(x.SHA256) != x.SHA256:
			return fmt.Errorf("plugin %s: %q is no SHA-256 in lower-case hex", x.Name, x.SHA256)
		case x.MemoryMB != 0 && (x.MemoryMB < 64 || x.MemoryMB > 65536) || x.Processes != 0 && (x.Processes < 8 || x.Processes > 4096):
			return fmt.Errorf("plugin %s: %d MB of memory and %d processes: 64 to 65536 and 8 to 4096 are possible", x.Name, x.MemoryMB, x.Processes)
		case len(x.Values)+len(x.Secrets) > MaxSelectors:
			return fmt.Errorf("plugin %s: more than %d settings", x.Name, MaxSelectors)
		}
		if err := sorted("setting", x.Values, func(v PluginValue) string { return v.Name }); err != nil {
			return fmt.Errorf("plugin %s: %w", x.Name, err)
		}
		if err := sorted("secret", x.Secrets, func(v PluginSecret) string { return v.Name }); err != nil {
			return fmt.Errorf("plugin %s: %w", x.Name, err)
		}
		for _, s := range x.Secrets {
			if !known.secrets[s.Secret] {
				return fmt.Errorf("plugin %s: secret %q, which the plan does not have", x.Name, s.Secret)
			}
		}
		known.plugins[x.Name] = true
	}
	return nil
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
	case l.Method == AuthEAP && len(l.EAP) == 1 && k.plugins[l.EAP[0]]:
		if r.Method != AuthCertificate {
			return fmt.Errorf("this end authenticates by EAP, and the peer by %q: a peer that asks for EAP proves itself by certificate (RFC 7296 section 2.16)", r.Method)
		}
	default:
		return fmt.Errorf("authentication of this end by %q with secret %q or certificate %q, which the plan does not have", l.Method, l.Secret, l.Certificate)
	}
	switch {
	case r.Method == AuthPSK && k.secrets[r.Secret]:
	case r.Method == AuthCertificate && len(r.Authorities) > 0 && len(r.Authorities) <= MaxAuthorities && !slices.ContainsFunc(r.Authorities, func(n string) bool { return !k.authorities[n] }):
	case r.Method == AuthEAP && len(r.EAP) > 0 && len(r.EAP) <= MaxPlugins && !slices.ContainsFunc(r.EAP, func(n string) bool { return !k.plugins[n] }):
		if l.Method != AuthCertificate || c.Initiate != InitiateNever || slices.ContainsFunc(c.Children, func(ch Child) bool { return ch.Initiate != InitiateNever }) {
			return fmt.Errorf("the peer authenticates by EAP: this end proves itself by certificate, and waits for the peer to begin (RFC 7296 section 2.16)")
		}
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
	if len(r.Groups) > MaxGroups || len(l.EAPIdentity) > 1020 || len(r.EAPIdentity) > 1020 {
		return fmt.Errorf("%d groups and EAP identities of %d and %d octets: too many or too long", len(r.Groups), len(l.EAPIdentity), len(r.EAPIdentity))
	}
	switch a := c.Accounting; {
	case a.Plugin == "" && a.Interim != 0:
		return fmt.Errorf("interim records of no plugin")
	case a.Plugin != "" && !k.plugins[a.Plugin]:
		return fmt.Errorf("accounting by plugin %q, which the plan does not have", a.Plugin)
	case a.Interim != 0 && (a.Interim < MinInterim || a.Interim > MaxInterim):
		return fmt.Errorf("interim records every %d s: %d to %d are possible", a.Interim, MinInterim, MaxInterim)
	}
	return k.checkConfigure(c)
}

func allSchemes() []Scheme {
	return []Scheme{SchemeEd25519, SchemeEd448, SchemeECDSA256, SchemeECDSA384, SchemeECDSA512, SchemePSS256, SchemePSS384, SchemePSS512, SchemeRSA256, SchemeRSA384, SchemeRSA512,
		SchemeRSALegacy}
}

// several tells whether an identity stands for more than one peer.
func (id Identity) several() bool {
	return id == Identity{} || strings.HasPrefix(id.Data, "*") || id.Type == ikev2.ID_DER_ASN1_DN && strings.Contains(strings.ReplaceAll(id.Data, " ", ""), "=*")
}
