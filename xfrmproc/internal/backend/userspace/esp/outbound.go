package esp

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Outbound is the sending half of an SA.
type Outbound struct {
	t    transform
	spi  uint32
	seq  uint64 // of the last packet sent
	last uint64 // no packet may carry a higher one
}

// NewOutbound keys the sending half of an SA. encrKey holds the salt of an AEAD at its end; integKey is empty with an AEAD. The keys stay the
// caller's to wipe.
func NewOutbound(spi uint32, s Suite, encrKey, integKey []byte) (*Outbound, error) {
	if spi < 256 {
		return nil, fmt.Errorf("SPI %#08x is reserved", spi) // RFC 4303 section 2.1
	}
	t, err := newTransform(s, encrKey, integKey)
	if err != nil {
		return nil, err
	}
	o := &Outbound{t: t, spi: spi, last: math.MaxUint32}
	if s.ESN {
		o.last = math.MaxUint64
	}
	return o, nil
}

// SPI is the number that the peer knows this SA by.
func (o *Outbound) SPI() uint32 { return o.spi }

// Sequence is the number of the last packet sent, 0 before the first.
func (o *Outbound) Sequence() uint64 { return o.seq }

// Left is how many packets may still be sent.
func (o *Outbound) Left() uint64 { return o.last - o.seq }

// Headroom is how many octets Seal writes before the payload.
func (o *Outbound) Headroom() int { return headerLen + o.t.ivLen() }

// Tailroom is how many octets Seal writes at most after the payload.
func (o *Outbound) Tailroom() int { return o.t.align() - 1 + trailerLen + o.t.icvLen() }

// Length is the length of the ESP packet that carries a payload of n octets.
func (o *Outbound) Length(n int) int {
	return o.Headroom() + n + o.padding(n) + trailerLen + o.t.icvLen()
}

// Capacity is the largest payload whose ESP packet is no longer than n octets; negative when not even an empty one is.
func (o *Outbound) Capacity(n int) int {
	text := n - o.Headroom() - o.t.icvLen()
	if text < 0 {
		return -1
	}
	return text - text%o.t.align() - trailerLen
}

func (o *Outbound) padding(n int) int {
	a := o.t.align()
	return (a - (n+trailerLen)%a) % a
}

// Seal makes the n octets of payload at buf[off:] into an ESP packet in place, with the next sequence number, and returns it: a part of buf that begins
// Headroom octets before off. The header before the payload and the tail after it are overwritten.
//
// RFC 4303 section 3.3.3: the counter never cycles; ErrExhausted is final.
func (o *Outbound) Seal(buf []byte, off, n int, next uint8) ([]byte, error) {
	start, total := off-o.Headroom(), o.Length(n)
	if start < 0 || n < 0 || start+total > len(buf) {
		return nil, errRoom
	}
	if o.seq >= o.last {
		return nil, ErrExhausted
	}
	o.seq++
	pkt := buf[start : start+total : start+total]
	binary.BigEndian.PutUint32(pkt, o.spi)
	binary.BigEndian.PutUint32(pkt[4:], uint32(o.seq))
	pad := o.padding(n)
	tail := pkt[o.Headroom()+n:]
	for i := range pad {
		tail[i] = byte(i + 1) // RFC 4303 section 2.4: 1, 2, 3, …
	}
	tail[pad], tail[pad+1] = byte(pad), next
	o.t.seal(pkt, o.seq)
	return pkt, nil
}

// Skip leaves out sequence numbers up to and including seq, which takes them away from the SA for good; it never goes back (RFC 6311 section 5.2 asks for such
// a jump after a failover).
func (o *Outbound) Skip(seq uint64) { o.seq = max(o.seq, min(seq, o.last)) }
