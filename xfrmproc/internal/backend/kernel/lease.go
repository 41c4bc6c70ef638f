package kernel

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// Reqids of peers that got an address of a pool, beside those that the compiler gives out. Each such peer has one of its own: two behind one NAT have the same outer
// address, so only the reqid keeps the kernel from sending one's packets to the other, and from taking one's address in the other's packets.
const (
	leasedFirst = plan.ReqidLast + 1
	leasedLast  = leasedFirst + 0x00ff_ffff
)

// lease is a peer with addresses of a pool: its policies stand as long as a pair of it does, above those of the pool's whole range, which let nothing through.
type lease struct {
	child  uint32 // reqid of the child in the plan
	remote []plan.Selector
	peer   netip.Addr // where its newest pair sends to
}

// leaseKey finds a peer's lease by the first of its addresses.
type leaseKey struct {
	child uint32
	first netip.Prefix
}

// childOf is the child that a reqid in the kernel belongs to.
func (b *Backend) childOf(reqid uint32) *backend.Protect {
	if l := b.leases[reqid]; l != nil {
		return b.protect[l.child]
	}
	return b.protect[reqid]
}

// leaseOf finds or makes the reqid for a pair of a child whose peers have addresses of a pool, and puts it into p.
func (b *Backend) leaseOf(p *backend.Pair) error {
	child := b.protect[p.Reqid]
	if child == nil || !child.Leased {
		return nil
	}
	l := &lease{child: p.Reqid}
	for _, ts := range p.TSRemote {
		l.remote = append(l.remote, asSelectors(ts, 4)...)
	}
	if len(l.remote) == 0 {
		return errors.New("no selector for the peer")
	}
	k := leaseKey{l.child, l.remote[0].Prefix}
	if reqid, ok := b.leaseBy[k]; ok {
		b.leases[reqid].remote = l.remote
		p.Reqid = reqid
		return nil
	}
	for range leasedLast - leasedFirst {
		if b.nextLease++; b.nextLease < leasedFirst || b.nextLease > leasedLast {
			b.nextLease = leasedFirst
		}
		if b.leases[b.nextLease] == nil {
			b.leases[b.nextLease], b.leaseBy[k] = l, b.nextLease
			p.Reqid = b.nextLease
			return nil
		}
	}
	return errors.New("no number is left for the peer's policies")
}

// followLease brings a peer's policies in line with its newest pair.
func (b *Backend) followLease(pr *pair, l *lease) error {
	if pr.later != nil && l.peer.IsValid() {
		return nil
	}
	l.peer = pr.remote.Addr()
	set := newPolicySet()
	if err := leasePolicies(set, b.protect[l.child], pr.reqid, l); err != nil {
		return err
	}
	return b.apply(set, true, nil)
}

// leasePolicies adds those of one peer to a child's.
func leasePolicies(set *policySet, child *backend.Protect, reqid uint32, l *lease) error {
	if child == nil || !child.Leased {
		return nil
	}
	one := *child
	one.Reqid, one.RemoteTS = reqid, l.remote
	one.Priority-- // above the range's
	return set.protect(&one, l.peer)
}

// endLease takes a peer's policies away after its last pair. What the pool's range says then holds.
func (b *Backend) endLease(reqid uint32, l *lease) error {
	delete(b.leases, reqid)
	delete(b.leaseBy, leaseKey{l.child, l.remote[0].Prefix})
	child := b.protect[l.child]
	if child == nil {
		return nil // SetPolicies takes, or has taken, them away
	}
	own, base := newPolicySet(), newPolicySet()
	if err := errors.Join(leasePolicies(own, child, reqid, l), base.protect(child, netip.Addr{})); err != nil {
		return err
	}
	back := newPolicySet()
	var gone []policyKey
	var msgs []message
	for _, k := range own.keys {
		if s, stands := b.standing[k]; !stands || s.policyValue != own.values[k] {
			continue // another peer's by now
		}
		if v, ranged := base.values[k]; ranged {
			back.add(k, v)
		} else {
			gone, msgs = append(gone, k), append(msgs, deletePolicy(k))
		}
	}
	failed := b.apply(back, true, nil)
	for i, err := range b.rq.do(msgs...) {
		if err != nil && !errors.Is(err, errnoNoEntry) {
			failed = errors.Join(failed, policyError("remove", gone[i], err))
			continue
		}
		delete(b.standing, gone[i])
	}
	return failed
}

// adoptLeases finds, among the policies that an earlier process left, those of peers with addresses of a pool.
func (b *Backend) adoptLeases(children []backend.Protect) {
	for k, s := range b.standing {
		if k.dir != dirOut || s.reqid < leasedFirst || s.reqid > leasedLast {
			continue
		}
		b.nextLease = max(b.nextLease, s.reqid)
		l := b.leases[s.reqid]
		for i := range children {
			c := &children[i]
			if !c.Leased || c.Priority-1 != s.priority || l != nil && l.child != c.Reqid {
				continue
			}
			for _, r := range c.RemoteTS {
				if !r.Prefix.Contains(k.sel.dst.Addr()) {
					continue
				}
				if l == nil {
					l = &lease{child: c.Reqid, peer: s.dst}
					b.leases[s.reqid] = l
				}
				b.leaseBy[leaseKey{c.Reqid, k.sel.dst}] = s.reqid
				if r.Prefix = k.sel.dst; !slices.Contains(l.remote, r) {
					l.remote = append(l.remote, r)
				}
			}
		}
	}
}
