package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// Bounds on what one child, and one plan, may become in the kernel.
const (
	maxPoliciesChild = 8192
	maxPolicies      = 2 << 20
	maxOwnAddresses  = 1024 // policies for peers at addresses of their own, a child
)

// Our policies carry an index that we choose: this nibble on top, a number, the direction in the low three bits. The kernel's own
// indices count up from 8 and never come near. So a policy is known as ours after a crash, whatever plan made it.
const (
	indexMark     = 0x7000_0000
	indexMarkMask = 0xf000_0000
	indexStep     = 8
)

func isOurs(index uint32) bool { return index&indexMarkMask == indexMark && index&7 <= dirFwd }

// policyKey is what the kernel tells policies apart by.
type policyKey struct {
	dir uint8
	sel selector
}

// policyValue is the rest of a policy. With reqid 0 there is no template.
type policyValue struct {
	action   uint8
	mode     uint8
	family   uint16 // of the template's addresses
	reqid    uint32
	priority uint32
	src, dst netip.Addr // the template's; invalid: any
}

// policySet is policies in the order in which they are to be added.
type policySet struct {
	keys   []policyKey
	values map[policyKey]policyValue
}

func newPolicySet() *policySet { return &policySet{values: map[policyKey]policyValue{}} }

// add puts a policy in. Where two say something of the same traffic the lower priority number wins, and protection wins over clear.
func (s *policySet) add(k policyKey, v policyValue) {
	old, ok := s.values[k]
	if !ok {
		s.keys = append(s.keys, k)
	} else if old.priority < v.priority || old.priority == v.priority && (old.reqid != 0 || v.reqid == 0) {
		return
	}
	s.values[k] = v
}

// protect adds the policies of a child. peer is where its newest pair sends to, where the plan leaves that open.
func (s *policySet) protect(p *backend.Protect, peer netip.Addr) error {
	n := 0
	for _, l := range p.LocalTS {
		for _, r := range p.RemoteTS {
			for _, sel := range between(l, r) {
				if n++; n > maxPoliciesChild {
					return &backend.Error{Op: "policies", Connection: p.Connection, Child: p.Child,
						Err: fmt.Errorf("selectors and port ranges make more than %d kernel policies: use fewer or wider ones", maxPoliciesChild)}
				}
				s.protectOne(p, sel, peer)
			}
		}
	}
	return nil
}

func (s *policySet) protectOne(p *backend.Protect, sel selector, peer netip.Addr) {
	in := policyValue{action: actionAllow, mode: modeOf(p.Mode), family: familyOf(p.Local), reqid: p.Reqid, priority: p.Priority}
	out := in
	if p.Mode == plan.ModeTunnel {
		out.src, out.dst = p.Local, p.Remote
		if !p.Remote.IsValid() || p.Leased {
			out.dst = peer
		}
		if !out.dst.IsValid() { // nobody to send to yet: hold it back
			out = policyValue{action: actionBlock, priority: p.Priority}
		}
	}
	s.add(policyKey{dirOut, sel}, out)
	// What comes in is tied to the child by the reqid alone, so that a peer may move without a moment of doubt.
	s.add(policyKey{dirIn, sel.reversed()}, in)
	if p.Mode == plan.ModeTunnel {
		s.add(policyKey{dirFwd, sel.reversed()}, in)
	}
}

func (s *policySet) bypass(b *backend.Bypass) error {
	n := 0
	v := policyValue{action: actionAllow, priority: b.Priority}
	for _, l := range b.LocalTS {
		for _, r := range b.RemoteTS {
			for _, sel := range between(l, r) {
				if n++; n > maxPoliciesChild {
					return &backend.Error{Op: fmt.Sprintf("bypass %q", b.Name),
						Err: fmt.Errorf("selectors and port ranges make more than %d kernel policies: use fewer or wider ones", maxPoliciesChild)}
				}
				s.add(policyKey{dirOut, sel}, v)
				s.add(policyKey{dirIn, sel.reversed()}, v)
				s.add(policyKey{dirFwd, sel.reversed()}, v)
			}
		}
	}
	return nil
}

func modeOf(m plan.Mode) uint8 {
	if m == plan.ModeTunnel {
		return modeTunnel
	}
	return modeTransport
}

// policyMessage is a NEWPOLICY or UPDPOLICY.
func policyMessage(typ uint16, k policyKey, v policyValue, index uint32) message {
	m := newMessage(typ, 0, sizePolicyInfo)
	b := m.body()
	k.sel.put(b)
	for i := range 4 { // octets and packets, soft and hard
		put64(b[56+8*i:], lifetimeNoEnd)
	}
	put32(b[152:], v.priority)
	put32(b[156:], index)
	b[160], b[161] = k.dir, v.action
	if v.reqid != 0 {
		t := make([]byte, sizeTmpl)
		putAddr(t[0:], v.dst)
		t[20] = protoESP
		put16(t[24:], v.family)
		putAddr(t[28:], v.src)
		put32(t[44:], v.reqid)
		t[48] = v.mode
		put32(t[52:], allAlgorithms)
		put32(t[56:], allAlgorithms)
		put32(t[60:], allAlgorithms)
		m.attr(attrTmpl, t)
	}
	return m
}

func deletePolicy(k policyKey) message {
	m := newMessage(msgDelPolicy, 0, 64)
	b := m.body()
	k.sel.put(b)
	b[60] = k.dir
	return m
}

// standing is a policy found in the kernel.
type standing struct {
	policyValue
	index uint32
}

// parsePolicy reads what a dump gives. ok is false for what is no policy of traffic (sockets have policies too).
func parsePolicy(data []byte) (k policyKey, s standing, ok bool) {
	if len(data) < sizePolicyInfo {
		return k, s, false
	}
	k.sel, ok = getSelector(data)
	k.dir = data[160]
	s.priority, s.index, s.action = get32(data[152:]), get32(data[156:]), data[161]
	if !ok || s.index&7 > dirFwd || k.dir > dirFwd {
		return k, s, false
	}
	attrs, err := parseAttrs(data[sizePolicyInfo:])
	if err != nil {
		return k, s, false
	}
	if t := find(attrs, attrTmpl, sizeTmpl); t != nil {
		s.family, s.reqid, s.mode = get16(t[24:]), get32(t[44:]), t[48]
		s.dst, s.src = getAddr(t[0:16], s.family), getAddr(t[28:44], s.family)
	}
	return k, s, true
}

// dumpPolicies reads all policies of the namespace.
func (s *sock) dumpPolicies() (map[policyKey]standing, error) {
	var all map[policyKey]standing
	err := s.dump(msgGetPolicy, func() { all = map[policyKey]standing{} }, func(typ uint16, data []byte) error {
		if k, p, ok := parsePolicy(data); ok && typ == msgNewPolicy {
			all[k] = p
		}
		return nil
	})
	return all, err
}

// apply brings the kernel's policies to want: new and changed ones first, each change in one step, and only when all of them stand, and
// unless addOnly, what is ours and not wanted goes. keep may save an unwanted one.
func (b *Backend) apply(want *policySet, addOnly bool, keep func(policyKey, standing) bool) error {
	var adds, changes []message
	var added, changed []policyKey
	for _, k := range want.keys {
		v := want.values[k]
		old, ok := b.standing[k]
		switch {
		case !ok:
			b.nextIndex += indexStep
			index := b.nextIndex | uint32(k.dir)
			adds, added = append(adds, policyMessage(msgNewPolicy, k, v, index)), append(added, k)
			b.standing[k] = standing{v, index} // until the answer says otherwise
		case old.policyValue != v:
			changes, changed = append(changes, policyMessage(msgUpdPolicy, k, v, old.index)), append(changed, k)
		}
	}
	b.setThresholds(want)
	var failed error
	for i, err := range b.rq.do(adds...) {
		if err != nil {
			delete(b.standing, added[i])
			failed = errors.Join(failed, policyError("add", added[i], err))
		}
	}
	for i, err := range b.rq.do(changes...) {
		if err != nil {
			failed = errors.Join(failed, policyError("change", changed[i], err))
			continue
		}
		s := b.standing[changed[i]]
		s.policyValue = want.values[changed[i]]
		b.standing[changed[i]] = s
	}
	if failed != nil || addOnly {
		return failed
	}
	return b.removeStale(want, keep)
}

func (b *Backend) removeStale(want *policySet, keep func(policyKey, standing) bool) error {
	var stale []policyKey
	for k, s := range b.standing {
		if _, ok := want.values[k]; !ok && !keep(k, s) {
			stale = append(stale, k)
		}
	}
	// Holes close before what they were holes in goes.
	slices.SortFunc(stale, func(x, y policyKey) int { return int(b.standing[x].reqid) - int(b.standing[y].reqid) })
	msgs := make([]message, len(stale))
	for i, k := range stale {
		msgs[i] = deletePolicy(k)
	}
	var failed error
	for i, err := range b.rq.do(msgs...) {
		if err != nil && !errors.Is(err, errnoNoEntry) {
			failed = errors.Join(failed, policyError("remove", stale[i], err))
			continue
		}
		delete(b.standing, stale[i])
	}
	return failed
}

func policyError(op string, k policyKey, err error) error {
	if errors.Is(err, errnoExists) {
		err = fmt.Errorf("somebody else's policy for the same traffic is in the way (see: ip xfrm policy); remove it and apply again")
	}
	return fmt.Errorf("%s policy %v → %v: %w", op, k.sel.src, k.sel.dst, err)
}

// setThresholds tells the kernel from which prefix lengths on to hash policies instead of searching a list, fitted to those in use.
// With few policies the list is as good, and the host's setting stays.
func (b *Backend) setThresholds(want *policySet) {
	const many = 512
	for family, attr := range map[uint16]uint16{afINET: spdIPv4Thresh, afINET6: spdIPv6Thresh} {
		t, ok := threshold(want, family, many)
		if !ok || b.thresholds[attr] == t {
			continue
		}
		m := newMessage(msgNewSPDInfo, 0, 4)
		m.attr(attr, []byte{t.local, t.remote})
		if b.rq.one(m) == nil { // only speed is lost without
			b.thresholds[attr] = t
		}
	}
}

type prefixBits struct{ local, remote uint8 }

// threshold picks, for each end, the length that all but a twentieth of the outgoing policies reach, and takes it only if the
// policies then spread well: a threshold that lumps them together is worse than none.
func threshold(want *policySet, family uint16, many int) (prefixBits, bool) {
	var local, remote []int
	for _, k := range want.keys {
		if k.dir == dirOut && familyOf(k.sel.src.Addr()) == family {
			local, remote = append(local, k.sel.src.Bits()), append(remote, k.sel.dst.Bits())
		}
	}
	if len(local) < many {
		return prefixBits{}, false
	}
	slices.Sort(local)
	slices.Sort(remote)
	t := prefixBits{uint8(local[len(local)/20]), uint8(remote[len(remote)/20])}
	buckets := map[[2]netip.Prefix]bool{}
	for _, k := range want.keys {
		if k.dir == dirOut && familyOf(k.sel.src.Addr()) == family {
			l, err1 := k.sel.src.Addr().Prefix(int(t.local))
			r, err2 := k.sel.dst.Addr().Prefix(int(t.remote))
			if err1 == nil && err2 == nil {
				buckets[[2]netip.Prefix{l, r}] = true
			}
		}
	}
	return t, len(buckets)*4 >= len(local)
}
