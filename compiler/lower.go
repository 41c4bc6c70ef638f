package compiler

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sort"

	"github.com/trike-ipsec/trike/internal/plan"
)

// lowerer turns a policy that the schema is content with into plans, and says what the schema could not.
type lowerer struct {
	ev       *evaluated
	options  Options
	findings []Diagnostic

	gateways     map[string]*gateway
	links        map[string]*linkDoc
	connections  map[string]*connectionDoc
	bypass       map[string]*bypassDoc
	secrets      map[string]*secretDoc
	certificates map[string]*certificateDoc
	authorities  map[string]*authorityDoc
	plugins      map[string]*pluginDoc
	pools        map[string]*poolDoc
	ranges       map[string]*addressPool

	absent  []string // secrets whose files are not on this machine
	sources sourceTable
}

// gateway is a gateway and what has been lowered for it.
type gateway struct {
	name      string
	doc       *gatewayDoc
	addresses []netip.Addr // as others reach it, the main one first
	own       []netip.Addr // as the gateway itself has them, in the same order
	networks  []netip.Prefix
	plan      *plan.Plan
	entries   []entry // of all its children, for the overlap check
}

// path of an object in the policy.
func at(parts ...string) []string { return append([]string{"policy"}, parts...) }

func sub(path []string, parts ...string) []string {
	return append(path[:len(path):len(path)], parts...)
}

func (c *lowerer) decode() {
	c.gateways = map[string]*gateway{}
	docs := map[string]*gatewayDoc{}
	section(c, "gateways", &docs)
	section(c, "links", &c.links)
	section(c, "connections", &c.connections)
	section(c, "bypass", &c.bypass)
	section(c, "secrets", &c.secrets)
	section(c, "certificates", &c.certificates)
	section(c, "authorities", &c.authorities)
	section(c, "plugins", &c.plugins)
	section(c, "pools", &c.pools)
	for name, d := range docs {
		c.gateways[name] = &gateway{name: name, doc: d}
	}
}

func section[T any](c *lowerer, name string, into *map[string]*T) {
	*into = map[string]*T{}
	for key, b := range c.ev.data[name] {
		doc := new(T)
		if err := json.Unmarshal(b, doc); err != nil {
			c.fail(CodeEvaluator, at(name, key), "", "%s", flat(err))
			continue
		}
		(*into)[key] = doc
	}
}

func (c *lowerer) lower(ctx context.Context) []*plan.Plan {
	c.checkNames()
	for _, name := range keys(c.gateways) {
		c.lowerGateway(c.gateways[name])
	}
	for _, name := range keys(c.secrets) {
		c.checkSecret(name, c.secrets[name])
	}
	c.checkCertificates()
	c.checkPlugins()
	c.lowerPools()
	for _, name := range keys(c.links) {
		c.lowerLink(name, c.links[name])
	}
	for _, name := range keys(c.connections) {
		c.lowerConnection(name, c.connections[name])
	}
	for _, name := range keys(c.bypass) {
		c.lowerBypass(name, c.bypass[name])
	}
	c.checkAddresses()
	c.checkUse()
	for _, name := range keys(c.gateways) {
		if ctx.Err() != nil {
			return nil
		}
		c.checkIdentities(c.gateways[name])
		c.checkOverlaps(c.gateways[name])
	}
	c.checkAbsent()
	if Failed(c.findings) {
		return nil
	}
	var plans []*plan.Plan
	for _, name := range keys(c.gateways) {
		g := c.gateways[name]
		c.finish(g)
		if err := g.plan.Validate(); err != nil {
			c.fail(CodePlan, at("gateways", name), "report this policy: the compiler should have said it better", "the plan breaks a rule: %v", err)
		}
		if c.options.Gateway == "" || c.options.Gateway == name {
			plans = append(plans, g.plan)
		}
	}
	if c.options.Gateway != "" && c.gateways[c.options.Gateway] == nil {
		c.fail(CodeNoGateway, at("gateways"), c.gatewayHint(c.options.Gateway), "the policy has no gateway %q", c.options.Gateway)
		return nil
	}
	return plans
}

// finish sorts a gateway's plan, and gives it its reqids and secrets.
func (c *lowerer) finish(g *gateway) {
	p := g.plan
	sort.Slice(p.Connections, func(i, j int) bool { return p.Connections[i].Name < p.Connections[j].Name })
	sort.Slice(p.Bypass, func(i, j int) bool { return p.Bypass[i].Name < p.Bypass[j].Name })
	giveReqids(p)
	certificates, authorities, plugins := map[string]bool{}, map[string]bool{}, map[string]bool{}
	secrets := map[string]bool{}
	for _, cn := range p.Connections {
		for _, a := range []plan.Auth{cn.LocalAuth, cn.RemoteAuth} {
			if a.Secret != "" {
				secrets[a.Secret] = true
			}
			if a.Certificate != "" {
				certificates[a.Certificate] = true
			}
			for _, name := range a.Authorities {
				authorities[name] = true
			}
			for _, name := range a.EAP {
				plugins[name] = true
			}
		}
		if cn.Accounting.Plugin != "" {
			plugins[cn.Accounting.Plugin] = true
		}
	}
	for _, name := range keys(certificates) {
		d := c.certificates[name]
		p.Certificates = append(p.Certificates, plan.Certificate{Name: name, PEM: d.PEM, File: d.File, Raw: d.Raw, Key: d.Key, Passphrase: d.Passphrase, Pos: c.pos(at("certificates", name))})
		if secrets[d.Key] = true; d.Passphrase != "" {
			secrets[d.Passphrase] = true
		}
	}
	for _, name := range keys(authorities) {
		d := c.authorities[name]
		p.Authorities = append(p.Authorities, plan.Authority{Name: name, PEM: d.PEM, File: d.File, Raw: d.Raw, CRLFiles: d.CRLFiles, Pos: c.pos(at("authorities", name))})
	}
	for _, name := range keys(plugins) {
		x := c.plugin(name)
		for _, s := range x.Secrets {
			secrets[s.Secret] = true
		}
		p.Plugins = append(p.Plugins, x)
	}
	pools := map[string]bool{}
	for _, cn := range p.Connections {
		for _, name := range cn.Configure.Pools {
			pools[name] = true
		}
	}
	for _, name := range keys(pools) {
		p.Pools = append(p.Pools, plan.Pool{Name: name, First: c.ranges[name].first, Last: c.ranges[name].last, Pos: c.pos(at("pools", name))})
	}
	for _, name := range keys(secrets) {
		p.Secrets = append(p.Secrets, plan.Secret{Name: name, File: c.secrets[name].File, Credential: c.secrets[name].Credential, Pos: c.pos(at("secrets", name))})
	}
	c.sources.into(p)
}

func (c *lowerer) fail(code Code, path []string, hint, format string, a ...any) *Diagnostic {
	return c.say(Error, code, path, hint, format, a...)
}

func (c *lowerer) warn(code Code, path []string, hint, format string, a ...any) *Diagnostic {
	return c.say(Warning, code, path, hint, format, a...)
}

// say adds a finding at a path. The answer is valid until the next finding.
func (c *lowerer) say(s Severity, code Code, path []string, hint, format string, a ...any) *Diagnostic {
	if len(c.findings) >= maxFindings {
		return &Diagnostic{}
	}
	d := Diagnostic{Severity: s, Code: code, Path: join(path), Message: fmt.Sprintf(format, a...), Hint: hint}
	c.ev.put(&d, c.ev.posOf(path, true))
	c.findings = append(c.findings, d)
	return &c.findings[len(c.findings)-1]
}

// also adds another place that takes part.
func (c *lowerer) also(d *Diagnostic, path []string, format string, a ...any) {
	d.Related = append(d.Related, c.ev.place(c.ev.posOf(path, true), fmt.Sprintf(format, a...)))
}

func keys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
