package kernel

import (
	"errors"
	"net/netip"

	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// Move is backend.Backend's. The kernel cannot change the addresses of an SA that stands, so each SA is read with its keys, its sequence
// numbers and its counters, and made again elsewhere in the same system call that deletes it. A packet that comes in between the two readings could
// be replayed once: the price of not losing the tunnel. When it fails half way the pair is gone as a whole.
func (b *Backend) Move(spiIn uint32, local, remote netip.AddrPort) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pairs[spiIn]
	switch {
	case b.closed:
		return backend.ErrClosed
	case p == nil:
		return &backend.Error{Op: "move", SPI: spiIn, Err: backend.ErrNoSuchSA}
	case p.local == local && p.remote == remote:
		return nil
	}
	if err := b.move(p, local, remote); err != nil {
		return b.pairError("move", p, err)
	}
	return nil
}

func (b *Backend) move(p *pair, local, remote netip.AddrPort) error {
	del, add, err := b.moved(p.local.Addr(), p.spiIn, remote, local)
	if err != nil {
		return err
	}
	if p.later != nil {
		p.later.src, p.later.dst = local, remote
		if err := errors.Join(b.rq.do(del, add)...); err != nil {
			return errors.Join(err, b.drop(p))
		}
	} else {
		delOut, addOut, err := b.moved(p.remote.Addr(), p.spiOut, local, remote)
		if err != nil {
			clear(add)
			return err
		}
		if err := errors.Join(b.rq.do(del, add, delOut, addOut)...); err != nil {
			return errors.Join(err, b.drop(p))
		}
	}
	delete(b.byOut, outKey{p.remote.Addr(), p.spiOut})
	old := p.remote.Addr()
	p.local, p.remote = local, remote
	b.byOut[outKey{remote.Addr(), p.spiOut}] = p.spiIn
	for i, o := range b.own[p.reqid] {
		if o.peer == old {
			b.own[p.reqid][i].peer = remote.Addr()
		}
	}
	return b.follow(p, nil)
}

// moved reads an SA and gives the messages that take it away and make it again between other addresses.
func (b *Backend) moved(dst netip.Addr, spi uint32, newSrc, newDst netip.AddrPort) (del, add message, err error) {
	err = b.rq.ask(saKey(msgGetSA, dst, spi), func(typ uint16, data []byte) error {
		if typ == msgNewSA {
			var merr error
			add, merr = readdress(data, newSrc, newDst)
			return merr
		}
		return nil
	})
	if err == nil && add == nil {
		err = backend.ErrNoSuchSA
	}
	if errors.Is(err, errnoNotFound) {
		err = backend.ErrNoSuchSA
	}
	return saKey(msgDelSA, dst, spi), add, err
}

// readdress turns the kernel's word on an SA into a NEWSA of the same between other addresses. Attributes that only report are left out.
func readdress(data []byte, src, dst netip.AddrPort) (message, error) {
	if len(data) < sizeSAInfo {
		return nil, errShort
	}
	attrs, err := parseAttrs(data[sizeSAInfo:])
	if err != nil {
		return nil, err
	}
	// A locked-down kernel gives the algorithms without their keys.
	if !hasKeys(attrs) {
		return nil, backend.ErrUnsupported
	}
	m := newMessage(msgNewSA, 0, sizeSAInfo)
	b := m.body()
	copy(b, data[:sizeSAInfo])
	clear(b[offSAID : offSAID+16])
	clear(b[offSASrc : offSASrc+16])
	putAddr(b[offSAID:], dst.Addr())
	putAddr(b[offSASrc:], src.Addr())
	put16(b[offSAFamily:], familyOf(dst.Addr()))
	for _, a := range attrs {
		switch a.typ {
		case attrAlgAEAD, attrAlgCrypt, attrAlgTrunc, attrSADir:
			m.attr(a.typ, a.data)
		case attrReplay, attrReplayESN:
			m.attr(a.typ, skipAhead(a, data[offSAFlags]&stateESN != 0))
		case attrEncap:
			m.attr(attrEncap, encapTemplate(src.Port(), dst.Port()))
		}
	}
	m.attr(attrLtime, data[offSACur:offSACur+sizeLtime])
	return m, nil
}

// sequenceMargin is more packets than an SA sends between being read and being deleted. A sequence number used twice would be a nonce
// used twice, so the moved SA begins that much further on; the receiver's window follows any step forward.
const sequenceMargin = 1 << 16

// skipAhead is a copy of struct xfrm_replay_state or xfrm_replay_state_esn with the outbound number moved on, if any packet was sent.
func skipAhead(a attribute, esn bool) []byte {
	r := append([]byte(nil), a.data...)
	low, high := 0, -1
	if a.typ == attrReplayESN {
		low, high = 4, 12
	}
	if len(r) < low+4 || len(r) < high+4 {
		return r
	}
	n := uint64(get32(r[low:]))
	if esn && high > 0 {
		n |= uint64(get32(r[high:])) << 32
	}
	if n == 0 {
		return r
	}
	n += sequenceMargin
	if !esn || high < 0 {
		n = min(n, 0xffff_ffff) // at the end the kernel sends no more
	} else {
		put32(r[high:], uint32(n>>32))
	}
	put32(r[low:], uint32(n))
	return r
}

func hasKeys(attrs []attribute) bool {
	for _, typ := range []uint16{attrAlgAEAD, attrAlgCrypt} {
		a := find(attrs, typ, 68)
		if a == nil {
			continue
		}
		head := 68
		if typ == attrAlgAEAD {
			head = 72
		}
		for _, o := range a[min(head, len(a)):] {
			if o != 0 {
				return true
			}
		}
	}
	return false
}
