package userspace

import (
	"bytes"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// fakeDevice is a TUN device in memory: the test is the host behind it.
type fakeDevice struct {
	toDatapath, toHost chan []byte
	closed             chan struct{}
	once               sync.Once
}

func newFakeDevice() *fakeDevice {
	return &fakeDevice{toDatapath: make(chan []byte, 256), toHost: make(chan []byte, 256), closed: make(chan struct{})}
}

func (d *fakeDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case p := <-d.toDatapath:
		sizes[0] = copy(bufs[0][offset:], p)
		return 1, nil
	case <-d.closed:
		return 0, os.ErrClosed
	}
}

func (d *fakeDevice) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		select {
		case d.toHost <- bytes.Clone(b[offset:]):
		default:
		}
	}
	return len(bufs), nil
}

func (d *fakeDevice) BatchSize() int { return 8 }
func (d *fakeDevice) Close() error   { d.once.Do(func() { close(d.closed) }); return nil }

// fakeSocket is a socket in memory. What it sends goes to peer, and to the test.
type fakeSocket struct {
	local  netip.AddrPort
	encap  bool
	in     chan Received
	sent   chan Datagram
	peer   *fakeSocket // nil: only the test sees what is sent
	report func(netip.Addr, int)
	closed chan struct{}
	once   sync.Once
}

func newFakeSocket(local string, encap bool) *fakeSocket {
	return &fakeSocket{local: netip.MustParseAddrPort(local), encap: encap, in: make(chan Received, 256), sent: make(chan Datagram, 1024), closed: make(chan struct{})}
}

func (s *fakeSocket) Local() netip.AddrPort             { return s.local }
func (s *fakeSocket) Encap() bool                       { return s.encap }
func (s *fakeSocket) OnPathMTU(f func(netip.Addr, int)) { s.report = f }
func (s *fakeSocket) Close() error                      { s.once.Do(func() { close(s.closed) }); return nil }

func (s *fakeSocket) Receive(into []Received) (int, error) {
	select {
	case into[0] = <-s.in:
		return 1, nil
	case <-s.closed:
		return 0, os.ErrClosed
	}
}

func (s *fakeSocket) Send(packets []Datagram) int {
	for _, p := range packets {
		p.ESP = bytes.Clone(p.ESP)
		s.sent <- p
		if s.peer != nil {
			s.peer.in <- Received{From: s.local, TOS: p.TOS, ESP: bytes.Clone(p.ESP)}
		}
	}
	return 0
}

// node is one datapath with the host behind it.
type node struct {
	*Backend
	t      testing.TB
	device *fakeDevice
	socket *fakeSocket
}

const patience = 5 * time.Second

func newNode(t testing.TB, local string, encap bool) *node {
	t.Helper()
	n := &node{t: t, device: newFakeDevice(), socket: newFakeSocket(local, encap)}
	n.Backend = New(n.device)
	if err := n.AddSocket(n.socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// send is a packet from the host.
func (n *node) send(p []byte) { n.device.toDatapath <- p }

// receive is the next packet for the host.
func (n *node) receive() []byte {
	n.t.Helper()
	select {
	case p := <-n.device.toHost:
		return p
	case <-time.After(patience):
		n.t.Fatalf("nothing came for the host; drops %+v", n.Drops())
		return nil
	}
}

// wire is the next packet on the outside.
func (n *node) wire() Datagram {
	n.t.Helper()
	select {
	case p := <-n.socket.sent:
		return p
	case <-time.After(patience):
		n.t.Fatalf("nothing was sent; drops %+v", n.Drops())
		return Datagram{}
	}
}

// event is the next event.
func (n *node) event() backend.Event {
	n.t.Helper()
	select {
	case e := <-n.Events():
		return e
	case <-time.After(patience):
		n.t.Fatal("no event came")
		return nil
	}
}

// until waits for what another goroutine does.
func (n *node) until(what string, ok func() bool) {
	n.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatalf("%s did not happen; drops %+v", what, n.Drops())
		}
	}
}

var gcm = msg.Transform{Encr: ikev2.ENCR_AES_GCM_16, KeyBits: 128}

func sel(prefix string) plan.Selector {
	return plan.Selector{Prefix: netip.MustParsePrefix(prefix), PortLast: 65535}
}

func ts(first, last string) msg.TS {
	return msg.TS{PortLast: 65535, First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
}

func key(first byte, n int) secret.Bytes {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return secret.New(b)
}

// site is one end of the tunnel that most tests use.
func site(local, remote, inside, outside string) backend.Policies {
	return backend.Policies{Protect: []backend.Protect{{Connection: "office", Child: "net", Reqid: plan.ReqidFirst, Priority: 100, Mode: plan.ModeTunnel,
		Local: netip.MustParseAddrPort(local).Addr(), Remote: netip.MustParseAddrPort(remote).Addr(),
		LocalTS: []plan.Selector{sel(inside)}, RemoteTS: []plan.Selector{sel(outside)}}}}
}

// tunnel is two datapaths with a pair of SAs between them: 10.1.0.0/16 and fd01::/16 behind left, 10.2.0.0/16 and fd02::/16 behind right.
func tunnel(t testing.TB, leftAt, rightAt string, change func(left, right *backend.Pair)) (left, right *node) {
	t.Helper()
	encap := netip.MustParseAddrPort(leftAt).Port() != 0
	left, right = newNode(t, leftAt, encap), newNode(t, rightAt, encap)
	left.socket.peer, right.socket.peer = right.socket, left.socket
	pl, pr := site(leftAt, rightAt, "10.1.0.0/16", "10.2.0.0/16"), site(rightAt, leftAt, "10.2.0.0/16", "10.1.0.0/16")
	pl.Protect[0].LocalTS, pl.Protect[0].RemoteTS = append(pl.Protect[0].LocalTS, sel("fd01::/16")), append(pl.Protect[0].RemoteTS, sel("fd02::/16"))
	pr.Protect[0].LocalTS, pr.Protect[0].RemoteTS = append(pr.Protect[0].LocalTS, sel("fd02::/16")), append(pr.Protect[0].RemoteTS, sel("fd01::/16"))
	for n, p := range map[*node]backend.Policies{left: pl, right: pr} {
		if err := n.SetPolicies(p, false); err != nil {
			t.Fatal(err)
		}
	}
	one := []msg.TS{ts("10.1.0.0", "10.1.255.255"), ts("fd01::", "fd01:ffff:ffff:ffff:ffff:ffff:ffff:ffff")}
	two := []msg.TS{ts("10.2.0.0", "10.2.255.255"), ts("fd02::", "fd02:ffff:ffff:ffff:ffff:ffff:ffff:ffff")}
	a := backend.Pair{Connection: "office", Child: "net", Reqid: plan.ReqidFirst, Mode: plan.ModeTunnel, Local: netip.MustParseAddrPort(leftAt),
		Remote: netip.MustParseAddrPort(rightAt), Encap: encap, Transform: gcm, EncrIn: key(1, 20), EncrOut: key(50, 20), TSLocal: one, TSRemote: two, ReplayWindow: 64}
	z := a
	z.Local, z.Remote, z.EncrIn, z.EncrOut, z.TSLocal, z.TSRemote = a.Remote, a.Local, a.EncrOut, a.EncrIn, two, one
	var err error
	if a.SPIIn, err = left.AllocSPI(a.Local.Addr(), a.Remote.Addr()); err != nil {
		t.Fatal(err)
	}
	if z.SPIIn, err = right.AllocSPI(z.Local.Addr(), z.Remote.Addr()); err != nil {
		t.Fatal(err)
	}
	a.SPIOut, z.SPIOut = z.SPIIn, a.SPIIn
	if change != nil {
		change(&a, &z)
	}
	if err := left.Install(a); err != nil {
		t.Fatal(err)
	}
	if err := right.Install(z); err != nil {
		t.Fatal(err)
	}
	return left, right
}
