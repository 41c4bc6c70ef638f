package packet

import "encoding/binary"

// MinFragment is the smallest MTU that Fragment cuts for: every IPv4 link carries this (RFC 791 section 3.2).
const MinFragment = 68

// Fragment cuts an IPv4 packet that Parse took, and that may be a fragment itself, into fragments of at most mtu octets (RFC 791 section 3.2), and passes each to
// emit in order, in memory of its own. It does nothing with a packet that must not be cut or an MTU below MinFragment.
func Fragment(b []byte, h Header, mtu int, emit func([]byte)) {
	if h.Version != 4 || h.DontFragment || mtu < MinFragment {
		return
	}
	data := b[h.IPLen:h.Len]
	field := binary.BigEndian.Uint16(b[6:])
	header := b[:h.IPLen]
	for done := 0; done < len(data); {
		room := (mtu - len(header)) &^ 7
		n, more := len(data)-done, field&0x2000
		if n > mtu-len(header) {
			n, more = room, 0x2000
		}
		f := append(append(make([]byte, 0, len(header)+n), header...), data[done:done+n]...)
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		binary.BigEndian.PutUint16(f[6:], field&0x8000|more|field&0x1fff+uint16(done/8))
		headerChecksum(f[:len(header)])
		emit(f)
		if done += n; done == n {
			header = later(header)
		}
	}
}

// later is the header of the fragments after the first: the options whose copied flag is not set are no-operations there.
func later(header []byte) []byte {
	out := append([]byte(nil), header...)
	for at := IPv4Len; at < len(out); {
		kind, size := out[at], 1
		if kind == 0 {
			break
		}
		if kind != 1 {
			if at+1 >= len(out) || out[at+1] < 2 || at+int(out[at+1]) > len(out) {
				break
			}
			size = int(out[at+1])
		}
		if kind&0x80 == 0 {
			for i := range size {
				out[at+i] = 1
			}
		}
		at += size
	}
	return out
}
