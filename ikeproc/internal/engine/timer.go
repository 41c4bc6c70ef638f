package engine

import (
	"container/heap"
	"time"
)

// timer is one alarm. A cancelled one has no f and waits in the heap until its time.
type timer struct {
	at  time.Time
	seq uint64
	f   func()
}

func (t *timer) stop() {
	if t != nil {
		t.f = nil
	}
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	return h[i].at.Before(h[j].at) || h[i].at.Equal(h[j].at) && h[i].seq < h[j].seq
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)   { *h = append(*h, x.(*timer)) }
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}

// after calls f in d. Alarms of the same instant go off in the order in which they were set.
func (e *Engine) after(d time.Duration, f func()) *timer {
	e.seq++
	t := &timer{at: e.now.Add(d), seq: e.seq, f: f}
	heap.Push(&e.timers, t)
	if len(e.timers) > e.crowded {
		e.compact()
		e.crowded = 64 + 2*len(e.timers)
	}
	return t
}

// compact drops the cancelled alarms, so that busy SAs do not fill the heap with them. It runs when the heap has doubled since, so that an alarm costs the
// same however many there are.
func (e *Engine) compact() {
	kept := e.timers[:0]
	for _, t := range e.timers {
		if t.f != nil {
			kept = append(kept, t)
		}
	}
	clear(e.timers[len(kept):])
	e.timers = kept
	heap.Init(&e.timers)
}

// fire sets off every alarm that is due.
func (e *Engine) fire() {
	for len(e.timers) > 0 && !e.timers[0].at.After(e.now) {
		t := heap.Pop(&e.timers).(*timer)
		if f := t.f; f != nil {
			t.f = nil
			f()
		}
	}
}

// Deadline is when the next Tick is due; none when nothing waits for the clock.
func (e *Engine) Deadline() (time.Time, bool) {
	for len(e.timers) > 0 && e.timers[0].f == nil {
		heap.Pop(&e.timers)
	}
	if len(e.timers) == 0 {
		return time.Time{}, false
	}
	return e.timers[0].at, true
}
