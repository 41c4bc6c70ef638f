// Package ledger keeps accounting records until a server has acknowledged them (RFC 2866 section 2): many sessions side by side, the records of one in order.
//
//	l := ledger.New(ledger.Config{Send: …, Log: …})
//	err := l.Add(ctx, record) // returns when it is acknowledged
//	l.Close(time.Second)
//
// A record of no session (Accounting-On) goes ahead of those behind it: they wait for its first try.
// A record whose caller has gone stays, and is sent; the same record asked for again is the same entry. The queue is bounded: newer counters replace older ones
// of their session, and when it is full counters give way to starts and stops.
package ledger

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Bounds on a ledger.
const (
	MaxEntries  = 8192
	maxWorkers  = 16
	maxTold     = 1024 // acknowledged records that are remembered
	firstWait   = time.Second
	longestWait = time.Minute
	maxAge      = 24 * time.Hour // of a record that no server takes
	warnEvery   = 10 * time.Minute
)

// ErrFull says that too many records wait already; the caller should ask again later.
var ErrFull = errors.New("too many accounting records wait for a server: no server acknowledges them")

// errClosed ends what waits when the ledger is closed.
var errClosed = errors.New("accounting ends: the record was not acknowledged")

// Config is what a Ledger is made of.
type Config struct {
	// Send carries one record to a server and returns when it is acknowledged. It is called from several goroutines.
	Send func(ctx context.Context, r eapsdk.Record) error
	Log  *slog.Logger
}

// Ledger is records on their way. Its methods may be called at the same time.
type Ledger struct {
	config Config
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	// Callers of Add and the workers meet here.
	mu      sync.Mutex
	moved   *sync.Cond
	queue   []*entry // in order of arrival
	told    []key
	workers int
	busy    map[string]bool // sessions with a record under way
	closed  bool
	warned  time.Time
	after   time.Time     // nothing is sent before: the servers are silent
	wait    time.Duration // how long the next silence is waited for
}

// key tells records apart.
type key struct {
	session string
	kind    eapsdk.RecordKind
	at      int64
}

func keyOf(r eapsdk.Record) key { return key{r.Session, r.Kind, r.At.UnixNano()} }

type entry struct {
	key    key
	record eapsdk.Record
	done   chan struct{} // closed when it is over
	err    error         // before done
	busy   bool
	tried  bool
	since  time.Time
}

// New makes an empty ledger.
func New(c Config) *Ledger {
	l := &Ledger{config: c, busy: map[string]bool{}, wait: firstWait}
	l.moved = sync.NewCond(&l.mu)
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Add enters a record, unless it is there or has been acknowledged, and waits until it is acknowledged or ctx ends. After ctx it still stands.
func (l *Ledger) Add(ctx context.Context, r eapsdk.Record) error {
	e, err := l.enter(r)
	if e == nil {
		return err
	}
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enter gives the record's entry, or none if there is nothing to wait for.
func (l *Ledger) enter(r eapsdk.Record) (*entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := keyOf(r)
	if l.closed {
		return nil, errClosed
	}
	if slices.Contains(l.told, k) {
		return nil, nil
	}
	for _, e := range l.queue {
		if e.key == k {
			return e, nil
		}
	}
	if r.Kind == eapsdk.Interim {
		l.supersede(func(e *entry) bool { return e.key.session == k.session })
	}
	if len(l.queue) >= MaxEntries && r.Kind != eapsdk.Interim {
		l.supersede(func(*entry) bool { return true })
	}
	if len(l.queue) >= MaxEntries {
		return nil, ErrFull
	}
	e := &entry{key: k, record: r, done: make(chan struct{}), since: time.Now()}
	l.queue = append(l.queue, e)
	if l.workers < maxWorkers && l.workers < len(l.queue) {
		l.workers++
		l.wg.Go(l.work)
	}
	l.moved.Broadcast()
	return e, nil
}

// supersede takes the oldest fitting counters that wait out of the queue: what they say, later records say again.
func (l *Ledger) supersede(fits func(*entry) bool) {
	for i, e := range l.queue {
		if e.record.Kind == eapsdk.Interim && !e.busy && fits(e) {
			l.queue = slices.Delete(l.queue, i, i+1)
			close(e.done)
			return
		}
	}
}

func (l *Ledger) work() {
	for {
		e := l.take()
		if e == nil {
			return
		}
		err := l.config.Send(l.ctx, e.record)
		l.finish(e, err, time.Now())
	}
}

// take waits for a record that may be sent; none when the ledger is closed.
func (l *Ledger) take() *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed {
		for _, e := range l.queue {
			if time.Now().Before(l.after) {
				break
			}
			if e.busy || l.busy[e.key.session] {
				if e.key.session == "" && !e.tried {
					break
				}
				continue
			}
			e.busy = true
			l.busy[e.key.session] = true
			return e
		}
		l.moved.Wait()
	}
	return nil
}

// finish notes how a record's sending went.
func (l *Ledger) finish(e *entry, err error, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.busy, e.tried = false, true
	delete(l.busy, e.key.session)
	old := now.Sub(e.since) >= maxAge
	if err == nil || old {
		if i := slices.Index(l.queue, e); i >= 0 {
			l.queue = slices.Delete(l.queue, i, i+1)
		}
		if l.told = append(l.told, e.key); len(l.told) > maxTold {
			l.told = slices.Delete(l.told, 0, len(l.told)-maxTold)
		}
		e.err = err
		close(e.done)
	}
	if err == nil {
		l.wait = firstWait
		l.moved.Broadcast()
		return
	}
	if old {
		l.config.Log.Warn("an accounting record was given up: no server acknowledged it for a day", "session", e.key.session, "error", err)
	}
	if !now.Before(l.after) {
		l.after = now.Add(l.wait)
		time.AfterFunc(l.wait, l.moved.Broadcast)
		l.wait = min(2*l.wait, longestWait)
	}
	if !l.closed && now.Sub(l.warned) >= warnEvery {
		l.warned = now
		l.config.Log.Warn("accounting records are not acknowledged; they are kept and sent again", "waiting", len(l.queue), "room", MaxEntries, "error", err)
	}
}

// Waiting is how many records wait.
func (l *Ledger) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// Close gives what waits so long to be acknowledged, then ends it. It returns how many records were lost.
func (l *Ledger) Close(grace time.Duration) int {
	l.mu.Lock()
	timer := time.AfterFunc(grace, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.closed = true
		l.moved.Broadcast()
	})
	defer timer.Stop()
	for len(l.queue) > 0 && !l.closed {
		l.moved.Wait()
	}
	l.closed = true
	lost := len(l.queue)
	for _, e := range l.queue {
		if !e.busy {
			e.err = errClosed
			close(e.done)
		}
	}
	l.queue = slices.DeleteFunc(l.queue, func(e *entry) bool { return !e.busy })
	l.cancel()
	l.moved.Broadcast()
	l.mu.Unlock()
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.queue {
		e.err = errClosed
		close(e.done)
	}
	l.queue = nil
	return lost
}
