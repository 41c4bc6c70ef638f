package authproc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/trike-ipsec/trike/authproc/internal/authn"
	"github.com/trike-ipsec/trike/authproc/internal/pki"
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

// largest is how many octets a file that is no secret may have, by its kind.
func largest(kind string) int64 {
	switch kind {
	case "certificate":
		return pki.MaxChain * pki.MaxCertificate
	case "authority":
		return 64 << 20
	case "crl":
		return 2 * pki.MaxCRL // PEM takes a third more than DER
	}
	return 0
}

// readFiles reads the certificates, authorities and revocation lists that triked opened.
func readFiles(names []msg.File, files []*os.File) (out []authn.File) {
	for i, n := range names {
		most := largest(n.Kind)
		if most == 0 || files[i] == nil {
			continue
		}
		x := authn.File{Kind: n.Kind, Name: n.Name}
		info, err := files[i].Stat()
		switch {
		case err != nil:
			x.Err = fmt.Errorf("its file: %w", err)
		case !info.Mode().IsRegular():
			x.Err = errors.New("its file is no regular file")
		case info.Mode().Perm()&0o022 != 0:
			x.Err = fmt.Errorf("others than its owner may change its file (mode %04o): chmod 0644", info.Mode().Perm())
		case info.Size() > most:
			x.Err = fmt.Errorf("its file has %d octets, at most %d are read", info.Size(), most)
		default:
			x.Data, x.Err = io.ReadAll(io.NewSectionReader(files[i], 0, most))
		}
		out = append(out, x)
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
