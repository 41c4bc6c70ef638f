package authn

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/trike-ipsec/trike/internal/secret"
)

// MaxSecret is the largest secret file, in octets.
const MaxSecret = 16 << 10

// ErrFile is a secret file that is not safe to use.
var ErrFile = errors.New("secret file is not used")

// CheckFile says whether a file may hold a secret: a regular file of root's or of our own user that nobody else can read or change, 1 to MaxSecret octets long.
func CheckFile(mode fs.FileMode, uid, self uint32, size int64) error {
	switch {
	case !mode.IsRegular():
		return fmt.Errorf("%w: it is no regular file", ErrFile)
	case mode.Perm()&0o007 != 0:
		return fmt.Errorf("%w: everybody may use it (mode %04o): chmod 0600", ErrFile, mode.Perm())
	case mode.Perm()&0o020 != 0:
		return fmt.Errorf("%w: its group may change it (mode %04o): chmod 0600", ErrFile, mode.Perm())
	case uid != 0 && uid != self:
		return fmt.Errorf("%w: it belongs to user %d: chown root", ErrFile, uid)
	case size < 1:
		return fmt.Errorf("%w: it is empty", ErrFile)
	case size > MaxSecret:
		return fmt.Errorf("%w: it has %d octets, at most %d are allowed", ErrFile, size, MaxSecret)
	}
	return nil
}

// ParseSecret reads the content of a secret file: octets as they are, or hexadecimal behind 0x, or base64 behind 0s. One line end at the end does not count. The result is a
// copy.
func ParseSecret(content []byte) (secret.Bytes, error) {
	b := bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
	switch {
	case len(b) == 0:
		return secret.Bytes{}, errors.New("the secret is empty")
	case len(b) > MaxSecret:
		return secret.Bytes{}, fmt.Errorf("the secret has %d octets, at most %d are allowed", len(b), MaxSecret)
	case bytes.HasPrefix(b, []byte("0x")) || bytes.HasPrefix(b, []byte("0X")):
		return decoded(make([]byte, hex.DecodedLen(len(b)-2)), b[2:], hex.Decode, "0x and is not hexadecimal")
	case bytes.HasPrefix(b, []byte("0s")) || bytes.HasPrefix(b, []byte("0S")):
		form := base64.StdEncoding.Strict()
		if !bytes.HasSuffix(b, []byte("=")) {
			form = base64.RawStdEncoding.Strict()
		}
		return decoded(make([]byte, form.DecodedLen(len(b)-2)), b[2:], form.Decode, "0s and is not base64")
	}
	return secret.Copy(b), nil
}

// decoded hides the decoder's own error, which would quote the secret.
func decoded(into, text []byte, decode func(dst, src []byte) (int, error), fault string) (secret.Bytes, error) {
	n, err := decode(into, text)
	if err != nil || n == 0 {
		clear(into)
		return secret.Bytes{}, errors.New("the secret begins with " + fault)
	}
	return secret.New(into[:n]), nil
}
