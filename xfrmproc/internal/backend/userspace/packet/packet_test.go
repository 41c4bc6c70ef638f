package packet

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

var (
	a4, b4 = netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.2.0.1")
	a6, b6 = netip.MustParseAddr("fd01::1"), netip.MustParseAddr("fd02::1")
)

// build is a packet with this upper layer, or with extension headers before it.
func build(src, dst netip.Addr, protocol uint8, body ...byte) []byte {
	size := IPv4Len
	if src.Is6() {
		size = IPv6Len
	}
	b := append(make([]byte, size), body...)
	PutHeader(b, src, dst, protocol, 0)
	return b
}

// checksumOK tells whether an IPv4 header sums up.
func checksumOK(b []byte) bool { return fold(add(0, b[:int(b[0]&15)*4])) == 0 }

// SP-02: what selectors see of each kind of packet.
func TestParse(t *testing.T) {
	ports := []byte{0x03, 0xe8, 0x07, 0xd0, 0, 8, 0, 0}
	later := build(a4, b4, UDP, ports...)
	binary.BigEndian.PutUint16(later[6:], 0x2001)
	first := build(a4, b4, UDP, ports...)
	binary.BigEndian.PutUint16(first[6:], 0x2000)
	for _, c := range []struct {
		name string
		b    []byte
		want Header
	}{
		{"UDP", build(a4, b4, UDP, ports...), Header{Flow: Flow{a4, b4, UDP, true, 1000, 2000}, IPLen: 20, DontFragment: true}},
		{"first fragment", first, Header{Flow: Flow{a4, b4, UDP, true, 1000, 2000}, IPLen: 20, Fragment: true}},
		{"later fragment", later, Header{Flow: Flow{a4, b4, UDP, false, 0, 0}, IPLen: 20, Fragment: true, Offset: 8}},
		{"cut short", build(a4, b4, TCP, 1, 2, 3), Header{Flow: Flow{a4, b4, TCP, false, 0, 0}, IPLen: 20, DontFragment: true}},
		{"ICMP", build(a4, b4, ICMP, 8, 0), Header{Flow: Flow{a4, b4, ICMP, true, 0x800, 0x800}, IPLen: 20, DontFragment: true}},
		{"GRE", build(a4, b4, 47, ports...), Header{Flow: Flow{a4, b4, 47, false, 0, 0}, IPLen: 20, DontFragment: true}},
		{"UDP over IPv6", build(a6, b6, UDP, ports...), Header{Flow: Flow{a6, b6, UDP, true, 1000, 2000}, IPLen: 40, DontFragment: true}},
		{"ICMPv6", build(a6, b6, ICMPv6, 128, 0), Header{Flow: Flow{a6, b6, ICMPv6, true, 0x8000, 0x8000}, IPLen: 40, DontFragment: true}},
		{"mobility", build(a6, b6, MH, 59, 0, 5), Header{Flow: Flow{a6, b6, MH, true, 0x500, 0x500}, IPLen: 40, DontFragment: true}},
		{"hop-by-hop, destination options", build(a6, b6, 0, append([]byte{60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0}, ports...)...),
			Header{Flow: Flow{a6, b6, UDP, true, 1000, 2000}, IPLen: 56, DontFragment: true, Options: true}},
		{"AH", build(a6, b6, 51, append([]byte{17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}, ports...)...),
			Header{Flow: Flow{a6, b6, UDP, true, 1000, 2000}, IPLen: 52, DontFragment: true, Options: true}},
		{"first fragment, IPv6", build(a6, b6, 44, append([]byte{17, 0, 0, 1, 0, 0, 0, 9}, ports...)...),
			Header{Flow: Flow{a6, b6, UDP, true, 1000, 2000}, IPLen: 48, DontFragment: true, Options: true, Fragment: true}},
		{"later fragment, IPv6", build(a6, b6, 44, append([]byte{17, 0, 0, 8, 0, 0, 0, 9}, ports...)...),
			Header{Flow: Flow{a6, b6, UDP, false, 0, 0}, IPLen: 48, DontFragment: true, Options: true, Fragment: true, Offset: 8}},
		{"atomic fragment", build(a6, b6, 44, append([]byte{17, 0, 0, 0, 0, 0, 0, 9}, ports...)...),
			Header{Flow: Flow{a6, b6, UDP, true, 1000, 2000}, IPLen: 48, DontFragment: true, Options: true}},
	} {
		c.want.Version, c.want.Len, c.want.TTL = int(c.b[0]>>4), len(c.b), hopLimit
		got, err := Parse(append(bytes.Clone(c.b), 1, 2, 3)) // padding after the packet is not the packet
		if err != nil || got != c.want {
			t.Errorf("%s: %v\n%+v, want\n%+v", c.name, err, got, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := build(a4, b4, UDP, make([]byte, 8)...)
	long := bytes.Clone(good)
	binary.BigEndian.PutUint16(long[2:], 100)
	short := bytes.Clone(good)
	binary.BigEndian.PutUint16(short[2:], 10)
	ihl := bytes.Clone(good)
	ihl[0] = 0x44
	chain := build(a6, b6, 60, bytes.Repeat([]byte{60, 0, 1, 4, 0, 0, 0, 0}, 40)...)
	mapped := build(a6, b6, 17, make([]byte, 8)...)
	copy(mapped[8:], netip.MustParseAddr("::ffff:10.1.0.1").AsSlice())
	for name, b := range map[string][]byte{"empty": nil, "version 5": {0x50}, "runt": good[:19], "longer than it is": long, "shorter than its header": short,
		"header of 16": ihl, "IPv6 runt": chain[:39], "endless chain": chain, "extension beyond the end": build(a6, b6, 0, 17, 9, 0, 0, 0, 0, 0, 0), "IPv4 in IPv6 address": mapped} {
		if _, err := Parse(b); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// SP-10, OU-01: all sixteen combinations of RFC 6040 figure 4.
func TestDecapsulate(t *testing.T) {
	const drop = 0xff
	table := [4][4]uint8{ // [inner][outer]: Not-ECT, ECT(1), ECT(0), CE
		notECT: {notECT, notECT, notECT, drop},
		ect1:   {ect1, ect1, ect1, ce},
		ect0:   {ect0, ect1, ect0, ce},
		ce:     {ce, ce, ce, ce},
	}
	for in := range uint8(4) {
		for out := range uint8(4) {
			tos, keep := Decapsulate(0xb8|in, 0x20|out)
			want := table[in][out]
			if keep != (want != drop) || keep && tos != 0xb8|want {
				t.Errorf("inner %d, outer %d: %#x, %v; want %#x", in, out, tos, keep, want)
			}
		}
	}
}

func TestSetTOS(t *testing.T) {
	for tos := range 256 {
		b := build(a4, b4, UDP, make([]byte, 8)...)
		SetTOS(b, uint8(tos))
		if h, err := Parse(b); err != nil || int(h.TOS) != tos || !checksumOK(b) {
			t.Fatalf("IPv4, TOS %#x: %+v, %v, checksum %v", tos, h, err, checksumOK(b))
		}
		b = build(a6, b6, UDP, make([]byte, 8)...)
		SetTOS(b, uint8(tos))
		if h, err := Parse(b); err != nil || int(h.TOS) != tos {
			t.Fatalf("IPv6, TOS %#x: %+v, %v", tos, h, err)
		}
	}
}

// Fragments put together are the packet; each is no longer than asked and sums up; options that are not copied become no-operations.
func TestFragment(t *testing.T) {
	body := make([]byte, 3001)
	for i := range body {
		body[i] = byte(i)
	}
	whole := build(a4, b4, UDP, body...)
	whole[6] = 0
	withOptions := append(append(bytes.Clone(whole[:20]), 0x83, 3, 4, 0x07, 3, 4, 0, 0), body...) // loose source route: copied; record route: not
	withOptions[0] = 0x47
	binary.BigEndian.PutUint16(withOptions[2:], uint16(len(withOptions)))
	for _, b := range [][]byte{whole, withOptions} {
		for _, mtu := range []int{MinFragment, 576, 1446, 3021, 4000} {
			h, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			got, last := []byte(nil), false
			Fragment(b, h, mtu, func(f []byte) {
				g, err := Parse(f)
				if err != nil || len(f) > mtu || g.Offset != len(got) || last || !checksumOK(f) {
					t.Fatalf("MTU %d: %d octets at %d after %d, %v", mtu, len(f), g.Offset, len(got), err)
				}
				if g.Offset > 0 && g.IPLen == 28 && !bytes.Equal(f[20:28], []byte{0x83, 3, 4, 1, 1, 1, 0, 0}) {
					t.Fatalf("options of a later fragment: %x", f[20:28])
				}
				got, last = append(got, f[g.IPLen:]...), f[6]&0x20 == 0
			})
			if !bytes.Equal(got, body) || !last {
				t.Errorf("MTU %d: the fragments are not the packet", mtu)
			}
		}
	}
	whole[6] = 0x40
	h, _ := Parse(whole)
	Fragment(whole, h, 576, func([]byte) { t.Error("cut a packet with DF") })
}

// RFC 1122 section 3.2.2 and RFC 4443 section 2.4: errors are well formed, and what must not be answered is not.
func TestErrors(t *testing.T) {
	for _, b := range [][]byte{build(a4, b4, UDP, make([]byte, 2000)...), build(a6, b6, UDP, make([]byte, 2000)...)} {
		h, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range [][]byte{TooBig(nil, b, h, 1400), Prohibited(nil, b, h)} {
			e, err := Parse(m)
			if err != nil || e.Src != h.Dst || e.Dst != h.Src || e.Len != len(m) {
				t.Fatalf("%+v, %v", e, err)
			}
			before := bytes.Clone(m)
			if h.Version == 4 {
				if len(m) > 576 || !checksumOK(m) || fold(add(0, m[20:])) != 0 || !bytes.HasPrefix(b, m[28:]) {
					t.Errorf("%x", m[:40])
				}
				continue
			}
			if FixChecksum(m, e); !bytes.Equal(m, before) || len(m) > 1280 || !bytes.HasPrefix(b, m[48:]) {
				t.Errorf("%x", m[:60])
			}
		}
	}
	fragment := build(a4, b4, UDP, make([]byte, 8)...)
	fragment[7] = 1
	for name, b := range map[string][]byte{
		"an ICMP error": build(a4, b4, ICMP, 3, 1, 0, 0), "a later fragment": fragment, "multicast": build(a4, netip.MustParseAddr("224.0.0.5"), UDP, make([]byte, 8)...),
		"broadcast": build(a4, netip.MustParseAddr("255.255.255.255"), UDP, make([]byte, 8)...), "nobody": build(netip.MustParseAddr("0.0.0.0"), b4, UDP, make([]byte, 8)...),
		"an ICMPv6 error": build(a6, b6, ICMPv6, 1, 1), "a redirect": build(a6, b6, ICMPv6, 137, 0), "IPv6 multicast": build(a6, netip.MustParseAddr("ff02::1"), UDP, make([]byte, 8)...),
		"the unspecified": build(netip.IPv6Unspecified(), b6, UDP, make([]byte, 8)...),
	} {
		h, err := Parse(b)
		if err != nil {
			t.Fatal(name, err)
		}
		if m := Prohibited(nil, b, h); len(m) != 0 {
			t.Errorf("%s was answered: %x", name, m)
		}
		if m := TooBig(nil, b, h, 1400); len(m) != 0 {
			t.Errorf("%s was told of an MTU", name)
		}
	}
}

// FuzzParse: whatever enters, Parse stays within it, and all that works on what it took neither panics nor makes a malformed packet.
func FuzzParse(f *testing.F) {
	f.Add(build(a4, b4, UDP, make([]byte, 30)...), uint16(576))
	f.Add(build(a6, b6, 0, 44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 8, 0, 0, 0, 9, 1, 2, 3, 4), uint16(1400))
	f.Add(build(a6, b6, ICMPv6, 128, 0, 0, 0), uint16(1280))
	f.Add([]byte{0x47, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x83, 9, 4, 7, 3, 4, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, uint16(68))
	f.Fuzz(func(t *testing.T, b []byte, mtu uint16) {
		h, err := Parse(b)
		if err != nil {
			return
		}
		if h.Len > len(b) || h.IPLen > h.Len || h.IPLen < IPv4Len || h.Src.BitLen() != h.Dst.BitLen() || h.Offset != 0 && h.HasPorts {
			t.Fatalf("%+v of %d octets", h, len(b))
		}
		for _, m := range [][]byte{TooBig(nil, b, h, int(mtu)), Prohibited(nil, b, h)} {
			if len(m) == 0 {
				continue
			}
			if e, err := Parse(m); err != nil || e.Len != len(m) {
				t.Fatalf("error %x: %v", m, err)
			}
		}
		n := 0
		Fragment(b, h, int(mtu), func(x []byte) {
			if g, err := Parse(x); err != nil || g.Len != len(x) {
				t.Fatalf("fragment %x: %v", x, err)
			}
			n += len(x) - h.IPLen
		})
		if n != 0 && n != h.Len-h.IPLen {
			t.Fatalf("fragments hold %d of %d octets", n, h.Len-h.IPLen)
		}
		c := bytes.Clone(b)
		SetTOS(c, uint8(mtu))
		FixChecksum(c, h)
		if again, err := Parse(c); err != nil || again.TOS != uint8(mtu) || again.Len != h.Len {
			t.Fatalf("%+v, %v", again, err)
		}
	})
}
