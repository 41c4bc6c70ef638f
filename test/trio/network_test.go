package trio

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/trike-ipsec/trike/ikeproc"
	"github.com/trike-ipsec/trike/internal/simnet"
	"github.com/trike-ipsec/trike/xfrmproc"
)

// network carries datagrams between sockets in memory. Port 0 stands for ESP straight in IP.
type network struct {
	mu   sync.Mutex
	net  *simnet.Net
	ike  map[netip.AddrPort]*ikeSocket
	esp  map[netip.AddrPort]*espSocket
	wake chan struct{}
	stop chan struct{}
	done chan struct{}
	// gate, when set, sees each datagram as it is sent; false loses it.
	gate func(from, to netip.AddrPort, data []byte) bool
	sent int
}

func newNetwork(seed uint64) *network {
	n := &network{net: simnet.New(seed), ike: map[netip.AddrPort]*ikeSocket{}, esp: map[netip.AddrPort]*espSocket{}, wake: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{})}
	n.net.SetDefault(simnet.Link{Delay: 5 * time.Millisecond})
	go n.run()
	return n
}

// run delivers what is due.
func (n *network) run() {
	defer close(n.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		n.mu.Lock()
		now := time.Now()
		for _, d := range n.net.Deliver(now) {
			n.deliver(d)
		}
		wait := time.Hour
		if at, ok := n.net.NextDelivery(); ok {
			wait = at.Sub(now)
		}
		n.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-n.wake:
		case <-n.stop:
			return
		}
	}
}

// deliver puts a datagram where the kernel would: on port 4500 the non-ESP marker decides.
func (n *network) deliver(d simnet.Datagram) {
	ike := d.To.Port() == 500 || len(d.Data) >= 4 && bytes.Equal(d.Data[:4], make([]byte, 4))
	if ike && d.To.Port() != 0 {
		if s := n.ike[d.To]; s != nil {
			put(s.in, ikeproc.Datagram{Remote: d.From, Data: d.Data})
		}
		return
	}
	if s := n.esp[d.To]; s != nil && len(d.Data) > 1 {
		put(s.in, xfrmproc.ESPReceived{From: d.From, ESP: d.Data})
	}
}

// put loses what finds no room, as a socket does.
func put[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

func (n *network) send(from, to netip.AddrPort, data []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent++
	if n.gate == nil || n.gate(from, to, data) {
		n.net.Send(time.Now(), from, to, data)
	}
	put(n.wake, struct{}{})
}

// weather is how all links are from now on.
func (n *network) weather(l simnet.Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.net.SetDefault(l)
}

func (n *network) watch(gate func(from, to netip.AddrPort, data []byte) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gate = gate
}

func (n *network) close() { close(n.stop); <-n.done }

// ikeSocket is a UDP socket of ikeproc's.
type ikeSocket struct {
	n     *network
	local netip.AddrPort
	in    chan ikeproc.Datagram
	gone  chan struct{}
	once  sync.Once
}

// openIKE is ikeproc's OpenSocket: a socket by its name.
func (n *network) openIKE(name string, f *os.File) (ikeproc.Transport, error) {
	_ = f.Close()
	at, err := netip.ParseAddrPort(name)
	if err != nil {
		return nil, err
	}
	s := &ikeSocket{n: n, local: at, in: make(chan ikeproc.Datagram, 4096), gone: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ike[at] = s
	return s, nil
}

func (s *ikeSocket) Local() netip.AddrPort { return s.local }

func (s *ikeSocket) Receive(into []ikeproc.Datagram) (int, error) {
	select {
	case into[0] = <-s.in:
	case <-s.gone:
		return 0, net.ErrClosed
	}
	for i := 1; i < len(into); i++ {
		select {
		case into[i] = <-s.in:
		default:
			return i, nil
		}
	}
	return len(into), nil
}

func (s *ikeSocket) Send(ds []ikeproc.Datagram) error {
	for _, d := range ds {
		s.n.send(s.local, d.Remote, d.AppendTo(nil))
	}
	return nil
}

func (s *ikeSocket) Close() error {
	s.once.Do(func() {
		close(s.gone)
		s.n.mu.Lock()
		defer s.n.mu.Unlock()
		if s.n.ike[s.local] == s {
			delete(s.n.ike, s.local)
		}
	})
	return nil
}

// espSocket is a socket of the datapath's: raw ESP with port 0, else ESP in UDP.
type espSocket struct {
	n     *network
	local netip.AddrPort
	in    chan xfrmproc.ESPReceived
	gone  chan struct{}
	once  sync.Once
}

func (n *network) openESP(at netip.AddrPort) *espSocket {
	s := &espSocket{n: n, local: at, in: make(chan xfrmproc.ESPReceived, 4096), gone: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.esp[at] = s
	return s
}

func (s *espSocket) Local() netip.AddrPort           { return s.local }
func (s *espSocket) Encap() bool                     { return s.local.Port() != 0 }
func (s *espSocket) OnPathMTU(func(netip.Addr, int)) {}
func (s *espSocket) Close() error                    { s.once.Do(func() { close(s.gone) }); return nil }

func (s *espSocket) Receive(into []xfrmproc.ESPReceived) (int, error) {
	select {
	case into[0] = <-s.in:
		return 1, nil
	case <-s.gone:
		return 0, os.ErrClosed
	}
}

func (s *espSocket) Send(ds []xfrmproc.ESPDatagram) int {
	for _, d := range ds {
		to := d.To
		if !s.Encap() {
			to = netip.AddrPortFrom(to.Addr(), 0)
		}
		s.n.send(s.local, to, bytes.Clone(d.ESP))
	}
	return 0
}

// device is a TUN device in memory: the test is the host behind it.
type device struct {
	fromHost, toHost chan []byte
	gone             chan struct{}
	once             sync.Once
}

func newDevice() *device {
	return &device{fromHost: make(chan []byte, 256), toHost: make(chan []byte, 256), gone: make(chan struct{})}
}

func (d *device) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case p := <-d.fromHost:
		sizes[0] = copy(bufs[0][offset:], p)
		return 1, nil
	case <-d.gone:
		return 0, os.ErrClosed
	}
}

func (d *device) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		put(d.toHost, bytes.Clone(b[offset:]))
	}
	return len(bufs), nil
}

func (d *device) BatchSize() int { return 8 }
func (d *device) Close() error   { d.once.Do(func() { close(d.gone) }); return nil }

// nat puts a NAT before the hosts of its inside.
func (n *network) nat(c simnet.NATConfig) *simnet.NAT {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.net.AddNAT(c)
}

// rebind has a NAT forget all, and take another address.
func (n *network) rebind(b *simnet.NAT, to netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b.Rebind(to)
}
