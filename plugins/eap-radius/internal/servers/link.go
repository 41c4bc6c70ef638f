package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
)

// errClosed ends what waits when the group is closed or a server is given up; errBroken is in the errors of connections that ended by themselves.
var (
	errClosed = errors.New("the RADIUS relay ends")
	errBroken = errors.New("the connection broke")
)

// maxErrors is how many errors in a row a socket may give before it is given up.
const maxErrors = 1000

// writeWait bounds how long a connection may refuse to take a request.
const writeWait = 5 * time.Second

// link is one UDP socket or TLS connection, with the requests that wait on it.
type link struct {
	conn   net.Conn
	stream bool

	// The socket's reader and the requests meet here.
	mu      sync.Mutex
	waiting [256]*call
	used    int
	next    uint8 // the identifier to try next: going round keeps late answers away from new requests
	err     error // why it is dead
}

// call is one request on a link.
type call struct {
	link    *link
	id      uint8
	request []byte
	answer  chan answer // holds one

	// Guarded by link.mu.
	ended   bool
	dropped int
	why     error // of the last drop
}

type answer struct {
	packet *radius.Packet
	err    error
}

func newLink(conn net.Conn, stream bool) *link { return &link{conn: conn, stream: stream} }

func (l *link) dead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err != nil
}

func (l *link) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used == 0
}

// begin takes an identifier and seals the request for it; nothing if all identifiers are taken or the link is dead.
func (l *link) begin(p *radius.Packet, secret []byte) (*call, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.used == len(l.waiting) {
		return nil, nil
	}
	for l.waiting[l.next] != nil {
		l.next++
	}
	q := *p
	q.Identifier = l.next
	request, err := packet.Seal(&q, secret)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	c := &call{link: l, id: l.next, request: request, answer: make(chan answer, 1)}
	l.waiting[c.id] = c
	l.used++
	l.next++
	return c, nil
}

// send puts the request on the wire. A datagram that cannot be sent is as good as lost: it is repeated.
func (c *call) send() {
	if err := c.link.conn.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return
	}
	if _, err := c.link.conn.Write(c.request); err != nil {
		if c.link.stream {
			c.link.close(fmt.Errorf("%w: %w", errBroken, err))
			return
		}
		c.note(err)
	}
}

// note keeps why nothing good came, for the operator.
func (c *call) note(err error) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.dropped++
	c.why = err
}

// end gives the identifier back.
func (c *call) end() {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.take()
}

// take ends a call if it has not ended yet; the caller holds link.mu.
func (c *call) take() bool {
	if c.ended {
		return false
	}
	c.ended = true
	c.link.waiting[c.id] = nil
	c.link.used--
	return true
}

// silence says why there is no answer after so many tries.
func (c *call) silence(tries int) error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	sent := fmt.Sprintf("sent %d times", tries)
	if tries == 1 || c.link.stream {
		sent = "sent once"
	}
	if c.why != nil {
		return fmt.Errorf("%w (%s; %d packets or errors were no answer, the last: %w)", ErrNoAnswer, sent, c.dropped, c.why)
	}
	return fmt.Errorf("%w (%s)", ErrNoAnswer, sent)
}

// close ends the link and all that wait on it.
func (l *link) close(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = why
	l.conn.Close()
	for _, c := range l.waiting {
		if c != nil && c.take() {
			c.answer <- answer{err: why}
		}
	}
}

// read takes what comes, until the link is closed. lives is called for every answer that can be believed.
func (l *link) read(secret []byte, lives func()) {
	if l.stream {
		l.readStream(secret, lives)
		return
	}
	buffer := make([]byte, 65536)
	for errs := 0; ; errs++ {
		n, err := l.conn.Read(buffer)
		if err == nil {
			errs = 0
			if l.take(buffer[:n], secret) == nil {
				lives()
			}
			continue
		}
		if l.dead() {
			return
		}
		if errs > maxErrors || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
			l.close(err)
			return
		}
		// ICMP told of an error (a port that nobody listens on). Anybody could have sent that: it ends nothing, but the operator hears of it.
		l.all(err)
	}
}

// all notes an error with every waiting call.
func (l *link) all(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.waiting {
		if c != nil {
			c.dropped++
			c.why = err
		}
	}
}

// readStream cuts a TLS connection into packets. What is no packet of the other side's ends the connection (RFC 6614 section 2.5 by way of RFC 6613).
func (l *link) readStream(secret []byte, lives func()) {
	r := bufio.NewReaderSize(l.conn, 4096)
	for {
		header, err := r.Peek(4)
		if err != nil {
			l.close(fmt.Errorf("%w: %w", errBroken, err))
			return
		}
		n, err := packet.Size(header)
		if err != nil {
			l.close(fmt.Errorf("the connection carried something else than RADIUS: %w", err))
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			l.close(fmt.Errorf("%w: %w", errBroken, err))
			return
		}
		switch err := l.take(b, secret); {
		case err == nil:
			lives()
		case errors.Is(err, packet.ErrAuthenticator) || errors.Is(err, packet.ErrSignature) || errors.Is(err, packet.ErrMalformed):
			l.close(fmt.Errorf("the connection carried a bad answer: %w", err))
			return
		}
	}
}

// take hands an answer to the call that it is for. What nobody waits for, or what does not fit the request, is dropped.
func (l *link) take(b, secret []byte) error {
	if len(b) < 2 {
		return packet.ErrMalformed
	}
	l.mu.Lock()
	c := l.waiting[b[1]]
	l.mu.Unlock()
	if c == nil {
		return packet.ErrUnexpected
	}
	p, err := packet.Open(b, c.request, secret)
	if err != nil {
		c.note(err)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.take() {
		c.answer <- answer{packet: p}
	}
	return nil
}
