package backendtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// EchoPort is the UDP port on which each host sends back what it gets, at its outer and inner addresses.
const EchoPort = 7777

// Host is one end: a namespace with an outer address on the wire and an inner one behind it, of each family.
type Host struct {
	Name     string
	Outer    [2]netip.Addr // IPv4, IPv6
	Inner    [2]netip.Addr // hosts of Net
	Net      [2]netip.Prefix
	Peer     *Host
	WireName string // the interface on the wire

	ns    netns.NsHandle
	nl    *netlink.Handle
	wire  netlink.Link
	esp   atomic.Int64 // packets sent on the wire as ESP, in UDP or not
	clear atomic.Int64 // echo packets sent on the wire in clear
}

// In runs f on a thread inside the host's namespace. Sockets that f opens belong to the namespace for ever.
func (h *Host) In(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread dies with the goroutine, still in the namespace
		if err := netns.Set(h.ns); err != nil {
			panic(err)
		}
		f()
	}()
	<-done
}

// Route sends packets for dst, from the inner address of its family, to dev.
func (h *Host) Route(t *testing.T, dst netip.Prefix, dev string) {
	t.Helper()
	l, err := h.nl.LinkByName(dev)
	if err != nil {
		t.Fatal(err)
	}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(dst), Src: h.Inner[family(dst.Addr())].AsSlice()}
	if err := h.nl.RouteReplace(r); err != nil {
		t.Fatal(err)
	}
}

// Up sets an interface of the host up.
func (h *Host) Up(t *testing.T, dev string) {
	t.Helper()
	l, err := h.nl.LinkByName(dev)
	if err == nil {
		err = h.nl.LinkSetUp(l)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// AddOuter gives the host one more address on the wire.
func (h *Host) AddOuter(t *testing.T, a netip.Addr) {
	t.Helper()
	bits := 24
	if a.Is6() {
		bits = 64
	}
	if err := h.addAddr(h.wire, netip.PrefixFrom(a, bits)); err != nil {
		t.Fatal(err)
	}
}

// AddInner gives the host one more address inside.
func (h *Host) AddInner(t *testing.T, a netip.Addr) {
	t.Helper()
	lo, err := h.nl.LinkByName("lo")
	if err == nil {
		err = h.addAddr(lo, netip.PrefixFrom(a, a.BitLen()))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (h *Host) addAddr(l netlink.Link, p netip.Prefix) error {
	a := &netlink.Addr{IPNet: ipNet(p)}
	a.IP = p.Addr().AsSlice()
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return h.nl.AddrAdd(l, a)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Hosts lays out left and right.
func Hosts(t *testing.T) (left, right *Host) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	left, right = newHost(t, "left", 1), newHost(t, "right", 2)
	left.Peer, right.Peer = right, left
	v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: left.WireName}, PeerName: right.WireName, PeerNamespace: netlink.NsFd(right.ns)}
	if err := left.nl.LinkAdd(v); err != nil {
		t.Skipf("no veth pair to be had here: %v", err)
	}
	for _, h := range []*Host{left, right} {
		h.layOut(t)
	}
	for _, h := range []*Host{left, right} {
		h.serve(t)
		h.watch(t)
	}
	return left, right
}

func newHost(t *testing.T, name string, n byte) *Host {
	h := &Host{Name: name, WireName: "wire-" + name,
		Outer: [2]netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, n}), netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", n))},
		Inner: [2]netip.Addr{netip.AddrFrom4([4]byte{10, n, 0, 1}), netip.MustParseAddr(fmt.Sprintf("fd0%d::1", n))},
		Net:   [2]netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, n, 0, 0}), 16), netip.MustParsePrefix(fmt.Sprintf("fd0%d::/16", n))}}
	made := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- err
			return
		}
		var err error
		h.ns, err = netns.Get()
		made <- err
	}()
	if err := <-made; err != nil {
		t.Skipf("no network namespace to be had here: %v", err)
	}
	t.Cleanup(func() { _ = h.ns.Close() })
	var err error
	if h.nl, err = netlink.NewHandleAt(h.ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.nl.Close)
	return h
}

func (h *Host) layOut(t *testing.T) {
	t.Helper()
	var err error
	if h.wire, err = h.nl.LinkByName(h.WireName); err != nil {
		t.Fatal(err)
	}
	lo, err := h.nl.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	steps := []error{h.nl.LinkSetUp(lo), h.nl.LinkSetUp(h.wire)}
	for f := range 2 {
		bits := []int{24, 64}[f]
		steps = append(steps, h.addAddr(h.wire, netip.PrefixFrom(h.Outer[f], bits)),
			h.addAddr(lo, netip.PrefixFrom(h.Inner[f], h.Inner[f].BitLen())))
	}
	for f := range 2 {
		steps = append(steps, h.nl.RouteAdd(&netlink.Route{Dst: ipNet(h.Peer.Net[f]), Gw: h.Peer.Outer[f].AsSlice(), Src: h.Inner[f].AsSlice()}))
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
}

// listen opens a UDP socket in the host's namespace.
func (h *Host) listen(t *testing.T, a netip.AddrPort) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	var err error
	h.In(func() { c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(a)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// serve answers on the echo port.
func (h *Host) serve(t *testing.T) {
	for f := range 2 {
		for _, a := range []netip.Addr{h.Outer[f], h.Inner[f]} {
			c := h.listen(t, netip.AddrPortFrom(a, EchoPort))
			go func() {
				b := make([]byte, 2048)
				for {
					n, from, err := c.ReadFromUDPAddrPort(b)
					if err != nil {
						return
					}
					_, _ = c.WriteToUDPAddrPort(b[:n], from) // held back by policy: the asker notices
				}
			}()
		}
	}
}

// Echo sends datagrams from one address to the echo port of another until one comes back, or tries are used up.
func (h *Host) Echo(t *testing.T, from, to netip.Addr, tries int) bool {
	t.Helper()
	c := h.listen(t, netip.AddrPortFrom(from, 0))
	defer c.Close()
	b := make([]byte, 64)
	for i := range tries {
		binary.BigEndian.PutUint64(b, uint64(i))
		_, _ = c.WriteToUDPAddrPort(b[:32], netip.AddrPortFrom(to, EchoPort)) // the kernel says EAGAIN while it holds traffic back
		_ = c.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
		if n, _, err := c.ReadFromUDPAddrPort(b); err == nil && n == 32 {
			return true
		}
	}
	return false
}

// Stream sends numbered datagrams to the echo port of another host, a few hundred a second, until stop is called, which tells how many went out and
// how many never came back.
func (h *Host) Stream(t *testing.T, from, to netip.Addr) (stop func() (sent, lost int)) {
	t.Helper()
	c := h.listen(t, netip.AddrPortFrom(from, 0))
	end, sender, reader := make(chan struct{}), make(chan int, 1), make(chan int, 1)
	go func() {
		b, n := make([]byte, 32), 0
		for tick := time.NewTicker(4 * time.Millisecond); ; {
			select {
			case <-end:
				tick.Stop()
				sender <- n
				return
			case <-tick.C:
				n++
				binary.BigEndian.PutUint64(b, uint64(n))
				_, _ = c.WriteToUDPAddrPort(b, netip.AddrPortFrom(to, EchoPort))
			}
		}
	}()
	go func() {
		b, seen := make([]byte, 64), map[uint64]bool{}
		for {
			n, _, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				reader <- len(seen)
				return
			}
			if n == 32 {
				seen[binary.BigEndian.Uint64(b)] = true
			}
		}
	}()
	return func() (sent, lost int) {
		close(end)
		sent = <-sender
		_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		return sent, sent - <-reader
	}
}

// watch counts what the host puts on the wire.
func (h *Host) watch(t *testing.T) {
	t.Helper()
	var fd int
	var err error
	h.In(func() {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(htons(unix.ETH_P_ALL)))
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: h.wire.Attrs().Index})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "watch")
	t.Cleanup(func() { _ = f.Close() })
	conn, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		b := make([]byte, 4096)
		for {
			var n int
			var from unix.Sockaddr
			var inner error
			err := conn.Read(func(fd uintptr) bool {
				n, from, inner = unix.Recvfrom(int(fd), b, 0)
				return inner != unix.EAGAIN
			})
			if err != nil {
				return
			}
			sa, ok := from.(*unix.SockaddrLinklayer)
			if inner != nil || !ok || sa.Pkttype != unix.PACKET_OUTGOING {
				continue
			}
			h.count(b[:n])
		}
	}()
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// count sorts one packet that the host sent.
func (h *Host) count(b []byte) {
	proto, rest := upper(b)
	switch proto {
	case unix.IPPROTO_ESP:
		h.esp.Add(1)
	case unix.IPPROTO_UDP:
		if len(rest) < 12 {
			return
		}
		src, dst := binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
		switch {
		case src == EchoPort || dst == EchoPort:
			h.clear.Add(1)
		case (src == 4500 || dst == 4500) && binary.BigEndian.Uint32(rest[8:]) != 0:
			h.esp.Add(1)
		}
	}
}

// upper finds the upper layer protocol of an IP packet.
func upper(b []byte) (proto int, rest []byte) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && len(b) >= int(b[0]&15)*4:
		return int(b[9]), b[int(b[0]&15)*4:]
	case len(b) >= 40 && b[0]>>4 == 6:
		return int(b[6]), b[40:]
	}
	return -1, nil
}

// Sent is how many ESP packets, and how many echo packets in clear, the host has put on the wire.
func (h *Host) Sent() (esp, clear int64) { return h.esp.Load(), h.clear.Load() }
