package signature

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/cloudflare/circl/sign/ed448"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
)

// MinRSABits is the least size of an RSA key where the policy says nothing (RFC 8247 section 3.2).
const MinRSABits = 2048

// maxRSABits bounds what a peer's key may cost.
const maxRSABits = 16384

// Sign makes the AUTH data with the first of the allowed schemes (empty: Default) that the key fits and whose hash the peer announced (RFC 7427 section 4). A peer that announced
// none does not know RFC 7427: it is met with the methods of RFC 7296 and RFC 4754.
func Sign(key crypto.Signer, peer []ikev2.HashID, allowed []plan.Scheme, octets []byte) (ikev2.AuthMethod, []byte, error) {
	var ours []string
	for _, s := range chosen(allowed) {
		if !s.fits(key.Public()) {
			continue
		}
		ours = append(ours, string(s.name))
		switch {
		case len(peer) == 0 && s.raw != 0:
			b, err := s.sign(key, octets)
			if err == nil && s.family == familyECDSA {
				b, err = fromDER(b, (s.curve.Params().BitSize+7)/8)
			}
			return s.raw, b, err
		case slices.Contains(peer, s.id):
			b, err := s.sign(key, octets)
			if err != nil {
				return 0, nil, err
			}
			id := s.identifiers()[0]
			return ikev2.AuthSignature, append(append([]byte{byte(len(id))}, id...), b...), nil
		}
	}
	if len(peer) == 0 {
		return 0, nil, fmt.Errorf("the peer announces no signature hashes (RFC 7427), so its only RSA scheme is rsa-sha1, and for ECDSA the RFC 4754 ones; the policy allows our key (%s): %s",
			Describe(key.Public()), either(ours))
	}
	return 0, nil, fmt.Errorf("no signature scheme in common: the peer announces the hashes %v, and the policy allows our key (%s): %s", peer, Describe(key.Public()), either(ours))
}

func either(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func (s scheme) sign(key crypto.Signer, octets []byte) ([]byte, error) {
	switch s.family {
	case familyEd25519, familyEd448:
		return key.Sign(rand.Reader, octets, crypto.Hash(0))
	case familyPSS:
		return key.Sign(rand.Reader, s.digest(octets), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.hash})
	}
	return key.Sign(rand.Reader, s.digest(octets), s.hash)
}

func (s scheme) digest(octets []byte) []byte {
	h := s.hash.New()
	h.Write(octets)
	return h.Sum(nil)
}

// Rules say what is accepted.
type Rules struct {
	Allowed    []plan.Scheme // empty: Default
	MinRSABits int           // 0: MinRSABits
}

// Key holds a peer's key against the rules.
func (r Rules) Key(public crypto.PublicKey) error {
	least := r.MinRSABits
	if least == 0 {
		least = MinRSABits
	}
	if k, ok := public.(*rsa.PublicKey); ok {
		switch n := k.N.BitLen(); {
		case n < least:
			return fmt.Errorf("the RSA key has %d bits, and the policy wants at least %d", n, least)
		case n > maxRSABits || k.E > 1<<31-1 || k.E < 3:
			return fmt.Errorf("an RSA key of %d bits with exponent %d is not served", n, k.E)
		}
	}
	return nil
}

// Verify checks the AUTH data of a method that signs, and tells by which scheme it was made.
func Verify(public crypto.PublicKey, method ikev2.AuthMethod, data, octets []byte, r Rules) (plan.Scheme, error) {
	if err := r.Key(public); err != nil {
		return "", err
	}
	allowed := chosen(r.Allowed)
	switch method {
	case ikev2.AuthSignature:
		return verify7427(public, data, octets, allowed)
	case ikev2.AuthRSA:
		// RFC 7296 section 2.15: the hash is not said; SHA-1 unless both know better. It stands in the signature.
		for _, s := range allowed {
			if s.family == familyRSA && s.fits(public) && s.verify(public, data, octets) {
				return s.name, nil
			}
		}
		return "", refusal(public, "the RSA signature (AUTH method 1) is not made with the certificate's key, or by a hash that the policy does not allow", allowed)
	case ikev2.AuthECDSA256, ikev2.AuthECDSA384, ikev2.AuthECDSA521:
		for _, s := range allowed {
			if s.raw != method || !s.fits(public) {
				continue
			}
			sig, err := toDER(data, (s.curve.Params().BitSize+7)/8)
			if err == nil && s.verify(public, sig, octets) {
				return s.name, nil
			}
			return "", refusal(public, "the signature is not made with the certificate's key", allowed)
		}
		return "", refusal(public, fmt.Sprintf("AUTH method %v does not fit the key or the policy", method), allowed)
	}
	return "", fmt.Errorf("AUTH method %v is no signature", method)
}

// verify7427 checks a signature with an AlgorithmIdentifier in front (RFC 7427 section 3).
func verify7427(public crypto.PublicKey, data, octets []byte, allowed []scheme) (plan.Scheme, error) {
	if len(data) < 1 || len(data) < 1+int(data[0]) {
		return "", fmt.Errorf("a digital signature of %d octets, whose AlgorithmIdentifier does not fit in", len(data))
	}
	id, sig := data[1:1+data[0]], data[1+data[0]:]
	for _, s := range schemes() {
		if !slices.ContainsFunc(s.identifiers(), func(d []byte) bool { return bytes.Equal(d, id) }) {
			continue
		}
		switch {
		case !slices.ContainsFunc(allowed, func(a scheme) bool { return a.name == s.name }):
			return "", refusal(public, fmt.Sprintf("it signed by %s", s.name), allowed)
		case !s.suits(public):
			return "", refusal(public, fmt.Sprintf("it signed by %s, which does not fit the certificate's key", s.name), allowed)
		case !s.verify(public, sig, octets):
			return "", refusal(public, fmt.Sprintf("the %s signature is not made with the certificate's key", s.name), allowed)
		}
		return s.name, nil
	}
	return "", refusal(public, fmt.Sprintf("it signed by an algorithm that is not known (AlgorithmIdentifier %x)", id[:min(len(id), 40)]), allowed)
}

func refusal(public crypto.PublicKey, what string, allowed []scheme) error {
	var names []string
	for _, s := range allowed {
		if s.suits(public) {
			names = append(names, string(s.name))
		}
	}
	return fmt.Errorf("%s; for its key (%s) the policy accepts: %s", what, Describe(public), either(names))
}

func (s scheme) verify(public crypto.PublicKey, sig, octets []byte) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if s.family == familyPSS {
			return rsa.VerifyPSS(k, s.hash, s.digest(octets), sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(k, s.hash, s.digest(octets), sig) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, s.digest(octets), sig)
	case ed25519.PublicKey:
		return len(k) == ed25519.PublicKeySize && ed25519.Verify(k, octets, sig)
	case ed448.PublicKey:
		return len(k) == ed448.PublicKeySize && ed448.Verify(k, octets, sig, "")
	}
	return false
}

type rs struct{ R, S *big.Int }

// fromDER is r | s, each of n octets (RFC 4754 section 7), of an ECDSA signature in DER.
func fromDER(b []byte, n int) ([]byte, error) {
	var v rs
	if rest, err := asn1.Unmarshal(b, &v); err != nil || len(rest) > 0 {
		return nil, errors.New("our own signature is malformed")
	}
	out := make([]byte, 2*n)
	v.R.FillBytes(out[:n])
	v.S.FillBytes(out[n:])
	return out, nil
}

func toDER(b []byte, n int) ([]byte, error) {
	if len(b) != 2*n {
		return nil, fmt.Errorf("a signature of %d octets, want %d", len(b), 2*n)
	}
	return der(rs{new(big.Int).SetBytes(b[:n]), new(big.Int).SetBytes(b[n:])}), nil
}
