package userspace

import (
	"sync"

	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// maxAcquires bounds how many Acquires wait for the reader. Expires and Mappings are bounded by the number of pairs.
const maxAcquires = 256

// queue hands events from packet goroutines, which must not wait, to the reader of Events. The mutex is held for an append only.
type queue struct {
	out      chan backend.Event
	wake     chan struct{}
	stop     chan struct{}
	mu       sync.Mutex
	waiting  []backend.Event
	acquires int
}

func newQueue() *queue {
	q := &queue{out: make(chan backend.Event, 16), wake: make(chan struct{}, 1), stop: make(chan struct{})}
	return q
}

func (q *queue) add(e backend.Event) {
	q.mu.Lock()
	if _, ok := e.(backend.Acquire); ok {
		if q.acquires == maxAcquires {
			q.mu.Unlock()
			return
		}
		q.acquires++
	}
	q.waiting = append(q.waiting, e)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run passes events on until close is called.
func (q *queue) run() {
	defer close(q.out)
	for {
		q.mu.Lock()
		batch := q.waiting
		q.waiting, q.acquires = nil, 0
		q.mu.Unlock()
		for _, e := range batch {
			select {
			case q.out <- e:
			case <-q.stop:
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-q.wake:
		case <-q.stop:
			return
		}
	}
}

func (q *queue) close() { close(q.stop) }
