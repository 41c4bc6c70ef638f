package wire

import (
	"github.com/trike-ipsec/trike/internal/ikev2"
)

// CERT is the certificate payload (RFC 7296 section 3.6). The first one holds the key that AUTH is checked with.
type CERT struct {
	Encoding ikev2.CertEncoding
	Data     []byte
}

// PayloadType is CERT.
func (*CERT) PayloadType() ikev2.PayloadType { return ikev2.PayloadCERT }

// AppendBody writes the payload without its generic header.
func (p *CERT) AppendBody(dst []byte) ([]byte, error) {
	return append(append(dst, byte(p.Encoding)), p.Data...), nil
}

func parseCERT(b []byte, at int) (*CERT, error) {
	if len(b) < 1 {
		return nil, syntax(ikev2.PayloadCERT, at, "no encoding")
	}
	return &CERT{Encoding: ikev2.CertEncoding(b[0]), Data: octets(b[1:])}, nil
}

// authorityHash is the length in octets of the SHA-1 by which a CERTREQ names a CA's public key.
const authorityHash = 20

// CERTREQ is the certificate request payload: a hint which CAs the sender trusts (RFC 7296 section 3.7).
type CERTREQ struct {
	Encoding ikev2.CertEncoding
	// Authorities is, for X.509, the SHA-1 hashes of the CAs' SubjectPublicKeyInfo, one after another; empty means any.
	Authorities []byte
}

// PayloadType is CERTREQ.
func (*CERTREQ) PayloadType() ikev2.PayloadType { return ikev2.PayloadCERTREQ }

// AppendBody writes the payload without its generic header.
func (p *CERTREQ) AppendBody(dst []byte) ([]byte, error) {
	return append(append(dst, byte(p.Encoding)), p.Authorities...), nil
}

// Hashes gives the CAs' hashes, nil if the field is not a list of them: then the request is ignored.
func (p *CERTREQ) Hashes() [][authorityHash]byte {
	if len(p.Authorities)%authorityHash != 0 {
		return nil
	}
	var hs [][authorityHash]byte
	for b := p.Authorities; len(b) > 0; b = b[authorityHash:] {
		hs = append(hs, [authorityHash]byte(b))
	}
	return hs
}

func parseCERTREQ(b []byte, at int) (*CERTREQ, error) {
	if len(b) < 1 {
		return nil, syntax(ikev2.PayloadCERTREQ, at, "no encoding")
	}
	return &CERTREQ{Encoding: ikev2.CertEncoding(b[0]), Authorities: octets(b[1:])}, nil
}
