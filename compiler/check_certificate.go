package compiler

import (
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
)

// endsSoon is how long before its end a certificate is spoken of.
const endsSoon = 30 * 24 * time.Hour

// checkCertificates looks at what the policy says of certificates and authorities, and at those that stand in it. Files are on the gateways, and authproc looks at them.
func (c *lowerer) checkCertificates() {
	for _, name := range keys(c.certificates) {
		d, p := c.certificates[name], at("certificates", name)
		c.oneSource(p, map[string]bool{"file": d.File != "", "pem": d.PEM != "", "raw": d.Raw})
		c.mustHave(CodeNoSecret, "secret", d.Key, keys(c.secrets), sub(p, "key"))
		if d.Passphrase != "" {
			c.mustHave(CodeNoSecret, "secret", d.Passphrase, keys(c.secrets), sub(p, "passphrase"))
		}
		c.plainPath(d.File, sub(p, "file"))
		c.certificates509(d.PEM, sub(p, "pem"))
	}
	for _, name := range keys(c.authorities) {
		d, p := c.authorities[name], at("authorities", name)
		c.oneSource(p, map[string]bool{"file": d.File != "", "pem": d.PEM != ""})
		c.plainPath(d.File, sub(p, "file"))
		for i, f := range d.CRLFiles {
			c.plainPath(f, sub(p, "crlFiles", itoa(i)))
		}
		if !d.Raw {
			c.certificates509(d.PEM, sub(p, "pem"))
		} else if block, _ := pem.Decode([]byte(d.PEM)); d.PEM != "" && (block == nil || block.Type != "PUBLIC KEY") {
			c.fail(CodeCertificate, sub(p, "pem"), "write what `openssl pkey -pubout` gives", "a raw key is a PUBLIC KEY in PEM")
		}
		if d.Raw && len(d.CRLFiles) > 0 {
			c.fail(CodeCertificate, sub(p, "crlFiles"), "take it away", "a raw key is in no revocation list")
		}
	}
	for _, name := range keys(c.gateways) {
		c.namesGateway(c.gateways[name])
	}
}

// oneSource: exactly one of several fields.
func (c *lowerer) oneSource(p []string, fields map[string]bool) {
	var there []string
	for _, f := range keys(fields) {
		if fields[f] {
			there = append(there, f)
		}
	}
	if len(there) == 1 {
		return
	}
	all := "`" + strings.Join(keys(fields), "`, `") + "`"
	if len(there) == 0 {
		c.fail(CodeOneOf, p, "add one of "+all, "one of %s is needed", all)
		return
	}
	c.fail(CodeOneOf, sub(p, there[1]), "take away all but one", "only one of %s can be meant", all)
}

func (c *lowerer) plainPath(file string, where []string) {
	if file != "" && (path.Clean(file) != file || !path.IsAbs(file)) {
		c.fail(CodeSecretPath, where, "did you mean \""+path.Clean("/"+file)+"\"?", "%q is not a plain absolute path", file)
	}
}

// certificates509 reads certificates that stand in the policy, and looks at their ends.
func (c *lowerer) certificates509(text string, where []string) (out []*x509.Certificate) {
	if text == "" {
		return nil
	}
	if len(text) > plan.MaxInline {
		c.fail(CodeCertificate, where, "use `file`", "%d octets of certificates, at most %d stand in a policy", len(text), plan.MaxInline)
		return nil
	}
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		x, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			c.fail(CodeCertificate, where, "", "certificate %d cannot be read: it is a %s, %v", len(out)+1, block.Type, err)
			return nil
		}
		out = append(out, x)
		c.endsAt(x, where)
	}
	if len(out) == 0 {
		c.fail(CodeCertificate, where, "", "there is no certificate in it: is a line cut off?")
	}
	return out
}

func (c *lowerer) endsAt(x *x509.Certificate, where []string) {
	now := c.options.Now
	if now.IsZero() {
		return
	}
	end := x.NotAfter.UTC().Format(time.DateOnly)
	switch left := x.NotAfter.Sub(now); {
	case left < 0:
		c.fail(CodeCertEnds, where, "put a new one in its place", "the certificate of %q ended on %s", x.Subject.String(), end)
	case left < endsSoon:
		c.warn(CodeCertEnds, where, "put a new one in its place before", "the certificate of %q ends on %s, in %d days", x.Subject.String(), end, int(left.Hours()/24))
	case now.Before(x.NotBefore):
		c.warn(CodeCertEnds, where, "look at the clocks, or wait", "the certificate of %q is not valid before %s", x.Subject.String(), x.NotBefore.UTC().Format(time.RFC3339))
	}
}

// namesGateway: a gateway's certificate, where it stands in the policy, names the gateway.
func (c *lowerer) namesGateway(g *gateway) {
	d := c.certificates[g.doc.Certificate]
	if d == nil || d.PEM == "" || len(g.addresses) == 0 {
		return
	}
	block, _ := pem.Decode([]byte(d.PEM))
	if block == nil {
		return
	}
	x, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return
	}
	id := gatewayID(g, 0)
	var names []string
	ok := false
	switch id.Type {
	case ikev2.ID_FQDN:
		names = x.DNSNames
		ok = slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, id.Data) || wild(n, id.Data) })
	case ikev2.ID_RFC822_ADDR:
		names = x.EmailAddresses
		ok = slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, id.Data) })
	case ikev2.ID_IPV4_ADDR, ikev2.ID_IPV6_ADDR:
		for _, n := range x.IPAddresses {
			a, _ := netip.AddrFromSlice(n)
			names = append(names, a.Unmap().String())
		}
		ok = slices.Contains(names, id.Data)
	default: // a distinguished name and a key ID are compared where the certificate is used
		return
	}
	if !ok {
		hint := "give the gateway one of the certificate's names as `id`: " + few(names)
		if len(names) == 0 {
			hint = "have a certificate made with this alternative name"
		}
		f := c.fail(CodeCertName, sub(at("gateways", g.name), "certificate"), hint, "the certificate %q does not name the gateway %q", g.doc.Certificate, id.Data)
		c.also(f, at("certificates", g.doc.Certificate, "pem"), "the certificate is here")
	}
}

// wild compares a name of a certificate that begins with "*." (RFC 6125 section 6.4.3).
func wild(n, want string) bool {
	_, parent, ok := strings.Cut(want, ".")
	return ok && strings.HasPrefix(n, "*.") && strings.EqualFold(n[2:], parent)
}
