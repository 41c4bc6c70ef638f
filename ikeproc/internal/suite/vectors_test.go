package suite

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/secret"
)

// octets is hex in a vector file.
type octets []byte

func (o *octets) UnmarshalText(b []byte) (err error) {
	*o, err = hex.DecodeString(string(b))
	return err
}

// load reads a vector file, compressed or not.
func load(t testing.TB, name string, v any) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := json.NewDecoder(r).Decode(v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// wycheproof is what the files of that project have in common.
type wycheproof struct {
	TestGroups []struct {
		IVSize  int
		KeySize int
		TagSize int
		Tests   []struct {
			TCID    int
			Comment string
			Flags   []string
			Result  string // valid, invalid, acceptable

			Public, Private, Shared octets // key agreement
			Seed, EK, C, K, M       octets // KEM
			Key, IV, AAD, Msg       octets // AEAD
			CT, Tag                 octets
		}
	}
}

// same fails unless got is what was wanted.
func same(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n got %x\nwant %x", what, got, want)
	}
}

func key(b []byte) secret.Bytes { return secret.Copy(b) }

// fill is n octets that only look like nothing else.
func fill(n int, from byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from + byte(i)*7
	}
	return b
}

func aes128sha1(prf ikev2.PRFID) Chosen {
	return Chosen{Encr: ikev2.ENCR_AES_CBC, KeyBits: 128, PRF: prf, Integ: ikev2.AUTH_HMAC_SHA1_96, KE: ikev2.KE_MODP2048}
}
