package esp

import "fmt"

// Sizes of a replay window in packets (RFC 4303 section 3.4.3 asks for 32 at least and 64 by default).
const (
	MinWindow = 32
	MaxWindow = 4096
)

// Window remembers which of the last Size sequence numbers came. It is a ring of words with one word more than the window needs, so that moving
// forward clears whole words and never shifts.
type Window struct {
	top   uint64
	size  uint64
	words []uint64 // a power of two of them
}

// Init makes an empty window of so many packets.
func (w *Window) Init(size int) error {
	if size < MinWindow || size > MaxWindow {
		return fmt.Errorf("replay window of %d packets: %d to %d are possible", size, MinWindow, MaxWindow)
	}
	n := 1
	for n*64 < size+64 {
		n *= 2
	}
	*w = Window{size: uint64(size), words: make([]uint64, n)}
	return nil
}

// Size is the width of the window in packets.
func (w *Window) Size() int { return int(w.size) }

// Top is the highest number marked, 0 for none.
func (w *Window) Top() uint64 { return w.top }

// Fresh reports whether seq is neither too old nor marked already. The first number of an SA is 1: 0 is never fresh.
func (w *Window) Fresh(seq uint64) bool {
	switch {
	case seq == 0:
		return false
	case seq > w.top:
		return true
	case w.top-seq >= w.size:
		return false
	}
	return *w.word(seq)&(1<<(seq%64)) == 0
}

// Mark notes that seq, which is fresh, came, and moves the window forward if it is the highest so far.
func (w *Window) Mark(seq uint64) {
	if seq > w.top {
		steps := min(seq/64-w.top/64, uint64(len(w.words)))
		for i := range steps {
			*w.word((seq/64 - i) * 64) = 0
		}
		w.top = seq
	}
	*w.word(seq) |= 1 << (seq % 64)
}

func (w *Window) word(seq uint64) *uint64 { return &w.words[seq/64%uint64(len(w.words))] }
