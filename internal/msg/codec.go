package msg

import (
	"encoding/binary"
	"net/netip"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

// Integers are big-endian and fixed; strings, octets and lists have a 32-bit length in front; a bool is 0 or 1; an address is its length
// (0, 4 or 16) and its octets.

// reader takes fields off the front of b. After the first fault bad is set and every further field is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) bool() bool {
	v := r.u8()
	r.bad = r.bad || v > 1
	return v == 1
}

// raw aliases the frame: for what is parsed or copied at once.
func (r *reader) raw() []byte { return r.take(int(r.u32())) }

func (r *reader) bytes() []byte {
	b := r.raw()
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b...)
}

func (r *reader) string() string       { return string(r.raw()) }
func (r *reader) secret() secret.Bytes { return secret.New(r.bytes()) }
func (r *reader) fill(dst []byte)      { copy(dst, r.take(len(dst))) }

// count reads the length of a list whose elements have at least min octets each: a list longer than its frame is malformed, and costs no
// memory.
func (r *reader) count(min int) int {
	n := int(r.u32())
	if n < 0 || n > len(r.b)/min {
		r.bad = true
		return 0
	}
	return n
}

func (r *reader) addr() netip.Addr {
	b := r.take(int(r.u8()))
	if len(b) == 0 {
		return netip.Addr{}
	}
	a, ok := netip.AddrFromSlice(b)
	r.bad = r.bad || !ok
	return a
}

func (r *reader) addrPort() netip.AddrPort {
	a := r.addr()
	return netip.AddrPortFrom(a, r.u16())
}

func (r *reader) pos() plan.Pos {
	return plan.Pos{File: int(int32(r.u32())), Line: int(int32(r.u32())), Column: int(int32(r.u32()))}
}

// list reads a list whose elements have at least min octets each.
func list[T any](r *reader, min int, one func(*reader, *T)) []T {
	n := r.count(min)
	if n == 0 {
		return nil
	}
	out := make([]T, 0, n)
	for range n {
		var v T
		if one(r, &v); r.bad {
			return nil
		}
		out = append(out, v)
	}
	return out
}

func u8(b []byte, v uint8) []byte   { return append(b, v) }
func u16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func u32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func u64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

func putBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func putBytes(b, v []byte) []byte               { return append(u32(b, uint32(len(v))), v...) }
func putString(b []byte, v string) []byte       { return append(u32(b, uint32(len(v))), v...) }
func putSecret(b []byte, v secret.Bytes) []byte { return putBytes(b, v.Reveal()) }

func putAddr(b []byte, a netip.Addr) []byte {
	raw := a.AsSlice()
	return append(u8(b, uint8(len(raw))), raw...)
}

func putAddrPort(b []byte, a netip.AddrPort) []byte { return u16(putAddr(b, a.Addr()), a.Port()) }

func putPos(b []byte, p plan.Pos) []byte {
	return u32(u32(u32(b, uint32(int32(p.File))), uint32(int32(p.Line))), uint32(int32(p.Column)))
}

func putList[T any](b []byte, v []T, one func([]byte, *T) []byte) []byte {
	b = u32(b, uint32(len(v)))
	for i := range v {
		b = one(b, &v[i])
	}
	return b
}
