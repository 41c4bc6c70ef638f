package backendtest

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Harness)
	}{
		{"a policy without an SA holds traffic back and says Acquire", testAcquire},
		{"a pair carries traffic, and nothing crosses in clear", testShapes},
		{"the responder of a rekey sends on the new pair only when it may", testRekey},
		{"ten rekeys in a row under traffic lose nothing", testRekeyLoss},
		{"after Remove traffic is held back again", testRemove},
		{"policies are added before others go, and are never gone", testReload},
		{"a bypass crosses in clear and nothing else does", testBypass},
		{"limits in packets expire softly, then hard", testExpire},
		{"a pair moves to other addresses and goes on", testMove},
		{"a peer behind a NAT that changes its mind is told of", testMapping},
		{"a peer at any address is sent to once it has a pair", testAnyRemote},
		{"a peer that brings its own address is protected from its first pair on", testOwnAddress},
		{"peers with addresses of a pool are kept apart", testLeased},
		{"mistakes have names", testErrors},
		{"what a process left is adopted by the next", testAdopt},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, h) })
	}
}

func testAcquire(t *testing.T, h Harness) {
	b := newBed(t, h, tunnel4())
	b.protect()
	b.heldBack(0)
	e := b.waitEvent(0, "acquire", func(e backend.Event) bool { _, ok := e.(backend.Acquire); return ok }).(backend.Acquire)
	if e.Connection != "office" || e.Child != "net" {
		t.Fatalf("acquire for %q/%q", e.Connection, e.Child)
	}
	local, remote := b.ends(0)
	if e.TSLocal.First != local || e.TSRemote.First != remote || e.TSRemote.Last != remote || e.TSRemote.Protocol != 17 || e.TSRemote.PortFirst != EchoPort {
		t.Fatalf("acquire names the packet as %v → %v", e.TSLocal, e.TSRemote)
	}
}

func testShapes(t *testing.T, h Harness) {
	cbc := func(bits int, integ ikev2.IntegID) msg.Transform {
		return msg.Transform{Encr: ikev2.ENCR_AES_CBC, KeyBits: bits, Integ: integ}
	}
	esn := func(t msg.Transform) msg.Transform { t.SN = ikev2.SN_ESN; return t }
	chacha := msg.Transform{Encr: ikev2.ENCR_CHACHA20_POLY1305}
	for _, c := range []childShape{
		{name: "GCM-256", transform: gcm},
		{name: "GCM-128, window 4096", transform: msg.Transform{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 128}, window: 4096},
		{name: "GCM-192", transform: msg.Transform{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 192}},
		{name: "GCM-256, ESN", transform: esn(gcm)},
		{name: "ChaCha20-Poly1305, ESN, IPv6", transform: esn(chacha), outer: 1, inner: 1},
		{name: "ChaCha20-Poly1305", transform: chacha},
		{name: "CBC-128, SHA2-256", transform: cbc(128, ikev2.AUTH_HMAC_SHA2_256_128)},
		{name: "CBC-192, SHA2-384, ESN", transform: esn(cbc(192, ikev2.AUTH_HMAC_SHA2_384_192))},
		{name: "CBC-256, SHA2-512", transform: cbc(256, ikev2.AUTH_HMAC_SHA2_512_256)},
		{name: "CBC-128, XCBC (VPN-B)", transform: cbc(128, ikev2.AUTH_AES_XCBC_96)},
		{name: "3DES, SHA-1 (VPN-A)", transform: msg.Transform{Encr: ikev2.ENCR_3DES, Integ: ikev2.AUTH_HMAC_SHA1_96}},
		{name: "IPv6 in IPv4", transform: gcm, inner: 1},
		{name: "IPv4 in IPv6", transform: gcm, outer: 1},
		{name: "transport", mode: plan.ModeTransport, transform: gcm},
		{name: "transport, IPv6, ESN", mode: plan.ModeTransport, outer: 1, transform: esn(gcm)},
		{name: "in UDP", encap: true, transform: gcm},
		{name: "in UDP, IPv6", encap: true, outer: 1, inner: 1, transform: gcm},
		{name: "in UDP, transport", encap: true, mode: plan.ModeTransport, transform: gcm},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.mode == "" {
				c.mode = plan.ModeTunnel
			}
			if c.window == 0 {
				c.window = 64
			}
			b := newBed(t, h, c)
			b.protect()
			g := b.install(1)
			b.crosses(0)
			b.crosses(1)
			b.counts(g)
		})
	}
}

// counts checks counters and the list of what is carried.
func (b *bed) counts(g generation) {
	b.t.Helper()
	for i := range 2 {
		c, err := b.b[i].Query(g.spis[i])
		b.must(err)
		if c.PacketsIn == 0 || c.PacketsOut == 0 || c.BytesIn == 0 || c.BytesOut == 0 || c.Errors != 0 || c.LastIn == 0 {
			b.t.Fatalf("%s: counters %+v after traffic both ways", b.hosts[i].Name, c)
		}
		carried, err := b.b[i].Dump()
		b.must(err)
		if len(carried) != 1 {
			b.t.Fatalf("%s carries %+v", b.hosts[i].Name, carried)
		}
		got, p := carried[0], b.pair(i, g)
		if got.Connection != "office" || got.Child != b.child.name || got.SPIIn != p.SPIIn || got.SPIOut != p.SPIOut || got.Reqid != testReqid ||
			got.Encap != p.Encap || got.Local.Addr() != p.Local.Addr() || got.Remote.Addr() != p.Remote.Addr() || p.Encap && got.Remote != p.Remote {
			b.t.Fatalf("%s carries %+v", b.hosts[i].Name, got)
		}
		st, err := b.b[i].Stats()
		b.must(err)
		if st.SAs != 2 || st.Policies == 0 {
			b.t.Fatalf("%s: stats %+v", b.hosts[i].Name, st)
		}
	}
}

func testRekey(t *testing.T, h Harness) {
	b := newBed(t, h, tunnel4())
	b.protect()
	old := b.install(1)
	b.crosses(0)

	// --> CREATE_CHILD_SA { N(REKEY_SA), SA, Ni, TSi, TSr }: right answers, and may not send on the new pair yet.
	fresh := b.alloc(2)
	p := b.pair(1, fresh)
	p.OutboundLater, p.Replaces = true, old.spis[1]
	b.must(b.b[1].Install(p))
	b.crosses(1)
	carried, err := b.b[1].Dump()
	b.must(err)
	if len(carried) != 2 {
		t.Fatalf("right carries %+v during the rekey", carried)
	}

	// <-- the response: left has both directions at once.
	p = b.pair(0, fresh)
	p.Replaces = old.spis[0]
	b.must(b.b[0].Install(p))
	b.crosses(0)
	b.crosses(1)
	c, err := b.b[1].Query(fresh.spis[1])
	b.must(err)
	if c.PacketsIn == 0 {
		t.Fatal("left does not prefer the new pair")
	}
	if c.PacketsOut != 0 {
		t.Fatal("right sent on the new pair before it was activated")
	}

	// --> INFORMATIONAL { D }: now right may.
	b.must(b.b[1].Activate(fresh.spis[1]))
	b.must(b.b[1].Activate(fresh.spis[1]))
	b.must(b.b[1].Remove(old.spis[1]))
	b.must(b.b[0].Remove(old.spis[0]))
	b.crosses(0)
	b.crosses(1)
	if c, err = b.b[1].Query(fresh.spis[1]); err != nil || c.PacketsOut == 0 {
		t.Fatalf("right does not send on the new pair: %+v %v", c, err)
	}
}

func testRekeyLoss(t *testing.T, h Harness) {
	b := newBed(t, h, tunnel4())
	b.protect()
	old := b.install(1)
	b.crosses(0)
	local, remote := b.ends(0)
	stop := b.hosts[0].Stream(t, local, remote)
	back := b.hosts[1].Stream(t, remote, local)
	for n := 2; n <= 11; n++ {
		fresh := b.alloc(n)
		later, now := n%2, 1-n%2 // who answers, and who began
		p := b.pair(later, fresh)
		p.OutboundLater, p.Replaces = true, old.spis[later]
		b.must(b.b[later].Install(p))
		time.Sleep(20 * time.Millisecond) // the answer is on its way
		p = b.pair(now, fresh)
		p.Replaces = old.spis[now]
		b.must(b.b[now].Install(p))
		time.Sleep(20 * time.Millisecond) // so is the Delete
		b.must(b.b[later].Activate(fresh.spis[later]))
		b.must(b.b[later].Remove(old.spis[later]))
		time.Sleep(20 * time.Millisecond) // and the answer to it
		b.must(b.b[now].Remove(old.spis[now]))
		old = fresh
	}
	for i, s := range []func() (int, int){stop, back} {
		if sent, lost := s(); lost != 0 || sent == 0 {
			t.Errorf("%s: %d of %d lost", b.hosts[i].Name, lost, sent)
		}
	}
	b.nothingClear()
}

func testRemove(t *testing.T, h Harness) {
	b := newBed(t, h, tunnel4())
	b.protect()
	g := b.install(1)
	b.crosses(0)
	for i := range 2 {
		b.must(b.b[i].Remove(g.spis[i]))
	}
	b.heldBack(0)
	b.heldBack(1)
	for i := range 2 {
		if carried, err := b.b[i].Dump(); err != nil || len(carried) != 0 {
			t.Fatalf("still carried: %+v %v", carried, err)
		}
	}
	b.install(2)
	b.crosses(0)
}

func testReload(t *testing.T, h Harness) {
	b := newBed(t, h, tunnel4())
	b.protect()
	g := b.install(1)
	b.crosses(0)
	for i := range 2 {
		// The next plan has another child; the old one's policies stay until the engine is done with it.
		next := b.policies(i)
		next.Protect[0].Child, next.Protect[0].Reqid = "other", testReqid+1
		next.Protect[0].LocalTS = []plan.Selector{wholeNet(netip.MustParsePrefix("10.77.0.0/24"))}
		b.must(b.b[i].Check(next))
		b.must(b.b[i].SetPolicies(next, true))
	}
	b.crosses(0)
	for i := range 2 {
		b.must(b.b[i].Remove(g.spis[i]))
	}
	b.heldBack(0)
	// Back to the first plan, twice: what stands is not touched.
	b.protect()
	b.protect()
	b.install(2)
	b.crosses(0)
}

func testBypass(t *testing.T, h Harness) {
	b := newBed(t, h, childShape{name: "net", mode: plan.ModeTransport, transform: gcm, window: 32})
	for i := range 2 {
		p := b.policies(i)
		local, remote := b.selectors(i), b.selectors(1-i)
		local.Protocol, local.PortFirst, local.PortLast = 17, EchoPort-10, EchoPort+1000
		remote.Protocol = 17
		back := local
		back.Prefix = remote.Prefix
		any := local
		any.PortFirst, any.PortLast = 0, 65535
		p.Bypass = []backend.Bypass{
			{Name: "echo in", Priority: 10, LocalTS: []plan.Selector{local}, RemoteTS: []plan.Selector{remote}},
			{Name: "echo out", Priority: 10, LocalTS: []plan.Selector{any}, RemoteTS: []plan.Selector{back}},
		}
		b.must(b.b[i].SetPolicies(p, false))
	}
	local, remote := b.ends(0)
	if !b.hosts[0].Echo(t, local, remote, 20) {
		t.Fatal("the bypass does not let its traffic through")
	}
	b.eventually("the bypass in clear on the wire", func() bool { _, clear := b.hosts[0].Sent(); return clear > 0 })
	before := b.settled()
	if esp, _ := b.hosts[0].Sent(); esp != 0 {
		t.Fatalf("the bypass sent %d ESP packets", esp)
	}
	b.protect() // without the bypass
	if b.hosts[0].Echo(t, local, remote, 3) {
		t.Fatal("traffic crosses after the bypass is gone")
	}
	for i, h := range b.hosts {
		if _, clear := h.Sent(); clear != before[i] {
			t.Fatalf("%s sent in clear after the bypass was gone", h.Name)
		}
	}
}

// settled is how many packets each host has sent in clear, once the watchers have counted all of them.
func (b *bed) settled() [2]int64 {
	var last [2]int64
	for quiet := 0; quiet < 5; {
		var now [2]int64
		for i, h := range b.hosts {
			_, now[i] = h.Sent()
		}
		if quiet++; now != last {
			last, quiet = now, 0
		}
		time.Sleep(30 * time.Millisecond)
	}
	return last
}

func testExpire(t *testing.T, h Harness) {
	c := tunnel4()
	c.lifetime = plan.Lifetime{RekeyPackets: 3, HardPackets: 20}
	b := newBed(t, h, c)
	b.protect()
	g := b.install(1)
	local, remote := b.ends(0)
	expire := func(hard bool) func(backend.Event) bool {
		return func(e backend.Event) bool {
			x, ok := e.(backend.Expire)
			return ok && x.Hard == hard && x.SPIIn == g.spis[0]
		}
	}
	for range 5 {
		b.hosts[0].Echo(t, local, remote, 2)
	}
	b.waitEvent(0, "soft expire", expire(false))
	b.crosses(0)
	for range 30 {
		b.hosts[0].Echo(t, local, remote, 1)
		if _, err := b.b[0].Query(g.spis[0]); errors.Is(err, backend.ErrNoSuchSA) {
			break
		}
	}
	b.waitEvent(0, "hard expire", expire(true))
	b.heldBack(0)
	b.eventually("the pair gone", func() bool { _, err := b.b[0].Query(g.spis[0]); return errors.Is(err, backend.ErrNoSuchSA) })
}

func testMove(t *testing.T, h Harness) {
	for _, esn := range []ikev2.SNID{ikev2.SN_32, ikev2.SN_ESN} {
		c := tunnel4()
		c.anyRemote, c.transform.SN = true, esn
		b := newBed(t, h, c)
		b.protect()
		g := b.install(1)
		b.crosses(0)
		before, err := b.b[1].Query(g.spis[1])
		b.must(err)
		to := netip.AddrFrom4([4]byte{198, 51, 100, 33})
		b.hosts[0].AddOuter(t, to)
		// left's own policy follows its address: a new plan says so.
		p := b.policies(0)
		p.Protect[0].Local = to
		b.must(b.b[0].SetPolicies(p, false))
		b.must(b.b[0].Move(g.spis[0], netip.AddrPortFrom(to, 4500), b.pair(0, g).Remote))
		b.must(b.b[1].Move(g.spis[1], b.pair(1, g).Local, netip.AddrPortFrom(to, 4500)))
		b.crosses(0)
		b.crosses(1)
		after, err := b.b[1].Query(g.spis[1])
		b.must(err)
		if after.PacketsIn <= before.PacketsIn || after.PacketsOut <= before.PacketsOut || after.Errors != 0 {
			t.Fatalf("counters were %+v and are %+v after the move", before, after)
		}
		carried, err := b.b[1].Dump()
		b.must(err)
		if len(carried) != 1 || carried[0].Remote.Addr() != to {
			t.Fatalf("right carries %+v", carried)
		}
	}
}

func testMapping(t *testing.T, h Harness) {
	c := tunnel4()
	c.encap = true
	b := newBed(t, h, c)
	b.protect()
	g := b.alloc(1)
	b.must(b.b[1].Install(b.pair(1, g)))
	// left's NAT has put another port before it than right knows.
	p := b.pair(0, g)
	b.must(b.b[0].Install(p))
	p1 := b.pair(1, g)
	b.must(b.b[1].Move(g.spis[1], p1.Local, netip.AddrPortFrom(p1.Remote.Addr(), 40001)))
	local, remote := b.ends(0)
	b.hosts[0].Echo(t, local, remote, 2)
	e := b.waitEvent(1, "mapping", func(e backend.Event) bool { _, ok := e.(backend.Mapping); return ok }).(backend.Mapping)
	if e.SPIIn != g.spis[1] || e.Remote != p.Local {
		t.Fatalf("mapping %+v, want %v", e, p.Local)
	}
	b.must(b.b[1].Move(g.spis[1], p1.Local, e.Remote))
	b.crosses(0)
}

func testAnyRemote(t *testing.T, h Harness) {
	c := tunnel4()
	c.anyRemote = true
	b := newBed(t, h, c)
	b.protect()
	b.heldBack(1)
	g := b.install(1)
	b.crosses(1)
	b.crosses(0)
	b.must(b.b[1].Remove(g.spis[1]))
	b.heldBack(1)
}

func testOwnAddress(t *testing.T, h Harness) {
	if !h.SeesAll {
		t.Skip("only what is routed there meets this datapath, and no route of a plan leads to an address that the plan does not know")
	}
	c := tunnel4()
	c.ownAddress = true
	b := newBed(t, h, c)
	b.protect()
	g := b.install(1)
	b.crosses(0)
	b.crosses(1)
	if h.Outlives {
		b.must(b.b[1].Close())
		b.open(1)
		b.must(b.b[1].SetPolicies(b.policies(1), false))
		b.crosses(0)
		b.crosses(1)
	}
	b.must(b.b[1].Remove(g.spis[1]))
	b.heldBack(1)
	b.must(b.b[0].Remove(g.spis[0]))
	b.install(2)
	b.crosses(1)
	b.must(b.b[1].SetPolicies(backend.Policies{}, false)) // the plan drops the child, and with it what its peers brought
	if st, err := b.b[1].Stats(); err != nil || st.Policies != 0 {
		t.Fatalf("stats %+v %v", st, err)
	}
}

func testErrors(t *testing.T, h Harness) {
	b := newBed(t, h, tunnel4())
	b.protect()
	for what, err := range map[string]error{
		"activate": b.b[0].Activate(4711), "remove": b.b[0].Remove(4711),
		"move": b.b[0].Move(4711, netip.AddrPort{}, netip.AddrPort{}),
	} {
		if !errors.Is(err, backend.ErrNoSuchSA) {
			t.Errorf("%s of nothing: %v", what, err)
		}
	}
	g := b.install(1)
	if err := b.b[0].Install(b.pair(0, g)); !errors.Is(err, backend.ErrExists) {
		t.Errorf("install twice: %v", err)
	}
	b.crosses(0)
	spi := b.alloc(2)
	p := b.pair(0, spi)
	p.Transform = msg.Transform{Encr: ikev2.ENCR_NULL, Integ: ikev2.AUTH_HMAC_SHA1_96}
	if err := b.b[0].Install(p); !errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("an unknown suite: %v", err)
	}
	b.must(b.b[1].Remove(spi.spis[1]))
	if err := b.b[1].Remove(spi.spis[1]); !errors.Is(err, backend.ErrNoSuchSA) {
		t.Errorf("an SPI given back twice: %v", err)
	}
	b.must(b.b[0].Close())
	b.must(b.b[0].Close())
	if err := b.b[0].Remove(g.spis[0]); !errors.Is(err, backend.ErrClosed) {
		t.Errorf("remove after Close: %v", err)
	}
}

func testAdopt(t *testing.T, h Harness) {
	if !h.Outlives {
		t.Skip("this datapath ends with its process")
	}
	c := tunnel4()
	c.anyRemote = true
	b := newBed(t, h, c)
	b.protect()
	g := b.install(1)
	b.crosses(0)
	half := b.alloc(2)
	p := b.pair(1, half)
	p.OutboundLater = true
	b.must(b.b[1].Install(p))
	b.must(b.b[1].Close())
	b.crosses(0) // traffic does not notice
	b.open(1)
	b.crosses(0)
	b.must(b.b[1].SetPolicies(b.policies(1), false))
	b.counts(g) // the half pair is gone: its outbound keys died with the process
	b.crosses(1)

	// The next process has a plan without the child: its policies go, its pair has no owner and can be removed.
	b.must(b.b[1].Close())
	b.open(1)
	b.must(b.b[1].SetPolicies(backend.Policies{}, false))
	carried, err := b.b[1].Dump()
	b.must(err)
	if len(carried) != 1 || carried[0].Connection != "" || carried[0].SPIIn != g.spis[1] {
		t.Fatalf("right carries %+v", carried)
	}
	b.must(b.b[1].Remove(g.spis[1]))
	if st, err := b.b[1].Stats(); err != nil || st.SAs != 0 || st.Policies != 0 {
		t.Fatalf("stats %+v %v", st, err)
	}
}
