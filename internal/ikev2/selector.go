package ikev2

// TSType is the form of a traffic selector (RFC 7296 section 3.13.1).
type TSType uint8

const (
	TS_IPV4_ADDR_RANGE TSType = 7
	TS_IPV6_ADDR_RANGE TSType = 8
	TS_SECLABEL        TSType = 10 // RFC 9478
)

var tsNames = []name[TSType]{
	{TS_IPV4_ADDR_RANGE, "TS_IPV4_ADDR_RANGE"}, {TS_IPV6_ADDR_RANGE, "TS_IPV6_ADDR_RANGE"}, {TS_SECLABEL, "TS_SECLABEL"},
}

// String returns the IANA name, or "TS_n" for a number without one.
func (t TSType) String() string { return textOf(tsNames, "TS", t) }

// MarshalText writes what String returns.
func (t TSType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// CFGType is what a configuration payload does (RFC 7296 section 3.15).
type CFGType uint8

const (
	CFG_REQUEST CFGType = 1
	CFG_REPLY   CFGType = 2
	CFG_SET     CFGType = 3
	CFG_ACK     CFGType = 4
)

var cfgNames = []name[CFGType]{{CFG_REQUEST, "CFG_REQUEST"}, {CFG_REPLY, "CFG_REPLY"}, {CFG_SET, "CFG_SET"}, {CFG_ACK, "CFG_ACK"}}

// String returns the IANA name, or "CFG_n" for a number without one.
func (t CFGType) String() string { return textOf(cfgNames, "CFG", t) }

// MarshalText writes what String returns.
func (t CFGType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// CFGAttribute is a configuration attribute's type, 15 bits (RFC 7296 section 3.15.1).
type CFGAttribute uint16

const (
	INTERNAL_IP4_ADDRESS  CFGAttribute = 1
	INTERNAL_IP4_NETMASK  CFGAttribute = 2
	INTERNAL_IP4_DNS      CFGAttribute = 3
	INTERNAL_IP4_NBNS     CFGAttribute = 4
	INTERNAL_IP4_DHCP     CFGAttribute = 6
	APPLICATION_VERSION   CFGAttribute = 7
	INTERNAL_IP6_ADDRESS  CFGAttribute = 8
	INTERNAL_IP6_DNS      CFGAttribute = 10
	INTERNAL_IP6_DHCP     CFGAttribute = 12
	INTERNAL_IP4_SUBNET   CFGAttribute = 13
	SUPPORTED_ATTRIBUTES  CFGAttribute = 14
	INTERNAL_IP6_SUBNET   CFGAttribute = 15
	INTERNAL_DNS_DOMAIN   CFGAttribute = 25 // RFC 8598
	INTERNAL_DNSSEC_TA    CFGAttribute = 26 // RFC 8598
	ENCDNS_IP4            CFGAttribute = 27 // RFC 9464
	ENCDNS_IP6            CFGAttribute = 28 // RFC 9464
	ENCDNS_DIGEST_INFO    CFGAttribute = 29 // RFC 9464
	INTERNAL_IP6_LINK     CFGAttribute = 17 // RFC 5739
	INTERNAL_IP6_PREFIX   CFGAttribute = 18 // RFC 5739
	MIP6_HOME_PREFIX      CFGAttribute = 16 // RFC 5026
	HOME_AGENT_ADDRESS    CFGAttribute = 19 // RFC 5026
	P_CSCF_IP4_ADDRESS    CFGAttribute = 20 // RFC 7651
	P_CSCF_IP6_ADDRESS    CFGAttribute = 21 // RFC 7651
	TIMEOUT_LIVENESS_3GPP CFGAttribute = 24 // 3GPP TS 24.302
)

var cfgAttributeNames = []name[CFGAttribute]{
	{INTERNAL_IP4_ADDRESS, "INTERNAL_IP4_ADDRESS"}, {INTERNAL_IP4_NETMASK, "INTERNAL_IP4_NETMASK"}, {INTERNAL_IP4_DNS, "INTERNAL_IP4_DNS"},
	{INTERNAL_IP4_NBNS, "INTERNAL_IP4_NBNS"}, {INTERNAL_IP4_DHCP, "INTERNAL_IP4_DHCP"}, {APPLICATION_VERSION, "APPLICATION_VERSION"},
	{INTERNAL_IP6_ADDRESS, "INTERNAL_IP6_ADDRESS"}, {INTERNAL_IP6_DNS, "INTERNAL_IP6_DNS"}, {INTERNAL_IP6_DHCP, "INTERNAL_IP6_DHCP"},
	{INTERNAL_IP4_SUBNET, "INTERNAL_IP4_SUBNET"}, {SUPPORTED_ATTRIBUTES, "SUPPORTED_ATTRIBUTES"}, {INTERNAL_IP6_SUBNET, "INTERNAL_IP6_SUBNET"},
	{MIP6_HOME_PREFIX, "MIP6_HOME_PREFIX"}, {INTERNAL_IP6_LINK, "INTERNAL_IP6_LINK"}, {INTERNAL_IP6_PREFIX, "INTERNAL_IP6_PREFIX"},
	{HOME_AGENT_ADDRESS, "HOME_AGENT_ADDRESS"}, {P_CSCF_IP4_ADDRESS, "P_CSCF_IP4_ADDRESS"}, {P_CSCF_IP6_ADDRESS, "P_CSCF_IP6_ADDRESS"},
	{TIMEOUT_LIVENESS_3GPP, "TIMEOUT_PERIOD_FOR_LIVENESS_CHECK"}, {INTERNAL_DNS_DOMAIN, "INTERNAL_DNS_DOMAIN"},
	{INTERNAL_DNSSEC_TA, "INTERNAL_DNSSEC_TA"}, {ENCDNS_IP4, "ENCDNS_IP4"}, {ENCDNS_IP6, "ENCDNS_IP6"},
	{ENCDNS_DIGEST_INFO, "ENCDNS_DIGEST_INFO"},
}

// String returns the IANA name, or "CFG_ATTRIBUTE_n" for a number without one.
func (a CFGAttribute) String() string { return textOf(cfgAttributeNames, "CFG_ATTRIBUTE", a) }

// MarshalText writes what String returns.
func (a CFGAttribute) MarshalText() ([]byte, error) { return []byte(a.String()), nil }
