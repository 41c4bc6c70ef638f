package supervise

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/trike-ipsec/trike/internal/plan"
)

// With the userspace datapath the host itself must lead what the plan protects into the TUN device, and refuse what comes in clear. leadOf says how, as plain data:
//
//	rules     which packets look into which of our routing tables, before the host's own
//	routes    in those tables: into the device, and nowhere when the device is gone
//	policies  XFRM policies that block what is protected on every device but ours: exact, after the choice of the source address, and in all directions
//
// Over IPv6 XFRM policies cannot let pass what goes through our device: what the host itself sends reaches them without a word of the device, and the switch that lets in
// what a device receives does nothing. There rules do their work: they refuse what is forwarded in clear, and shut the way behind the rules into the device, for a socket that
// is bound to another device and so passes over the routes. Only what comes in clear to an address of the host itself stays open, as routing delivers that before any rule.
//
// Rules are by source as well as by destination, because a plan protects between two networks, not whatever goes to one. A packet of the host's own that has no source address yet when
// its route is looked up goes into the device, too: it gets a source there that the plan protects.
type lead struct {
	rules    []rule
	routes   []route
	policies []policy
}

// rule is one rule of the routing policy. Rules are tried in the order of stage.
type rule struct {
	stage    stageOfRule
	v6       bool
	mark     bool // only packets of our own sockets
	from     netip.Prefix
	unbound  bool // packets whose source is not chosen yet: over IPv4 only those, over IPv6 also those, as the kernel chooses one and sees whether it is in from
	to       netip.Prefix
	protocol uint8
	sport    [2]uint16 // a range; zero: any
	dport    [2]uint16
	iif      string      // only packets that came in by this device; lo: only the host's own
	on       stageOfRule // where the packet goes on, if not 0
	table    int         // else the index of one of our tables
}

type stageOfRule int

const (
	stageOwn      stageOfRule = iota // packets of our own sockets stay out
	stageBypass                      // what the policy lets out in clear
	stageAdmit                       // over IPv6: what our device decrypted and what the host sends is not refused
	stageRefuse                      // over IPv6: what comes in clear although it is protected goes nowhere
	stageAdmitted                    // where what was admitted goes on
	stagePorts                       // children with a protocol or ports
	stageNets                        // children between networks
	stageShut                        // over IPv6: what no rule before led into the device goes nowhere
	stageEnd                         // where those that stay out go on
)

// route leads a prefix into the device.
type route struct {
	table int
	to    netip.Prefix
	from  netip.Prefix // the source to prefer is an address of the host in it, if it has one
}

// policy is one XFRM policy without a template.
type policy struct {
	dir      uint8 // dirIn, dirOut, dirFwd
	src, dst netip.Prefix
	protocol uint8
	sport    [2]uint16 // value and mask
	dport    [2]uint16
	device   bool // only packets that leave by our device
	block    bool
	priority uint32
}

const (
	dirIn  = 0
	dirOut = 1
	dirFwd = 2
)

// protected is one pair of selectors of a child or a bypass, with both prefixes of one family.
type protected struct {
	local, remote plan.Selector
	priority      uint32
}

func (p protected) bare() bool {
	return p.local.Protocol == 0 && p.remote.Protocol == 0 && anyPort(p.local) && anyPort(p.remote)
}

func anyPort(s plan.Selector) bool { return s.PortFirst == 0 && s.PortLast == 65535 }

// leadOf works out what the host needs for a plan. open lists the children whose peers' addresses are not known beforehand.
func leadOf(p *plan.Plan) (l lead, open []string) {
	var children, holes []protected
	for _, c := range p.Connections {
		for _, ch := range c.Children {
			local, remote := own(ch.Local, c.Local.Address), own(ch.Remote, c.Remote.Address)
			if len(remote) < len(ch.Remote) {
				open = append(open, c.Name+"/"+ch.Name)
			}
			children = append(children, pairs(local, remote, ch.Priority)...)
		}
	}
	for _, b := range p.Bypass {
		holes = append(holes, pairs(anyPrefix(b.Local), anyPrefix(b.Remote), b.Priority)...)
	}
	l.leadChildren(children)
	l.leadHoles(holes, children)
	for _, v6 := range []bool{false, true} {
		l.rules = append(l.rules, rule{stage: stageOwn, v6: v6, mark: true, on: stageEnd}, rule{stage: stageEnd, v6: v6})
	}
	for _, device := range []string{tunName, "lo"} {
		l.rules = append(l.rules, rule{stage: stageAdmit, v6: true, iif: device, on: stageAdmitted})
	}
	l.rules = append(l.rules, rule{stage: stageAdmitted, v6: true})
	// What comes in by the device is let in by a switch of the device (guard_linux.go): the kernel does not tell incoming packets apart by device here.
	any := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	l.policies = append(l.policies, policy{dir: dirOut, src: any, dst: any, device: true})
	slices.SortStableFunc(l.rules, func(a, b rule) int {
		return cmp.Or(cmp.Compare(order(b.stage), order(a.stage)), cmp.Compare(a.stage, b.stage))
	})
	return l, open
}

// own puts addr for selectors that mean this end's own address; without one they are left out.
func own(sel []plan.Selector, addr netip.Addr) (out []plan.Selector) {
	for _, s := range sel {
		if !s.Prefix.IsValid() {
			if !addr.IsValid() {
				continue
			}
			s.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		s.Prefix = s.Prefix.Masked()
		out = append(out, s)
	}
	return out
}

// anyPrefix puts all addresses of both families for selectors of a bypass that name none.
func anyPrefix(sel []plan.Selector) (out []plan.Selector) {
	for _, s := range sel {
		if s.Prefix.IsValid() {
			s.Prefix = s.Prefix.Masked()
			out = append(out, s)
			continue
		}
		for _, a := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			s.Prefix = netip.PrefixFrom(a, 0)
			out = append(out, s)
		}
	}
	return out
}

func pairs(local, remote []plan.Selector, priority uint32) (out []protected) {
	for _, l := range local {
		for _, r := range remote {
			if l.Prefix.Addr().Is4() == r.Prefix.Addr().Is4() && (l.Protocol == 0 || r.Protocol == 0 || l.Protocol == r.Protocol) {
				out = append(out, protected{l, r, priority})
			}
		}
	}
	return out
}

// leadChildren leads children into the device: those between whole networks by a table for each local network, the others by a rule each.
func (l *lead) leadChildren(children []protected) {
	tables := map[netip.Prefix]int{}
	known := map[any]bool{}
	once := func(key any) bool { old := known[key]; known[key] = true; return !old }
	for _, c := range children {
		if c.bare() {
			if _, ok := tables[c.local.Prefix]; !ok {
				tables[c.local.Prefix] = 0
			}
		}
		l.block(c)
	}
	locals := make([]netip.Prefix, 0, len(tables))
	for p := range tables {
		locals = append(locals, p)
	}
	slices.SortFunc(locals, func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(b.Bits(), a.Bits()), a.Addr().Compare(b.Addr()))
	})
	next := 0
	for _, p := range locals {
		tables[p] = next
		l.inward(rule{stage: stageNets, v6: p.Addr().Is6(), from: p, table: next})
		next++
	}
	for _, c := range children {
		local, remote := c.local.Prefix, c.remote.Prefix
		if c.bare() {
			if r := (route{tables[local], remote, local}); once(r) {
				l.routes = append(l.routes, r)
			}
			continue
		}
		r := narrowed(c)
		r.stage, r.table = stagePorts, next
		l.inward(r)
		l.routes = append(l.routes, route{next, remote, local})
		next++
	}
}

// inward adds a rule that leads into the device, also the packets whose source is not chosen yet. Over IPv6 one rule does both.
func (l *lead) inward(r rule) {
	unbound := r
	unbound.unbound = true
	if !r.v6 {
		l.rules = append(l.rules, r)
	}
	l.rules = append(l.rules, unbound)
}

// narrowed is a rule for the packets of a pair of selectors.
func narrowed(c protected) rule {
	r := rule{v6: c.local.Prefix.Addr().Is6(), from: c.local.Prefix, to: c.remote.Prefix, protocol: max(c.local.Protocol, c.remote.Protocol)}
	if hasPorts(r.protocol) {
		r.sport, r.dport = rangeOf(c.local), rangeOf(c.remote)
	}
	return r
}

func rangeOf(s plan.Selector) [2]uint16 {
	if anyPort(s) {
		return [2]uint16{}
	}
	return [2]uint16{s.PortFirst, s.PortLast}
}

func hasPorts(protocol uint8) bool {
	switch protocol {
	case 6, 17, 33, 132: // TCP, UDP, DCCP, SCTP
		return true
	}
	return false
}

// reversed is a rule for the packets the other way.
func reversed(r rule) rule {
	r.from, r.to, r.sport, r.dport = r.to, r.from, r.dport, r.sport
	return r
}

// leadHoles lets bypasses out, unless a child that the policy ranks higher overlaps: then the datapath decides, which lets nothing out.
func (l *lead) leadHoles(holes, children []protected) {
	for _, h := range holes {
		l.pass(h)
		if !slices.ContainsFunc(children, func(c protected) bool {
			return c.priority <= h.priority && c.local.Prefix.Overlaps(h.local.Prefix) && c.remote.Prefix.Overlaps(h.remote.Prefix)
		}) {
			r := narrowed(h)
			r.stage, r.on = stageBypass, stageEnd
			l.rules = append(l.rules, r)
			if r.v6 {
				l.rules = append(l.rules, reversed(r))
			}
		}
	}
}

// block blocks the clear packets of a child, out and in. pass lets those of a bypass through.
func (l *lead) block(c protected) {
	if !c.local.Prefix.Addr().Is6() {
		l.both(c, true)
		return
	}
	shut, refuse := narrowed(c), reversed(narrowed(c))
	shut.stage, refuse.stage = stageShut, stageRefuse
	l.rules = append(l.rules, shut, refuse)
}

func (l *lead) pass(c protected) {
	if !c.local.Prefix.Addr().Is6() {
		l.both(c, false)
	}
}

func (l *lead) both(c protected, block bool) {
	protocol := max(c.local.Protocol, c.remote.Protocol)
	for _, lp := range masks(protocol, c.local) {
		for _, rp := range masks(protocol, c.remote) {
			p := policy{src: c.local.Prefix, dst: c.remote.Prefix, protocol: protocol, sport: lp, dport: rp, block: block, priority: c.priority}
			in := policy{src: p.dst, dst: p.src, protocol: protocol, sport: rp, dport: lp, block: block, priority: c.priority}
			p.dir, in.dir = dirOut, dirIn
			fwd := in
			fwd.dir = dirFwd
			l.policies = append(l.policies, p, in, fwd)
		}
	}
}

// masks writes a port range as values with masks, as XFRM selectors have them. Protocols without ports have one that fits all: of ICMP more is held back than the child
// has, for its type alone says nothing about the direction.
func masks(protocol uint8, s plan.Selector) [][2]uint16 {
	if anyPort(s) || !hasPorts(protocol) {
		return [][2]uint16{{}}
	}
	var out [][2]uint16
	for first, last := uint32(s.PortFirst), uint32(s.PortLast); first <= last; {
		size := uint32(1)
		for first&(2*size-1) == 0 && first+2*size-1 <= last && size < 1<<15 {
			size *= 2
		}
		out = append(out, [2]uint16{uint16(first), uint16(0xffff &^ (size - 1))})
		first += size
	}
	return out
}
