package ipc

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"

	"github.com/trike-ipsec/trike/internal/msg"
)

// batch is how many descriptors travel at once: the kernel's SCM_MAX_FD. The first travel with the header, each further batch with an octet of its own after it.
const batch = 253

// FileConn is a link over a socketpair, whose frames may carry descriptors: triked's to each process.
type FileConn struct {
	*Conn
	unix *net.UnixConn
}

// NewFileConn makes a link from one end of an AF_UNIX SOCK_STREAM socketpair. It takes f over.
func NewFileConn(f *os.File, self, peer msg.Process) (*FileConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("link from %s to %s: %w", self, peer, err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("link from %s to %s is no unix socket", self, peer)
	}
	return &FileConn{Conn: New(u, self, peer), unix: u}, nil
}

// SendFiles writes one message with descriptors, which stay the caller's to close.
func (c *FileConn) SendFiles(m msg.Message, files []*os.File) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, err := c.frame(m, len(files))
	if err != nil {
		return err
	}
	fds := make([]int, len(files))
	for i, f := range files {
		// Not f.Fd(): that would make the descriptor blocking for everyone who shares it.
		raw, err := f.SyscallConn()
		if err != nil {
			return c.wrap(err)
		}
		if err := raw.Control(func(fd uintptr) { fds[i] = int(fd) }); err != nil {
			return c.wrap(err)
		}
	}
	// The descriptors travel ahead of the payload, so that its reader has them all before it.
	with := b[:header]
	for first := true; first || len(fds) > 0; first = false {
		n := min(len(fds), batch)
		var rights []byte
		if n > 0 {
			rights = syscall.UnixRights(fds[:n]...)
		}
		if _, _, err := c.unix.WriteMsgUnix(with, rights, nil); err != nil {
			return c.wrap(err)
		}
		fds, with = fds[n:], []byte{0}
	}
	runtime.KeepAlive(files)
	_, err = c.unix.Write(b[header:])
	return c.wrap(err)
}

// ReceiveFiles reads one message with its descriptors, which are the caller's to close. Any error is final.
func (c *FileConn) ReceiveFiles() (msg.Message, []*os.File, error) {
	var h [header]byte
	files, err := c.rights(h[:])
	fail := func(err error) (msg.Message, []*os.File, error) {
		for _, f := range files {
			f.Close()
		}
		return nil, nil, c.wrap(err)
	}
	if err != nil {
		return fail(err)
	}
	kind, count, size, err := c.check(h)
	if err != nil {
		return fail(err)
	}
	for len(files) < count && len(files) > 0 && len(files)%batch == 0 {
		var one [1]byte
		more, err := c.rights(one[:])
		files = append(files, more...)
		if err == nil && len(more) == 0 {
			break
		}
		if err != nil {
			return fail(err)
		}
	}
	if count != len(files) {
		return fail(fmt.Errorf("%w: %s with %d descriptors that promised %d", ErrIllegal, kind, len(files), count))
	}
	m, err := c.payload(kind, size, c.unix)
	if err != nil {
		return fail(err)
	}
	return m, files, nil
}

// rights fills b and returns the descriptors that came with its first octet, also when it fails.
func (c *FileConn) rights(b []byte) ([]*os.File, error) {
	oob := make([]byte, syscall.CmsgSpace(4*batch))
	n, oobn, flags, _, err := c.unix.ReadMsgUnix(b, oob)
	files, rightsErr := filesOf(oob[:oobn])
	switch {
	case err != nil:
		return files, err
	case n == 0:
		return files, io.EOF
	case rightsErr != nil:
		return files, rightsErr
	case flags&syscall.MSG_CTRUNC != 0:
		return files, fmt.Errorf("%w: descriptors were cut off: has this process come to its limit of open files?", ErrIllegal)
	}
	if n < len(b) {
		_, err = io.ReadFull(c.unix, b[n:])
	}
	return files, err
}

// Receive is for a peer that has no descriptors to give: they are closed unseen.
func (c *FileConn) Receive() (msg.Message, error) {
	m, files, err := c.ReceiveFiles()
	for _, f := range files {
		f.Close()
	}
	return m, err
}

func filesOf(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			syscall.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "handed"))
		}
	}
	return files, nil
}

// Socketpair makes the two ends of a link that carries descriptors.
func Socketpair() (a, b *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "link"), os.NewFile(uintptr(fds[1]), "link"), nil
}

// controlFD is the descriptor on which triked starts a process: its end of the control link's socketpair.
const controlFD = 3

// FromTriked is the control link of a process that triked has started. restrict gives up every right that the process does not need: before the first octet is read from anybody.
func FromTriked(self msg.Process, restrict func() error) (*FileConn, error) {
	control, err := NewFileConn(os.NewFile(controlFD, "control"), self, msg.Triked)
	if err != nil {
		return nil, fmt.Errorf("no control link: this program is started by triked: %w", err)
	}
	if err := restrict(); err != nil {
		_ = control.Close()
		return nil, fmt.Errorf("give up rights: %w", err)
	}
	return control, nil
}
