package ikeproc

import (
	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
)

// pressure is how many jobs a worker may have before it from which on no stranger's IKE_SA_INIT is taken.
const pressure = 64

// workers do public-key work on every core. Jobs wait with the loop, which owns all but the two channels.
type workers struct {
	count   int
	jobs    chan suite.KEJob
	results chan suite.KEResult
	backlog []suite.KEJob
	under   int // jobs that are with a worker, or whose result waits
}

func newWorkers(count int) *workers {
	// A result always finds room, so no worker waits for the loop.
	w := &workers{count: count, jobs: make(chan suite.KEJob, 4*count), results: make(chan suite.KEResult, 4*count)}
	for range count {
		go func() {
			for j := range w.jobs {
				w.results <- j.Run()
			}
		}()
	}
	return w
}

// add queues a job.
func (w *workers) add(j suite.KEJob) {
	w.backlog = append(w.backlog, j)
	w.feed()
}

// feed hands jobs to the workers as far as there is room for their results.
func (w *workers) feed() {
	for len(w.backlog) > 0 && w.under < cap(w.jobs) {
		w.jobs <- w.backlog[0]
		w.backlog[0] = suite.KEJob{}
		w.backlog = w.backlog[1:]
		w.under++
	}
	if len(w.backlog) == 0 {
		w.backlog = nil
	}
}

// finished notes that a result was taken.
func (w *workers) finished() {
	w.under--
	w.feed()
}

// pressed tells whether there is more work than can be done soon.
func (w *workers) pressed() bool { return len(w.backlog) >= pressure*w.count }

func (w *workers) close() {
	close(w.jobs)
	for i := range w.backlog {
		w.backlog[i].Seed.Close()
		w.backlog[i].Private.Close()
	}
}
