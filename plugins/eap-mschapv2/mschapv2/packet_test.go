package mschapv2

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/internal/mschap"
)

func TestMessagesThatLie(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, errShort},
		{"a response of one octet", []byte{2}, errShort},
		{"three octets", []byte{1, 9, 0}, errShort},
		{"MS-Length too small", []byte{1, 9, 0, 4, 0}, errLength},
		{"MS-Length too great", []byte{1, 9, 1, 4, 0}, errLength},
		{"MS-Length 0", []byte{1, 9, 0, 0}, errLength},
	} {
		if _, err := parseMessage(c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	long := bytes.Repeat([]byte("n"), maxName+1)
	if _, err := parseChallenge(append(challenge{}.marshal(), long...)); !errors.Is(err, errName) {
		t.Error(err)
	}
	if _, err := parseResponse(append(response{}.marshal(), long...)); !errors.Is(err, errName) {
		t.Error(err)
	}
	for size := range byte(60) {
		b := append([]byte{size}, make([]byte, 48)...)
		if _, err := parseResponse(b); !errors.Is(err, errValue) {
			t.Errorf("a response that has 48 octets and says %d: %v", size, err)
		}
		if _, err := parseChallenge(b[:17]); (err == nil) != (size == 16) {
			t.Errorf("a challenge that has 16 octets and says %d: %v", size, err)
		}
	}
}

func TestSuccessAsServersWriteIt(t *testing.T) {
	const proof = "S=407A5589115FD0D6209F510FE9C04566932CDA56"
	for _, in := range []string{proof, proof + " M=Welcome", proof + " M="} {
		if got, err := parseSuccess([]byte(in)); err != nil || got != proof {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "S=", proof[:41], proof + "0", "M=hi " + proof, "S=" + strings.Repeat("x", 40)} {
		if got, err := parseSuccess([]byte(in)); !errors.Is(err, errProof) {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if _, err := parseSuccess([]byte(proof + " M=" + strings.Repeat("x", 500))); !errors.Is(err, errText) {
		t.Error(err)
	}
}

func TestFailuresAsServersWriteThem(t *testing.T) {
	c := mschap.Challenge{0x10, 0xff}
	for in, want := range map[string]failure{
		"E=691 R=1 C=10FF0000000000000000000000000000 V=3 M=Authentication failed": {691, true, c, "Authentication failed"},
		"E=691 R=0": {code: 691},
		"E=648 R=0 C=10ff0000000000000000000000000000 V=3 M=E=1 R=1 M=x": {648, false, c, "E=1 R=1 M=x"},
		"E=0000000691 R=1 C=10FF V=3":                                    {code: 691, retry: true},
	} {
		if got, err := parseFailure([]byte(in)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "R=1", "E=", "E=-1", "E=691 E=648", "E=99999999999999999999", "M=E=691"} {
		if got, err := parseFailure([]byte(in)); !errors.Is(err, errFail) {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

// What is written comes back the same.
func FuzzMessage(f *testing.F) {
	f.Add(message{opChallenge, 7, challenge{mschap.Challenge{1}, "vpn"}.marshal()}.marshal())
	f.Add(message{opResponse, 7, response{mschap.Challenge{1}, mschap.NTResponse{2}, "alice"}.marshal()}.marshal())
	f.Add(message{opSuccess, 7, []byte("S=407A5589115FD0D6209F510FE9C04566932CDA56 M=OK")}.marshal())
	f.Add(message{opFailure, 7, failure{691, true, mschap.Challenge{1}, "no"}.marshal()}.marshal())
	f.Add([]byte{3})
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := parseMessage(in)
		if err != nil {
			return
		}
		if out := m.marshal(); len(in) > 1 && !bytes.Equal(out, in) {
			t.Errorf("%x comes back as %x", in, out)
		}
		if c, err := parseChallenge(m.body); err == nil && !bytes.Equal(c.marshal(), m.body) {
			t.Errorf("challenge %x comes back as %x", m.body, c.marshal())
		}
		if r, err := parseResponse(m.body); err == nil {
			if again, err := parseResponse(r.marshal()); err != nil || again != r {
				t.Errorf("response %x comes back as %+v, %v", m.body, again, err)
			}
		}
		if f, err := parseFailure(m.body); err == nil {
			again, err := parseFailure(f.marshal())
			if len(f.marshal()) <= maxMessage && (err != nil || again != f) {
				t.Errorf("failure %q comes back as %+v, %v", m.body, again, err)
			}
		}
		_, _ = parseSuccess(m.body)
	})
}
