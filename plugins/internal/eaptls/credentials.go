package eaptls

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Names of the settings that every TLS based method has.
const (
	SettingCertificate = "certificate"
	SettingKey         = "key"
	SettingCA          = "ca"
	SettingCRL         = "crl"
	SettingStaple      = "ocsp-response"
	SettingOCSP        = "ocsp"
	SettingMinVersion  = "min-version"
	SettingEMS         = "extended-master-secret"
	SettingMaxVersion  = "max-version"
	SettingServerName  = "server-name"
	SettingFragment    = "fragment-size"
)

// Settings describes them.
func Settings() []eapsdk.Setting {
	return []eapsdk.Setting{
		{Name: SettingCertificate, Secret: true, Help: "PEM: our certificate, then those between it and the authority"},
		{Name: SettingKey, Secret: true, Help: "PEM: the private key of the certificate, not encrypted"},
		{Name: SettingCA, Secret: true, Help: "PEM: the authorities that the other side's certificate must come from"},
		{Name: SettingCRL, Secret: true, Help: "PEM: revocation lists; with them, every certificate below an authority must be on the clear side of a current list"},
		{Name: SettingStaple, Secret: true, Help: "as a server: the OCSP response about our certificate, DER, which goes along with it"},
		{Name: SettingOCSP, Help: "as a client: optional or required, the OCSP response that goes along with the server's certificate (default optional)"},
		{Name: SettingMinVersion, Help: "1.2 or 1.3: the lowest TLS that we speak (default 1.2)"},
		{Name: SettingMaxVersion, Help: "1.2 or 1.3: the highest TLS that we speak (default 1.3)"},
		{Name: SettingEMS, Help: "optional or required, of a peer of TLS 1.2 (default optional; strongSwan has none)"},
		{Name: SettingServerName, Help: "as a client: the name that the server's certificate must have (default: the name that the gateway proved by IKE)"},
		{Name: SettingFragment, Help: fmt.Sprintf("octets of an EAP packet that we send, %d to %d (default %d)", MinFragment, MaxFragment, DefaultFragment)},
	}
}

// Least key sizes in bits of every certificate below the authority.
const (
	MinRSA   = 2048
	MinECDSA = 256
)

// Bounds of what the other side's certificate message and our files may hold.
const (
	maxChain = 8
	maxPEM   = 1 << 20 // octets of a PEM secret, but for revocation lists
	maxCRL   = 50 << 20
)

// Credentials is what the policy gives a TLS based method. It is not changed after ParseCredentials, so sessions share it.
type Credentials struct {
	Certificate *tls.Certificate // nil when none is given
	Roots       *x509.CertPool   // nil when no authority is given
	ServerName  string
	Fragment    int
	NeedEMS     bool // RFC 7627
	// Now is for tests; nil is the clock.
	Now func() time.Time

	min, max uint16
	ocsp     bool // a server's certificate has to come with an OCSP response
	lists    []*revocations
}

// ParseCredentials reads the settings. Its errors name the setting, and never what is in it.
func ParseCredentials(c eapsdk.Config) (*Credentials, error) {
	out := &Credentials{ServerName: c.Values[SettingServerName], min: tls.VersionTLS12, max: tls.VersionTLS13, Fragment: DefaultFragment}
	var errs []error
	say := func(setting string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", setting, err))
		}
	}
	var err error
	out.min, err = parseVersion(c.Values[SettingMinVersion], tls.VersionTLS12)
	say(SettingMinVersion, err)
	out.max, err = parseVersion(c.Values[SettingMaxVersion], tls.VersionTLS13)
	say(SettingMaxVersion, err)
	if out.min > out.max {
		say(SettingMinVersion, errors.New("is above max-version"))
	}
	if v := c.Values[SettingFragment]; v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < MinFragment || n > MaxFragment {
			say(SettingFragment, fmt.Errorf("%q is not a number from %d to %d", v, MinFragment, MaxFragment))
		}
		out.Fragment = n
	}
	if len(c.Secrets[SettingCA]) > 0 {
		out.Roots, err = authorities(c.Secrets[SettingCA])
		say(SettingCA, err)
	}
	out.lists, err = revocationLists(c.Secrets[SettingCRL])
	say(SettingCRL, err)
	out.ocsp, err = required(c.Values[SettingOCSP])
	say(SettingOCSP, err)
	out.NeedEMS, err = required(c.Values[SettingEMS])
	say(SettingEMS, err)
	chain, key := c.Secrets[SettingCertificate], c.Secrets[SettingKey]
	switch {
	case len(chain) > 0 && len(key) > 0:
		out.Certificate, err = keyPair(chain, key)
		say(SettingCertificate, err)
		if staple := c.Secrets[SettingStaple]; err == nil && len(staple) > 0 {
			out.Certificate.OCSPStaple = staple
			say(SettingStaple, out.ownStaple())
		}
	case len(chain) > 0:
		say(SettingKey, errors.New("is missing, and certificate is there"))
	case len(key) > 0:
		say(SettingCertificate, errors.New("is missing, and key is there"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

func required(s string) (bool, error) {
	switch s {
	case "", "optional":
		return false, nil
	case "required":
		return true, nil
	}
	return false, fmt.Errorf("%q is neither optional nor required", s)
}

func parseVersion(s string, otherwise uint16) (uint16, error) {
	switch s {
	case "":
		return otherwise, nil
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return otherwise, fmt.Errorf("%q is neither 1.2 nor 1.3", s)
}

func keyPair(chain, key []byte) (*tls.Certificate, error) {
	if len(chain) > maxPEM || len(key) > maxPEM {
		return nil, fmt.Errorf("is longer than %d octets", maxPEM)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("does not go with key: %w", err)
	}
	if err := strong(pair.Leaf); err != nil {
		return nil, err
	}
	return &pair, nil
}

// blocks gives the PEM blocks of one kind. Others are an error: a key among the authorities is a mix-up.
func blocks(b []byte, kind string, most int) ([][]byte, error) {
	if len(b) > most {
		return nil, fmt.Errorf("is longer than %d octets", most)
	}
	var out [][]byte
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != kind {
			return nil, fmt.Errorf("holds a PEM block %q where %q belongs", block.Type, kind)
		}
		out = append(out, block.Bytes)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("holds no PEM block %q", kind)
	}
	return out, nil
}

func authorities(b []byte) (*x509.CertPool, error) {
	ders, err := blocks(b, "CERTIFICATE", maxPEM)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for i, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		pool.AddCert(cert)
	}
	return pool, nil
}

// strong refuses keys that are too short for today.
func strong(cert *x509.Certificate) error {
	switch k := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < MinRSA {
			return fmt.Errorf("the certificate of %q has an RSA key of %d bits; %d is the least", cert.Subject, bits, MinRSA)
		}
	case *ecdsa.PublicKey:
		if bits := k.Curve.Params().BitSize; bits < MinECDSA {
			return fmt.Errorf("the certificate of %q has an ECDSA key of %d bits; %d is the least", cert.Subject, bits, MinECDSA)
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("the certificate of %q has a key of a kind that we do not use (%s)", cert.Subject, cert.PublicKeyAlgorithm)
	}
	return nil
}
