package plan

import (
	"net/netip"
	"slices"
)

// Bounds on what a plan says of credentials and addresses.
const (
	MaxAuthorities = 1024 // trust anchors of a plan, and of one connection
	MaxPlugins     = 64
	MaxPools       = 4096
	MaxGroups      = 64        // of one connection
	MaxInline      = 256 << 10 // octets of a certificate that stands in the plan
	MinInterim     = 10        // seconds between interim records
	MaxInterim     = 86400
)

// Certificate is one of the gateway's own: a chain, leaf first, and the key that belongs to it. PEM or File holds the chain.
type Certificate struct {
	Name string `json:"name"`
	PEM  string `json:"pem,omitempty"`  // the chain itself: certificates are no secrets
	File string `json:"file,omitempty"` // absolute path on the gateway; read again at each apply
	// Key names the secret that holds the private key (PKCS #8, PKCS #1 or SEC 1, PEM or DER). Passphrase names the one that opens it, "" for a key that is not encrypted.
	Key        string `json:"key"`
	Passphrase string `json:"passphrase,omitempty"`
	// Raw: the key is used without certificate (RFC 7670); then PEM and File are empty.
	Raw bool `json:"raw,omitempty"`
	Pos Pos  `json:"pos"`
}

// Authority is a trust anchor, or a peer's raw public key. PEM or File holds it.
type Authority struct {
	Name string `json:"name"`
	PEM  string `json:"pem,omitempty"`
	File string `json:"file,omitempty"` // absolute path on the gateway; read again at each apply
	// Raw: it is a SubjectPublicKeyInfo (RFC 7670), PEM "PUBLIC KEY", and no certificate.
	Raw bool `json:"raw,omitempty"`
	// CRLFiles are revocation lists on the gateway, PEM or DER; read again at each apply.
	CRLFiles []string `json:"crl_files,omitempty"`
	// CRL and OCSP are http URLs that stand in for those that the certificates name.
	CRL  []string `json:"crl,omitempty"`
	OCSP []string `json:"ocsp,omitempty"`
	Pos  Pos      `json:"pos"`
}

// Revocation says how hard authproc looks whether a certificate was revoked.
type Revocation string

const (
	RevocationOff     Revocation = ""        // not at all
	RevocationPrefer  Revocation = "prefer"  // refuse what is known to be revoked, accept what nothing is known of
	RevocationRequire Revocation = "require" // refuse what is not known to be good
)

// Plugin is one EAP method process.
type Plugin struct {
	Name   string `json:"name"`
	File   string `json:"file"`   // absolute path of the executable on the gateway
	SHA256 string `json:"sha256"` // of the file's octets, lower-case hex: triked starts nothing else
	// Network: it may use the network (a RADIUS relay); otherwise it has a network namespace without interfaces.
	Network bool `json:"network,omitempty"`
	// MemoryMB and Processes bound it; 0: 256 MB and 64.
	MemoryMB  int            `json:"memory_mb,omitempty"`
	Processes int            `json:"processes,omitempty"`
	Values    []PluginValue  `json:"values,omitempty"`  // sorted by name
	Secrets   []PluginSecret `json:"secrets,omitempty"` // sorted by name
	Pos       Pos            `json:"pos"`
}

// PluginValue is one setting of a plugin that is no secret.
type PluginValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// PluginSecret is one setting of a plugin whose value a secret file holds.
type PluginSecret struct {
	Name   string `json:"name"`
	Secret string `json:"secret"` // name in Plan.Secrets
}

// Pool is a range of addresses to give to peers (RFC 7296 section 2.19).
type Pool struct {
	Name  string     `json:"name"`
	First netip.Addr `json:"first"` // First and Last are of one family; both count
	Last  netip.Addr `json:"last"`
	Pos   Pos        `json:"pos"`
}

// Configure is what a peer of a connection is told in the configuration payload (RFC 7296 section 3.15).
type Configure struct {
	Pools   []string       `json:"pools,omitempty"`   // names in Plan.Pools; the first of each family with a free address gives one
	DNS     []netip.Addr   `json:"dns,omitempty"`     // INTERNAL_IP4_DNS and INTERNAL_IP6_DNS
	Domains []string       `json:"domains,omitempty"` // INTERNAL_DNS_DOMAIN (RFC 8598)
	Subnets []netip.Prefix `json:"subnets,omitempty"` // INTERNAL_IP4_SUBNET and INTERNAL_IP6_SUBNET
}

// Request is what this gateway asks a peer for as its client.
type Request struct {
	IPv4 bool `json:"ipv4,omitempty"`
	IPv6 bool `json:"ipv6,omitempty"`
	// Accept are the prefixes that an address must be from, at least one where an address is asked for.
	Accept []netip.Prefix `json:"accept,omitempty"`
}

// Accounting says which plugin is told of a connection's sessions.
type Accounting struct {
	Plugin  string `json:"plugin,omitempty"`
	Interim int    `json:"interim,omitempty"` // seconds between counters, 0: none
}

// Equal tells whether two ends prove who they are in the same way.
func (a Auth) Equal(b Auth) bool {
	return a.Method == b.Method && a.Secret == b.Secret && a.Certificate == b.Certificate && slices.Equal(a.Authorities, b.Authorities) &&
		slices.Equal(a.Schemes, b.Schemes) && a.MinRSABits == b.MinRSABits && a.Revocation == b.Revocation && slices.Equal(a.EAP, b.EAP) &&
		a.EAPIdentity == b.EAPIdentity && a.AskIdentity == b.AskIdentity && a.EAPOnly == b.EAPOnly && slices.Equal(a.Groups, b.Groups)
}
