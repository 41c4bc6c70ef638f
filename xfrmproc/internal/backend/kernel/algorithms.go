package kernel

import (
	"fmt"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// aead, cipher and integrity are names of the kernel's crypto API. bits is the length of the ICV on the wire.
var (
	aeads = map[ikev2.EncrID]struct {
		name string
		bits uint32
	}{
		ikev2.ENCR_AES_GCM_16:        {"rfc4106(gcm(aes))", 128},
		ikev2.ENCR_CHACHA20_POLY1305: {"rfc7539esp(chacha20,poly1305)", 128},
	}
	ciphers = map[ikev2.EncrID]string{
		ikev2.ENCR_AES_CBC: "cbc(aes)",
		ikev2.ENCR_3DES:    "cbc(des3_ede)",
	}
	integrities = map[ikev2.IntegID]struct {
		name string
		bits uint32
	}{
		ikev2.AUTH_HMAC_SHA1_96:      {"hmac(sha1)", 96},
		ikev2.AUTH_AES_XCBC_96:       {"xcbc(aes)", 96},
		ikev2.AUTH_HMAC_SHA2_256_128: {"hmac(sha256)", 128},
		ikev2.AUTH_HMAC_SHA2_384_192: {"hmac(sha384)", 192},
		ikev2.AUTH_HMAC_SHA2_512_256: {"hmac(sha512)", 256},
	}
)

// checkTransform says whether this package can name the suite to the kernel.
func checkTransform(t msg.Transform) error {
	if _, _, ok := backend.KeyLengths(t); !ok {
		return fmt.Errorf("%v-%d with %v: %w", t.Encr, t.KeyBits, t.Integ, backend.ErrUnsupported)
	}
	return nil
}

// addAlgorithms appends the attributes that carry suite and keys.
func addAlgorithms(m *message, t msg.Transform, encr, integ []byte) {
	if a, ok := aeads[t.Encr]; ok {
		addAlgorithm(m, attrAlgAEAD, a.name, a.bits, true, encr)
		return
	}
	addAlgorithm(m, attrAlgCrypt, ciphers[t.Encr], 0, false, encr)
	i := integrities[t.Integ]
	addAlgorithm(m, attrAlgTrunc, i.name, i.bits, true, integ)
}

// addAlgorithm appends struct xfrm_algo, or with a second length xfrm_algo_aead or xfrm_algo_auth.
func addAlgorithm(m *message, attr uint16, name string, bits uint32, second bool, key []byte) {
	b := make([]byte, 64, 64+8+len(key))
	copy(b, name)
	b = append(b, 0, 0, 0, 0)
	put32(b[64:], uint32(len(key)*8))
	if second {
		b = append(b, 0, 0, 0, 0)
		put32(b[68:], bits)
	}
	b = append(b, key...)
	m.attr(attr, b)
	clear(b)
}
