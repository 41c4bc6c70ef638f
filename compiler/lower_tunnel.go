package compiler

import (
	"math"
	"slices"
	"strconv"

	"github.com/trike-ipsec/trike/internal/plan"
)

// Defaults of a connection. docs/policy-reference.md says them too, from the schema's comments.
const (
	defaultFragment  = 1280
	defaultKeepalive = 20
	defaultDPD       = 30
	defaultInitial   = 1000
	defaultFactor    = 18 // tenths
	defaultTries     = 5
)

// tunnelDefaults are what links and connections differ in.
type tunnelDefaults struct {
	initiate string
	anyPeer  bool
	eap      bool // the peer authenticates by EAP, so it begins
	leases   bool // the peer is given an address, so it begins
}

var initiates = map[string]plan.Initiate{"at-start": plan.InitiateStart, "on-traffic": plan.InitiateTraffic, "never": plan.InitiateNever}

// tunnel lowers what links and connections have in common, without the end points.
func (c *lowerer) tunnel(name string, path []string, d *tunnelDoc, defaults tunnelDefaults, local, remote end) (*plan.Connection, bool) {
	before := len(c.findings)
	t := &plan.Connection{
		Name: name, ForceEncap: d.Encapsulate, Unique: plan.Unique(d.Unique), Pos: c.pos(path),
		Initiate: c.initiate(d.Initiate, defaults, sub(path, "initiate")),
	}
	legacy := &legacyUse{allowed: d.Legacy}
	t.LocalAuth, t.RemoteAuth = c.auth(&d.Auth, legacy, sub(path, "auth"), local, remote)
	t.Proposals = c.ikeProposals(d.IKE, legacy, sub(path, "ike"))
	t.DPD = c.dpd(d, t.Initiate, path)
	t.Lifetime = c.lifetime(d.Lifetime, lifetimeDefaults{rekey: 4 * 3600, jitterPart: 12, hardNum: 5, hardDen: 4}, sub(path, "lifetime"))
	t.Retransmit = c.retransmit(d, path)
	if t.FragmentSize = d.Fragmentation.Size; t.FragmentSize == 0 {
		t.FragmentSize = defaultFragment
	}
	if e := d.Fragmentation.Enabled; e != nil && !*e {
		t.FragmentSize = 0
	}
	t.Keepalive = c.seconds(d.Keepalive, defaultKeepalive, 3600, sub(path, "keepalive"))
	children := d.Children
	if len(children) == 0 {
		children = map[string]childDoc{"net": {Mode: "tunnel", ReplayWindow: 1024}}
	}
	if len(children) > plan.MaxChildren {
		c.fail(CodeManySelectors, sub(path, "children"), "split it into several, each with an `id` of its own on one side", "%d children, at most %d are allowed", len(children), plan.MaxChildren)
		return nil, false
	}
	for _, n := range keys(children) {
		cd := children[n]
		if ch, ok := c.child(n, &cd, d, t, defaults, legacy, path, local, remote); ok {
			t.Children = append(t.Children, ch)
		}
	}
	if d.Legacy && !legacy.used {
		c.warn(CodeLegacyUnused, sub(path, "legacy"), "take it away", "`legacy` allows what nothing here uses")
	}
	return t, !Failed(c.findings[before:]) && len(t.Children) > 0
}

// turned is the other end's view of a tunnel.
func turned(t *plan.Connection) *plan.Connection {
	o := *t
	o.LocalAuth, o.RemoteAuth = t.RemoteAuth, t.LocalAuth
	o.Children = slices.Clone(t.Children)
	for i := range o.Children {
		o.Children[i].Local, o.Children[i].Remote = o.Children[i].Remote, o.Children[i].Local
	}
	return &o
}

func (c *lowerer) initiate(s string, d tunnelDefaults, path []string) plan.Initiate {
	if s == "" {
		s = d.initiate
	}
	if d.anyPeer && s != "never" {
		c.fail(CodeInitiate, path, "say \"never\", or give the peer an address", "nobody can begin with a peer at \"any\" address")
	}
	if d.eap && !d.anyPeer && s != "never" {
		c.fail(CodeInitiate, path, "say \"never\", or leave it out", "a peer that authenticates by EAP begins itself")
	}
	if d.leases && !d.anyPeer && !d.eap && s != "never" {
		c.fail(CodeInitiate, path, "say \"never\", or leave it out", "a peer that is given an address begins itself")
	}
	return initiates[s]
}

// seconds reads a duration that may be left out.
func (c *lowerer) seconds(s string, missing, most int, path []string) int {
	if s == "" {
		return missing
	}
	n, err := seconds(s)
	switch {
	case err != nil:
		c.fail(CodeDuration, path, "", "%v", err)
		return missing
	case n > most:
		c.fail(CodeDuration, path, "", "%s is too long: at most %s", s, duration(most))
		return missing
	}
	return n
}

func (c *lowerer) dpd(d *tunnelDoc, i plan.Initiate, path []string) plan.DPD {
	out := plan.DPD{Delay: c.seconds(d.DPD.Delay, defaultDPD, 86400, sub(path, "dpd", "delay")), Restart: i == plan.InitiateStart}
	if d.DPD.Action != "" {
		out.Restart = d.DPD.Action == "restart"
	}
	return out
}

func (c *lowerer) retransmit(d *tunnelDoc, path []string) plan.Retransmit {
	out := plan.Retransmit{InitialMS: defaultInitial, BaseX10: defaultFactor, Tries: defaultTries}
	if d.Retransmit.Initial != nil {
		out.InitialMS = *d.Retransmit.Initial
	}
	if d.Retransmit.Tries != nil {
		out.Tries = *d.Retransmit.Tries
	}
	if s := d.Retransmit.Factor.String(); s != "" {
		f, err := strconv.ParseFloat(s, 64)
		tenths := math.Round(f * 10)
		if err != nil || math.Abs(f*10-tenths) > 1e-6 || tenths < 10 || tenths > 100 {
			c.fail(CodeValue, sub(path, "retransmit", "factor"), "", "factor %s is not 1 to 10 in steps of 0.1", s)
			return out
		}
		out.BaseX10 = int(tenths)
	}
	return out
}

// lifetimeDefaults: jitter is rekey/jitterPart, hard is rekey*hardNum/hardDen.
type lifetimeDefaults struct{ rekey, jitterPart, hardNum, hardDen int }

func (c *lowerer) lifetime(d lifetimeDoc, def lifetimeDefaults, path []string) plan.Lifetime {
	l := plan.Lifetime{RekeyBytes: d.RekeyBytes, HardBytes: d.HardBytes, RekeyPackets: d.RekeyPackets, HardPackets: d.HardPackets}
	hardAlone := d.Rekey == "" && d.Hard != ""
	l.Hard = c.seconds(d.Hard, 0, maxSeconds, sub(path, "hard"))
	rekey := def.rekey
	if hardAlone { // then rekey follows from hard
		rekey = min(rekey, l.Hard*def.hardDen/def.hardNum)
	}
	l.Rekey = c.seconds(d.Rekey, rekey, maxSeconds, sub(path, "rekey"))
	l.Jitter = c.seconds(d.Jitter, l.Rekey/def.jitterPart, maxSeconds, sub(path, "jitter"))
	if d.Hard == "" {
		l.Hard = min(l.Rekey*def.hardNum/def.hardDen, maxSeconds+maxSeconds/4)
	}
	if l.Rekey > 0 && l.Rekey < 10 || l.Hard > 0 && l.Hard < 10 {
		c.fail(CodeDuration, path, "", "a lifetime of less than 10 s leaves no time to rekey")
	}
	if l.Rekey > 0 && l.Hard > 0 && l.Rekey >= l.Hard {
		d := c.fail(CodeHardRekey, sub(path, "hard"), "make `hard` longer than `rekey`", "the SA is gone after %s, before it is replaced after %s", duration(l.Hard), duration(l.Rekey))
		c.also(d, sub(path, "rekey"), "`rekey` is here")
	}
	if l.Rekey > 0 && l.Jitter >= l.Rekey {
		d := c.fail(CodeJitter, sub(path, "jitter"), "make `jitter` a tenth of `rekey`", "a jitter of %s leaves nothing of a rekey after %s", duration(l.Jitter), duration(l.Rekey))
		c.also(d, sub(path, "rekey"), "`rekey` is here")
	}
	if l.Rekey == 0 && l.Hard > 0 {
		c.warn(CodeRekeyOff, sub(path, "rekey"), "leave `rekey` to its default", "without a rekey the SA ends after %s, and traffic waits for a new one", duration(l.Hard))
	}
	c.counts(l.RekeyBytes, l.HardBytes, "Bytes", path)
	c.counts(l.RekeyPackets, l.HardPackets, "Packets", path)
	return l
}

func (c *lowerer) counts(rekey, hard uint64, unit string, path []string) {
	if rekey > 0 && hard > 0 && rekey >= hard {
		d := c.fail(CodeHardRekey, sub(path, "hard"+unit), "make `hard"+unit+"` larger than `rekey"+unit+"`", "the SA is gone after %d %s, before it is replaced after %d", hard, map[string]string{"Bytes": "octets", "Packets": "packets"}[unit], rekey)
		c.also(d, sub(path, "rekey"+unit), "`rekey%s` is here", unit)
	}
}
