package compiler

import (
	"slices"

	"github.com/trike-ipsec/trike/internal/plan"
)

// auth lowers how the two ends of a tunnel prove who they are: ours, and the peer's.
func (c *lowerer) auth(d *authDoc, legacy *legacyUse, path []string, local, remote end) (ours, peers plan.Auth) {
	if d.PSK != nil {
		a := plan.Auth{Method: plan.AuthPSK, Secret: d.PSK.Secret}
		c.mustHave(CodeNoSecret, "secret", a.Secret, keys(c.secrets), sub(path, "psk", "secret"))
		if remote.several {
			c.fail(CodeIdentity, sub(remote.where, "id"), "write the peer's own identity, or authenticate it by `certificate`", "a pre-shared key needs one peer, and %q may be several", remote.idText)
		}
		return a, a
	}
	switch {
	case d.EAP != nil:
		return c.eap(d.EAP, sub(path, "eap"), local)
	case d.EAPClient != nil:
		return c.eapClient(d.EAPClient, sub(path, "eapClient"))
	}
	x, at := d.Certificate, sub(path, "certificate")
	for i, name := range x.Authorities {
		c.mustHave(CodeNoAuthority, "authority", name, keys(c.authorities), sub(at, "authorities", itoa(i)))
	}
	var schemes []plan.Scheme
	for i, s := range x.Schemes {
		if s == string(plan.SchemeRSALegacy) {
			legacy.used = true
		}
		if s == string(plan.SchemeRSALegacy) && !legacy.allowed {
			c.fail(CodeLegacy, sub(at, "schemes", itoa(i)), "use \"rsa-pss-sha256\", or say `legacy: true` where the peer has nothing else", "SHA-1 signatures are not safe (RFC 8247 section 3.2)")
		}
		if slices.Contains(schemes, plan.Scheme(s)) {
			c.fail(CodeProposalTwice, sub(at, "schemes", itoa(i)), "take one away", "the scheme %q stands twice", s)
		}
		schemes = append(schemes, plan.Scheme(s))
	}
	peers = plan.Auth{Method: plan.AuthCertificate, Authorities: x.Authorities, Schemes: schemes, MinRSABits: x.MinRSABits, Revocation: plan.Revocation(x.Revocation)}
	if x.Revocation == "off" {
		peers.Revocation = plan.RevocationOff
	}
	ours = plan.Auth{Method: plan.AuthCertificate, Schemes: schemes, Certificate: c.own(x, at, local)}
	return ours, peers
}

// own is the certificate of a gateway in a tunnel: the tunnel's word, or the gateway's.
func (c *lowerer) own(x *certificateAuthDoc, at []string, e end) string {
	if x.Certificate != "" {
		c.mustHave(CodeNoCertificate, "certificate", x.Certificate, keys(c.certificates), sub(at, "certificate"))
		return x.Certificate
	}
	name := e.gateway.doc.Certificate
	if name == "" {
		d := c.fail(CodeNoCertificate, at, "say `gateways: "+e.gateway.name+": certificate: …`, a name below `certificates`", "gateway %s has no certificate to prove itself by", e.gateway.name)
		c.also(d, []string{"policy", "gateways", e.gateway.name}, "%s is here", e.gateway.name)
	}
	return name
}

// mustHave says that a name stands for nothing, with the nearest that does.
func (c *lowerer) mustHave(code Code, kind, name string, known, path []string) bool {
	if slices.Contains(known, name) {
		return true
	}
	section := map[string]string{"secret": "secrets", "authority": "authorities", "certificate": "certificates", "plugin": "plugins", "pool": "pools"}[kind]
	hint := "add it below `" + section + "`"
	if n := nearest(name, known); n != "" {
		hint = "did you mean \"" + n + "\"?"
	}
	c.fail(code, path, hint, "there is no %s %q", kind, name)
	return false
}

// otherEnd is a link as its second gateway sees it.
func (c *lowerer) otherEnd(t *plan.Connection, d *linkDoc, path []string, right end) *plan.Connection {
	o := turned(t)
	if x := d.Auth.Certificate; x != nil { // what one end wants of the other is said once, and the other wants it too
		o.LocalAuth, o.RemoteAuth = t.LocalAuth, t.RemoteAuth
		o.LocalAuth.Certificate = c.own(x, sub(path, "auth", "certificate"), right)
	}
	return o
}
