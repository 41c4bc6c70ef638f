package compiler

import (
	"slices"

	"github.com/trike-ipsec/trike/internal/plan"
)

// checkPlugins looks at what the policy says of EAP plugins. Their files are on the gateways, and triked looks at them.
func (c *lowerer) checkPlugins() {
	if len(c.plugins) > plan.MaxPlugins {
		c.fail(CodeManySelectors, at("plugins"), "let one program serve several connections", "%d plugins, at most %d are allowed", len(c.plugins), plan.MaxPlugins)
	}
	for _, name := range keys(c.plugins) {
		d, p := c.plugins[name], at("plugins", name)
		if n := len(d.Settings) + len(d.Secrets); n > plan.MaxSelectors {
			c.fail(CodeManySelectors, p, "", "%d settings, at most %d are allowed", n, plan.MaxSelectors)
		}
		for _, setting := range keys(d.Secrets) {
			c.mustHave(CodeNoSecret, "secret", d.Secrets[setting], keys(c.secrets), sub(p, "secrets", setting))
			if _, both := d.Settings[setting]; both {
				c.fail(CodeOneOf, sub(p, "settings", setting), "take one away", "%q is said as a setting and as a secret", setting)
			}
		}
	}
}

// plugin is a plugin as the plan has it.
func (c *lowerer) plugin(name string) plan.Plugin {
	d := c.plugins[name]
	x := plan.Plugin{Name: name, File: d.File, SHA256: d.SHA256, Network: d.Network, MemoryMB: d.MemoryMB, Processes: d.Processes, Pos: c.pos(at("plugins", name))}
	for _, setting := range keys(d.Settings) {
		x.Values = append(x.Values, plan.PluginValue{Name: setting, Value: d.Settings[setting]})
	}
	for _, setting := range keys(d.Secrets) {
		x.Secrets = append(x.Secrets, plan.PluginSecret{Name: setting, Secret: d.Secrets[setting]})
	}
	return x
}

// eap lowers a connection whose peer authenticates by EAP: this end proves itself by certificate first.
func (c *lowerer) eap(d *eapDoc, path []string, local end) (ours, peers plan.Auth) {
	for i, name := range d.Plugins {
		c.mustHave(CodeNoPlugin, "plugin", name, keys(c.plugins), sub(path, "plugins", itoa(i)))
		if slices.Contains(d.Plugins[:i], name) {
			c.fail(CodeProposalTwice, sub(path, "plugins", itoa(i)), "take one away", "the plugin %q stands twice", name)
		}
	}
	if len(d.Groups) > plan.MaxGroups {
		c.fail(CodeManySelectors, sub(path, "groups"), "have the plugin put people in fewer", "%d groups, at most %d are allowed", len(d.Groups), plan.MaxGroups)
	}
	ours = plan.Auth{Method: plan.AuthCertificate, Certificate: c.own(&certificateAuthDoc{Certificate: d.Certificate}, path, local)}
	peers = plan.Auth{Method: plan.AuthEAP, EAP: d.Plugins, EAPIdentity: d.Identity, AskIdentity: d.Ask, Groups: d.Groups}
	return ours, peers
}

// eapClient lowers a connection in which this end authenticates by EAP, and the peer by certificate.
func (c *lowerer) eapClient(d *eapClientDoc, path []string) (ours, peers plan.Auth) {
	c.mustHave(CodeNoPlugin, "plugin", d.Plugin, keys(c.plugins), sub(path, "plugin"))
	for i, name := range d.Authorities {
		c.mustHave(CodeNoAuthority, "authority", name, keys(c.authorities), sub(path, "authorities", itoa(i)))
	}
	ours = plan.Auth{Method: plan.AuthEAP, EAP: []string{d.Plugin}, EAPIdentity: d.Identity}
	peers = plan.Auth{Method: plan.AuthCertificate, Authorities: d.Authorities, MinRSABits: d.MinRSABits, Revocation: plan.Revocation(d.Revocation)}
	if d.Revocation == "off" {
		peers.Revocation = plan.RevocationOff
	}
	return ours, peers
}

// pluginUses tells whether a connection's plugins are given a secret.
func (c *lowerer) pluginUses(d *authDoc, secret string) bool {
	var names []string
	if d.EAP != nil {
		names = d.EAP.Plugins
	}
	if d.EAPClient != nil {
		names = append(names, d.EAPClient.Plugin)
	}
	for _, name := range names {
		if x := c.plugins[name]; x != nil {
			for _, s := range x.Secrets {
				if s == secret {
					return true
				}
			}
		}
	}
	return false
}
