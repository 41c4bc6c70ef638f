package ipc

import (
	"fmt"
	"os"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
)

// Messages to a peer wait in a queue: two processes that wait for each other to read would wait for ever. A peer that lets QueueLength pile up is dead, or means no good; beyond
// QueueSpare, what can be left unsaid is.
const (
	QueueLength  = 16384
	QueueSpare   = QueueLength / 2
	DrainTimeout = time.Second
)

// Received is what a link brought, with the descriptors that came beside it, or why it ended.
type Received struct {
	Message msg.Message
	Files   []*os.File
	Err     error
}

// CloseFiles closes descriptors that nobody took.
func CloseFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// Reader is a goroutine that reads a link until it ends or nobody listens any more.
type Reader struct {
	In   <-chan Received
	stop chan struct{}
}

// Read begins to read. It may be so many messages ahead of who takes them from In.
func Read(ahead int, receive func() (msg.Message, []*os.File, error)) *Reader {
	in, stop := make(chan Received, ahead), make(chan struct{})
	go func() {
		for {
			m, files, err := receive()
			select {
			case in <- Received{m, files, err}:
			case <-stop:
				CloseFiles(files)
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return &Reader{in, stop}
}

// Ignore ends it: what it reads from now on is lost.
func (r *Reader) Ignore() { close(r.stop) }

// Writer is a goroutine that says what is queued, in order, until the link fails.
type Writer struct {
	out  chan msg.Message
	done chan struct{}
}

// Write begins to write. fail is called when the link does not take a message, and must make its reader end.
func Write(send func(msg.Message) error, fail func() error) *Writer {
	w := &Writer{out: make(chan msg.Message, QueueLength), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		var failed error
		for m := range w.out {
			if failed != nil {
				continue
			}
			if failed = send(m); failed != nil {
				_ = fail()
			}
		}
	}()
	return w
}

// Say queues m. The error means that the peer does not read. A failed link shows by its reader.
func (w *Writer) Say(m msg.Message) error {
	select {
	case w.out <- m:
		return nil
	default:
		return fmt.Errorf("%d messages wait and it does not read them", QueueLength)
	}
}

// Busy tells whether much waits already.
func (w *Writer) Busy() bool { return len(w.out) >= QueueSpare }

// SayIfRoom queues m unless much waits already.
func (w *Writer) SayIfRoom(m msg.Message) {
	if !w.Busy() {
		_ = w.Say(m)
	}
}

// Finish ends it when all has been said.
func (w *Writer) Finish() { close(w.out) }

// Drain waits, for DrainTimeout at most, until what is queued has been said.
func (w *Writer) Drain() {
	w.Finish()
	select {
	case <-w.done:
	case <-time.After(DrainTimeout):
	}
}

// Link is one end of the connection to another process. It enforces what may be said over it: whatever Receive returns, its sender was allowed to say. *Conn is one.
type Link interface {
	// Send says m.
	Send(m msg.Message) error
	// Receive waits for the next message. After an error the link is dead.
	Receive() (msg.Message, error)
	// Close ends the link, and a Receive that waits.
	Close() error
}

// Queued is a link that is read and written by goroutines of its own.
type Queued struct {
	*Reader
	*Writer
	link Link
}

// Queue begins to read and to write a link.
func Queue(ahead int, l Link) *Queued {
	return &Queued{Reader: Read(ahead, func() (msg.Message, []*os.File, error) {
		m, err := l.Receive()
		return m, nil, err
	}), Writer: Write(l.Send, l.Close), link: l}
}

// Cut ends the link at once: who speaks to a new one has no use for what was still to be said.
func (q *Queued) Cut() {
	q.Ignore()
	q.Finish()
	_ = q.link.Close()
}

// ControlLink is a link to triked, which hands descriptors over. *FileConn is one.
type ControlLink interface {
	Send(m msg.Message) error
	// ReceiveFiles is Receive, with the descriptors that came beside the message.
	ReceiveFiles() (msg.Message, []*os.File, error)
	Close() error
}

// Connect makes a link of what comes with a Link message: the read end of one pipe and the write end of another. It takes them over.
func Connect(self, peer msg.Process, files []*os.File) (Link, error) {
	if len(files) != 2 {
		CloseFiles(files)
		return nil, fmt.Errorf("a link needs a read end and a write end, and %d descriptors came", len(files))
	}
	return Pipe(files[0], files[1], self, peer), nil
}
