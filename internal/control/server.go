package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/trike-ipsec/trike/internal/status"
)

// Handler is triked's side of the socket. Its methods are called from many goroutines. Errors are for the operator, as they are.
type Handler interface {
	Status(ctx context.Context) (status.Gateway, error)
	// Do carries out up, down and rekey.
	Do(ctx context.Context, q Request) error
	// Apply puts a plan in force, or changes nothing.
	Apply(ctx context.Context, plan []byte, rename bool) (Applied, error)
	// Log calls send for the events that are kept, oldest first, and with follow for every new one until ctx ends or send fails.
	Log(ctx context.Context, follow bool, send func(status.Event) error) error
}

const (
	maxConnections  = 32               // at once
	requestPatience = 10 * time.Second // for the line
	bodyPatience    = time.Minute      // for a plan
	answerPatience  = 30 * time.Second // for a reader of ours
)

// Listen makes the socket, mode 0600. One that an earlier process left is replaced.
func Listen(file string) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if info, err := os.Lstat(file); err == nil && info.Mode()&os.ModeSocket != 0 {
		_ = os.Remove(file)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: file, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, nil
}

// Serve answers until ctx ends, then waits for what is under way.
func Serve(ctx context.Context, l *net.UnixListener, h Handler) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	slots := make(chan struct{}, maxConnections)
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			time.Sleep(50 * time.Millisecond) // out of descriptors: others will close theirs
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			c.Close()
			continue
		}
		all.Add(1)
		go func() {
			defer func() { <-slots; all.Done() }()
			serveOne(ctx, c, h)
		}()
	}
}

func serveOne(ctx context.Context, c *net.UnixConn, h Handler) {
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	defer stop()
	w := &replies{c: c}
	if err := allowed(c); err != nil {
		w.last(Reply{Error: err.Error()})
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(requestPatience))
	r := bufio.NewReader(c)
	q, err := ReadRequest(r)
	if err != nil {
		w.last(Reply{Error: err.Error()})
		return
	}
	var body []byte
	if q.Verb == Apply {
		_ = c.SetReadDeadline(time.Now().Add(bodyPatience))
		if body, err = io.ReadAll(io.LimitReader(r, int64(q.Size))); err != nil || len(body) != q.Size {
			w.last(Reply{Error: "the plan was cut off on its way"})
			return
		}
	}
	// From here on the caller only listens; when it hangs up, what it asked for is not waited for any more.
	_ = c.SetReadDeadline(time.Time{})
	go func() {
		_, _ = io.Copy(io.Discard, c)
		cancel()
	}()
	w.last(answer(ctx, h, q, body, w))
}

func answer(ctx context.Context, h Handler, q Request, body []byte, w *replies) (last Reply) {
	var err error
	switch q.Verb {
	case Status:
		var s status.Gateway
		if s, err = h.Status(ctx); err == nil {
			last.Status = &s
		}
	case Apply:
		var a Applied
		if a, err = h.Apply(ctx, body, q.Rename); err == nil {
			last.Applied = &a
		}
	case Log:
		err = h.Log(ctx, q.Follow, func(e status.Event) error { return w.send(Reply{Event: &e}) })
	default:
		err = h.Do(ctx, q)
	}
	if err != nil {
		last.Error = err.Error()
	}
	return last
}

// replies writes lines. A reader that does not read loses its connection, not our time.
type replies struct{ c *net.UnixConn }

func (w *replies) send(r Reply) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_ = w.c.SetWriteDeadline(time.Now().Add(answerPatience))
	_, err = w.c.Write(append(b, '\n'))
	return err
}

func (w *replies) last(r Reply) {
	r.Done = true
	_ = w.send(r)
}
