package supervise

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/trike-ipsec/trike/internal/plan"
)

// What is ours in the host's tables is known by these numbers, also by a triked that is started after another was killed.
const (
	protocolOurs   = 116         // of rules and routes: "t"
	priorityBase   = 7400        // rules of an even generation begin here
	prioritySpan   = 40          // and those of an odd one this much later
	tableBase      = 0x7472_0000 // routing tables, likewise
	tableSpan      = 0x0000_8000
	lastResort     = 0x7fff_ff00 // metric of the routes that are left when the device is gone
	indexOurs      = 0x7100_0000 // XFRM policies carry an index in this range; the kernel's own stay far below
	indexMask      = 0xff00_0000
	ruleFindSource = 0x0001_0000 // FIB_RULE_FIND_SADDR
)

// guard leads traffic into the userspace datapath's device. It has two generations of rules and routes: the next is added whole, and only then the one before is taken away, so that
// at no time a packet finds less than one.
type guard struct {
	added      *plan.Plan // whose rules and routes are of this generation
	generation int        // 0 or 1
	noXFRM     bool       // this kernel has no XFRM policies
	noInbound  error      // why XFRM policies cannot refuse what comes in, if they cannot
}

// apply makes the host lead what p protects. notes are for the operator.
func (g *guard) apply(p *plan.Plan, addOnly bool) (notes []string, err error) {
	l, open := leadOf(p)
	if len(open) > 0 {
		notes = append(notes, fmt.Sprintf("the userspace datapath cannot lead traffic to peers whose address nobody knows beforehand: %s. Name the peers' networks, or use the kernel datapath",
			strings.Join(open, ", ")))
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return notes, fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	if g.added != p {
		if err := g.advance(h); err != nil {
			return notes, err
		}
		g.added = nil
		if err := g.add(h, l); err != nil {
			return notes, err
		}
		g.added = p
	}
	if g.noInbound = letIn(tunName); g.noInbound != nil {
		l.policies = slices.DeleteFunc(l.policies, func(p policy) bool { return p.dir != dirOut })
		notes = append(notes, fmt.Sprintf("clear packets from protected networks are not refused: %v. Switch strict reverse-path filtering on", g.noInbound))
	}
	if err := g.setPolicies(h, l.policies, addOnly); err != nil {
		return notes, err
	}
	if g.noXFRM {
		notes = append(notes, "this kernel has no XFRM: clear packets from protected networks to this gateway's own addresses are not refused. Switch strict reverse-path filtering on")
	}
	if slices.ContainsFunc(l.rules, func(r rule) bool { return r.stage == stageRefuse }) {
		notes = append(notes, "over IPv6 clear packets from protected networks to this gateway's own addresses are not refused, only those it would forward. Refuse them on the outer devices with nftables, or use the kernel datapath")
	}
	if addOnly {
		return notes, nil
	}
	return notes, g.sweep(h, 1-g.generation)
}

// letIn has the kernel ask no XFRM policy about what comes in by the device over IPv4: xfrmproc has decrypted and checked it.
func letIn(device string) error {
	return os.WriteFile("/proc/sys/net/ipv4/conf/"+device+"/disable_policy", []byte("1"), 0)
}

// flush takes all of it away.
func (g *guard) flush() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	g.added = nil
	return errors.Join(g.sweep(h, 0), g.sweep(h, 1), g.setPolicies(h, nil, false))
}

// advance turns to the other generation. The first time it makes room: a triked before this one may have left anything there.
func (g *guard) advance(h *netlink.Handle) error {
	if g.added != nil {
		g.generation = 1 - g.generation
		return nil
	}
	rules, err := ourRules(h)
	if err != nil {
		return err
	}
	if g.generation = 0; len(rules[0]) > 0 && len(rules[1]) == 0 {
		g.generation = 1
	}
	return g.sweep(h, g.generation)
}

// add adds a generation: first the routes, the last resort before those into the device, then the rules that lead to them.
func (g *guard) add(h *netlink.Handle, l lead) error {
	device, err := h.LinkByName(tunName)
	if err != nil {
		return fmt.Errorf("device %s: %w", tunName, err)
	}
	addrs, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("addresses of this host: %w", err)
	}
	for _, r := range l.routes {
		table := tableBase + g.generation*tableSpan + r.table
		if r.table >= tableSpan {
			return fmt.Errorf("%d protected pairs of a local network, a protocol and ports: the userspace datapath can do %d", r.table+1, tableSpan)
		}
		hole := netlink.Route{Table: table, Dst: ipNet(r.to), Type: unix.RTN_BLACKHOLE, Protocol: protocolOurs, Priority: lastResort}
		into := netlink.Route{Table: table, Dst: ipNet(r.to), LinkIndex: device.Attrs().Index, Protocol: protocolOurs, Priority: 1, Scope: netlink.SCOPE_LINK, Src: sourceIn(addrs, r.from)}
		for _, route := range []netlink.Route{hole, into} {
			if err := h.RouteReplace(&route); err != nil {
				return fmt.Errorf("route to %v in table %d: %w", r.to, table, err)
			}
		}
	}
	for _, r := range l.rules {
		if err := g.addRule(r); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("rule from %v to %v: %w", r.from, r.to, err)
		}
	}
	return nil
}

// sourceIn is an address of this host that the plan protects, for what the host itself sends.
func sourceIn(addrs []netlink.Addr, local netip.Prefix) net.IP {
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && local.Contains(ip.Unmap()) {
			return a.IP
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// addRule adds one rule. Not by the library, which lacks a flag that IPv6 needs.
func (g *guard) addRule(r rule) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	m := nl.NewRtMsg()
	m.Family, m.Table, m.Protocol, m.Scope, m.Type = unix.AF_INET, unix.RT_TABLE_UNSPEC, 0, 0, nl.FR_ACT_TO_TBL
	if r.v6 {
		m.Family = unix.AF_INET6
	}
	base := priorityBase + g.generation*prioritySpan
	var attrs []*nl.RtAttr
	add := func(kind int, b []byte) { attrs = append(attrs, nl.NewRtAttr(kind, b)) }
	add(nl.FRA_PRIORITY, nl.Uint32Attr(uint32(base)+uint32(r.stage)))
	add(nl.FRA_PROTOCOL, nl.Uint8Attr(protocolOurs))
	if r.iif != "" {
		add(nl.FRA_IIFNAME, nl.ZeroTerminated(r.iif))
	}
	if r.mark {
		add(nl.FRA_FWMARK, nl.Uint32Attr(mark))
		add(nl.FRA_FWMASK, nl.Uint32Attr(0xffff_ffff))
	}
	from := r.from
	switch {
	case r.unbound && r.v6:
		m.Flags |= ruleFindSource
	case r.unbound:
		from = netip.PrefixFrom(netip.IPv4Unspecified(), 32) // the source is not chosen yet
	}
	if from.IsValid() && from.Bits() > 0 {
		m.Src_len = uint8(from.Bits())
		add(nl.FRA_SRC, from.Addr().AsSlice())
	}
	if r.to.IsValid() && r.to.Bits() > 0 {
		m.Dst_len = uint8(r.to.Bits())
		add(nl.FRA_DST, r.to.Addr().AsSlice())
	}
	if r.protocol != 0 {
		add(nl.FRA_IP_PROTO, nl.Uint8Attr(r.protocol))
	}
	for kind, ports := range map[int][2]uint16{nl.FRA_SPORT_RANGE: r.sport, nl.FRA_DPORT_RANGE: r.dport} {
		if ports != [2]uint16{} {
			add(kind, binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, ports[0]), ports[1]))
		}
	}
	switch {
	case r.on != 0:
		m.Type = nl.FR_ACT_GOTO
		add(nl.FRA_GOTO, nl.Uint32Attr(uint32(base)+uint32(r.on)))
	case actionOf(r.stage) != 0:
		m.Type = actionOf(r.stage)
	default:
		add(nl.FRA_TABLE, nl.Uint32Attr(uint32(tableBase+g.generation*tableSpan+r.table)))
	}
	req.AddData(m)
	for _, a := range attrs {
		req.AddData(a)
	}
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// ourRules lists our rules by generation.
func ourRules(h *netlink.Handle) (out [2][]netlink.Rule, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := h.RuleList(family)
		if err != nil {
			return out, fmt.Errorf("list rules: %w", err)
		}
		for _, r := range all {
			if g := (r.Priority - priorityBase) / prioritySpan; r.Protocol == protocolOurs && r.Priority >= priorityBase && g < len(out) {
				r.Family = family
				out[g] = append(out[g], r)
			}
		}
	}
	return out, nil
}

// sweep takes a generation away: rules before routes. What shuts goes first, lest it stops what the other generation leads; the end, where our own packets go on, goes last.
func (g *guard) sweep(h *netlink.Handle, generation int) error {
	rules, err := ourRules(h)
	if err != nil {
		return err
	}
	var failed error
	stage := func(r netlink.Rule) stageOfRule {
		return stageOfRule(r.Priority - priorityBase - generation*prioritySpan)
	}
	slices.SortStableFunc(rules[generation], func(a, b netlink.Rule) int {
		return cmp.Compare(order(stage(a)), order(stage(b)))
	})
	for _, r := range rules[generation] {
		if r.Goto > 0 {
			r.Table = 0
		}
		if action := actionOf(stage(r)); action != 0 {
			r.Type = action
		}
		if err := h.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
			failed = errors.Join(failed, fmt.Errorf("remove rule %v: %w", r, err))
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := h.RouteListFiltered(family, &netlink.Route{Protocol: protocolOurs, Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		if err != nil {
			return errors.Join(failed, fmt.Errorf("list routes: %w", err))
		}
		for _, r := range routes {
			if (r.Table-tableBase)/tableSpan != generation || r.Table < tableBase {
				continue
			}
			if err := h.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENOENT) {
				failed = errors.Join(failed, fmt.Errorf("remove route %v: %w", r, err))
			}
		}
	}
	return failed
}

// order is when the rules of a stage go; they are added the other way round.
func order(s stageOfRule) int {
	switch actionOf(s) {
	case nl.FR_ACT_BLACKHOLE:
		return 0
	case nl.FR_ACT_NOP:
		return 2
	default:
		return 1
	}
}

// actionOf is what the rules of a stage do that lead neither into a table nor on to another stage.
func actionOf(s stageOfRule) uint8 {
	switch s {
	case stageRefuse, stageShut:
		return nl.FR_ACT_BLACKHOLE
	case stageAdmitted, stageEnd:
		return nl.FR_ACT_NOP
	}
	return 0
}

// selectorSize is the part of an XFRM selector that the kernel tells policies apart by: all but the user, which it does not use.
const selectorSize = 52

type policyKey struct {
	dir      uint8
	selector [selectorSize]byte
}

// verdict is what a policy of ours says.
type verdict struct {
	priority uint32
	block    bool
}

// xfrmSocket is one socket for many requests: a plan may need tens of thousands.
func xfrmSocket() (map[int]*nl.SocketHandle, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_XFRM)
	if err != nil {
		return nil, fmt.Errorf("open XFRM netlink: %w", err)
	}
	return map[int]*nl.SocketHandle{unix.NETLINK_XFRM: {Socket: s}}, nil
}

// setPolicies brings our XFRM policies to want: all of them first, and unless addOnly what is ours and not wanted goes.
func (g *guard) setPolicies(h *netlink.Handle, want []policy, addOnly bool) error {
	device := 0
	if link, err := h.LinkByName(tunName); err == nil {
		device = link.Attrs().Index
	}
	sockets, err := xfrmSocket()
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		g.noXFRM = true
		return nil
	}
	if err != nil {
		return err
	}
	defer sockets[unix.NETLINK_XFRM].Close()
	standing, next, err := ourPolicies(sockets)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		g.noXFRM = true
		return nil
	}
	if err != nil {
		return err
	}
	wanted := map[policyKey]policy{}
	var keys []policyKey
	for _, p := range want {
		k := policyKey{p.dir, [selectorSize]byte(selectorOf(p, device))}
		old, ok := wanted[k]
		if !ok {
			keys = append(keys, k)
		} else if old.priority < p.priority || old.priority == p.priority && old.block {
			continue
		}
		wanted[k] = p
	}
	// What passes our device comes first, so that blocking begins with the way open that is not clear.
	for _, device := range []bool{true, false} {
		for _, k := range keys {
			p := wanted[k]
			if have, ok := standing[k]; p.device != device || ok && have == (verdict{p.priority, p.block}) {
				continue
			}
			next += 8
			if err := upsert(sockets, k, p, next); err != nil {
				return fmt.Errorf("XFRM policy from %v to %v: %w", p.src, p.dst, err)
			}
		}
	}
	if addOnly {
		return nil
	}
	var failed error
	for k := range standing {
		if _, ok := wanted[k]; !ok {
			if err := remove(sockets, k); err != nil && !errors.Is(err, unix.ENOENT) {
				failed = errors.Join(failed, fmt.Errorf("remove an XFRM policy: %w", err))
			}
		}
	}
	return failed
}

// selectorOf writes struct xfrm_selector.
func selectorOf(p policy, device int) []byte {
	b := make([]byte, 56)
	copy(b[0:16], p.dst.Addr().AsSlice())
	copy(b[16:32], p.src.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[32:], p.dport[0])
	binary.BigEndian.PutUint16(b[34:], p.dport[1])
	binary.BigEndian.PutUint16(b[36:], p.sport[0])
	binary.BigEndian.PutUint16(b[38:], p.sport[1])
	family := uint16(unix.AF_INET)
	if p.dst.Addr().Is6() {
		family = unix.AF_INET6
	}
	binary.NativeEndian.PutUint16(b[40:], family)
	b[42], b[43], b[44] = uint8(p.dst.Bits()), uint8(p.src.Bits()), p.protocol
	if p.device {
		binary.NativeEndian.PutUint32(b[48:], uint32(device))
	}
	return b
}

// sizePolicy is that of struct xfrm_userpolicy_info.
const sizePolicy = 168

// raw is a netlink payload that is written already.
type raw []byte

func (r raw) Len() int          { return len(r) }
func (r raw) Serialize() []byte { return r }

func upsert(sockets map[int]*nl.SocketHandle, k policyKey, p policy, index uint32) error {
	b := make(raw, sizePolicy)
	copy(b, k.selector[:])
	for i := range 4 { // no limits
		binary.NativeEndian.PutUint64(b[56+8*i:], ^uint64(0))
	}
	binary.NativeEndian.PutUint32(b[152:], p.priority)
	binary.NativeEndian.PutUint32(b[156:], index|uint32(p.dir))
	b[160] = p.dir
	if p.block {
		b[161] = 1
	}
	req := nl.NewNetlinkRequest(nl.XFRM_MSG_UPDPOLICY, unix.NLM_F_ACK)
	req.Sockets = sockets
	req.AddData(b)
	_, err := req.Execute(unix.NETLINK_XFRM, 0)
	return err
}

func remove(sockets map[int]*nl.SocketHandle, k policyKey) error {
	b := make(raw, 64) // struct xfrm_userpolicy_id
	copy(b, k.selector[:])
	b[60] = k.dir
	req := nl.NewNetlinkRequest(nl.XFRM_MSG_DELPOLICY, unix.NLM_F_ACK)
	req.Sockets = sockets
	req.AddData(b)
	_, err := req.Execute(unix.NETLINK_XFRM, 0)
	return err
}

// ourPolicies lists our XFRM policies. next is the highest index in use.
func ourPolicies(sockets map[int]*nl.SocketHandle) (standing map[policyKey]verdict, next uint32, err error) {
	req := nl.NewNetlinkRequest(nl.XFRM_MSG_GETPOLICY, unix.NLM_F_DUMP)
	req.Sockets = sockets
	req.AddData(make(raw, 64))
	msgs, err := req.Execute(unix.NETLINK_XFRM, nl.XFRM_MSG_NEWPOLICY)
	if err != nil {
		return nil, 0, fmt.Errorf("list XFRM policies: %w", err)
	}
	standing, next = map[policyKey]verdict{}, indexOurs
	for _, m := range msgs {
		if len(m) < sizePolicy {
			continue
		}
		if index := binary.NativeEndian.Uint32(m[156:]); index&indexMask == indexOurs && index&7 <= dirFwd {
			standing[policyKey{m[160], [selectorSize]byte(m[:selectorSize])}] = verdict{binary.NativeEndian.Uint32(m[152:]), m[161] == 1}
			next = max(next, index&^7)
		}
	}
	return standing, next, nil
}
