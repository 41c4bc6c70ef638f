package ttls

import (
	"bytes"
	"errors"
	"testing"
)

func TestAVPs(t *testing.T) {
	b := appendAVP(nil, userName(), []byte("alice"))
	b = appendAVP(b, msCHAP2Success(), []byte("12345678"))
	want := []byte{0, 0, 0, 1, 0x40, 0, 0, 13, 'a', 'l', 'i', 'c', 'e', 0, 0, 0, 0, 0, 0, 26, 0xc0, 0, 0, 20, 0, 0, 1, 55, '1', '2', '3', '4', '5', '6', '7', '8'}
	if !bytes.Equal(b, want) {
		t.Fatalf("%x, want %x", b, want)
	}
	m, err := readMessage(b, userName(), msCHAP2Success())
	if err != nil || string(m[userName()]) != "alice" || string(m[msCHAP2Success()]) != "12345678" {
		t.Errorf("%v, %v", m, err)
	}
}

func TestAVPsThatLie(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"half a header", []byte{0, 0, 0, 1, 0x40, 0, 0}, errAVPShort},
		{"half a vendor", []byte{0, 0, 0, 1, 0xc0, 0, 0, 12, 0, 0}, errAVPShort},
		{"shorter than its header", []byte{0, 0, 0, 1, 0x40, 0, 0, 7}, errAVPLength},
		{"shorter than its vendor", []byte{0, 0, 0, 1, 0xc0, 0, 0, 8, 0, 0, 1, 55}, errAVPLength},
		{"longer than the message", []byte{0, 0, 0, 1, 0x40, 0xff, 0xff, 0xff, 1}, errAVPLength},
		{"flags of nobody", []byte{0, 0, 0, 1, 0x41, 0, 0, 8}, errAVPFlags},
		{"too many", bytes.Repeat([]byte{0, 0, 0, 18, 0, 0, 0, 8}, maxAVPs+1), errAVPMany},
	} {
		if _, err := parseAVPs(c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for name, in := range map[string][]byte{
		"mandatory and unknown": appendAVP(nil, attribute{0, 99}, []byte{1}),
		"the name twice":        appendAVP(appendAVP(nil, userName(), []byte("a")), userName(), []byte("b")),
	} {
		if _, err := readMessage(in, userName()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzAVPs(f *testing.F) {
	f.Add(appendAVP(appendAVP(nil, userName(), []byte("alice")), userPassword(), make([]byte, 16)))
	f.Add(appendAVP(nil, msCHAP2Response(), make([]byte, 50)))
	f.Add(appendAVP(nil, eapMessage(), []byte{2, 0, 0, 6, 1, 'a'}))
	f.Fuzz(func(t *testing.T, in []byte) {
		all, err := parseAVPs(in)
		if err != nil {
			return
		}
		var out []byte
		total := 0
		for _, a := range all {
			total += len(a.data)
			out = appendAVP(out, a.attribute, a.data)
		}
		if total > len(in) {
			t.Fatalf("%d octets came of %d", total, len(in))
		}
		again, err := parseAVPs(out)
		if err != nil || len(again) != len(all) {
			t.Fatalf("%x became %x: %v", in, out, err)
		}
		for i := range all {
			if again[i].attribute != all[i].attribute || !bytes.Equal(again[i].data, all[i].data) {
				t.Fatalf("AVP %d changed", i)
			}
		}
	})
}
