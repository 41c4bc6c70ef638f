package authn

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// AU-04: ASCII of any length without a NUL added, and hexadecimal and base64 forms.
func TestParseSecret(t *testing.T) {
	long := strings.Repeat("long secret ", 20)
	for _, c := range []struct{ in, want, fault string }{
		{in: "plain", want: "plain"},
		{in: "plain\n", want: "plain"},
		{in: "plain\r\n", want: "plain"},
		{in: "plain\n\n", want: "plain\n"},
		{in: " spaces stay ", want: " spaces stay "},
		{in: long, want: long},
		{in: "0x00ff10\n", want: "\x00\xff\x10"},
		{in: "0X00FF", want: "\x00\xff"},
		{in: "0sAGE=", want: "\x00a"},
		{in: "0sAGE", want: "\x00a"},
		{in: "0syv66vg==\n", want: "\xca\xfe\xba\xbe"},
		{in: "0", want: "0"},
		{in: "0xabc", fault: "hexadecimal"},
		{in: "0xnothex", fault: "hexadecimal"},
		{in: "0x", fault: "hexadecimal"},
		{in: "0s", fault: "base64"},
		{in: "0s*", fault: "base64"},
		{in: "0sAGF=", fault: "base64"}, // bits that are no part of an octet
		{in: "", fault: "empty"},
		{in: "\n", fault: "empty"},
		{in: strings.Repeat("x", MaxSecret+1), fault: "at most"},
	} {
		got, err := ParseSecret([]byte(c.in))
		switch {
		case c.fault == "" && (err != nil || string(got.Reveal()) != c.want):
			t.Errorf("%q: %q %v", c.in, got.Reveal(), err)
		case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault) || got.Len() != 0):
			t.Errorf("%q: %v, want an error about %s", c.in, err, c.fault)
		case err != nil && len(c.in) > 3 && strings.Contains(err.Error(), c.in[2:]):
			t.Errorf("the error tells the secret: %v", err)
		}
	}
	content := []byte("own copy")
	s, _ := ParseSecret(content)
	clear(content)
	if string(s.Reveal()) != "own copy" {
		t.Error("the secret shares the caller's memory")
	}
}

func TestCheckFile(t *testing.T) {
	for _, c := range []struct {
		mode  fs.FileMode
		uid   uint32
		size  int64
		fault string
	}{
		{0o600, 0, 1, ""}, {0o400, 7, 4096, ""}, {0o640, 0, 20, ""},
		{0o604, 0, 20, "chmod"}, {0o602, 0, 20, "chmod"}, {0o601, 0, 20, "chmod"}, {0o620, 0, 20, "chmod"},
		{0o600, 8, 20, "chown"}, {0o600, 0, 0, "empty"}, {0o600, 0, 16385, "16385"},
		{fs.ModeDir | 0o700, 0, 20, "regular"}, {fs.ModeNamedPipe | 0o600, 0, 20, "regular"}, {fs.ModeDevice | fs.ModeCharDevice | 0o600, 0, 20, "regular"}, {fs.ModeSymlink | 0o600, 0, 20, "regular"},
	} {
		err := CheckFile(c.mode, c.uid, 7, c.size)
		if c.fault == "" != (err == nil) || err != nil && (!errors.Is(err, ErrFile) || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%v of user %d, %d octets: %v", c.mode, c.uid, c.size, err)
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	for _, s := range []string{"x", "0x00", "0sAA==", "0sAAA", "\n", "0x", "a\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		s, err := ParseSecret(b)
		if (err == nil) != (s.Len() > 0) || !bytes.Equal(b, before) || s.Len() > len(b) {
			t.Fatalf("%q: %d octets, %v", b, s.Len(), err)
		}
	})
}
