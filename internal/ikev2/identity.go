package ikev2

// IDType is the type of an identification payload (RFC 7296 section 3.5).
type IDType uint8

const (
	ID_IPV4_ADDR   IDType = 1
	ID_FQDN        IDType = 2
	ID_RFC822_ADDR IDType = 3
	ID_IPV6_ADDR   IDType = 5
	ID_DER_ASN1_DN IDType = 9
	ID_DER_ASN1_GN IDType = 10
	ID_KEY_ID      IDType = 11
	ID_NULL        IDType = 13
)

var idNames = []name[IDType]{
	{ID_IPV4_ADDR, "ID_IPV4_ADDR"}, {ID_FQDN, "ID_FQDN"}, {ID_RFC822_ADDR, "ID_RFC822_ADDR"}, {ID_IPV6_ADDR, "ID_IPV6_ADDR"},
	{ID_DER_ASN1_DN, "ID_DER_ASN1_DN"}, {ID_DER_ASN1_GN, "ID_DER_ASN1_GN"}, {ID_KEY_ID, "ID_KEY_ID"}, {ID_NULL, "ID_NULL"},
}

func (t IDType) String() string { return textOf(idNames, "ID", t) }

// MarshalText writes 0, which is no type, as nothing: a policy's peer may be anybody.
func (t IDType) MarshalText() ([]byte, error) {
	if t == 0 {
		return nil, nil
	}
	return []byte(t.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (t *IDType) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*t = 0
		return nil
	}
	*t, err = idOf(idNames, "identity type", b)
	return err
}
