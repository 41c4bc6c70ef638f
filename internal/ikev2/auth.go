package ikev2

// AuthMethod is how the AUTH payload was computed (RFC 7296 section 3.8).
type AuthMethod uint8

const (
	AuthRSA       AuthMethod = 1 // RSASSA-PKCS1-v1_5
	AuthSharedKey AuthMethod = 2 // shared key message integrity code
	AuthDSS       AuthMethod = 3
	AuthECDSA256  AuthMethod = 9  // RFC 4754: P-256 with SHA-256
	AuthECDSA384  AuthMethod = 10 // RFC 4754: P-384 with SHA-384
	AuthECDSA521  AuthMethod = 11 // RFC 4754: P-521 with SHA-512
	AuthPassword  AuthMethod = 12 // RFC 6467: generic secure password
	AuthNull      AuthMethod = 13 // RFC 7619
	AuthSignature AuthMethod = 14 // RFC 7427: digital signature
)

var authNames = []name[AuthMethod]{
	{AuthRSA, "RSA"}, {AuthSharedKey, "shared key"}, {AuthDSS, "DSS"}, {AuthECDSA256, "ECDSA P-256"}, {AuthECDSA384, "ECDSA P-384"},
	{AuthECDSA521, "ECDSA P-521"}, {AuthPassword, "secure password"}, {AuthNull, "NULL"}, {AuthSignature, "digital signature"},
}

// String names the method, or gives "AUTH_METHOD_n" for a number without a name.
func (m AuthMethod) String() string { return textOf(authNames, "AUTH_METHOD", m) }

// MarshalText writes what String returns.
func (m AuthMethod) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// HashID is a hash algorithm of the SIGNATURE_HASH_ALGORITHMS notify (RFC 7427 section 4).
type HashID uint16

const (
	HashSHA1     HashID = 1
	HashSHA2_256 HashID = 2
	HashSHA2_384 HashID = 3
	HashSHA2_512 HashID = 4
	HashIdentity HashID = 5 // RFC 8420: the octets are signed as they are
)

var hashNames = []name[HashID]{
	{HashSHA1, "SHA1"}, {HashSHA2_256, "SHA2-256"}, {HashSHA2_384, "SHA2-384"}, {HashSHA2_512, "SHA2-512"}, {HashIdentity, "Identity"},
}

// String returns the IANA name, or "HASH_n" for a number without one.
func (h HashID) String() string { return textOf(hashNames, "HASH", h) }

// MarshalText writes what String returns.
func (h HashID) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// CertEncoding is the form of a certificate or of a certificate request (RFC 7296 section 3.6).
type CertEncoding uint8

const (
	CertPKCS7         CertEncoding = 1
	CertPGP           CertEncoding = 2
	CertDNSKey        CertEncoding = 3
	CertX509Signature CertEncoding = 4
	CertKerberos      CertEncoding = 6
	CertCRL           CertEncoding = 7
	CertARL           CertEncoding = 8
	CertSPKI          CertEncoding = 9
	CertX509Attribute CertEncoding = 10
	CertRawRSA        CertEncoding = 11 // deprecated by RFC 7670
	CertHashURL       CertEncoding = 12 // hash and URL of an X.509 certificate
	CertHashURLBundle CertEncoding = 13
	CertOCSP          CertEncoding = 14 // RFC 4806
	CertRawPublicKey  CertEncoding = 15 // RFC 7670: DER SubjectPublicKeyInfo
)

var certNames = []name[CertEncoding]{
	{CertPKCS7, "PKCS#7"}, {CertPGP, "PGP"}, {CertDNSKey, "DNS key"}, {CertX509Signature, "X.509"}, {CertKerberos, "Kerberos"},
	{CertCRL, "CRL"}, {CertARL, "ARL"}, {CertSPKI, "SPKI"}, {CertX509Attribute, "X.509 attribute"}, {CertRawRSA, "raw RSA key"},
	{CertHashURL, "hash and URL"}, {CertHashURLBundle, "hash and URL bundle"}, {CertOCSP, "OCSP"}, {CertRawPublicKey, "raw public key"},
}

// String names the encoding, or gives "CERT_n" for a number without a name.
func (e CertEncoding) String() string { return textOf(certNames, "CERT", e) }

// MarshalText writes what String returns.
func (e CertEncoding) MarshalText() ([]byte, error) { return []byte(e.String()), nil }
