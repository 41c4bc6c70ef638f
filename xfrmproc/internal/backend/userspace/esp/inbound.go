package esp

import (
	"encoding/binary"
	"fmt"
)

// Inbound is the receiving half of an SA.
type Inbound struct {
	t      transform
	spi    uint32
	esn    bool
	window Window
}

// NewInbound keys the receiving half of an SA with a replay window of so many packets (MinWindow..MaxWindow). Keys are as for NewOutbound.
func NewInbound(spi uint32, s Suite, encrKey, integKey []byte, window int) (*Inbound, error) {
	if spi < 256 {
		return nil, fmt.Errorf("SPI %#08x is reserved", spi)
	}
	t, err := newTransform(s, encrKey, integKey)
	if err != nil {
		return nil, err
	}
	i := &Inbound{t: t, spi: spi, esn: s.ESN}
	if err := i.window.Init(window); err != nil {
		return nil, err
	}
	return i, nil
}

// SPI is the number that packets of this SA carry.
func (i *Inbound) SPI() uint32 { return i.spi }

// Top is the highest sequence number that was authenticated.
func (i *Inbound) Top() uint64 { return i.window.Top() }

// Overhead is the shortest difference between an ESP packet and its payload: header, IV, trailer and ICV without padding.
func (i *Inbound) Overhead() int { return headerLen + i.t.ivLen() + trailerLen + i.t.icvLen() }

// Open checks one ESP packet, decrypts it into dst and returns its payload, which is a part of dst, and its Next Header. pkt begins with the SPI, which the
// caller has looked this SA up by. dst has room for len(pkt) octets and does not overlap pkt. On error dst's content means nothing.
//
// RFC 4303 section 3.4: the window is looked at first, the ICV checked next, and only a packet that passed moves the window (EI-03).
func (i *Inbound) Open(dst, pkt []byte) (payload []byte, nextHeader uint8, err error) {
	text, end := headerLen+i.t.ivLen(), len(pkt)-i.t.icvLen()
	if end-text < trailerLen || (end-text)%i.t.align() != 0 {
		return nil, 0, ErrMalformed
	}
	if len(dst) < end-text {
		return nil, 0, errRoom
	}
	seq, ok := i.sequence(binary.BigEndian.Uint32(pkt[4:]))
	if !ok || !i.window.Fresh(seq) {
		return nil, 0, ErrReplay
	}
	if !i.t.open(dst[:end-text], pkt, seq) {
		return nil, 0, ErrIntegrity
	}
	i.window.Mark(seq)
	body, trailer := dst[:end-text-trailerLen], dst[end-text-trailerLen:end-text]
	pad, next := int(trailer[0]), trailer[1]
	if pad > len(body) {
		return nil, 0, ErrPadding
	}
	// RFC 4303 section 2.4: the receiver should inspect the padding where the algorithm prescribes the default one.
	for n, b := range body[len(body)-pad:] {
		if b != byte(n+1) {
			return nil, 0, ErrPadding
		}
	}
	return body[: len(body)-pad : len(body)-pad], next, nil
}

// sequence is the whole sequence number of a packet with these low 32 bits.
func (i *Inbound) sequence(low uint32) (uint64, bool) {
	if !i.esn {
		return uint64(low), true
	}
	return infer(i.window.Top(), uint32(i.window.Size()), low)
}

// infer finds the high half of an extended sequence number (RFC 4303 appendix A2.2). It fails where the answer would be a number before the first.
func infer(top uint64, window, low uint32) (uint64, bool) {
	high, topLow := uint32(top>>32), uint32(top)
	bottom := topLow - window + 1
	switch {
	case topLow >= window-1: // case A: the window lies within one subspace
		if low < bottom {
			high++
			if high == 0 {
				return 0, false
			}
		}
	case low >= bottom: // case B: the window spans two subspaces, and this number is in the lower
		if high == 0 {
			return 0, false
		}
		high--
	}
	return uint64(high)<<32 | uint64(low), true
}
