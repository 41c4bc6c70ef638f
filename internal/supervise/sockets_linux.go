package supervise

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Descriptors that need a privilege to open and none to use. triked opens them, keeps its own copy, so that devices, routes and ports outlive a process that
// crashed, and hands a copy over.

// IKEPort and NATPort are the UDP ports of IKE (RFC 7296 section 2) and of IKE and ESP behind NATs (RFC 3948 section 2).
const (
	IKEPort = 500
	NATPort = 4500
)

// OpenTUN makes a TUN device with this MTU and sets it up. Packets come without link header, with a virtio header that lets the kernel hand over a whole
// TCP segment train at once.
func OpenTUN(name string, mtu int) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("TUN device %s: %w: the userspace datapath needs the tun module", name, err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err == nil {
		err = linkUp(name, mtu)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("TUN device %s: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

func linkUp(name string, mtu int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint32(uint32(mtu))
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFMTU, req); err != nil {
		return fmt.Errorf("MTU %d: %w", mtu, err)
	}
	if req, err = unix.NewIfreq(name); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return err
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// OpenESP opens a raw socket for IP protocol 50 at one local address.
func OpenESP(addr netip.Addr) (*os.File, error) {
	f, err := open(addr, 0, unix.SOCK_RAW, unix.IPPROTO_ESP, nil)
	if err != nil {
		return nil, fmt.Errorf("ESP socket %v: %w", addr, err)
	}
	return f, nil
}

// OpenUDP opens a UDP socket at one local address.
func OpenUDP(at netip.AddrPort) (*os.File, error) {
	f, err := open(at.Addr(), at.Port(), unix.SOCK_DGRAM, 0, nil)
	if err != nil {
		return nil, fmt.Errorf("UDP socket %v: %w", at, err)
	}
	return f, nil
}

// OpenSplit opens two UDP sockets at one address and port: what begins with the non-ESP marker (RFC 3948 section 2.2) goes to ike, all else to esp. The kernel
// decides, packet by packet, so neither process sees the other's. While triked keeps both open the choice stands, whoever crashes.
func OpenSplit(at netip.AddrPort) (ike, esp *os.File, err error) {
	if ike, err = open(at.Addr(), at.Port(), unix.SOCK_DGRAM, 0, reusePort); err == nil {
		esp, err = open(at.Addr(), at.Port(), unix.SOCK_DGRAM, 0, reusePort)
		if err == nil {
			if err = splitByMarker(ike); err == nil {
				return ike, esp, nil
			}
			err = errors.Join(err, esp.Close())
		}
		err = errors.Join(err, ike.Close())
	}
	return nil, nil, fmt.Errorf("UDP sockets %v: %w", at, err)
}

func reusePort(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }

// splitByMarker attaches the program that picks a socket of the group by its index, in the order of bind: 0 for IKE. The program sees the UDP
// payload; one too short to hold a marker ends it with 0.
func splitByMarker(first *os.File) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1},
	}
	conn, err := first.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = conn.Control(func(fd uintptr) {
		inner = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
	return errors.Join(err, inner)
}

// open binds a non-blocking socket. The address may come later (IP_FREEBIND), as with a floating address of a cluster.
func open(addr netip.Addr, port uint16, kind, protocol int, before func(fd int) error) (*os.File, error) {
	family, level, free := unix.AF_INET, unix.IPPROTO_IP, unix.IP_FREEBIND
	if addr.Is6() {
		family, level, free = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, err
	}
	err = unix.SetsockoptInt(fd, level, free, 1)
	if addr.Is6() && kind == unix.SOCK_DGRAM {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1))
	}
	if err == nil && before != nil {
		err = before(fd)
	}
	if err == nil {
		err = unix.Bind(fd, sockaddr(addr, port))
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), netip.AddrPortFrom(addr, port).String()), nil
}

func sockaddr(addr netip.Addr, port uint16) unix.Sockaddr {
	if addr.Is4() {
		return &unix.SockaddrInet4{Addr: addr.As4(), Port: int(port)}
	}
	return &unix.SockaddrInet6{Addr: addr.As16(), Port: int(port)}
}
