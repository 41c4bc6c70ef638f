package kernel

import (
	"encoding/binary"
	"net/netip"

	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// readEvents turns the kernel's messages into events until Close.
func (b *Backend) readEvents() {
	defer close(b.events)
	buf := make([]byte, 64<<10)
	for {
		n, lost, err := b.eventSocket.read(buf)
		if err != nil {
			return
		}
		if lost {
			b.tell(backend.Lost{})
			continue
		}
		_ = split(buf[:n], func(h header, data []byte) error {
			if e := b.eventOf(h.typ, data); e != nil {
				b.tell(e)
			}
			return nil
		})
	}
}

// tell hands an event on. An acquire comes again with the next packet, so it is not waited for.
func (b *Backend) tell(e backend.Event) {
	if _, ok := e.(backend.Acquire); ok {
		select {
		case b.events <- e:
		default:
		}
		return
	}
	select {
	case b.events <- e:
	case <-b.stop:
	}
}

// eventOf reads one message; nil for what does not concern us.
func (b *Backend) eventOf(typ uint16, data []byte) backend.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch typ {
	case msgAcquire:
		return b.acquire(data)
	case msgExpire:
		return b.expire(data)
	case msgMapping:
		return b.mapping(data)
	}
	return nil
}

func (b *Backend) acquire(data []byte) backend.Event {
	if len(data) < sizeAcquire {
		return nil
	}
	attrs, err := parseAttrs(data[sizeAcquire:])
	t := find(attrs, attrTmpl, sizeTmpl)
	if err != nil || t == nil {
		return nil
	}
	child := b.childOf(get32(t[44:]))
	if child == nil {
		return nil
	}
	a := backend.Acquire{Connection: child.Connection, Child: child.Child}
	if sel, ok := getSelector(data[40:]); ok {
		a.TSLocal, a.TSRemote = packetTS(sel)
	}
	return a
}

// expire: a soft limit in either direction asks for a rekey; at a hard one the kernel has deleted that direction, and the other one goes
// with it, so that both ends see the same.
func (b *Backend) expire(data []byte) backend.Event {
	if len(data) < sizeSAInfo+1 || b.closed {
		return nil
	}
	s, ok := parseSA(data[:sizeSAInfo])
	if !ok {
		return nil
	}
	p := b.pairs[s.spi]
	if p == nil || p.local.Addr() != s.dst.Addr() {
		spiIn, ok := b.byOut[outKey{s.dst.Addr(), s.spi}]
		if !ok {
			return nil
		}
		if p = b.pairs[spiIn]; p == nil {
			return nil
		}
	}
	hard := data[sizeSAInfo] != 0
	if hard {
		_ = b.drop(p) // what is left of it; a failure here shows in the next Dump
	}
	return backend.Expire{SPIIn: p.spiIn, Hard: hard}
}

func (b *Backend) mapping(data []byte) backend.Event {
	if len(data) < sizeMapping {
		return nil
	}
	spi := binary.BigEndian.Uint32(data[16:])
	p := b.pairs[spi]
	if p == nil {
		return nil
	}
	addr := getAddr(data[44:60], familyOf(p.local.Addr()))
	port := binary.BigEndian.Uint16(data[62:])
	if !addr.IsValid() || port == 0 {
		return nil
	}
	return backend.Mapping{SPIIn: spi, Remote: netip.AddrPortFrom(addr, port)}
}
