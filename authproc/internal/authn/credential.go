package authn

import (
	"crypto"
	"crypto/sha1" //nolint:gosec // RFC 7296 section 3.7 names authorities by it
	"crypto/x509"
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/authproc/internal/pki"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// File is the content of one of the plan's files that are no secrets, as it was found.
type File struct {
	Kind string // "certificate", "authority" or "crl"
	Name string // of the certificate or authority
	Data []byte
	Err  error
}

// credential is one of our own keys, with its certificate unless it goes alone.
type credential struct {
	key   crypto.Signer
	chain []*x509.Certificate // leaf first; empty for a raw key
	certs []msg.Cert
	fault string
}

// authority is what a peer may chain to.
type authority struct {
	anchors []*x509.Certificate
	raw     crypto.PublicKey
	spki    []byte // of a raw key
	fault   string
}

// loadCredentials reads what the plan names. A fault stays with what has it.
func (s *State) loadCredentials(view plan.AuthView, files []File, missing map[string]string) {
	content := func(kind, name, inline string) ([]byte, string) {
		if inline != "" {
			return []byte(inline), ""
		}
		for _, f := range files {
			if f.Kind == kind && f.Name == name {
				if f.Err != nil {
					return nil, f.Err.Error()
				}
				return f.Data, ""
			}
		}
		return nil, "its file was not handed over"
	}
	for _, a := range view.Authorities {
		s.authorities[a.Name] = newAuthority(a, content)
	}
	for _, f := range files {
		a := s.authorities[f.Name]
		if f.Kind != "crl" || a == nil {
			continue
		}
		err := f.Err
		if err == nil {
			_, err = s.lists.Add(f.Data, a.anchors)
		}
		if err != nil {
			s.warn = append(s.warn, fmt.Sprintf("authority %q: revocation list: %v", f.Name, err))
		}
	}
	for _, c := range view.Certificates {
		s.credentials[c.Name] = s.newCredential(c, content, missing)
	}
}

func newAuthority(a plan.Authority, content func(kind, name, inline string) ([]byte, string)) *authority {
	b, fault := content("authority", a.Name, a.PEM)
	if fault != "" {
		return &authority{fault: fault}
	}
	if a.Raw {
		k, err := pki.PublicKey(b)
		if err != nil {
			return &authority{fault: err.Error()}
		}
		return &authority{raw: k, spki: pki.SPKI(b)}
	}
	cs, err := pki.Certificates(b)
	if err != nil {
		return &authority{fault: err.Error()}
	}
	return &authority{anchors: cs}
}

func (s *State) newCredential(c plan.Certificate, content func(kind, name, inline string) ([]byte, string), missing map[string]string) *credential {
	fail := func(format string, args ...any) *credential { return &credential{fault: fmt.Sprintf(format, args...)} }
	for _, name := range []string{c.Key, c.Passphrase} {
		if why := missing[name]; name != "" && why != "" {
			return fail("secret %q: %s", name, why)
		}
	}
	key, err := pki.Key(s.keys[c.Key].Reveal(), s.keys[c.Passphrase].Reveal())
	if err != nil {
		return fail("the key in secret %q: %v", c.Key, err)
	}
	if c.Raw {
		spki, err := pki.MarshalSPKI(key.Public())
		if err != nil {
			return fail("the key in secret %q: %v", c.Key, err)
		}
		return &credential{key: key, certs: []msg.Cert{{Encoding: ikev2.CertRawPublicKey, Data: spki}}}
	}
	b, fault := content("certificate", c.Name, c.PEM)
	if fault != "" {
		return fail("%s", fault)
	}
	chain, err := pki.Certificates(b)
	if err != nil {
		return fail("%v", err)
	}
	if len(chain) > pki.MaxChain {
		return fail("its file holds %d certificates, at most %d are sent", len(chain), pki.MaxChain)
	}
	public, err := pki.Public(chain[0])
	if err != nil {
		return fail("%v", err)
	}
	if !pki.Matches(key, public) {
		return fail("the key in secret %q is not that of certificate %s, which comes first in the file", c.Key, pki.Title(chain[0]))
	}
	out := &credential{key: key, chain: chain}
	for _, x := range chain {
		if len(out.certs) > 0 && string(x.RawSubject) == string(x.RawIssuer) {
			continue // a peer that trusts a root has it
		}
		out.certs = append(out.certs, msg.Cert{Encoding: ikev2.CertX509Signature, Data: x.Raw})
	}
	return out
}

// checkLocal holds a connection's own end against its certificate, and takes the identity from there where it is a name.
func (c *connection) checkLocal(id plan.Identity, cred *credential, now time.Time) string {
	switch {
	case cred == nil:
		return fmt.Sprintf("certificate %q is not in the plan", c.localAuth.Certificate)
	case cred.fault != "":
		return fmt.Sprintf("certificate %q: %s", c.localAuth.Certificate, cred.fault)
	case len(cred.chain) == 0:
		return ""
	}
	leaf := cred.chain[0]
	if id.Type == ikev2.ID_DER_ASN1_DN {
		want, err := pki.ParseDN(id.Data)
		have, err2 := pki.ReadDN(leaf.RawSubject)
		if err != nil || err2 != nil || !want.Matches(have) {
			return fmt.Sprintf("certificate %q names %s, and our identity is to be %q", c.localAuth.Certificate, pki.All(leaf), id.Data)
		}
		c.local = msg.ID{Type: id.Type, Data: leaf.RawSubject}
	} else if err := pki.Names(leaf, c.local); err != nil {
		return fmt.Sprintf("certificate %q does not fit our identity %s: %v", c.localAuth.Certificate, text(c.local), err)
	}
	if now.After(leaf.NotAfter) {
		return fmt.Sprintf("certificate %q ended on %s", c.localAuth.Certificate, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return ""
}

// checkRemote sees that the authorities of a connection can be used: one at least.
func (s *State) checkRemote(c *connection) string {
	why := "no authority is named"
	for _, name := range c.remoteAuth.Authorities {
		a := s.authorities[name]
		switch {
		case a == nil:
			why = fmt.Sprintf("authority %q is not in the plan", name)
		case a.fault != "":
			why = fmt.Sprintf("authority %q: %s", name, a.fault)
		default:
			return ""
		}
	}
	return why
}

// requests are the CERTREQs for a connection: the authorities by the SHA-1 of their keys (RFC 7296 section 3.7), and raw keys where those are taken.
func (s *State) requests(names []string) (out []msg.Cert) {
	var hashes []byte
	raw := false
	for _, name := range names {
		a := s.authorities[name]
		if a == nil || a.fault != "" {
			continue
		}
		raw = raw || a.raw != nil
		for _, c := range a.anchors {
			h := sha1.Sum(c.RawSubjectPublicKeyInfo) //nolint:gosec // a name, no proof
			if len(hashes) < 20*512 {
				hashes = append(hashes, h[:]...)
			}
		}
	}
	if len(hashes) > 0 {
		out = append(out, msg.Cert{Encoding: ikev2.CertX509Signature, Data: hashes})
	}
	if raw {
		out = append(out, msg.Cert{Encoding: ikev2.CertRawPublicKey})
	}
	return out
}

// Requests are the CERTREQs for whoever may come: what a responder says before it knows who that is.
func (s *State) Requests() []msg.Cert {
	seen := map[string]bool{}
	var names []string
	for _, c := range s.conns {
		for _, a := range c.remoteAuth.Authorities {
			if !seen[a] && c.remoteAuth.Method == plan.AuthCertificate {
				seen[a] = true
				names = append(names, a)
			}
		}
	}
	return s.requests(sorted(names))
}
