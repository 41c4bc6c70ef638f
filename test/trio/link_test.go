package trio

import (
	"net"
	"os"
	"sync"

	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
)

// newLink makes the two ends of a link in memory, with real frames.
func newLink(a, b msg.Process) (*ipc.Conn, *ipc.Conn) {
	x, y := net.Pipe()
	return ipc.New(x, a, b), ipc.New(y, b, a)
}

// controlLink is one end of triked's link to a process: frames, and beside them the descriptors.
type controlLink struct {
	*ipc.Conn
	mu    *sync.Mutex // keeps a message and its descriptors together
	files chan []*os.File
}

func newControl(p msg.Process) (triked, process *controlLink) {
	a, b := newLink(msg.Triked, p)
	files := make(chan []*os.File, 16)
	return &controlLink{a, new(sync.Mutex), files}, &controlLink{b, new(sync.Mutex), files}
}

func (l *controlLink) SendFiles(m msg.Message, files []*os.File) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.Kind().MaxFiles() > 0 {
		l.files <- files
	}
	return l.Conn.Send(m)
}

func (l *controlLink) ReceiveFiles() (msg.Message, []*os.File, error) {
	m, err := l.Conn.Receive()
	if err != nil || m.Kind().MaxFiles() == 0 {
		return m, nil, err
	}
	return m, <-l.files, nil
}
