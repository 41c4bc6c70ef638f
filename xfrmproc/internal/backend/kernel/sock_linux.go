package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Sizes of what is sent and received at once. The kernel answers a whole batch before the first answer is read, so the answers
// must fit its receive buffer.
const (
	batchMessages = 64
	batchOctets   = 48 << 10
	receiveOctets = 64 << 10
	eventBuffer   = 4 << 20
	answerTimeout = 10 * time.Second
)

// sock is a netlink socket for requests. The package's own, and not a library's, because requests and answers hold keys, which are
// wiped here as soon as they are through, and because a batch of policies costs a system call and not one each.
type sock struct {
	fd  int
	seq uint32
	buf []byte
}

// dial opens a request socket in the network namespace of the calling thread.
func dial() (*sock, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_XFRM)
	if err != nil {
		return nil, fmt.Errorf("open XFRM netlink: %w", err)
	}
	s := &sock{fd: fd, buf: make([]byte, receiveOctets)}
	tv := unix.NsecToTimeval(answerTimeout.Nanoseconds())
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		// Error texts of the kernel, and no echo of the request (it may hold keys) with them.
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv),
	)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("set up XFRM netlink: %w", err)
	}
	return s, nil
}

func (s *sock) close() error { return unix.Close(s.fd) }

// do sends the messages, in batches, and gives the kernel's answer to each. The messages are wiped.
func (s *sock) do(msgs ...message) []error {
	errs := make([]error, len(msgs))
	for first := 0; first < len(msgs); {
		n, size := 0, 0
		for first+n < len(msgs) && n < batchMessages && (n == 0 || size+len(msgs[first+n]) <= batchOctets) {
			size += len(msgs[first+n])
			n++
		}
		s.batch(msgs[first:first+n], errs[first:first+n])
		first += n
	}
	return errs
}

// one sends one message.
func (s *sock) one(m message) error { return s.do(m)[0] }

func (s *sock) batch(msgs []message, errs []error) {
	base := s.seq + 1
	var out []byte
	for i, m := range msgs {
		m.seal(base + uint32(i))
		put16(m[6:], get16(m[6:])|flagAck)
		out = append(out, m...)
		clear(m)
	}
	s.seq += uint32(len(msgs))
	answered := make([]bool, len(msgs))
	err := s.send(out)
	for left := len(msgs); err == nil && left > 0; {
		err = s.receive(func(h header, data []byte) error {
			i := h.seq - base
			if h.typ != nlmsgError || i >= uint32(len(msgs)) || answered[i] {
				return nil
			}
			answered[i] = true
			left--
			errs[i] = answerOf(h, data)
			return nil
		})
	}
	for i := range msgs {
		if !answered[i] {
			errs[i] = err
		}
	}
}

// ask sends one message and hands each part of the answer to each, which must not keep it: it is wiped afterwards.
func (s *sock) ask(m message, each func(typ uint16, data []byte) error) error {
	s.seq++
	seq := s.seq
	dump := get16(m[6:])&flagDump == flagDump
	if !dump {
		put16(m[6:], get16(m[6:])|flagAck)
	}
	m.seal(seq)
	if err := s.send(m); err != nil {
		return err
	}
	done := false
	var failed error
	for !done {
		err := s.receive(func(h header, data []byte) error {
			switch {
			case h.seq != seq || done:
			case h.typ == nlmsgError:
				done = true
				return answerOf(h, data)
			case h.typ == nlmsgDone:
				done = true
			case h.flags&flagIntr != 0 && dump:
				failed = errInterrupted
			case failed == nil:
				failed = each(h.typ, data)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return failed
}

// dump asks for a list. The kernel says when the list changed under it: then it is asked again, begin first.
func (s *sock) dump(typ uint16, begin func(), each func(typ uint16, data []byte) error) error {
	var err error
	for range 8 {
		begin()
		if err = s.ask(newMessage(typ, flagDump, 0), each); !errors.Is(err, errInterrupted) {
			return err
		}
	}
	return err
}

// send writes b, which must not be needed afterwards: it is wiped.
func (s *sock) send(b []byte) error {
	defer clear(b)
	for {
		err := unix.Sendto(s.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR {
			return err
		}
	}
}

// receive reads one datagram and hands on its messages.
func (s *sock) receive(each func(h header, data []byte) error) error {
	for {
		n, _, flags, from, err := unix.Recvmsg(s.fd, s.buf, nil, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("the kernel's answer: %w", err)
		}
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue // only the kernel is asked
		}
		if flags&unix.MSG_TRUNC != 0 {
			return fmt.Errorf("the kernel's answer is longer than %d octets", len(s.buf))
		}
		err = split(s.buf[:n], each)
		clear(s.buf[:n])
		return err
	}
}

type header struct {
	typ, flags uint16
	seq        uint32
}

// split hands the netlink messages of a datagram on, lengths checked.
func split(b []byte, each func(h header, data []byte) error) error {
	for len(b) > 0 {
		if len(b) < sizeHeader {
			return errShort
		}
		n := int(get32(b))
		if n < sizeHeader || n > len(b) {
			return errShort
		}
		if err := each(header{get16(b[4:]), get16(b[6:]), get32(b[8:])}, b[sizeHeader:n]); err != nil {
			return err
		}
		b = b[min(align(n), len(b)):]
	}
	return nil
}

// answerOf reads an acknowledgement: nil, or the errno with the kernel's words.
func answerOf(h header, data []byte) error {
	if len(data) < 4 {
		return errShort
	}
	code := int32(get32(data))
	if code == 0 {
		return nil
	}
	err := error(syscall.Errno(-code))
	if h.flags&flagAckTLVs == 0 || h.flags&flagCapped == 0 || len(data) < 4+sizeHeader {
		return err
	}
	attrs, perr := parseAttrs(data[4+sizeHeader:])
	if perr != nil {
		return err
	}
	if text := find(attrs, 1, 1); text != nil { // NLMSGERR_ATTR_MSG
		return fmt.Errorf("%w: %s", err, bytes.TrimRight(text, "\x00"))
	}
	return err
}

// eventSock receives what the kernel says by itself.
type eventSock struct {
	f *os.File
}

func dialEvents() (*eventSock, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_XFRM)
	if err != nil {
		return nil, fmt.Errorf("open XFRM netlink: %w", err)
	}
	groups := uint32(1<<(groupAcquire-1) | 1<<(groupExpire-1) | 1<<(groupMapping-1))
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("listen to XFRM events: %w", err)
	}
	// A burst of acquires must not push an expire out. Beyond the host's limit where the capability allows it.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, eventBuffer)
	}
	return &eventSock{os.NewFile(uintptr(fd), "xfrm events")}, nil
}

// read fills b with one datagram of the kernel's. lost means that the kernel had to throw some away.
func (e *eventSock) read(b []byte) (n int, lost bool, err error) {
	conn, err := e.f.SyscallConn()
	if err != nil {
		return 0, false, err
	}
	var from unix.Sockaddr
	var inner error
	err = conn.Read(func(fd uintptr) bool {
		n, from, inner = unix.Recvfrom(int(fd), b, 0)
		return inner != unix.EAGAIN && inner != unix.EINTR
	})
	switch {
	case err != nil:
		return 0, false, err
	case inner == unix.ENOBUFS:
		return 0, true, nil
	case inner != nil:
		return 0, false, inner
	}
	if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
		return 0, false, nil
	}
	return n, false, nil
}

func (e *eventSock) close() error { return e.f.Close() }

// openStats opens the namespace's XFRM statistics; nil where the kernel keeps none. It stays open because the process gives up
// its view of the file system.
func openStats() *os.File {
	f, err := os.Open("/proc/thread-self/net/xfrm_stat")
	if err != nil {
		return nil
	}
	return f
}

// Answers of the kernel that this package acts on.
const (
	errnoExists   = syscall.EEXIST
	errnoNotFound = syscall.ESRCH
	errnoNoEntry  = syscall.ENOENT
	errnoInvalid  = syscall.EINVAL
	errnoNoAlg    = syscall.ENOSYS
	errnoNoProto  = syscall.EPROTONOSUPPORT
)
