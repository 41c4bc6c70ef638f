package userspace

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sending is the state of Send: all memory that sendmmsg reads.
type sending struct {
	messages [sendMessages]mmsghdr
	vectors  [sendMessages]unix.Iovec
	names    [sendMessages]unix.RawSockaddrInet6
	control  [sendMessages][controlRoom]byte
	packets  [sendMessages]int // first packet of each message
	count    int
	done     int // messages that were sent or given up
	errno    unix.Errno
	call     func(uintptr) bool
}

func (t *sending) init(s *linuxSocket) {
	t.call = func(fd uintptr) bool {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&t.messages[t.done])), uintptr(t.count-t.done), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EAGAIN {
			return false
		}
		if t.errno = errno; errno == 0 {
			t.done += int(n)
		} else {
			s.drainErrors(int(fd))
		}
		return true
	}
}

// Send sends packets in order: as few calls as sendmmsg allows, and as few messages as UDP segmentation allows.
func (s *linuxSocket) Send(packets []Datagram) (lost int) {
	for len(packets) > 0 {
		if packets[0].MayFragment {
			lost += s.sendFragmented(packets[:1])
			packets = packets[1:]
			continue
		}
		n := min(len(packets), sendMessages)
		for i := range n {
			if packets[i].MayFragment {
				n = i
			}
			if i >= n {
				break
			}
		}
		lost += s.sendBatch(packets[:n])
		packets = packets[n:]
	}
	return lost
}

// sendFragmented lets the kernel cut one outer packet, for a peer behind a path that not even the least MTU fits through.
func (s *linuxSocket) sendFragmented(one []Datagram) int {
	_ = s.conn.Control(func(fd uintptr) { s.pathDiscovery(int(fd), false) })
	lost := s.sendBatch(one)
	_ = s.conn.Control(func(fd uintptr) { s.pathDiscovery(int(fd), true) })
	return lost
}

func (s *linuxSocket) sendBatch(packets []Datagram) (lost int) {
	t := &s.tx
	s.pack(packets)
	failures := 0
	for t.done = 0; t.done < t.count; {
		if err := s.conn.Write(t.call); err != nil {
			return lost + len(packets) - t.packets[t.done]
		}
		if t.errno == 0 {
			failures = 0
			continue
		}
		// The error is of the first message, or an ICMP error about an earlier one: once more, then without segmentation, then never.
		failures++
		if failures == 1 {
			continue
		}
		first, end := t.packets[t.done], len(packets)
		if t.done+1 < t.count {
			end = t.packets[t.done+1]
		}
		if end-first > 1 { // a device without checksum offload refuses segments (EIO), a path that is too narrow as well (EINVAL, EMSGSIZE)
			if t.errno == unix.EIO {
				s.gso = false
			}
			return lost + s.sendSingly(packets[first:end]) + s.Send(packets[end:])
		}
		if t.errno == unix.EMSGSIZE && !packets[first].MayFragment {
			// The path turned out to be narrower. Whoever sends more of this size is told; this one is sealed already and goes in fragments.
			packets[first].MayFragment = true
			return lost + s.Send(packets[first:])
		}
		lost++
		t.done++
		failures = 0
	}
	return lost
}

// sendSingly sends a run of packets that the kernel would not take as segments of one.
func (s *linuxSocket) sendSingly(packets []Datagram) (lost int) {
	gso := s.gso
	s.gso = false
	lost = s.sendBatch(packets)
	s.gso = gso
	return lost
}

// pack fills in the messages. Packets to one peer with one TOS and one length, of which the last may be shorter, become one message.
func (s *linuxSocket) pack(packets []Datagram) {
	t := &s.tx
	t.count = 0
	for i := 0; i < len(packets); {
		n := 1
		if s.gso {
			n = segments(packets[i:])
		}
		m, first := t.count, &packets[i]
		t.packets[m] = i
		for k := i; k < i+n; k++ {
			t.vectors[k].Base = &packets[k].ESP[0]
			t.vectors[k].SetLen(len(packets[k].ESP))
		}
		h := &t.messages[m].hdr
		h.Iov = &t.vectors[i]
		h.SetIovlen(n)
		h.Name = (*byte)(unsafe.Pointer(&t.names[m]))
		h.Namelen = putAddrPort(&t.names[m], first.To)
		used := s.putTOS(t.control[m][:], first.TOS)
		if s.local.Addr().IsUnspecified() {
			used += s.putSource(t.control[m][used:], first.From)
		}
		if n > 1 {
			used += putControl(t.control[m][used:], unix.IPPROTO_UDP, unix.UDP_SEGMENT, 2)
			binary.NativeEndian.PutUint16(t.control[m][used-unix.CmsgSpace(2)+unix.SizeofCmsghdr:], uint16(len(first.ESP)))
		}
		h.Control = &t.control[m][0]
		h.SetControllen(used)
		t.count++
		i += n
	}
}

// segments is how many of the first packets make one segmented send.
func segments(packets []Datagram) int {
	first, total, n := &packets[0], len(packets[0].ESP), 1
	for n < len(packets) && n < maxSegments {
		p := &packets[n]
		if total += len(p.ESP); p.To != first.To || p.From != first.From || p.TOS != first.TOS || len(p.ESP) > len(first.ESP) || total > maxSuper {
			break
		}
		if n++; len(p.ESP) < len(first.ESP) {
			break
		}
	}
	return n
}

func (s *linuxSocket) putTOS(b []byte, tos uint8) int {
	if tos == 0 {
		return 0
	}
	level, kind := int32(unix.IPPROTO_IP), int32(unix.IP_TOS)
	if s.v6 {
		level, kind = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	n := putControl(b, level, kind, 4)
	binary.NativeEndian.PutUint32(b[unix.SizeofCmsghdr:], uint32(tos))
	return n
}

// putSource has the kernel send from this address (struct in_pktinfo's ipi_spec_dst, struct in6_pktinfo's ipi6_addr).
func (s *linuxSocket) putSource(b []byte, from netip.Addr) int {
	if s.v6 {
		a := from.As16()
		n := putControl(b, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
		clear(b[unix.SizeofCmsghdr+16 : unix.SizeofCmsghdr+unix.SizeofInet6Pktinfo])
		copy(b[unix.SizeofCmsghdr:], a[:])
		return n
	}
	a := from.As4()
	n := putControl(b, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
	clear(b[unix.SizeofCmsghdr : unix.SizeofCmsghdr+unix.SizeofInet4Pktinfo])
	copy(b[unix.SizeofCmsghdr+4:], a[:])
	return n
}

// putControl writes the header of a control message and returns what it takes with size octets of data.
func putControl(b []byte, level, kind int32, size int) int {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(size))
	return unix.CmsgSpace(size)
}

func putAddrPort(n *unix.RawSockaddrInet6, a netip.AddrPort) uint32 {
	port := swapped(a.Port())
	if a.Addr().Is4() {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(n)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: a.Addr().As4()}
		return unix.SizeofSockaddrInet4
	}
	*n = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: a.Addr().As16()}
	return unix.SizeofSockaddrInet6
}

// drainErrors reads the socket's error queue: what the kernel or ICMP says about packets sent. Path MTUs are reported, the rest is forgotten.
func (s *linuxSocket) drainErrors(fd int) {
	var data [64]byte
	var control [512]byte
	for range 64 {
		_, n, _, to, err := unix.Recvmsg(fd, data[:], control[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return
		}
		messages, err := unix.ParseSocketControlMessage(control[:n])
		if err != nil {
			continue
		}
		for _, m := range messages {
			v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
			v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
			// struct sock_extended_err: ee_errno, then origin, type, code, pad, then ee_info, which is the MTU.
			if !v4 && !v6 || len(m.Data) < 12 || unix.Errno(binary.NativeEndian.Uint32(m.Data)) != unix.EMSGSIZE {
				continue
			}
			if peer := addrOf(to); peer.IsValid() && s.report != nil {
				s.report(peer, int(binary.NativeEndian.Uint32(m.Data[8:])))
			}
		}
	}
}

func addrOf(a unix.Sockaddr) netip.Addr {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(a.Addr)
	}
	return netip.Addr{}
}
