package authproc

import (
	"fmt"
	"os"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
)

// Messages to a peer wait in a queue: two processes that wait for each other to read would wait for ever. A peer that lets this many pile
// up is dead, or means no good.
const (
	queueLength  = 16384
	queueSpare   = queueLength / 2 // beyond this, what can be left unsaid is
	drainTimeout = time.Second
)

// received is what a link brought.
type received struct {
	m     msg.Message
	files []*os.File
	err   error
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// reader is a goroutine that reads a link until it ends or nobody listens any more.
type reader struct {
	in   chan received
	stop chan struct{}
}

func read(receive func() (msg.Message, []*os.File, error)) *reader {
	rd := &reader{in: make(chan received), stop: make(chan struct{})}
	go func() {
		for {
			m, files, err := receive()
			select {
			case rd.in <- received{m, files, err}:
			case <-rd.stop:
				closeFiles(files)
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return rd
}

func (rd *reader) close() { close(rd.stop) }

// writer is a goroutine that says what is queued, in order, until the link fails.
type writer struct {
	out  chan msg.Message
	done chan struct{}
}

// write begins. fail is called when the link does not take a message, and must make its reader end.
func write(send func(msg.Message) error, fail func() error) *writer {
	w := &writer{out: make(chan msg.Message, queueLength), done: make(chan struct{})}
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

// say queues m. The error means that the peer does not read. A failed link shows by its reader.
func (w *writer) say(m msg.Message) error {
	select {
	case w.out <- m:
		return nil
	default:
		return fmt.Errorf("%d messages wait and it does not read them", queueLength)
	}
}

// sayIfRoom queues m unless much waits already.
func (w *writer) sayIfRoom(m msg.Message) {
	if len(w.out) < queueSpare {
		_ = w.say(m)
	}
}

func (w *writer) close() { close(w.out) }

// drain waits, a little, until what is queued has been said.
func (w *writer) drain() {
	w.close()
	select {
	case <-w.done:
	case <-time.After(drainTimeout):
	}
}

// ikeLink is the link to ikeproc.
type ikeLink struct {
	*reader
	*writer
	link Link
}

func newIKELink(l Link) *ikeLink {
	return &ikeLink{reader: read(func() (msg.Message, []*os.File, error) {
		m, err := l.Receive()
		return m, nil, err
	}), writer: write(l.Send, l.Close), link: l}
}

// close ends the link at once: who speaks to a new one has no use for what was still to be said.
func (l *ikeLink) close() {
	l.reader.close()
	l.writer.close()
	_ = l.link.Close()
}
