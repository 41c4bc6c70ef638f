package wire

import (
	"errors"
	"fmt"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// Bounds of reassembly for one IKE SA (RFC 7383 section 2.6 wants limits, section 5 says why).
const (
	// MaxFragments is how many fragments one message may have: some 30 kB in IP packets of 576 octets, more than
	// MaxReassembled in packets of 1280.
	MaxFragments = 64
	// MaxReassembled is how many octets of plaintext one message may have.
	MaxReassembled = 1 << 16
	// MaxReassemblies is how many messages may be in the making at once: a request and a response, and some of a window.
	MaxReassemblies = 4
)

// ErrFragment is what every fragment is dropped with that is a duplicate, does not fit what was collected or goes
// beyond a bound. It is never answered (RFC 7383 section 2.6).
var ErrFragment = errors.New("fragment dropped")

// Reassembler collects the fragments of one IKE SA. Its zero value is ready. It holds at most MaxReassemblies times
// MaxReassembled octets, and only octets whose ICV was right.
//
// Which message IDs are expected is the caller's to check first: a fragment of a request already answered, or of a
// response nobody waits for, must not come here (section 2.6.1).
type Reassembler struct {
	queues []fragmentQueue
}

// fragmentQueue collects one message.
type fragmentQueue struct {
	header Header
	born   int64
	first  ikev2.PayloadType
	prefix []byte // of fragment 1
	pieces [][]byte
	have   int // pieces not nil
	octets int
}

// Pending reports how many messages are in the making.
func (r *Reassembler) Pending() int { return len(r.queues) }

// Reset forgets everything, as when the SA is closed.
func (r *Reassembler) Reset() { r.queues = nil }

// Expire forgets messages that were begun before the tick given.
func (r *Reassembler) Expire(before int64) {
	keep := r.queues[:0]
	for _, q := range r.queues {
		if q.born >= before {
			keep = append(keep, q)
		}
	}
	clear(r.queues[len(keep):])
	r.queues = keep
}

// Forget drops what was collected of a message, as when the same message came whole.
func (r *Reassembler) Forget(h Header) {
	if i := r.find(h); i >= 0 {
		r.remove(i)
	}
}

// Add checks the fragment's ICV and, only if it is right, takes it into the message it belongs to. done says that the
// message is complete: in holds it, and the Reassembler nothing of it any more. born is the caller's clock in whatever
// unit Expire is called with; it counts when the fragment begins a message.
//
// Errors are ErrFragment, or the Protector's. Both mean: drop the fragment, change nothing, answer nothing. An *Error is
// a fault inside that an authenticated peer made.
func (r *Reassembler) Add(s Sealed, p Protector, born int64) (in Inner, done bool, err error) {
	if s.Number == 0 || s.Number > s.Total || s.Total > MaxFragments {
		return Inner{}, false, fmt.Errorf("%w: number %d of %d, at most %d", ErrFragment, s.Number, s.Total, MaxFragments)
	}
	i := r.find(s.Header)
	if i >= 0 {
		// What cannot be used anyway is not worth a decryption.
		if err := r.queues[i].refuse(&s); err != nil {
			return Inner{}, false, err
		}
	}
	plain, err := s.open(p)
	if err != nil {
		return Inner{}, false, err
	}
	if i >= 0 && len(r.queues[i].pieces) < int(s.Total) {
		// Section 2.6: the peer has begun anew with smaller fragments.
		r.remove(i)
		i = -1
	}
	if i < 0 {
		if len(r.queues) == MaxReassemblies {
			r.remove(0) // the oldest
		}
		r.queues = append(r.queues, fragmentQueue{header: s.Header, born: born, pieces: make([][]byte, s.Total)})
		i = len(r.queues) - 1
	}
	q := &r.queues[i]
	if q.octets+len(plain) > MaxReassembled {
		r.remove(i)
		return Inner{}, false, fmt.Errorf("%w: message %d is longer than %d octets", ErrFragment, s.Header.MessageID, MaxReassembled)
	}
	q.take(&s, plain)
	if q.have < len(q.pieces) {
		return Inner{}, false, nil
	}
	in = q.join()
	r.remove(i)
	return in, true, nil
}

// find gives the place of the message's queue, or -1.
func (r *Reassembler) find(h Header) int {
	for i := range r.queues {
		if r.queues[i].header.MessageID == h.MessageID && r.queues[i].header.Response == h.Response {
			return i
		}
	}
	return -1
}

func (r *Reassembler) remove(i int) {
	copy(r.queues[i:], r.queues[i+1:])
	r.queues[len(r.queues)-1] = fragmentQueue{}
	r.queues = r.queues[:len(r.queues)-1]
}

// refuse gives the reason for which a fragment cannot join what was collected (section 2.6).
func (q *fragmentQueue) refuse(s *Sealed) error {
	total := len(q.pieces)
	switch {
	case s.Header.Exchange != q.header.Exchange || s.Header.Initiator != q.header.Initiator ||
		s.Header.SPIi != q.header.SPIi || s.Header.SPIr != q.header.SPIr:
		return fmt.Errorf("%w: header of message %d differs from its other fragments'", ErrFragment, s.Header.MessageID)
	case int(s.Total) < total:
		return fmt.Errorf("%w: one of %d, already collecting %d", ErrFragment, s.Total, total)
	case int(s.Total) == total && q.pieces[s.Number-1] != nil:
		return fmt.Errorf("%w: number %d of message %d came twice", ErrFragment, s.Number, s.Header.MessageID)
	}
	return nil
}

// take keeps a copy of the plaintext, which may alias the datagram.
func (q *fragmentQueue) take(s *Sealed, plain []byte) {
	if s.Number == 1 {
		q.first = s.First
		q.header = s.Header
		q.prefix = unfragmented(s)
	}
	q.pieces[s.Number-1] = append(make([]byte, 0, len(plain)), plain...)
	q.have++
	q.octets += len(plain)
}

// unfragmented gives a fragment's prefix as it would stand in the message sent whole: SK for SKF, and without the
// fragment's numbers (RFC 9242 section 3.3.2). Its lengths are not right.
func unfragmented(s *Sealed) []byte {
	b := append([]byte(nil), s.Prefix[:len(s.Prefix)-fragmentLen]...)
	b[s.nextAt] = byte(ikev2.PayloadSK)
	return b
}

func (q *fragmentQueue) join() Inner {
	plain := make([]byte, 0, q.octets)
	for _, b := range q.pieces {
		plain = append(plain, b...)
	}
	return Inner{Header: q.header, First: q.first, Plaintext: plain, Fragments: len(q.pieces), prefix: q.prefix}
}
