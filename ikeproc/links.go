package ikeproc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/internal/msg"
)

// Messages to a peer wait in a queue: two processes that wait for each other to read would wait for ever. A peer that lets this many pile
// up is dead, or means no good. Long before that, no more datagrams are taken.
const (
	queueLength  = 16384
	queueSpare   = queueLength / 2
	inLength     = 256 // messages that a link's reader may be ahead of the loop
	drainTimeout = time.Second
)

// received is what a link brought.
type received struct {
	m     msg.Message
	files []*os.File
	err   error
}

// reader is a goroutine that reads a link until it ends or nobody listens any more.
type reader struct {
	in   chan received
	stop chan struct{}
}

func read(receive func() (msg.Message, []*os.File, error)) *reader {
	rd := &reader{in: make(chan received, inLength), stop: make(chan struct{})}
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

func (w *writer) busy() bool { return len(w.out) >= queueSpare }
func (w *writer) close()     { close(w.out) }

// drain waits, a little, until what is queued has been said.
func (w *writer) drain() {
	w.close()
	select {
	case <-w.done:
	case <-time.After(drainTimeout):
	}
}

// neighbour is authproc or xfrmproc as seen from here: a link, or what waits for one.
type neighbour struct {
	name msg.Process
	*reader
	*writer
	link Link
	// held is what the engine said while there was no link. A new process gets it; none of it was asked of the old one.
	held []msg.Message
}

// up tells whether there is a link.
func (n *neighbour) up() bool { return n.link != nil }

// incoming is the link's messages; nil, which never has any, while there is no link.
func (n *neighbour) incoming() <-chan received {
	if n.link == nil {
		return nil
	}
	return n.in
}

// pressed tells whether more is said than is heard.
func (n *neighbour) pressed() bool {
	return len(n.held) >= queueSpare || n.link != nil && n.busy()
}

// connect takes a new link and says what was held.
func (n *neighbour) connect(l Link) error {
	n.link = l
	n.reader = read(func() (msg.Message, []*os.File, error) {
		m, err := l.Receive()
		return m, nil, err
	})
	n.writer = write(l.Send, l.Close)
	held := n.held
	n.held = nil
	for _, m := range held {
		if err := n.say(m); err != nil {
			return err
		}
	}
	return nil
}

// disconnect ends the link at once.
func (n *neighbour) disconnect() {
	n.reader.close()
	n.writer.close()
	_ = n.link.Close()
	n.link = nil
}

// tell says m to a neighbour, now or when it is there.
func (p *process) tell(n *neighbour, m msg.Message) {
	if !n.up() {
		if len(n.held) >= queueLength {
			p.log("error", "link-down", fmt.Sprintf("%d messages wait for %s: the oldest is given up", queueLength, n.name))
			n.held = n.held[1:]
		}
		n.held = append(n.held, m)
		return
	}
	if err := n.say(m); err != nil {
		p.lost(n, err)
	}
}

// lost ends a link that is dead or on which something illegal was said. The engine asks again what the neighbour will not answer; triked sees it die, and
// brings a new link.
func (p *process) lost(n *neighbour, err error) {
	if !n.up() {
		return
	}
	n.disconnect()
	if errors.Is(err, io.EOF) {
		p.log("warn", "link-down", fmt.Sprintf("%s has gone; IKE SAs stay, and wait for its next start", n.name))
	} else {
		p.log("error", "link-down", fmt.Sprintf("the link to %s was ended: %v", n.name, err))
	}
	p.resets = append(p.resets, engine.LinkReset{Process: string(n.name)})
}
