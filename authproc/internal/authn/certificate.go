package authn

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/authproc/internal/pki"
	"github.com/trike-ipsec/trike/authproc/internal/signature"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
)

// signed are the octets that a signature covers: RealMessage | Nonce | MACedID | IntAuth (RFC 7296 section 2.15, RFC 9242 section 3.3.2).
func (o octets) signed(id msg.ID) []byte {
	head := [4]byte{byte(id.Type), o.in.IDReserved[0], o.in.IDReserved[1], o.in.IDReserved[2]}
	maced := o.prf.sum(o.in.SKp.Reveal(), head[:], id.Data)
	return slices.Concat(o.in.Message, o.in.Nonce, maced, o.in.IntAuth)
}

// signCertificate makes AUTH with the connection's key.
func (s *State) signCertificate(c *connection, o octets, m *msg.Sign, out *msg.Signed) error {
	cred := s.credentials[c.localAuth.Certificate]
	hashes := make([]ikev2.HashID, 0, len(m.Hashes))
	for _, h := range m.Hashes[:min(len(m.Hashes), 32)] {
		hashes = append(hashes, ikev2.HashID(h))
	}
	method, data, err := signature.Sign(cred.key, hashes, c.localAuth.Schemes, o.signed(c.local))
	if err != nil {
		return err
	}
	out.Method, out.Data, out.Certs = uint8(method), data, cred.certs
	return nil
}

// believed is what checking a peer's certificates against one connection's policy came to.
type believed struct {
	chain  []*x509.Certificate
	public crypto.PublicKey
	err    error
}

// byCertificate checks an AUTH that was signed: the path, the name, revocation, and the signature.
func (s *State) byCertificate(o octets, m *msg.Verify, now time.Time) (proved []*connection, r *report) {
	fits, r := s.candidates(m, wants("certificate", "a certificate"))
	paths := map[string]believed{} // by authorities and rules, so that each is looked at once
	for _, c := range fits {
		key := fmt.Sprint(c.remoteAuth.Authorities, c.remoteAuth.MinRSABits, c.remoteAuth.Revocation)
		b, known := paths[key]
		if !known {
			if len(paths) == maxKeys {
				r.add(c.name, func() string { return fmt.Sprintf("more than %d sets of authorities fit", maxKeys) })
				continue
			}
			b = s.believe(c, m, now)
			paths[key] = b
		}
		if err := s.signedBy(c, b, o, m); err != nil {
			r.add(c.name, func() string { return err.Error() })
			continue
		}
		proved = append(proved, c)
	}
	return proved, r
}

// believe finds the key that a peer may sign with by a connection's policy.
func (s *State) believe(c *connection, m *msg.Verify, now time.Time) believed {
	var trust pki.Trust
	for _, name := range c.remoteAuth.Authorities {
		if a := s.authorities[name]; a != nil && a.fault == "" {
			trust.Anchors = append(trust.Anchors, a.anchors...)
			if b, ok := a.rawKey(m); ok {
				return b
			}
		}
	}
	if len(m.Certs) > 0 && m.Certs[0].Encoding == ikev2.CertRawPublicKey {
		return believed{err: errors.New("the peer sent a raw public key, and it is none of those that the policy takes (`authorities` with `raw`)")}
	}
	var ders [][]byte
	for _, x := range m.Certs[:min(len(m.Certs), pki.MaxChain)] {
		if x.Encoding == ikev2.CertX509Signature {
			ders = append(ders, x.Data)
		}
	}
	if len(ders) == 0 { // it may be one that the policy has: a pinned certificate
		for _, a := range trust.Anchors {
			if !a.IsCA && pki.Names(a, m.PeerID) == nil {
				ders = append(ders, a.Raw)
				break
			}
		}
	}
	chain, err := pki.Verify(ders, trust, pki.Rules{MinRSABits: c.remoteAuth.MinRSABits}, now)
	if err != nil {
		return believed{err: err}
	}
	if err := pki.Names(chain[0], m.PeerID); err != nil {
		return believed{err: err}
	}
	if err := s.lists.Check(chain, c.remoteAuth.Revocation, now); err != nil {
		return believed{err: err}
	}
	public, err := pki.Public(chain[0])
	return believed{chain: chain, public: public, err: err}
}

// rawKey is the authority's raw public key if the peer sent that one, or sent nothing.
func (a *authority) rawKey(m *msg.Verify) (believed, bool) {
	if a.raw == nil || len(m.Certs) > 0 && (m.Certs[0].Encoding != ikev2.CertRawPublicKey || !bytes.Equal(m.Certs[0].Data, a.spki)) {
		return believed{}, false
	}
	return believed{public: a.raw}, true
}

func (s *State) signedBy(c *connection, b believed, o octets, m *msg.Verify) error {
	if b.err != nil {
		return b.err
	}
	_, err := signature.Verify(b.public, ikev2.AuthMethod(m.Method), m.Data, o.signed(m.PeerID), signature.Rules{Allowed: c.remoteAuth.Schemes, MinRSABits: c.remoteAuth.MinRSABits})
	return err
}

// Certificate is what the status says of one of our own.
type Certificate struct {
	Name, Subject string
	NotAfter      time.Time // zero for a raw key
	Problem       string
}

// ExpirySoon is how long before its end a certificate is spoken of.
const ExpirySoon = 30 * 24 * time.Hour

// Certificates tells of our own certificates, and of the authorities' that come to their end.
func (s *State) Certificates(now time.Time) (out []Certificate) {
	one := func(name string, c *x509.Certificate) Certificate {
		x := Certificate{Name: name, Subject: c.Subject.String(), NotAfter: c.NotAfter}
		switch left := c.NotAfter.Sub(now); {
		case left < 0:
			x.Problem = fmt.Sprintf("it ended on %s", c.NotAfter.UTC().Format(time.DateOnly))
		case left < ExpirySoon:
			x.Problem = fmt.Sprintf("it ends on %s, in %d days: put the new one in its file and run `trike apply`", c.NotAfter.UTC().Format(time.DateOnly), int(left.Hours()/24))
		case now.Before(c.NotBefore):
			x.Problem = fmt.Sprintf("it is not valid before %s", c.NotBefore.UTC().Format(time.RFC3339))
		}
		return x
	}
	for name, c := range s.credentials {
		switch {
		case c.fault != "":
			out = append(out, Certificate{Name: name, Problem: c.fault})
		case len(c.chain) == 0:
			out = append(out, Certificate{Name: name, Subject: signature.Describe(c.key.Public())})
		default:
			for _, x := range c.chain {
				out = append(out, one(name, x))
			}
		}
	}
	for name, a := range s.authorities {
		if a.fault != "" {
			out = append(out, Certificate{Name: name, Problem: a.fault})
		}
		for _, x := range a.anchors {
			if y := one(name, x); y.Problem != "" {
				out = append(out, y)
			}
		}
	}
	slices.SortFunc(out, func(a, b Certificate) int {
		return strings.Compare(a.Name+"\x00"+a.Subject, b.Name+"\x00"+b.Subject)
	})
	return out
}

// Warnings are for the operator: what was handed over and cannot be used, though no connection stands or falls with it.
func (s *State) Warnings() []string { return s.warn }

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}
