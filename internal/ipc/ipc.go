// Package ipc carries messages between two processes: frames over a pipe, or over a socketpair that also carries descriptors.
//
// A frame is a 32-bit length of what follows, the message's kind, the number of descriptors that come with it (16 bits), and the payload. The reader
// enforces msg's routes: a kind that this peer may not say, or one larger than its bound, ends the link before any of the payload is
// read. After an error the link is of no more use; both ends close it.
//
//	c := ipc.New(rw, msg.IKEProc, msg.AuthProc)
//	go func() { for { m, err := c.Receive(); … } }()
//	err := c.Send(&msg.Sign{…})
package ipc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/trike-ipsec/trike/internal/msg"
)

// header is 4 octets of length (of kind, count and payload), 1 of kind, 2 of descriptors.
const header = 7

// chunk bounds how much memory a length alone can claim: a large frame is read into a buffer that grows with what has arrived.
const chunk = 1 << 20

// LinkError is why a link ended. Errors of the transport are wrapped: io.EOF means that the peer has gone.
type LinkError struct {
	Self, Peer msg.Process
	Err        error
}

func (e *LinkError) Error() string {
	return fmt.Sprintf("link from %s to %s: %v", e.Peer, e.Self, e.Err)
}
func (e *LinkError) Unwrap() error { return e.Err }

// ErrIllegal is a frame that the routes forbid: a wrong kind, direction or size, or descriptors where there can be none.
var ErrIllegal = errors.New("illegal frame")

// Conn is one link. One goroutine may receive while any number send.
type Conn struct {
	self, peer msg.Process
	rw         io.ReadWriteCloser
	in         []byte     // Receive's buffer
	mu         sync.Mutex // senders take turns: a frame must not be torn
	out        []byte
}

// New makes a link over rw, whose far end is peer.
func New(rw io.ReadWriteCloser, self, peer msg.Process) *Conn {
	return &Conn{self: self, peer: peer, rw: rw}
}

// Self and Peer are the two ends.
func (c *Conn) Self() msg.Process { return c.self }
func (c *Conn) Peer() msg.Process { return c.peer }

// Send writes one message. It blocks while the peer does not read.
func (c *Conn) Send(m msg.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, err := c.frame(m, 0)
	if err != nil {
		return err
	}
	_, err = c.rw.Write(b)
	return c.wrap(err)
}

// frame writes m into the send buffer. A message that the peer's reader would refuse never leaves.
func (c *Conn) frame(m msg.Message, files int) ([]byte, error) {
	limit, ok := msg.Allowed(m.Kind(), c.self, c.peer)
	if !ok {
		return nil, c.wrap(fmt.Errorf("%w: %s is not for %s to say to %s", ErrIllegal, m.Kind(), c.self, c.peer))
	}
	if most := m.Kind().MaxFiles(); files > most {
		return nil, c.wrap(fmt.Errorf("%w: %s with %d descriptors, at most %d are allowed", ErrIllegal, m.Kind(), files, most))
	}
	b := append(c.out[:0], 0, 0, 0, 0, byte(m.Kind()), byte(files>>8), byte(files))
	b = msg.Append(b, m)
	if len(b)-header > limit {
		return nil, c.wrap(fmt.Errorf("%w: %s of %d octets, at most %d are allowed", ErrIllegal, m.Kind(), len(b)-header, limit))
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if c.out = b; cap(b) > chunk {
		c.out = nil // do not hold on to what one large Prepare took
	}
	return b, nil
}

// Receive reads one message. Any error is final.
func (c *Conn) Receive() (msg.Message, error) {
	var h [header]byte
	if _, err := io.ReadFull(c.rw, h[:]); err != nil {
		return nil, c.wrap(err)
	}
	kind, files, size, err := c.check(h)
	if err != nil {
		return nil, err
	}
	if files != 0 {
		return nil, c.wrap(fmt.Errorf("%w: descriptors on a link that carries none", ErrIllegal))
	}
	return c.payload(kind, size, c.rw)
}

// check reads a frame's header and holds it against the routes.
func (c *Conn) check(h [header]byte) (kind msg.Kind, files, size int, err error) {
	size = int(binary.BigEndian.Uint32(h[:])) - (header - 4)
	kind, files = msg.Kind(h[4]), int(binary.BigEndian.Uint16(h[5:]))
	limit, ok := msg.Allowed(kind, c.peer, c.self)
	switch {
	case !ok:
		return 0, 0, 0, c.wrap(fmt.Errorf("%w: %s is not for %s to say to %s", ErrIllegal, kind, c.peer, c.self))
	case size < 0 || size > limit:
		return 0, 0, 0, c.wrap(fmt.Errorf("%w: %s of %d octets, at most %d are allowed", ErrIllegal, kind, size, limit))
	case files > kind.MaxFiles():
		return 0, 0, 0, c.wrap(fmt.Errorf("%w: %s with %d descriptors, at most %d are allowed", ErrIllegal, kind, files, kind.MaxFiles()))
	}
	return kind, files, size, nil
}

// payload reads and decodes size octets. The buffer is wiped: it may have held keys.
func (c *Conn) payload(kind msg.Kind, size int, from io.Reader) (msg.Message, error) {
	b := c.in[:0]
	for len(b) < size {
		n := min(size-len(b), chunk)
		if cap(b)-len(b) < n {
			grown := make([]byte, len(b), max(len(b)+n, 2*cap(b)))
			copy(grown, b)
			clear(b)
			b = grown
		}
		if _, err := io.ReadFull(from, b[len(b):len(b)+n]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, c.wrap(err)
		}
		b = b[:len(b)+n]
	}
	m, err := msg.Decode(kind, b)
	clear(b)
	if c.in = b[:0]; cap(b) > chunk {
		c.in = nil
	}
	return m, c.wrap(err)
}

// Close ends the link. A Receive that waits returns.
func (c *Conn) Close() error { return c.rw.Close() }

func (c *Conn) wrap(err error) error {
	if err == nil {
		return nil
	}
	var already *LinkError
	if errors.As(err, &already) {
		return err
	}
	return &LinkError{Self: c.self, Peer: c.peer, Err: err}
}
