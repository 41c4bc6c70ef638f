package userspace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Batches of the kernel's: messages a call, and what one of them may hold.
const (
	recvMessages = 64
	sendMessages = 128
	controlRoom  = 128
	maxSegments  = 64    // UDP_MAX_SEGMENTS of kernels before 6.9
	maxSuper     = 65000 // octets of one segmented send, below what an IP length holds with its headers
)

// mmsghdr is struct mmsghdr of recvmmsg(2); Go aligns it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// linuxSocket is a raw protocol 50 or a UDP socket.
type linuxSocket struct {
	file   *os.File
	conn   syscall.RawConn
	local  netip.AddrPort
	encap  bool
	v6     bool
	gso    bool // the kernel cuts a long UDP send into datagrams
	report func(netip.Addr, int)

	rx receiving
	tx sending
}

// receiving is the state of Receive: all memory that recvmmsg fills.
type receiving struct {
	messages [recvMessages]mmsghdr
	vectors  [recvMessages]unix.Iovec
	names    [recvMessages]unix.RawSockaddrInet6
	control  [recvMessages][controlRoom]byte
	buffers  [recvMessages][]byte
	got      int // messages of the last call
	next     int // the first of them that is not handed out
	rest     []byte
	segment  int
	from     netip.AddrPort
	tos      uint8
	err      error
	call     func(uintptr) bool
}

// OpenSocket adopts a socket that is bound already: raw protocol 50, or with encap UDP. It takes the file over, also when it fails.
func OpenSocket(file *os.File, encap bool) (Socket, error) {
	fd, err := duplicate(file)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", file.Name(), err)
	}
	own := os.NewFile(uintptr(fd), file.Name())
	s := &linuxSocket{file: own, encap: encap, report: func(netip.Addr, int) {}}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("socket %s: %w", file.Name(), err), own.Close())
	}
	return s, nil
}

// duplicate gives a non-blocking descriptor of the caller's own, which Go's poller can wait for although file may have come in blocking mode, and closes
// file.
func duplicate(file *os.File) (fd int, err error) {
	conn, err := file.SyscallConn()
	if err != nil {
		return -1, errors.Join(err, file.Close())
	}
	var inner error
	err = conn.Control(func(old uintptr) { fd, inner = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, inner, file.Close()); err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func (s *linuxSocket) open() (err error) {
	if s.conn, err = s.file.SyscallConn(); err != nil {
		return err
	}
	var inner error
	if err = s.conn.Control(func(fd uintptr) { inner = s.configure(int(fd)) }); err == nil {
		err = inner
	}
	s.rx.init(s)
	s.tx.init(s)
	return err
}

// configure asks for what Receive and Send rely on. Only an address is indispensable; everything else an old kernel may lack.
func (s *linuxSocket) configure(fd int) error {
	at, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		s.local = netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port))
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		s.pathDiscovery(fd, true)
	case *unix.SockaddrInet6:
		s.local, s.v6 = netip.AddrPortFrom(netip.AddrFrom16(at.Addr), uint16(at.Port)), true
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
		s.pathDiscovery(fd, true)
	default:
		return errors.New("neither IPv4 nor IPv6")
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20) // up to net.core.rmem_max
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	if !s.encap {
		s.local = netip.AddrPortFrom(s.local.Addr(), 0)
		return nil
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	_, err = unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
	s.gso = err == nil
	return nil
}

// pathDiscovery sets DF on what is sent, or lets the kernel fragment. With DF the kernel refuses what does not fit the path that it knows, and says how
// much does.
func (s *linuxSocket) pathDiscovery(fd int, on bool) {
	if s.v6 {
		mode := unix.IPV6_PMTUDISC_WANT
		if on {
			mode = unix.IPV6_PMTUDISC_DO
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, mode)
		return
	}
	mode := unix.IP_PMTUDISC_DONT // clears DF: where even the least packet does not fit, a router may cut it
	if on {
		mode = unix.IP_PMTUDISC_DO
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, mode)
}

func (s *linuxSocket) Local() netip.AddrPort             { return s.local }
func (s *linuxSocket) Encap() bool                       { return s.encap }
func (s *linuxSocket) OnPathMTU(f func(netip.Addr, int)) { s.report = f }
func (s *linuxSocket) Close() error                      { return s.file.Close() }

func (r *receiving) init(s *linuxSocket) {
	for i := range r.messages {
		r.buffers[i] = make([]byte, maxPacket)
		r.vectors[i].Base = &r.buffers[i][0]
		r.vectors[i].SetLen(maxPacket)
		h := &r.messages[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.vectors[i]
		h.SetIovlen(1)
		h.Control = &r.control[i][0]
	}
	r.call = func(fd uintptr) bool {
		for i := range r.messages {
			r.messages[i].hdr.Namelen = unix.SizeofSockaddrInet6
			r.messages[i].hdr.SetControllen(controlRoom)
		}
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.messages[0])), recvMessages, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			r.got, r.err = int(n), nil
		case unix.EAGAIN:
			return false
		default:
			// With IP_RECVERR an ICMP error about something sent earlier shows here, once.
			r.got, r.err = 0, errno
			s.drainErrors(int(fd))
		}
		return true
	}
}

// Receive hands out what the last recvmmsg left, or calls it again.
func (s *linuxSocket) Receive(into []Received) (int, error) {
	r := &s.rx
	for n := 0; ; {
		for n < len(into) && (len(r.rest) > 0 || r.advance(s)) {
			size := min(r.segment, len(r.rest))
			into[n] = Received{From: r.from, TOS: r.tos, ESP: r.rest[:size:size]}
			r.rest = r.rest[size:]
			n++
		}
		if n > 0 {
			return n, nil
		}
		if err := s.conn.Read(r.call); err != nil {
			return 0, errors.Join(os.ErrClosed, err) // the poller gives up for no other reason
		}
		if r.next = 0; r.err != nil {
			return 0, r.err
		}
	}
}

// advance turns to the next message that holds something; false when there is none.
func (r *receiving) advance(s *linuxSocket) bool {
	for r.next < r.got {
		i := r.next
		r.next++
		m := &r.messages[i]
		if m.hdr.Flags&unix.MSG_TRUNC != 0 {
			continue
		}
		r.rest = r.buffers[i][:m.len]
		r.segment = len(r.rest)
		r.tos = 0
		r.from = addrPort(&r.names[i], s.encap)
		r.controls(r.control[i][:m.hdr.Controllen])
		if !s.encap && !s.v6 { // a raw IPv4 socket delivers the IP header, too
			if len(r.rest) < 20 || len(r.rest) < int(r.rest[0]&15)*4 {
				r.rest = nil
				continue
			}
			r.tos = r.rest[1]
			r.rest = r.rest[int(r.rest[0]&15)*4:]
			r.segment = len(r.rest)
		}
		if len(r.rest) > 0 && r.from.IsValid() {
			return true
		}
		r.rest = nil
	}
	return false
}

// controls reads TOS, Traffic Class and the segment size of a coalesced datagram.
func (r *receiving) controls(b []byte) {
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		size := int(h.Len)
		if size < unix.SizeofCmsghdr || size > len(b) {
			return
		}
		data := b[unix.SizeofCmsghdr:size]
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TOS && len(data) >= 1:
			r.tos = data[0]
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_TCLASS && len(data) >= 4:
			r.tos = uint8(binary.NativeEndian.Uint32(data))
		case h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) >= 4:
			if n := int(binary.NativeEndian.Uint32(data)); n > 0 {
				r.segment = n
			}
		}
		b = b[min(unix.CmsgSpace(size-unix.SizeofCmsghdr), len(b)):]
	}
}

// swapped turns a port between network and host byte order.
func swapped(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

func addrPort(n *unix.RawSockaddrInet6, withPort bool) netip.AddrPort {
	port := uint16(0)
	if withPort {
		port = swapped(n.Port)
	}
	switch n.Family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(n)).Addr), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(n.Addr), port)
	}
	return netip.AddrPort{}
}
