package authproc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/trike-ipsec/trike/authproc/internal/authn"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/secret"
)

// readSecrets reads what triked opened. A file that is not safe to use, or holds no secret, comes back as the reason why.
func readSecrets(names []msg.File, files []*os.File) []authn.Secret {
	var out []authn.Secret
	for i, n := range names {
		if n.Kind != "secret" {
			continue
		}
		key, err := readSecret(files[i])
		out = append(out, authn.Secret{Name: n.Name, Key: key, Err: err})
	}
	return out
}

func readSecret(f *os.File) (secret.Bytes, error) {
	info, err := f.Stat()
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("its file: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return secret.Bytes{}, errors.New("its file's owner cannot be told")
	}
	if err := authn.CheckFile(info.Mode(), st.Uid, uint32(os.Geteuid()), info.Size()); err != nil {
		return secret.Bytes{}, err
	}
	// From the start, wherever triked or an earlier reader left the offset.
	b := make([]byte, authn.MaxSecret+1)
	defer clear(b)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return secret.Bytes{}, fmt.Errorf("its file: %w", err)
	}
	if n > authn.MaxSecret {
		return secret.Bytes{}, fmt.Errorf("its file has grown beyond %d octets", authn.MaxSecret)
	}
	return authn.ParseSecret(b[:n])
}
