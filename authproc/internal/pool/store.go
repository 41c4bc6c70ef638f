package pool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
)

// File is where leases are kept: an *os.File opened for reading and writing.
type File interface {
	io.ReaderAt
	io.WriterAt
}

const (
	slotSize = 128
	// maxSlots is how many leases are remembered, held ones and released ones: 64 MiB of file.
	maxSlots    = 1 << 19
	slotVersion = 1
	slotContent = 4 + 1 + 1 + 16 + 32 + 8 + 8 // checksum, version, family, address, identity, session, until
)

// record is a slot's content. session 0: released.
type record struct {
	addr    netip.Addr
	who     [32]byte
	session uint64
	until   int64 // Unix seconds: of a held lease its end, of a released one its release
}

func (r record) encode() []byte {
	b := make([]byte, slotSize)
	b[4] = slotVersion
	a := r.addr.As16()
	if r.addr.Is4() {
		b[5] = 4
	} else {
		b[5] = 6
	}
	copy(b[6:], a[:])
	copy(b[22:], r.who[:])
	binary.BigEndian.PutUint64(b[54:], r.session)
	binary.BigEndian.PutUint64(b[62:], uint64(r.until))
	binary.BigEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:slotContent]))
	return b
}

// decode reads a slot. ok is false for an empty or torn one.
func decode(b []byte) (r record, ok bool) {
	if len(b) < slotSize || b[4] != slotVersion || crc32.ChecksumIEEE(b[4:slotContent]) != binary.BigEndian.Uint32(b) {
		return record{}, false
	}
	r.addr = netip.AddrFrom16([16]byte(b[6:22]))
	switch b[5] {
	case 4:
		if r.addr = r.addr.Unmap(); !r.addr.Is4() {
			return record{}, false
		}
	case 6:
		if r.addr.Is4In6() {
			return record{}, false
		}
	default:
		return record{}, false
	}
	copy(r.who[:], b[22:])
	r.session, r.until = binary.BigEndian.Uint64(b[54:]), int64(binary.BigEndian.Uint64(b[62:]))
	return r, true
}

// readAll calls one for each slot that holds a lease, and tells how many slots there are.
func readAll(f File, one func(slot int, r record)) (slots int, err error) {
	buf := make([]byte, 1024*slotSize)
	for slots < maxSlots {
		n, err := f.ReadAt(buf, int64(slots)*slotSize)
		for off := 0; off+slotSize <= n; off += slotSize {
			if r, ok := decode(buf[off : off+slotSize]); ok {
				one(slots, r)
			}
			slots++
		}
		switch {
		case errors.Is(err, io.EOF):
			return slots, nil
		case err != nil:
			return slots, fmt.Errorf("read leases: %w", err)
		}
	}
	return maxSlots, nil
}
