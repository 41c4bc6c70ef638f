package backendtest

import (
	"net/netip"
	"testing"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// host is a selector of one address.
func host(a netip.Addr) plan.Selector { return wholeNet(netip.PrefixFrom(a, a.BitLen())) }

// leasedPair installs generation n for a peer on the left that a pool of the right's gave this address. claims is what the left puts into its own SA.
func (b *bed) leasedPair(n int, given netip.Addr, claims plan.Selector) generation {
	b.t.Helper()
	g := b.alloc(n)
	for i := range 2 {
		p := b.pair(i, g)
		if i == 0 {
			p.TSLocal = []msg.TS{tsOf(claims)}
		} else {
			p.TSRemote = []msg.TS{tsOf(host(given))}
			p.TSLocal = halves(p.TSLocal[0]) // more than one selector fits into no SA of the kernel's: the policies alone keep peers apart
		}
		b.must(b.b[i].Install(p))
	}
	return g
}

// halves are two selectors that make one.
func halves(t msg.TS) []msg.TS {
	a, b := t, t
	a.Last = t.First.Next()
	b.First = a.Last.Next()
	return []msg.TS{a, b}
}

// echo tells whether a datagram from an address on the left is answered by the right's network.
func (b *bed) echo(from netip.Addr) bool {
	b.t.Helper()
	return b.hosts[0].Echo(b.t, from, b.hosts[1].Inner[b.child.inner], 4)
}

// testLeased: two peers with the same outer address, as behind one NAT, each with an address of a pool. Neither gets the other's packets, and neither can send in the
// other's name. An address that nobody has is protected, and silent.
func testLeased(t *testing.T, h Harness) {
	c := tunnel4()
	c.leased, c.anyRemote = true, true
	b := newBed(t, h, c)
	alice := b.hosts[0].Inner[0]
	bob := alice.Next()
	b.hosts[0].AddInner(t, bob)
	b.protect()
	b.heldBack(1)
	base, err := b.b[1].Stats()
	b.must(err)
	a := b.leasedPair(1, alice, host(alice))
	b.leasedPair(2, bob, host(bob))
	both := func(when string) {
		t.Helper()
		if !b.echo(alice) || !b.echo(bob) {
			t.Fatalf("%s: alice %v, bob %v", when, b.echo(alice), b.echo(bob))
		}
		b.crosses(1) // to alice
	}
	both("at first")
	if h.Outlives {
		b.must(b.b[1].Close())
		b.open(1)
		b.must(b.b[1].SetPolicies(b.policies(1), false))
		carried, err := b.b[1].Dump()
		b.must(err)
		for _, x := range carried {
			if x.Connection != "office" || x.Child != c.name || x.Reqid != testReqid {
				t.Errorf("after a restart a pair is %q/%q's, reqid %x", x.Connection, x.Child, x.Reqid)
			}
		}
		both("after a restart")
	}
	b.must(b.b[1].SetPolicies(b.policies(1), false)) // nothing of it is changed by a reload
	both("after a reload")

	// Bob's machine sends with alice's address through its own SA.
	forged := b.leasedPair(3, bob, wholeNet(b.hosts[0].Net[0]))
	b.must(b.b[0].Remove(a.spis[0]))
	if b.echo(alice) {
		t.Error("bob's SA carries what alice seems to have sent")
	}
	b.must(b.b[1].Remove(forged.spis[1]))
	b.must(b.b[0].Remove(forged.spis[0]))

	again := b.leasedPair(4, alice, host(alice))
	b.must(b.b[1].Remove(a.spis[1]))
	both("alice came again")
	b.must(b.b[1].Remove(again.spis[1]))
	b.heldBack(1)
	if !b.echo(bob) {
		t.Error("bob lost his tunnel with alice's")
	}
	b.nothingClear()
	carried, err := b.b[1].Dump()
	b.must(err)
	for _, x := range carried {
		b.must(b.b[1].Remove(x.SPIIn))
	}
	if st, err := b.b[1].Stats(); err != nil || st.Policies != base.Policies {
		t.Errorf("%d policies were there before the peers, %d after (%v)", base.Policies, st.Policies, err)
	}
	b.must(b.b[1].SetPolicies(backend.Policies{}, false))
}
