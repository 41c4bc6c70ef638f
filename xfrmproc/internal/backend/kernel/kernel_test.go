package kernel

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/backendtest"
	"golang.org/x/sys/unix"
)

// open starts the kernel's datapath on a host, with a socket on which it takes ESP out of UDP.
func open(t *testing.T, h *backendtest.Host) backend.Backend {
	t.Helper()
	var b *Backend
	var err error
	h.In(func() {
		if err = Probe(); err == nil {
			b, err = New()
		}
	})
	if err != nil {
		t.Skipf("no ESP in this kernel: %v", err)
	}
	for _, a := range h.Outer {
		decapsulate(t, h, a)
	}
	return b
}

// decapsulate opens port 4500 and has the kernel take ESP out of what comes there (RFC 3948).
func decapsulate(t *testing.T, h *backendtest.Host, a netip.Addr) {
	t.Helper()
	var err error
	h.In(func() {
		var c *net.UDPConn
		if c, err = net.ListenUDP("udp", &net.UDPAddr{IP: a.AsSlice(), Port: 4500}); err != nil {
			return // a second backend on the same host: the socket is there already
		}
		t.Cleanup(func() { _ = c.Close() })
		var raw syscall.RawConn
		if raw, err = c.SyscallConn(); err == nil {
			err = raw.Control(func(fd uintptr) {
				err = errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_ENCAP, udpEncapESP), bypass(int(fd), a))
			})
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// bypass lets the socket's own packets cross whatever the policies say, as the socket of a gateway has it.
func bypass(fd int, a netip.Addr) error {
	level, option := unix.SOL_IP, unix.IP_XFRM_POLICY
	if a.Is6() {
		level, option = unix.SOL_IPV6, unix.IPV6_XFRM_POLICY
	}
	var errs []error
	for _, dir := range []byte{dirIn, dirOut} {
		b := make([]byte, sizePolicyInfo)
		put16(b[40:], familyOf(a))
		b[160], b[161] = dir, actionAllow
		errs = append(errs, unix.SetsockoptString(fd, level, option, string(b)))
	}
	return errors.Join(errs...)
}

func TestContract(t *testing.T) {
	backendtest.Run(t, backendtest.Harness{Open: open, Outlives: true, SeesAll: true})
}
