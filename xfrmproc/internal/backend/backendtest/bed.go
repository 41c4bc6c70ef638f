package backendtest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// Harness is what the suite needs to know of one datapath.
type Harness struct {
	// Open starts a backend on the host, with all that it needs there (routes, sockets), and skips where the machine cannot carry it.
	Open func(t *testing.T, h *Host) backend.Backend
	// Outlives: pairs and policies stand after Close, and the next Open finds them.
	Outlives bool
	// SeesAll: every packet of the host meets the policies, and not only those that routes of the plan lead into the datapath.
	SeesAll bool
}

// bed is two hosts with a backend each, and one child between them.
type bed struct {
	t     *testing.T
	h     Harness
	hosts [2]*Host
	b     [2]backend.Backend
	child childShape
	seen  [2]events
}

// events collects what one backend said.
type events struct {
	ch    <-chan backend.Event
	early []backend.Event
}

// childShape is a child under test.
type childShape struct {
	name      string
	mode      plan.Mode
	outer     int // 0 IPv4, 1 IPv6
	inner     int
	encap     bool
	transform msg.Transform
	window    int
	anyRemote bool // right's view of left: the plan does not know where it comes from
	lifetime  plan.Lifetime
	// ownAddress: left's selector is its own outer address, which right's plan does not know.
	ownAddress bool
	leased     bool // right's view of left: it has addresses of a pool, which is left's network
}

const testReqid = plan.ReqidFirst + 7

var gcm = msg.Transform{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 256}

func tunnel4() childShape {
	return childShape{name: "net", mode: plan.ModeTunnel, transform: gcm, window: 64}
}

func newBed(t *testing.T, h Harness, c childShape) *bed {
	t.Helper()
	b := &bed{t: t, h: h, child: c}
	b.hosts[0], b.hosts[1] = Hosts(t)
	for i := range 2 {
		b.open(i)
	}
	return b
}

// open starts the backend of side i.
func (b *bed) open(i int) {
	b.t.Helper()
	be := b.h.Open(b.t, b.hosts[i])
	b.t.Cleanup(func() { _ = be.Close() })
	b.b[i] = be
	b.seen[i] = events{ch: be.Events()}
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// ends are the addresses between which the child's traffic flows, side i's first.
func (b *bed) ends(i int) (local, remote netip.Addr) {
	if b.child.mode == plan.ModeTransport {
		return b.hosts[i].Outer[b.child.outer], b.hosts[1-i].Outer[b.child.outer]
	}
	if b.child.ownAddress {
		e := [2]netip.Addr{b.hosts[0].Outer[b.child.outer], b.hosts[1].Inner[b.child.inner]}
		return e[i], e[1-i]
	}
	return b.hosts[i].Inner[b.child.inner], b.hosts[1-i].Inner[b.child.inner]
}

func wholeNet(p netip.Prefix) plan.Selector { return plan.Selector{Prefix: p, PortLast: 65535} }

// selectors are the plan's, for side i: the networks, or in transport mode UDP between the outer addresses.
func (b *bed) selectors(i int) plan.Selector {
	h := b.hosts[i]
	if b.child.mode == plan.ModeTransport {
		a := h.Outer[b.child.outer]
		return plan.Selector{Prefix: netip.PrefixFrom(a, a.BitLen()), Protocol: 17, PortLast: 65535}
	}
	if b.child.ownAddress && i == 0 {
		a := h.Outer[b.child.outer]
		return wholeNet(netip.PrefixFrom(a, a.BitLen()))
	}
	return wholeNet(h.Net[b.child.inner])
}

func tsOf(s plan.Selector) msg.TS {
	last := s.Prefix.Addr().AsSlice()
	for i := s.Prefix.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	return msg.TS{Protocol: s.Protocol, PortFirst: s.PortFirst, PortLast: s.PortLast, First: s.Prefix.Addr(), Last: end}
}

// policies are side i's.
func (b *bed) policies(i int) backend.Policies {
	p := backend.Protect{Connection: "office", Child: b.child.name, Reqid: testReqid, Priority: 1000, Mode: b.child.mode,
		Local: b.hosts[i].Outer[b.child.outer], Remote: b.hosts[1-i].Outer[b.child.outer],
		LocalTS: []plan.Selector{b.selectors(i)}, RemoteTS: []plan.Selector{b.selectors(1 - i)}, Lifetime: b.child.lifetime}
	if (b.child.anyRemote || b.child.ownAddress) && i == 1 {
		p.Remote = netip.Addr{}
	}
	p.Leased = b.child.leased && i == 1
	if b.child.ownAddress && i == 1 {
		p.RemoteTS, p.OwnAddress = nil, []plan.Selector{{PortLast: 65535}}
	}
	return backend.Policies{Protect: []backend.Protect{p}}
}

// protect sets the policies on both sides.
func (b *bed) protect() {
	b.t.Helper()
	for i := range 2 {
		b.must(b.b[i].SetPolicies(b.policies(i), false))
	}
}

// generation is one pair of SAs as both sides know it.
type generation struct {
	n    int
	spis [2]uint32 // inbound at side i
}

// alloc reserves SPIs on both sides for generation n.
func (b *bed) alloc(n int) generation {
	b.t.Helper()
	g := generation{n: n}
	for i := range 2 {
		var err error
		g.spis[i], err = b.b[i].AllocSPI(b.hosts[i].Outer[b.child.outer], b.hosts[1-i].Outer[b.child.outer])
		b.must(err)
		if g.spis[i] < 256 {
			b.t.Fatalf("SPI %d is reserved", g.spis[i])
		}
	}
	return g
}

// key is deterministic: what side from encrypts with in generation n.
func key(n, from int, what string, size int) secret.Bytes {
	var out []byte
	for i := 0; len(out) < size; i++ {
		h := sha256.Sum256(binary.BigEndian.AppendUint32([]byte(fmt.Sprintf("%d %d %s", n, from, what)), uint32(i)))
		out = append(out, h[:]...)
	}
	return secret.New(out[:size])
}

// pair is generation g as side i installs it.
func (b *bed) pair(i int, g generation) backend.Pair {
	c := b.child
	encr, integ, ok := backend.KeyLengths(c.transform)
	if !ok {
		b.t.Fatalf("no key lengths for %v", c.transform)
	}
	return backend.Pair{Connection: "office", Child: c.name, Reqid: testReqid, Mode: c.mode,
		Local: netip.AddrPortFrom(b.hosts[i].Outer[c.outer], 4500), Remote: netip.AddrPortFrom(b.hosts[1-i].Outer[c.outer], 4500), Encap: c.encap,
		SPIIn: g.spis[i], SPIOut: g.spis[1-i], Transform: c.transform,
		EncrIn: key(g.n, 1-i, "e", encr), IntegIn: key(g.n, 1-i, "a", integ), EncrOut: key(g.n, i, "e", encr), IntegOut: key(g.n, i, "a", integ),
		TSLocal: []msg.TS{tsOf(b.selectors(i))}, TSRemote: []msg.TS{tsOf(b.selectors(1 - i))}, ReplayWindow: c.window, Lifetime: c.lifetime}
}

// install sets up generation n on both sides.
func (b *bed) install(n int) generation {
	b.t.Helper()
	g := b.alloc(n)
	for i := range 2 {
		b.must(b.b[i].Install(b.pair(i, g)))
	}
	return g
}

// crosses and heldBack say whether an echo comes back across the child; in neither case may anything leave in clear.
func (b *bed) crosses(from int) {
	b.t.Helper()
	local, remote := b.ends(from)
	before, _ := b.hosts[from].Sent()
	if !b.hosts[from].Echo(b.t, local, remote, 20) {
		b.t.Fatalf("%s: no echo across the child", b.hosts[from].Name)
	}
	b.eventually("ESP on the wire", func() bool { esp, _ := b.hosts[from].Sent(); return esp > before })
	b.nothingClear()
}

func (b *bed) heldBack(from int) {
	b.t.Helper()
	local, remote := b.ends(from)
	if b.hosts[from].Echo(b.t, local, remote, 3) {
		b.t.Fatalf("%s: an echo came back with no SA", b.hosts[from].Name)
	}
	b.nothingClear()
}

func (b *bed) nothingClear() {
	b.t.Helper()
	for _, h := range b.hosts {
		if _, clear := h.Sent(); clear != 0 {
			b.t.Fatalf("%s sent %d packets in clear", h.Name, clear)
		}
	}
}

func (b *bed) eventually(what string, ok func() bool) {
	b.t.Helper()
	for range 100 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.t.Fatalf("never saw %s", what)
}

// waitEvent waits for an event of side i that fits; others are kept for later calls.
func (b *bed) waitEvent(i int, what string, fits func(backend.Event) bool) backend.Event {
	b.t.Helper()
	s := &b.seen[i]
	for j, e := range s.early {
		if fits(e) {
			s.early = append(s.early[:j:j], s.early[j+1:]...)
			return e
		}
	}
	limit := time.After(10 * time.Second)
	for {
		select {
		case e, ok := <-s.ch:
			if !ok {
				b.t.Fatalf("%s: events ended before %s", b.hosts[i].Name, what)
			}
			if fits(e) {
				return e
			}
			s.early = append(s.early, e)
		case <-limit:
			b.t.Fatalf("%s: no %s; events were %v", b.hosts[i].Name, what, s.early)
		}
	}
}
