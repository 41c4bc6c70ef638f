package compiler

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// maxSecret bounds a secret's file, in octets.
const maxSecret = 64 << 10

// checkSecret looks at a secret's file without reading it: on the gateway it must be there and be private; elsewhere its absence is to be expected.
func (c *lowerer) checkSecret(name string, d *secretDoc) {
	c.oneSource(at("secrets", name), map[string]bool{"file": d.File != "", "credential": d.Credential != ""})
	if d.File == "" { // systemd has it, on the gateway
		return
	}
	where := at("secrets", name, "file")
	if path.Clean(d.File) != d.File || !path.IsAbs(d.File) {
		c.fail(CodeSecretPath, where, "did you mean \""+path.Clean("/"+d.File)+"\"?", "%q is not a plain absolute path", d.File)
		return
	}
	if c.options.OnBox && c.options.Gateway != "" && !c.uses(c.options.Gateway, name) {
		return
	}
	say := c.warn
	if c.options.OnBox {
		say = c.fail
	}
	st, err := os.Stat(d.File)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !c.options.OnBox:
		c.absent = append(c.absent, name)
	case errors.Is(err, fs.ErrNotExist):
		say(CodeSecretMissing, where, "put the key there on the gateway: "+c.makes(name), "there is no file %s", d.File)
	case err != nil:
		say(CodeSecretRead, where, "", "%v", reason(d.File, err))
	case !st.Mode().IsRegular():
		say(CodeSecretKind, where, "", "%s is not a regular file", d.File)
	case st.Size() == 0:
		say(CodeSecretKind, where, "", "%s is empty", d.File)
	case st.Size() > maxSecret:
		say(CodeSecretKind, where, "", "%s has %d octets, at most %d make a key", d.File, st.Size(), maxSecret)
	case st.Mode().Perm()&0o077 != 0:
		say(CodeSecretOpen, where, "chmod 600 "+d.File, "%s can be read by others than its owner (mode %04o)", d.File, st.Mode().Perm())
	default:
		f, err := os.Open(d.File)
		if err != nil {
			say(CodeSecretRead, where, "run this as root", "%v", reason(d.File, err))
			return
		}
		f.Close()
	}
}

// someAbsent is how many missing secrets are said one by one where none needs to be.
const someAbsent = 3

// checkAbsent warns of secrets that are not on this machine, once all else is well.
func (c *lowerer) checkAbsent() {
	if Failed(c.findings) || len(c.absent) == 0 {
		return
	}
	const hint = "on the gateway this is an error (--on-box); make a key there: "
	if len(c.absent) > someAbsent {
		first := c.absent[0]
		c.warn(CodeSecretMissing, at("secrets", first, "file"), hint+c.makes(first), "the files of %d secrets are not on this machine: %s", len(c.absent), few(c.absent))
		return
	}
	for _, name := range c.absent {
		c.warn(CodeSecretMissing, at("secrets", name, "file"), hint+c.makes(name), "there is no file %s on this machine", c.secrets[name].File)
	}
}

// makes is the command that makes what a secret's file holds.
func (c *lowerer) makes(secret string) string {
	for _, d := range c.certificates {
		if d.Key == secret {
			return "umask 077; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out " + c.secrets[secret].File
		}
	}
	for _, name := range keys(c.plugins) {
		d := c.plugins[name]
		for _, setting := range keys(d.Secrets) {
			if d.Secrets[setting] == secret {
				return fmt.Sprintf("umask 077; cat > %s, and type what plugin %q wants as %q", c.secrets[secret].File, name, setting)
			}
		}
	}
	return "umask 077; head -c 32 /dev/urandom | base64 > " + c.secrets[secret].File
}

// uses tells whether a gateway authenticates with a secret.
func (c *lowerer) uses(gateway, secret string) bool {
	certificate := func(name string) bool {
		d := c.certificates[name]
		return d != nil && (d.Key == secret || d.Passphrase == secret)
	}
	if g := c.gateways[gateway]; g != nil && certificate(g.doc.Certificate) {
		return true
	}
	for name, d := range c.links {
		if d.Auth.PSK == nil || d.Auth.PSK.Secret != secret {
			continue
		}
		if len(d.Between) == 2 && (d.Between[0] == gateway || d.Between[1] == gateway) || len(d.Between) != 2 && joins(name, gateway) {
			return true
		}
	}
	for _, d := range c.connections {
		if d.Gateway == gateway && c.pluginUses(&d.Auth, secret) {
			return true
		}
		if d.Auth.EAP != nil && d.Gateway == gateway && certificate(d.Auth.EAP.Certificate) {
			return true
		}
		if d.Gateway == gateway && (d.Auth.PSK != nil && d.Auth.PSK.Secret == secret || d.Auth.Certificate != nil && certificate(d.Auth.Certificate.Certificate)) {
			return true
		}
	}
	return false
}

// joins tells whether a link's name begins or ends with a gateway's.
func joins(link, gateway string) bool {
	n := len(gateway)
	return len(link) > n && (link[:n+1] == gateway+"-" || link[len(link)-n-1:] == "-"+gateway)
}
