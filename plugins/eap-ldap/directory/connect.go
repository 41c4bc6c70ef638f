package directory

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// maxAnswer is how many octets a directory may say in one login.
const maxAnswer = 4 << 20

// connect opens a connection to the first server that answers, with TLS and that server's name in its certificate.
func (d *Directory) connect(ctx context.Context) (*ldap.Conn, error) {
	deadline, _ := ctx.Deadline()
	var wrong []error
	for i, s := range d.servers {
		// A server that is silent may not use up the time of those behind it.
		share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(d.servers)-i))
		conn, err := d.dial(share, s)
		cancel()
		if err == nil {
			conn.SetTimeout(time.Until(deadline))
			return conn, nil
		}
		wrong = append(wrong, fmt.Errorf("directory server %s: %s", s.address, shown(err)))
	}
	return nil, errors.Join(wrong...)
}

func (d *Directory) dial(ctx context.Context, s server) (*ldap.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	// The connection lives for one login, so one deadline is all it needs; the whole login's comes after the greeting.
	if deadline, ok := ctx.Deadline(); ok {
		if err := raw.SetDeadline(deadline); err != nil {
			_ = raw.Close()
			return nil, err
		}
	}
	cfg := d.tls.Clone()
	cfg.ServerName = s.name
	limited := &bounded{Conn: raw, left: maxAnswer}
	if s.start {
		conn := ldap.NewConn(limited, false)
		conn.Start()
		if deadline, ok := ctx.Deadline(); ok {
			conn.SetTimeout(time.Until(deadline))
		}
		if err := conn.StartTLS(cfg); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("StartTLS: %w", err)
		}
		return conn, raw.SetDeadline(time.Now().Add(d.timeout))
	}
	secure := tls.Client(limited, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	if err := raw.SetDeadline(time.Now().Add(d.timeout)); err != nil {
		_ = raw.Close()
		return nil, err
	}
	conn := ldap.NewConn(secure, true)
	conn.Start()
	return conn, nil
}

// bounded ends a connection that says too much.
type bounded struct {
	net.Conn
	left int
}

// Read implements net.Conn. One goroutine reads at a time: TLS in its handshake, and go-ldap's reader afterwards.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, io.ErrShortBuffer
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
