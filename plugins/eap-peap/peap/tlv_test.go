package peap

import (
	"bytes"
	"errors"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk/eappacket"
)

func TestTLVsThatLie(t *testing.T) {
	result := extensions{result: resultSuccess}.marshal()
	bound := binding{subtype: bindRequest}.marshal()
	version := bytes.Clone(bound)
	version[5] = 1
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"half a header", []byte{0x80, 3, 0}, errTLVShort},
		{"longer than the message", []byte{0x80, 3, 0xff, 0xff, 0, 1}, errTLVLength},
		{"a result of nobody", []byte{0x80, 3, 0, 2, 0, 3}, errTLVResult},
		{"a result that is short", []byte{0x80, 3, 0, 1, 1}, errTLVResult},
		{"two results", append(bytes.Clone(result), result...), errTLVTwice},
		{"two bindings", append(bytes.Clone(bound), bound...), errTLVTwice},
		{"a binding of another version", version, errTLVBinding},
		{"a binding that is short", []byte{0, 12, 0, 4, 0, 0, 0, 0}, errTLVBinding},
		{"too many", bytes.Repeat([]byte{0, 99, 0, 0}, maxTLVs+1), errTLVMany},
	} {
		if _, err := parseExtensions(c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := parseExtensions([]byte{0x80, 99, 0, 0}); err == nil {
		t.Error("a TLV that is mandatory and unknown is let pass")
	}
}

func TestABindingIsOverEveryOctet(t *testing.T) {
	key := []byte("a key of twenty octs")
	b := binding{subtype: bindRequest, nonce: [nonceSize]byte{1, 2, 3}}
	b.mac = b.sum(key)
	if !b.right(key) {
		t.Fatal("what was bound is not right")
	}
	for _, change := range []func(*binding){
		func(b *binding) { b.subtype = bindResponse },
		func(b *binding) { b.nonce[31] ^= 1 },
		func(b *binding) { b.mac[0] ^= 1 },
	} {
		other := b
		change(&other)
		if other.right(key) {
			t.Error("a change is not seen")
		}
	}
}

func FuzzExtensions(f *testing.F) {
	f.Add(extensions{result: resultSuccess}.marshal())
	f.Add(extensions{result: resultFailure, binding: &binding{subtype: bindResponse}}.marshal())
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := parseExtensions(in)
		if err != nil || e.result == 0 {
			return
		}
		again, err := parseExtensions(e.marshal())
		if err != nil || again.result != e.result || (again.binding == nil) != (e.binding == nil) || e.binding != nil && *again.binding != *e.binding {
			t.Errorf("%x is read as %+v, and that as %+v: %v", in, e, again, err)
		}
	})
}

// Whatever comes out of the tunnel, an inner packet has a header that is true.
func FuzzExpand(f *testing.F) {
	f.Add([]byte{1}, uint8(5))
	f.Add([]byte{2, 1, 0, 11, 33, 0x80, 3, 0, 2, 0, 1}, uint8(9))
	f.Fuzz(func(t *testing.T, in []byte, identifier uint8) {
		if len(in) == 0 || len(in) > 65000 {
			return
		}
		packet, whole := expand(in, eappacket.Response, identifier)
		p, err := eappacket.Parse(packet)
		if err != nil || p.Code != eappacket.Response || !whole && (p.Identifier != identifier || !bytes.Equal(compress(packet), in)) {
			t.Errorf("%x became %x: %v", in, packet, err)
		}
	})
}
