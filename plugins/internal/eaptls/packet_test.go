package eaptls

import (
	"bytes"
	"errors"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

func TestPacketsThatLie(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, ErrShort},
		{"half a header", []byte{1, 2, 0}, ErrShort},
		{"a length beyond the packet", []byte{1, 2, 0, 7, 13, 0}, ErrLength},
		{"a length within the packet", []byte{1, 2, 0, 5, 13, 0}, ErrLength},
		{"no type", []byte{1, 2, 0, 4}, ErrShort},
		{"no flags", []byte{1, 2, 0, 5, 13}, ErrShort},
		{"no whole TLS length", []byte{1, 2, 0, 9, 13, 0x80, 0, 0, 0}, ErrShort},
		{"a Success with data", []byte{3, 2, 0, 5, 13}, ErrLength},
		{"a code of nobody", []byte{5, 2, 0, 6, 13, 0}, ErrCode},
		{"another type", []byte{2, 2, 0, 6, 3, 21}, ErrType},
	} {
		if _, err := ParsePacket(c.in, eapsdk.TypeTLS); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func FuzzParsePacket(f *testing.F) {
	for _, p := range []Packet{
		{Code: CodeRequest, Identifier: 1, Type: eapsdk.TypeTLS, Start: true},
		{Code: CodeResponse, Identifier: 1, Type: eapsdk.TypeTLS, HasLength: true, More: true, Length: 2000, Data: []byte{22, 3, 1}},
		{Code: CodeResponse, Identifier: 2, Type: eapsdk.TypeTLS, Low: 1, Data: []byte{0}},
		{Code: CodeSuccess, Identifier: 3},
	} {
		f.Add(p.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := ParsePacket(in, eapsdk.TypeTLS)
		if err == nil && !bytes.Equal(p.Bytes(), in) {
			t.Errorf("%x comes back as %x", in, p.Bytes())
		}
	})
}

func part(total int, more bool, n int) Packet {
	return Packet{HasLength: total >= 0, Length: uint32(max(total, 0)), More: more, Data: make([]byte, n)}
}

func TestFragmentsThatLie(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []Packet
		want error // of the last
	}{
		{"one packet", []Packet{part(-1, false, 10)}, nil},
		{"one packet with its length", []Packet{part(10, false, 10)}, nil},
		{"three", []Packet{part(10, true, 4), part(-1, true, 4), part(-1, false, 2)}, nil},
		{"the length in each", []Packet{part(10, true, 4), part(10, true, 4), part(10, false, 2)}, nil},
		{"an acknowledgement", []Packet{part(-1, false, 0)}, nil},
		{"too long by far", []Packet{part(1<<32-1, true, 4)}, ErrTooLong},
		{"no length at first", []Packet{part(-1, true, 4)}, ErrNoLength},
		{"empty, and more follow", []Packet{part(10, true, 4), part(-1, true, 0)}, ErrEmptyPart},
		{"more than was said", []Packet{part(10, true, 4), part(-1, false, 7)}, ErrLying},
		{"all is there, and more follow", []Packet{part(10, true, 4), part(-1, true, 6)}, ErrLying},
		{"less than was said", []Packet{part(10, true, 4), part(-1, false, 5)}, ErrLying},
		{"another length in the second", []Packet{part(10, true, 4), part(11, false, 6)}, ErrLying},
		{"one packet, shorter than said", []Packet{part(10, false, 9)}, ErrLying},
		{"one packet, long and without length", []Packet{part(-1, false, MaxMessage+1)}, ErrTooLong},
	} {
		var a assembler
		var err error
		for i, p := range c.in {
			var done bool
			var message []byte
			message, done, err = a.add(p)
			if last := i == len(c.in)-1; err == nil && (done != last || done && len(message) != 10 && len(message) != 0) {
				t.Errorf("%s: after packet %d done is %v with %d octets", c.name, i+1, done, len(message))
			}
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// What is cut comes together again, whatever its length, and no packet is longer than was asked for.
func FuzzFragments(f *testing.F) {
	f.Add(uint16(0), uint8(0))
	f.Add(uint16(122), uint8(0))
	f.Add(uint16(123), uint8(0))
	f.Add(uint16(5000), uint8(200))
	f.Fuzz(func(t *testing.T, length uint16, extra uint8) {
		size := MinFragment + int(extra)
		message := make([]byte, length)
		for i := range message {
			message[i] = byte(i * 7)
		}
		cut := newCutter(message, size)
		var a assembler
		for n := 0; ; n++ {
			p := Packet{Code: CodeRequest, Type: eapsdk.TypeTLS}
			cut.next(&p)
			b := p.Bytes()
			if len(b) > size {
				t.Fatalf("packet %d has %d octets of %d", n, len(b), size)
			}
			p, err := ParsePacket(b, eapsdk.TypeTLS)
			if err != nil {
				t.Fatal(err)
			}
			whole, done, err := a.add(p)
			if err != nil || done == p.More {
				t.Fatalf("packet %d: done %v, %v", n, done, err)
			}
			if done {
				if !bytes.Equal(whole, message) {
					t.Fatal("another message came together")
				}
				return
			}
		}
	})
}

// Fragments as a hostile peer sends them are bounded in memory and never panic.
func FuzzAssemble(f *testing.F) {
	f.Add([]byte{2, 1, 0, 14, 13, 0xc0, 0, 0, 0, 8, 1, 2, 3, 4}, []byte{2, 2, 0, 10, 13, 0, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var a assembler
		for _, b := range [][]byte{first, second} {
			p, err := ParsePacket(b, eapsdk.TypeTLS)
			if err != nil {
				return
			}
			message, _, err := a.add(p)
			if err != nil {
				return
			}
			if len(message) > MaxMessage || len(a.parts) > MaxMessage {
				t.Fatalf("%d octets are kept", len(a.parts))
			}
		}
	})
}
