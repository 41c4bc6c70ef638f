package ikev2

// ExchangeType is the exchange that a message belongs to (RFC 7296 section 3.1).
type ExchangeType uint8

const (
	IKE_SA_INIT        ExchangeType = 34
	IKE_AUTH           ExchangeType = 35
	CREATE_CHILD_SA    ExchangeType = 36
	INFORMATIONAL      ExchangeType = 37
	IKE_SESSION_RESUME ExchangeType = 38 // RFC 5723
	IKE_INTERMEDIATE   ExchangeType = 43 // RFC 9242
	IKE_FOLLOWUP_KE    ExchangeType = 44 // RFC 9370
)

var exchangeNames = []name[ExchangeType]{
	{IKE_SA_INIT, "IKE_SA_INIT"}, {IKE_AUTH, "IKE_AUTH"}, {CREATE_CHILD_SA, "CREATE_CHILD_SA"}, {INFORMATIONAL, "INFORMATIONAL"},
	{IKE_SESSION_RESUME, "IKE_SESSION_RESUME"}, {IKE_INTERMEDIATE, "IKE_INTERMEDIATE"}, {IKE_FOLLOWUP_KE, "IKE_FOLLOWUP_KE"},
}

// String returns the IANA name, or "EXCHANGE_n" for a number without one.
func (t ExchangeType) String() string { return textOf(exchangeNames, "EXCHANGE", t) }

// MarshalText writes what String returns.
func (t ExchangeType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// PayloadType is the type of a payload, as the Next Payload field before it names it (RFC 7296 section 3.2).
type PayloadType uint8

const (
	PayloadNone    PayloadType = 0 // no next payload: the chain ends
	PayloadSA      PayloadType = 33
	PayloadKE      PayloadType = 34
	PayloadIDi     PayloadType = 35
	PayloadIDr     PayloadType = 36
	PayloadCERT    PayloadType = 37
	PayloadCERTREQ PayloadType = 38
	PayloadAUTH    PayloadType = 39
	PayloadNonce   PayloadType = 40
	PayloadNotify  PayloadType = 41
	PayloadDelete  PayloadType = 42
	PayloadVendor  PayloadType = 43
	PayloadTSi     PayloadType = 44
	PayloadTSr     PayloadType = 45
	PayloadSK      PayloadType = 46
	PayloadCP      PayloadType = 47
	PayloadEAP     PayloadType = 48
	PayloadSKF     PayloadType = 53 // RFC 7383
	PayloadPS      PayloadType = 54 // RFC 8019: puzzle solution
)

var payloadNames = []name[PayloadType]{
	{PayloadNone, "none"}, {PayloadSA, "SA"}, {PayloadKE, "KE"}, {PayloadIDi, "IDi"}, {PayloadIDr, "IDr"}, {PayloadCERT, "CERT"},
	{PayloadCERTREQ, "CERTREQ"}, {PayloadAUTH, "AUTH"}, {PayloadNonce, "Nonce"}, {PayloadNotify, "N"}, {PayloadDelete, "D"},
	{PayloadVendor, "V"}, {PayloadTSi, "TSi"}, {PayloadTSr, "TSr"}, {PayloadSK, "SK"}, {PayloadCP, "CP"}, {PayloadEAP, "EAP"},
	{PayloadSKF, "SKF"}, {PayloadPS, "PS"},
}

// String returns the RFC's notation ("SA", "IDi", "N"), or "PAYLOAD_n" for a number without one.
func (t PayloadType) String() string { return textOf(payloadNames, "PAYLOAD", t) }

// MarshalText writes what String returns.
func (t PayloadType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// ProtocolID is the protocol that a proposal, notify or delete speaks of (RFC 7296 section 3.3.1).
type ProtocolID uint8

const (
	ProtocolNone ProtocolID = 0 // notifies that speak of no particular SA
	ProtocolIKE  ProtocolID = 1
	ProtocolAH   ProtocolID = 2
	ProtocolESP  ProtocolID = 3
)

var protocolNames = []name[ProtocolID]{{ProtocolNone, "none"}, {ProtocolIKE, "IKE"}, {ProtocolAH, "AH"}, {ProtocolESP, "ESP"}}

// String returns the IANA name, or "PROTOCOL_n" for a number without one.
func (p ProtocolID) String() string { return textOf(protocolNames, "PROTOCOL", p) }

// MarshalText writes what String returns.
func (p ProtocolID) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// AttrKeyLength is the only transform attribute of RFC 7296: the key's length in bits (section 3.3.5).
const AttrKeyLength = 14
