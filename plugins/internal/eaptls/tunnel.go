package eaptls

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"time"
)

// Tunnel is TLS without a network: octets of the other side go in, octets for it come out, and nothing runs in between. crypto/tls wants to read when it likes, so its
// handshake is a coroutine that stands still at each Read that has nothing; Close ends it wherever it stands. A Tunnel is not for two callers at once.
type Tunnel struct {
	conn *tls.Conn
	pipe *pipe
	next func() (struct{}, bool)
	stop func()
	err  error // of the handshake
	done bool

	master master12
	server []byte // the server's random number
	serves bool
	// needEMS: no keys of TLS 1.2 without the extended master secret.
	needEMS bool
}

// Errors that the adapter gives to crypto/tls.
var (
	errClosed   = errors.New("the session has ended")
	errNotReady = errors.New("the TLS handshake has not been completed")
)

// NewTunnel prepares one side. Nothing happens until Handshake.
func NewTunnel(server bool, c *tls.Config) *Tunnel {
	t := &Tunnel{pipe: &pipe{}, serves: server}
	c = c.Clone()
	c.KeyLogWriter = &t.master
	if server {
		t.conn = tls.Server(t.pipe, c)
	} else {
		t.conn = tls.Client(t.pipe, c)
	}
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.pipe.wait = func() bool { return yield(struct{}{}) }
		t.err = t.conn.Handshake()
		t.pipe.wait = nil
	})
	return t
}

// Handshake takes what the other side sent and gives what is to be sent. With an error, out may hold the alert that tells the other side.
func (t *Tunnel) Handshake(in []byte) (out []byte, done bool, err error) {
	if t.done || t.pipe.closed {
		return nil, t.done, errClosed
	}
	t.pipe.in = append(t.pipe.in, in...)
	if !t.serves && t.server == nil {
		t.server = serverRandom(in)
	}
	_, more := t.next()
	out = t.pipe.take()
	if t.serves && t.server == nil {
		t.server = serverRandom(out)
	}
	switch {
	case more:
		return out, false, nil
	case t.err != nil:
		return out, false, t.err
	}
	t.done = true
	return out, true, nil
}

// Open takes records of the other side, which may be none, and gives the text in those that have come whole. out is what TLS itself wants to say: an alert with an
// error, or its half of a key update.
func (t *Tunnel) Open(in []byte) (text, out []byte, err error) {
	if !t.done || t.pipe.closed {
		return nil, nil, errNotReady
	}
	t.pipe.in = append(t.pipe.in, in...)
	buf := make([]byte, 4096)
	for len(text) <= MaxMessage {
		n, err := t.conn.Read(buf)
		text = append(text, buf[:n]...)
		var none emptyError
		switch {
		case errors.As(err, &none):
			return text, t.pipe.take(), nil
		case errors.Is(err, io.EOF):
			return text, t.pipe.take(), errors.New("the other side closed the TLS session")
		case err != nil:
			return nil, t.pipe.take(), err
		}
	}
	return nil, t.pipe.take(), ErrTooLong
}

// Seal makes records of text.
func (t *Tunnel) Seal(text []byte) ([]byte, error) {
	if !t.done || t.pipe.closed {
		return nil, errNotReady
	}
	if _, err := t.conn.Write(text); err != nil {
		return nil, err
	}
	return t.pipe.take(), nil
}

// State is what was negotiated. It means something once Handshake is done.
func (t *Tunnel) State() tls.ConnectionState { return t.conn.ConnectionState() }

// Export is the exporter of RFC 5705 and RFC 8446 section 7.5; a nil context is none.
func (t *Tunnel) Export(label string, context []byte, n int) ([]byte, error) {
	state := t.conn.ConnectionState()
	key, err := state.ExportKeyingMaterial(label, context, n)
	switch {
	case err == nil || state.Version != tls.VersionTLS12:
		return key, err
	case t.needEMS:
		return nil, fmt.Errorf("no keys from TLS 1.2 without the extended master secret (RFC 7627), which the other side does not speak: let it use TLS 1.3, or set %s to optional",
			SettingEMS)
	case !t.done || context != nil || t.master.secret == nil || t.server == nil:
		return nil, errors.New("no keys from TLS 1.2: the handshake was not as it should be")
	}
	return t.master.export12(state.CipherSuite, label, t.server, n), nil
}

// Close ends the coroutine and forgets what is under way. It may be called again.
func (t *Tunnel) Close() {
	t.pipe.closed = true
	t.stop()
	t.pipe.in, t.pipe.out = nil, nil
	t.master.wipe()
}

// pipe is the net.Conn that crypto/tls sees.
type pipe struct {
	in, out []byte
	wait    func() bool // stands still until there is more; false: never. nil when nobody can wait
	closed  bool
}

func (p *pipe) take() []byte {
	out := p.out
	p.out = nil
	return out
}

// Read implements net.Conn.
func (p *pipe) Read(b []byte) (int, error) {
	for len(p.in) == 0 {
		switch {
		case p.closed:
			return 0, errClosed
		case p.wait == nil:
			return 0, emptyError{}
		case !p.wait():
			return 0, errClosed
		}
	}
	n := copy(b, p.in)
	if p.in = p.in[n:]; len(p.in) == 0 {
		p.in = nil
	}
	return n, nil
}

// Write implements net.Conn.
func (p *pipe) Write(b []byte) (int, error) {
	if p.closed {
		return 0, errClosed
	}
	p.out = append(p.out, b...)
	return len(b), nil
}

// Close implements net.Conn.
func (p *pipe) Close() error { return nil }

// LocalAddr implements net.Conn.
func (p *pipe) LocalAddr() net.Addr { return address{} }

// RemoteAddr implements net.Conn.
func (p *pipe) RemoteAddr() net.Addr { return address{} }

// SetDeadline implements net.Conn: the session has its own.
func (p *pipe) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (p *pipe) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

type address struct{}

func (address) Network() string { return "eap" }
func (address) String() string  { return "eap" }

// emptyError says that there is nothing to read now. It is temporary, so crypto/tls keeps what it has of a record.
type emptyError struct{}

func (emptyError) Error() string   { return "nothing to read now" }
func (emptyError) Timeout() bool   { return true }
func (emptyError) Temporary() bool { return true }
