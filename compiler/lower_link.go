package compiler

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/trike-ipsec/trike/internal/plan"
)

// end is one end of a tunnel, as the policy means it.
type end struct {
	gateway  *gateway // nil for a peer outside the policy
	own      netip.Addr
	reached  netip.Addr // as the other end reaches it; invalid for any
	id       plan.Identity
	networks []netip.Prefix
	several  bool     // id is a pattern, or anybody
	idText   string   // as the policy writes it
	written  int      // number of networks that the policy writes, right or wrong
	where    []string // what of the policy says where its networks are
}

func (c *lowerer) lowerLink(name string, d *linkDoc) {
	path := at("links", name)
	a, b, ok := c.ends(name, d, path)
	if !ok || len(a.addresses) == 0 || len(b.addresses) == 0 {
		return
	}
	i, j, ok := meet(a, b, d.Family)
	if !ok {
		f := c.fail(CodeFamilies, path, "give one of them an address of the other's IP version in `addresses`", "%s and %s have no IP version in common%s", a.name, b.name, inFamily(d.Family))
		c.also(f, at("gateways", a.name), "%s is at %v", a.name, a.addresses)
		c.also(f, at("gateways", b.name), "%s is at %v", b.name, b.addresses)
		return
	}
	left, right := c.gatewayEnd(a, i), c.gatewayEnd(b, j)
	defaults := tunnelDefaults{initiate: "at-start"}
	if d.Auth.EAP != nil || d.Auth.EAPClient != nil {
		c.fail(CodeEAPLink, sub(path, "auth"), "say `certificate: authorities: …` here", "a link's two ends are alike, and EAP has one that asks and one that answers")
		return
	}
	if x := d.Auth.Certificate; x != nil && x.Certificate != "" {
		c.fail(CodeNoCertificate, sub(path, "auth", "certificate", "certificate"), "say `certificate` of each gateway below `gateways`", "a link has two ends, and each has a certificate of its own")
		return
	}
	before := len(c.findings)
	t, ok := c.tunnel(name, path, &d.tunnelDoc, defaults, left, right)
	if !ok {
		return
	}
	other := c.otherEnd(t, d, path, right)
	if Failed(c.findings[before:]) {
		return
	}
	c.place(t, left, right)
	c.place(other, right, left)
}

func inFamily(f string) string {
	if f == "" {
		return ""
	}
	return " by `family` " + f
}

// ends finds the two gateways of a link: by `between`, or by the one way to cut its name at a '-'.
func (c *lowerer) ends(name string, d *linkDoc, path []string) (a, b *gateway, ok bool) {
	if len(d.Between) == 2 {
		for i, n := range d.Between {
			if c.gateways[n] == nil {
				c.fail(CodeNoGateway, sub(path, "between", itoa(i)), c.gatewayHint(n), "there is no gateway %q", n)
			}
		}
		a, b = c.gateways[d.Between[0]], c.gateways[d.Between[1]]
		if a != nil && a == b {
			c.fail(CodeLinkSelf, sub(path, "between"), "name another gateway", "this links %s to itself", a.name)
		}
		return a, b, a != nil && b != nil && a != b
	}
	var ways [][2]string
	for i, r := range name {
		if x, y := name[:i], strings.TrimPrefix(name[i:], "-"); r == '-' && c.gateways[x] != nil && c.gateways[y] != nil {
			ways = append(ways, [2]string{x, y})
		}
	}
	switch {
	case len(ways) == 1 && ways[0][0] == ways[0][1]:
		c.fail(CodeLinkSelf, path, "name another gateway", "this links %s to itself", ways[0][0])
		return nil, nil, false
	case len(ways) == 1:
		return c.gateways[ways[0][0]], c.gateways[ways[0][1]], true
	case len(ways) == 0:
		hint := "rename it GATEWAY-GATEWAY or say `between: [\"…\", \"…\"]`; gateways of this policy: " + few(keys(c.gateways))
		c.fail(CodeLinkName, path, hint, "the name %q does not join the names of two gateways", name)
	default:
		c.fail(CodeLinkName, path, fmt.Sprintf("say `between: [%q, %q]`, or the other", ways[0][0], ways[0][1]),
			"the name %q can be read as %s and %s, or as %s and %s", name, ways[0][0], ways[0][1], ways[1][0], ways[1][1])
	}
	return nil, nil, false
}

// meet chooses the addresses by which two gateways reach each other: the first of a, in its order, for which b has one of the same IP version.
func meet(a, b *gateway, family string) (i, j int, ok bool) {
	for i, x := range a.addresses {
		if family != "" && (family == "ipv4") != x.Is4() {
			continue
		}
		for j, y := range b.addresses {
			if x.Is4() == y.Is4() {
				return i, j, true
			}
		}
	}
	return 0, 0, false
}

func (c *lowerer) gatewayEnd(g *gateway, i int) end {
	return end{gateway: g, own: g.own[i], reached: g.addresses[i], id: gatewayID(g, i), networks: g.networks, written: len(g.doc.Networks), where: at("gateways", g.name)}
}

func gatewayID(g *gateway, i int) plan.Identity {
	text := g.doc.ID
	if text == "" {
		text = g.addresses[i].String()
	}
	id, _ := identity(text) // lowerGateway has said what is wrong with it
	return id
}

func (c *lowerer) lowerConnection(name string, d *connectionDoc) {
	path := at("connections", name)
	remote := end{where: sub(path, "peer"), networks: c.networks(d.Peer.Networks, sub(path, "peer", "networks"))}
	remote.written = len(d.Peer.Networks)
	ok := true
	if d.Peer.Address != "any" {
		remote.reached, ok = c.address(d.Peer.Address, sub(path, "peer", "address"))
	}
	switch text := d.Peer.ID; {
	case text == "" && d.Peer.Address == "any":
		c.fail(CodeIdentityNone, sub(path, "peer"), "add what the peer calls itself, e.g. id: \"laptop.example.com\"", "a peer at \"any\" address needs an `id`")
		ok = false
	case text == "":
		remote.id, _ = identity(remote.reached.String())
	case text == "any":
		remote.several = true
	default:
		var err error
		if remote.id, err = identity(text); err != nil {
			c.fail(CodeIdentity, sub(path, "peer", "id"), "", "%v", err)
			ok = false
		}
		remote.several = pattern(remote.id)
	}
	remote.idText = d.Peer.ID
	remote.own = remote.reached
	g := c.gateways[d.Gateway]
	if g == nil {
		c.fail(CodeNoGateway, sub(path, "gateway"), c.gatewayHint(d.Gateway), "there is no gateway %q", d.Gateway)
		return
	}
	if !ok || len(g.addresses) == 0 {
		return
	}
	at := 0
	for remote.reached.IsValid() && g.addresses[at].Is4() != remote.reached.Is4() {
		if at++; at == len(g.addresses) {
			f := c.fail(CodeFamilies, sub(path, "peer", "address"), "give the gateway an address of that IP version in `addresses`", "gateway %s has no address of the IP version of %v", g.name, remote.reached)
			c.also(f, []string{"policy", "gateways", g.name}, "%s is at %v", g.name, g.addresses)
			return
		}
	}
	defaults := tunnelDefaults{initiate: "on-traffic"}
	if d.Peer.Address == "any" {
		defaults = tunnelDefaults{initiate: "never", anyPeer: true}
	}
	if d.Auth.EAP != nil {
		defaults.initiate, defaults.eap = "never", true
	}
	local := c.gatewayEnd(g, at)
	var given plan.Configure
	if d.Configure != nil {
		before := len(c.findings)
		defaults.initiate, defaults.leases = "never", true
		if remote.written > 0 {
			c.fail(CodePool, sub(path, "peer", "networks"), "leave `networks` out", "the peer is given an address of a pool, and has no networks beside it")
		}
		given, remote.networks = c.configure(d.Configure, g.name, sub(path, "configure"))
		remote.where, remote.written = sub(path, "configure"), len(remote.networks)
		if Failed(c.findings[before:]) || len(remote.networks) == 0 {
			return
		}
	}
	before := len(c.findings)
	t, ok := c.tunnel(name, path, &d.tunnelDoc, defaults, local, remote)
	if !ok {
		return
	}
	t.Accounting = c.accounting(d.Accounting, sub(path, "accounting"))
	if t.Configure = given; d.Configure != nil {
		c.checkLeased(t, remote.networks, path)
	}
	if !Failed(c.findings[before:]) {
		c.place(t, local, remote)
	}
}

// place puts a tunnel into the plan of the gateway at its local end.
func (c *lowerer) place(t *plan.Connection, local, remote end) {
	cn := *t
	cn.Local = plan.Endpoint{Address: local.own, ID: local.id}
	cn.Remote = plan.Endpoint{Address: remote.reached, ID: remote.id}
	local.gateway.plan.Connections = append(local.gateway.plan.Connections, cn)
	for i := range cn.Children {
		local.gateway.entries = append(local.gateway.entries, c.entries(&cn, &cn.Children[i], remote)...)
	}
}
