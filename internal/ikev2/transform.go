package ikev2

import "fmt"

// TransformType is the kind of a transform in a proposal (RFC 7296 section 3.3.2).
type TransformType uint8

const (
	TransformENCR   TransformType = 1
	TransformPRF    TransformType = 2
	TransformINTEG  TransformType = 3
	TransformKE     TransformType = 4 // was D-H; renamed by RFC 9370
	TransformSN     TransformType = 5 // was ESN; renamed by RFC 9827
	TransformADDKE1 TransformType = 6 // ADDKE1..ADDKE7 are 6..12, RFC 9370
	TransformADDKE7 TransformType = 12
)

func (t TransformType) String() string {
	switch {
	case t == TransformENCR:
		return "ENCR"
	case t == TransformPRF:
		return "PRF"
	case t == TransformINTEG:
		return "INTEG"
	case t == TransformKE:
		return "KE"
	case t == TransformSN:
		return "SN"
	case t >= TransformADDKE1 && t <= TransformADDKE7:
		return fmt.Sprintf("ADDKE%d", t-TransformADDKE1+1)
	}
	return fmt.Sprintf("transform type %d", uint8(t))
}

// EncrID is an encryption algorithm (transform type 1).
type EncrID uint16

const (
	ENCR_3DES              EncrID = 3
	ENCR_NULL              EncrID = 11
	ENCR_AES_CBC           EncrID = 12
	ENCR_AES_CTR           EncrID = 13
	ENCR_AES_CCM_8         EncrID = 14
	ENCR_AES_CCM_12        EncrID = 15
	ENCR_AES_CCM_16        EncrID = 16
	ENCR_AES_GCM_8         EncrID = 18
	ENCR_AES_GCM_12        EncrID = 19
	ENCR_AES_GCM_16        EncrID = 20
	ENCR_NULL_AUTH_GMAC    EncrID = 21
	ENCR_CHACHA20_POLY1305 EncrID = 28
)

// PRFID is a pseudorandom function (transform type 2).
type PRFID uint16

const (
	PRF_HMAC_MD5      PRFID = 1
	PRF_HMAC_SHA1     PRFID = 2
	PRF_AES128_XCBC   PRFID = 4
	PRF_HMAC_SHA2_256 PRFID = 5
	PRF_HMAC_SHA2_384 PRFID = 6
	PRF_HMAC_SHA2_512 PRFID = 7
	PRF_AES128_CMAC   PRFID = 8
)

// IntegID is an integrity algorithm (transform type 3).
type IntegID uint16

const (
	AUTH_NONE              IntegID = 0
	AUTH_HMAC_MD5_96       IntegID = 1
	AUTH_HMAC_SHA1_96      IntegID = 2
	AUTH_AES_XCBC_96       IntegID = 5
	AUTH_AES_CMAC_96       IntegID = 8
	AUTH_HMAC_SHA2_256_128 IntegID = 12
	AUTH_HMAC_SHA2_384_192 IntegID = 13
	AUTH_HMAC_SHA2_512_256 IntegID = 14
)

// KEID is a key exchange method (transform types 4 and 6..12).
type KEID uint16

const (
	KE_NONE       KEID = 0
	KE_MODP768    KEID = 1
	KE_MODP1024   KEID = 2
	KE_MODP1536   KEID = 5
	KE_MODP2048   KEID = 14
	KE_MODP3072   KEID = 15
	KE_MODP4096   KEID = 16
	KE_MODP6144   KEID = 17
	KE_MODP8192   KEID = 18
	KE_ECP256     KEID = 19
	KE_ECP384     KEID = 20
	KE_ECP521     KEID = 21
	KE_CURVE25519 KEID = 31
	KE_CURVE448   KEID = 32
	KE_MLKEM512   KEID = 35
	KE_MLKEM768   KEID = 36
	KE_MLKEM1024  KEID = 37
)

// SNID is a sequence number format (transform type 5, RFC 9827; 1 is ESN of RFC 4304).
type SNID uint16

const (
	SN_32  SNID = 0 // 32-bit sequential numbers: no ESN
	SN_ESN SNID = 1 // partially transmitted 64-bit sequential numbers: ESN
)

// name pairs a code point with its registry name. Tables are short; a scan is clearer than a map each way.
type name[T ~uint8 | ~uint16] struct {
	id   T
	text string
}

var encrNames = []name[EncrID]{
	{ENCR_3DES, "ENCR_3DES"}, {ENCR_NULL, "ENCR_NULL"}, {ENCR_AES_CBC, "ENCR_AES_CBC"}, {ENCR_AES_CTR, "ENCR_AES_CTR"},
	{ENCR_AES_CCM_8, "ENCR_AES_CCM_8"}, {ENCR_AES_CCM_12, "ENCR_AES_CCM_12"}, {ENCR_AES_CCM_16, "ENCR_AES_CCM_16"},
	{ENCR_AES_GCM_8, "ENCR_AES_GCM_8"}, {ENCR_AES_GCM_12, "ENCR_AES_GCM_12"}, {ENCR_AES_GCM_16, "ENCR_AES_GCM_16"},
	{ENCR_NULL_AUTH_GMAC, "ENCR_NULL_AUTH_AES_GMAC"}, {ENCR_CHACHA20_POLY1305, "ENCR_CHACHA20_POLY1305"},
}

var prfNames = []name[PRFID]{
	{PRF_HMAC_MD5, "PRF_HMAC_MD5"}, {PRF_HMAC_SHA1, "PRF_HMAC_SHA1"}, {PRF_AES128_XCBC, "PRF_AES128_XCBC"},
	{PRF_HMAC_SHA2_256, "PRF_HMAC_SHA2_256"}, {PRF_HMAC_SHA2_384, "PRF_HMAC_SHA2_384"}, {PRF_HMAC_SHA2_512, "PRF_HMAC_SHA2_512"},
	{PRF_AES128_CMAC, "PRF_AES128_CMAC"},
}

var integNames = []name[IntegID]{
	{AUTH_NONE, "NONE"}, {AUTH_HMAC_MD5_96, "AUTH_HMAC_MD5_96"}, {AUTH_HMAC_SHA1_96, "AUTH_HMAC_SHA1_96"},
	{AUTH_AES_XCBC_96, "AUTH_AES_XCBC_96"}, {AUTH_AES_CMAC_96, "AUTH_AES_CMAC_96"},
	{AUTH_HMAC_SHA2_256_128, "AUTH_HMAC_SHA2_256_128"}, {AUTH_HMAC_SHA2_384_192, "AUTH_HMAC_SHA2_384_192"},
	{AUTH_HMAC_SHA2_512_256, "AUTH_HMAC_SHA2_512_256"},
}

var keNames = []name[KEID]{
	{KE_NONE, "NONE"}, {KE_MODP768, "MODP768"}, {KE_MODP1024, "MODP1024"}, {KE_MODP1536, "MODP1536"}, {KE_MODP2048, "MODP2048"},
	{KE_MODP3072, "MODP3072"}, {KE_MODP4096, "MODP4096"}, {KE_MODP6144, "MODP6144"}, {KE_MODP8192, "MODP8192"},
	{KE_ECP256, "ECP256"}, {KE_ECP384, "ECP384"}, {KE_ECP521, "ECP521"}, {KE_CURVE25519, "CURVE25519"}, {KE_CURVE448, "CURVE448"},
	{KE_MLKEM512, "ML_KEM_512"}, {KE_MLKEM768, "ML_KEM_768"}, {KE_MLKEM1024, "ML_KEM_1024"},
}

var snNames = []name[SNID]{{SN_32, "32_BIT"}, {SN_ESN, "ESN"}}

func textOf[T ~uint8 | ~uint16](table []name[T], kind string, id T) string {
	for _, n := range table {
		if n.id == id {
			return n.text
		}
	}
	return fmt.Sprintf("%s_%d", kind, uint16(id))
}

func idOf[T ~uint8 | ~uint16](table []name[T], kind string, text []byte) (T, error) {
	for _, n := range table {
		if n.text == string(text) {
			return n.id, nil
		}
	}
	return 0, fmt.Errorf("unknown %s %q", kind, text)
}

// String returns the IANA name, or "ENCR_n" for a number without one.
func (id EncrID) String() string { return textOf(encrNames, "ENCR", id) }

// MarshalText writes the IANA name.
func (id EncrID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText accepts exactly an IANA name that this package knows.
func (id *EncrID) UnmarshalText(b []byte) (err error) {
	*id, err = idOf(encrNames, "encryption algorithm", b)
	return err
}

// IsAEAD reports whether the cipher carries its own integrity (RFC 5282), so that no INTEG transform goes with it.
func (id EncrID) IsAEAD() bool {
	return id >= ENCR_AES_CCM_8 && id <= ENCR_AES_GCM_16 || id == ENCR_CHACHA20_POLY1305
}

func (id PRFID) String() string               { return textOf(prfNames, "PRF", id) }
func (id PRFID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }
func (id *PRFID) UnmarshalText(b []byte) (err error) {
	*id, err = idOf(prfNames, "pseudorandom function", b)
	return err
}

func (id IntegID) String() string               { return textOf(integNames, "INTEG", id) }
func (id IntegID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }
func (id *IntegID) UnmarshalText(b []byte) (err error) {
	*id, err = idOf(integNames, "integrity algorithm", b)
	return err
}

func (id KEID) String() string               { return textOf(keNames, "KE", id) }
func (id KEID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }
func (id *KEID) UnmarshalText(b []byte) (err error) {
	*id, err = idOf(keNames, "key exchange method", b)
	return err
}

// IsKEM reports whether the responder encapsulates to the initiator's public key, so that the two sides' key
// exchange payloads differ in size (draft-ietf-ipsecme-ikev2-mlkem).
func (id KEID) IsKEM() bool { return id >= KE_MLKEM512 && id <= KE_MLKEM1024 }

func (id SNID) String() string               { return textOf(snNames, "SN", id) }
func (id SNID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }
func (id *SNID) UnmarshalText(b []byte) (err error) {
	*id, err = idOf(snNames, "sequence number format", b)
	return err
}
