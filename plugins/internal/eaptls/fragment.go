package eaptls

import (
	"errors"
	"fmt"
)

// Bounds of one conversation.
const (
	// MaxMessage is the most octets of one TLS message, which is all that a side sends before it waits: a handshake flight with its certificates.
	MaxMessage = 64 << 10
	// MaxHandshake is the most octets that the other side may send until the tunnel stands.
	MaxHandshake = 64 << 10
	// MaxConversation is the most octets that the other side may send in all.
	MaxConversation = 256 << 10
	// MaxRounds is the most packets that the other side may send, so that tiny fragments and empty messages end too.
	MaxRounds = 400
)

// Bounds of the setting fragment-size, in octets of a whole EAP packet.
const (
	DefaultFragment = 1024
	MinFragment     = 128
	MaxFragment     = 16 << 10
)

// Errors of reassembly.
var (
	ErrTooLong   = fmt.Errorf("the message is longer than %d octets", MaxMessage)
	ErrNoLength  = errors.New("the first fragment does not say how long the message is")
	ErrLying     = errors.New("the fragments are not as long as was said")
	ErrEmptyPart = errors.New("a fragment is empty and says that more follow")
)

// assembler puts fragments together (RFC 5216 section 2.1.5). The zero value waits for a first fragment.
type assembler struct {
	parts []byte
	want  uint32
	open  bool
}

// add takes the next packet. done says that message is whole; otherwise an acknowledgement is due.
func (a *assembler) add(p Packet) (message []byte, done bool, err error) {
	switch {
	case p.HasLength && p.Length > MaxMessage:
		return nil, false, ErrTooLong
	case a.open && p.HasLength && p.Length != a.want:
		return nil, false, fmt.Errorf("%w: %d octets at first and %d now", ErrLying, a.want, p.Length)
	case !a.open && p.More && !p.HasLength:
		return nil, false, ErrNoLength
	case p.More && len(p.Data) == 0:
		return nil, false, ErrEmptyPart
	case !a.open && !p.HasLength && len(p.Data) > MaxMessage:
		return nil, false, ErrTooLong
	}
	if !a.open {
		a.open, a.want, a.parts = true, p.Length, nil
		if !p.HasLength {
			a.want = uint32(len(p.Data))
		}
	}
	have := uint64(len(a.parts)) + uint64(len(p.Data))
	switch {
	case have > uint64(a.want), p.More && have == uint64(a.want):
		return nil, false, fmt.Errorf("%w: %d octets were said, %d came and more follow", ErrLying, a.want, have)
	case !p.More && have != uint64(a.want):
		return nil, false, fmt.Errorf("%w: %d octets were said and %d came", ErrLying, a.want, have)
	}
	a.parts = append(a.parts, p.Data...)
	if p.More {
		return nil, false, nil
	}
	message = a.parts
	*a = assembler{}
	return message, true, nil
}

// cutter gives a message out in fragments of at most size octets a packet.
type cutter struct {
	rest  []byte
	total uint32
	first bool
	size  int
}

func newCutter(message []byte, size int) *cutter {
	return &cutter{rest: message, total: uint32(len(message)), first: true, size: size}
}

// next fills the fragment's part of a packet. It is called until p.More is false.
func (c *cutter) next(p *Packet) {
	p.HasLength = c.first && len(c.rest) > c.size-prefixSize
	p.Length = 0
	room := c.size - prefixSize
	if p.HasLength {
		p.Length = c.total
		room -= 4
	}
	c.first = false
	n := min(room, len(c.rest))
	p.Data, c.rest = c.rest[:n], c.rest[n:]
	p.More = len(c.rest) > 0
}
