package pki

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // PBKDF2's default PRF (RFC 8018 appendix A.2)
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
)

// The object identifiers of RFC 8018.
var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	prfs      = []struct {
		oid asn1.ObjectIdentifier
		new func() hash.Hash
	}{
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 7}, sha1.New}, {asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}, sha256.New},
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 10}, sha512.New384}, {asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 11}, sha512.New},
	}
	ciphers = []struct {
		oid asn1.ObjectIdentifier
		key int
	}{
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}, 16}, {asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}, 24},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, 32},
	}
)

// maxIterations bounds what opening a key may cost: about two seconds.
const maxIterations = 10_000_000

type encrypted struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

type pbes2 struct {
	KDF, Cipher pkix.AlgorithmIdentifier
}

type pbkdf2Parameters struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

// decrypt opens an EncryptedPrivateKeyInfo (RFC 5958 section 3) by PBES2 with PBKDF2 and AES-CBC, which is what OpenSSL writes. was is false for a key that is not encrypted.
func decrypt(der, passphrase []byte) (plain []byte, was bool, err error) {
	var e encrypted
	if rest, err := asn1.Unmarshal(der, &e); err != nil || len(rest) > 0 {
		return nil, false, nil
	}
	if !e.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, true, fmt.Errorf("it is encrypted by %v, and only PBES2 with AES is opened: convert it with `openssl pkcs8 -topk8 -v2 aes256`", e.Algorithm.Algorithm)
	}
	if len(passphrase) == 0 {
		return nil, true, errors.New("it is encrypted, and the certificate names no `passphrase`")
	}
	var p pbes2
	var k pbkdf2Parameters
	if _, err := asn1.Unmarshal(e.Algorithm.Parameters.FullBytes, &p); err != nil || !p.KDF.Algorithm.Equal(oidPBKDF2) {
		return nil, true, errors.New("it is encrypted by another key derivation than PBKDF2: convert it with `openssl pkcs8 -topk8`")
	}
	if _, err := asn1.Unmarshal(p.KDF.Parameters.FullBytes, &k); err != nil {
		return nil, true, errors.New("its encryption parameters are malformed")
	}
	var iv []byte
	if _, err := asn1.Unmarshal(p.Cipher.Parameters.FullBytes, &iv); err != nil || len(iv) != aes.BlockSize || k.Iterations < 1 || k.Iterations > maxIterations {
		return nil, true, errors.New("its encryption parameters are malformed")
	}
	prf, size := sha1.New, 0
	for _, x := range prfs {
		if x.oid.Equal(k.PRF.Algorithm) {
			prf = x.new
		}
	}
	for _, x := range ciphers {
		if x.oid.Equal(p.Cipher.Algorithm) {
			size = x.key
		}
	}
	if size == 0 || len(e.Data) == 0 || len(e.Data)%aes.BlockSize != 0 {
		return nil, true, errors.New("it is encrypted by another cipher than AES-CBC: convert it with `openssl pkcs8 -topk8 -v2 aes256`")
	}
	key, err := pbkdf2.Key(prf, string(passphrase), k.Salt, k.Iterations, size)
	if err != nil {
		return nil, true, errors.New("its key derivation failed")
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, true, errors.New("its encryption parameters are malformed")
	}
	plain = make([]byte, len(e.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, e.Data)
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > aes.BlockSize {
		clear(plain)
		return nil, true, errors.New("the passphrase does not open it")
	}
	return plain[:len(plain)-pad], true, nil
}
