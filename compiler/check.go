package compiler

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/trike-ipsec/trike/internal/plan"
)

// checkNames: a link and a connection of one name would be one thing in `trike status`.
func (c *lowerer) checkNames() {
	for _, name := range keys(c.connections) {
		if c.links[name] != nil {
			d := c.fail(CodeNameTwice, at("connections", name), "rename one of them", "a link has the name %q too", name)
			c.also(d, at("links", name), "the link is here")
		}
	}
	if len(c.gateways) == 0 {
		c.fail(CodeMissing, at("gateways"), "add a gateway: gateways: office: address: \"192.0.2.1\"", "the policy has no gateway")
	}
}

// checkAddresses: two gateways at one address cannot be told apart.
func (c *lowerer) checkAddresses() {
	first := map[netip.Addr]*gateway{}
	ids := map[string]*gateway{}
	for _, name := range keys(c.gateways) {
		g := c.gateways[name]
		for i, a := range g.addresses {
			p := at("gateways", name, "address")
			if i > 0 {
				p = at("gateways", name, "addresses")
			}
			if o := first[a]; o != nil {
				d := c.fail(CodeAddressTwice, p, "give each gateway an address of its own", "the address %v is gateway %s's too", a, o.name)
				c.also(d, at("gateways", o.name, "address"), "%s is here", o.name)
				continue
			}
			first[a] = g
		}
		if g.doc.ID == "" {
			continue
		}
		if o := ids[g.doc.ID]; o != nil {
			d := c.fail(CodeIdentityTwice, at("gateways", name, "id"), "give each gateway an identity of its own", "the identity %q is gateway %s's too", g.doc.ID, o.name)
			c.also(d, at("gateways", o.name, "id"), "%s is here", o.name)
			continue
		}
		ids[g.doc.ID] = g
	}
	for _, name := range keys(c.connections) {
		g := c.gateways[c.connections[name].Gateway]
		a, err := netip.ParseAddr(c.connections[name].Peer.Address)
		if o := first[a]; err == nil && o != nil {
			p := at("connections", name, "peer", "address")
			if o == g {
				d := c.fail(CodeSameAddress, p, "write the peer's address", "the peer has the address of gateway %s itself", o.name)
				c.also(d, at("gateways", o.name, "address"), "%s is here", o.name)
				continue
			}
			d := c.warn(CodeSameAddress, p, "make this a link: links: \""+c.connections[name].Gateway+"-"+o.name+"\": …", "this is gateway %s of the same policy", o.name)
			c.also(d, at("gateways", o.name, "address"), "%s is here", o.name)
		}
	}
}

// checkIdentities: at one gateway, the pair of identities chooses the connection and its key.
func (c *lowerer) checkIdentities(g *gateway) {
	type pair struct {
		local, remote plan.Identity
		by            string // whom the peer is vouched for by: others may mean other peers
	}
	first := map[pair]string{}
	for _, cn := range g.plan.Connections {
		p := pair{cn.Local.ID, cn.Remote.ID, strings.Join(slices.Concat(cn.RemoteAuth.Authorities, []string{cn.RemoteAuth.EAPIdentity}, cn.RemoteAuth.Groups), "\n")}
		if o, taken := first[p]; taken {
			d := c.fail(CodeIdentityTwice, c.tunnelPath(cn.Name), "give one of them another `id`, or make them one with two children",
				"the peer %s and this end %s are those of %s too, so nothing tells the two apart", p.remote.Data, p.local.Data, o)
			c.also(d, c.tunnelPath(o), "%s is here", o)
			continue
		}
		first[p] = cn.Name
	}
}

func (c *lowerer) tunnelPath(name string) []string {
	if c.links[name] != nil {
		return at("links", name)
	}
	return at("connections", name)
}

// checkUse warns of what the policy says and nothing uses.
func (c *lowerer) checkUse() {
	if Failed(c.findings) {
		return
	}
	used := map[string]bool{}
	use := func(section string, names ...string) {
		for _, n := range names {
			used[section+" "+n] = true
		}
	}
	tunnel := func(a *authDoc) {
		if a.PSK != nil {
			use("secrets", a.PSK.Secret)
		}
		if a.Certificate != nil {
			use("authorities", a.Certificate.Authorities...)
			use("certificates", a.Certificate.Certificate)
		}
		if a.EAP != nil {
			use("plugins", a.EAP.Plugins...)
			use("certificates", a.EAP.Certificate)
		}
		if a.EAPClient != nil {
			use("plugins", a.EAPClient.Plugin)
			use("authorities", a.EAPClient.Authorities...)
		}
	}
	for _, d := range c.links {
		tunnel(&d.Auth)
	}
	for _, d := range c.connections {
		tunnel(&d.Auth)
		if d.Configure != nil {
			use("pools", d.Configure.Pools...)
		}
		if d.Accounting != nil {
			use("plugins", d.Accounting.Plugin)
		}
	}
	for _, g := range c.gateways {
		use("certificates", g.doc.Certificate)
	}
	for _, d := range c.certificates {
		use("secrets", d.Key, d.Passphrase)
	}
	for _, d := range c.plugins {
		for _, s := range d.Secrets {
			use("secrets", s)
		}
	}
	unused := func(section, kind string, names []string) {
		for _, name := range names {
			if !used[section+" "+name] {
				c.warn(CodeUnusedSecret, at(section, name), "take it away", "nothing uses the %s %q", kind, name)
			}
		}
	}
	unused("secrets", "secret", keys(c.secrets))
	unused("certificates", "certificate", keys(c.certificates))
	unused("authorities", "authority", keys(c.authorities))
	unused("plugins", "plugin", keys(c.plugins))
	unused("pools", "pool", keys(c.pools))
	for _, name := range keys(c.gateways) {
		if len(c.gateways[name].plan.Connections) == 0 {
			c.warn(CodeIdleGateway, at("gateways", name), "add a link or a connection", "gateway %q has neither link nor connection", name)
		}
	}
}
