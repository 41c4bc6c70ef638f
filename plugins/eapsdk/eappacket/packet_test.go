package eappacket

import (
	"bytes"
	"errors"
	"testing"
)

func TestPacketsThatAreNone(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, ErrShort},
		{"three octets", []byte{1, 0, 0}, ErrShort},
		{"a length under the header's", []byte{1, 0, 0, 3, 4}, ErrLength},
		{"a length past the end", []byte{1, 0, 0, 6, 4}, ErrLength},
		{"a request without a type", []byte{1, 0, 0, 4}, ErrShort},
		{"a request whose type is padding", []byte{1, 0, 0, 4, 26}, ErrShort},
		{"code 0", []byte{0, 0, 0, 4}, ErrCode},
		{"code 5", []byte{5, 0, 0, 4}, ErrCode},
	} {
		if _, err := Parse(c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestPaddingBehindThePacketIsIgnored(t *testing.T) {
	p, err := Parse([]byte{2, 7, 0, 6, 4, 0xaa, 0xbb, 0xcc})
	if err != nil || !bytes.Equal(p.Data, []byte{0xaa}) {
		t.Errorf("%+v, %v", p, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{1, 1, 0, 5, 26})
	f.Add([]byte{3, 1, 0, 4})
	f.Add([]byte{2, 1, 255, 255, 4})
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := Parse(in)
		if err != nil {
			return
		}
		out := p.Append(nil)
		switch p.Code {
		case Request, Response:
			if !bytes.Equal(out, in[:len(out)]) {
				t.Errorf("%x comes back as %x", in, out)
			}
		default:
			if !bytes.Equal(out[:2], in[:2]) {
				t.Errorf("%x comes back as %x", in, out)
			}
		}
	})
}
