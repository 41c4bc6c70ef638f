package eaptls

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/hex"
	"hash"
)

// Under TLS 1.2 crypto/tls exports keys only with the extended master secret (RFC 7627), which strongSwan, for one, does not speak. What that guards against is that somebody in
// the middle gives two sessions the same master secret, which takes RSA key exchange or a group where he can choose the result (RFC 7627 section 1). Here there are neither: the
// cipher suites are ECDHE alone, over curves whose points are checked, and there is no session to resume. So the export is made here where the policy lets it.

const (
	randomSize = 32
	masterSize = 48
)

// master12 hears of the master secret of TLS 1.2 from crypto/tls, in the form of its key log. Nothing of that is written anywhere.
type master12 struct{ secret, client []byte }

// Write implements io.Writer for tls.Config.KeyLogWriter. TLS 1.3 has other lines, which are let go by.
func (m *master12) Write(line []byte) (int, error) {
	fields := bytes.Fields(line)
	if len(fields) == 3 && string(fields[0]) == "CLIENT_RANDOM" && len(fields[1]) == 2*randomSize && len(fields[2]) == 2*masterSize {
		m.client, m.secret = make([]byte, randomSize), make([]byte, masterSize)
		_, err := hex.Decode(m.client, fields[1])
		if err == nil {
			_, err = hex.Decode(m.secret, fields[2])
		}
		if err != nil {
			m.wipe()
		}
	}
	clear(line)
	return len(line), nil
}

func (m *master12) wipe() {
	clear(m.secret)
	m.secret, m.client = nil, nil
}

// serverRandom finds the random number in what a server sends first: a record with a whole ServerHello at its beginning (RFC 5246 section 7.4.1.3). Otherwise it is nil, and
// there are no keys.
func serverRandom(flight []byte) []byte {
	const (
		handshakeRecord, serverHello = 22, 2
		typeAt, randomAt             = 5, 5 + 4 + 2 // behind the record's header; behind type, length and version
	)
	if len(flight) < randomAt+randomSize || flight[0] != handshakeRecord || flight[typeAt] != serverHello ||
		int(flight[3])<<8|int(flight[4]) < randomAt-typeAt+randomSize {
		return nil
	}
	return bytes.Clone(flight[randomAt : randomAt+randomSize])
}

// export12 is the exporter of RFC 5705 without a context: the PRF over both random numbers, which is also how RFC 5216 and RFC 5281 say it.
func (m *master12) export12(suite uint16, label string, server []byte, n int) []byte {
	h := sha256.New
	switch suite {
	case tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:
		h = sha512.New384
	}
	return prf12(h, m.secret, label, append(bytes.Clone(m.client), server...), n)
}

// prf12 is the PRF of TLS 1.2 (RFC 5246 section 5).
func prf12(h func() hash.Hash, secret []byte, label string, seed []byte, n int) []byte {
	seed = append([]byte(label), seed...)
	sum := func(parts ...[]byte) []byte {
		mac := hmac.New(h, secret)
		for _, p := range parts {
			mac.Write(p)
		}
		return mac.Sum(nil)
	}
	var out []byte
	for a := sum(seed); len(out) < n; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:n]
}

// suites12 are those of TLS 1.2 that we speak: ECDHE and authenticated encryption.
func suites12() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}
