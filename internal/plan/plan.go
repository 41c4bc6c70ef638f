// Package plan is the contract between the compiler and the runtime: a checked, secret-free description of
// what one gateway does, and nothing else.
//
// One Go shape equals the file's shape: no maps, no floats, sorted slices of named structs, netip text for
// addresses, whole seconds for durations, IANA names for algorithms. Numbers that face the kernel (reqid,
// priority, if_id, mark) are fixed by the compiler, so a plan is the same on every run and machine.
//
//	p, err := plan.Decode(b)        // refuses anything that Encode would have written otherwise
//	h := p.Hash()                   // SHA-256 over the canonical form without positions
//	view := p.IKE()                 // what ikeproc may know; also p.Auth() and p.XFRM()
//	for _, c := range plan.Diff(old, p) { … }
package plan

import (
	"net/netip"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// Format is the version of the plan format that this package reads and writes.
const Format = 1

// Bounds on one plan. Decode refuses more.
const (
	MaxSize        = 256 << 20 // octets of a plan file
	MaxConnections = 100_000
	MaxChildren    = 256 // of one connection
	MaxSelectors   = 256 // of one side of a child
	MaxProposals   = 16  // of one negotiation
)

// Plan is all that one gateway does.
type Plan struct {
	Format   int          `json:"format"`
	Gateway  string       `json:"gateway"`  // name in the policy
	Datapath Datapath     `json:"datapath"` // which ESP carries the traffic
	Listen   []netip.Addr `json:"listen"`   // local addresses on which IKE is served, sorted, without duplicates
	Bypass   []Bypass     `json:"bypass"`   // traffic that leaves in clear by the policy's word, sorted by name
	Secrets  []Secret     `json:"secrets"`  // sorted by name
	// Credentials, plugins and pools stand in a plan only where a connection needs them; each sorted by name.
	Certificates []Certificate `json:"certificates,omitempty"`
	Authorities  []Authority   `json:"authorities,omitempty"`
	Plugins      []Plugin      `json:"plugins,omitempty"`
	Pools        []Pool        `json:"pools,omitempty"`
	Connections  []Connection  `json:"connections"` // sorted by name
	// Sources names the policy files that Pos.File counts into. It stands outside the hash, as do all positions.
	Sources []string `json:"sources"`
	// Sum is SHA-256, in lower-case hex, over a domain and the canonical form with Sum empty. Encode puts it in and Decode checks it: a plan that was changed after it was
	// compiled is refused. It keeps nobody from writing another plan; that is what a signature is for.
	Sum string `json:"sum"`
}

// Datapath says what carries ESP: the kernel's XFRM, the built-in ESP over TUN, or whichever a probe finds.
type Datapath string

const (
	DatapathAuto      Datapath = "auto"
	DatapathKernel    Datapath = "kernel"
	DatapathUserspace Datapath = "userspace"
)

// Pos is the place in the policy that an object came from: an index into Plan.Sources, a line and a column,
// both from 1. The zero Pos is unknown.
type Pos struct {
	File   int `json:"file"`
	Line   int `json:"line"`
	Column int `json:"column"`
}

// Secret is a reference to a secret, never the secret.
type Secret struct {
	Name string `json:"name"`
	File string `json:"file"` // absolute path on the gateway; triked opens it and hands authproc the descriptor
	// Credential is, in place of File, the name of a systemd credential of triked's unit ($CREDENTIALS_DIRECTORY); File is then "".
	Credential string `json:"credential,omitempty"`
	Pos        Pos    `json:"pos"`
}

// Bypass names traffic that may cross in clear although a child's selectors would cover it.
type Bypass struct {
	Name     string     `json:"name"`
	Local    []Selector `json:"local"`
	Remote   []Selector `json:"remote"`
	Priority uint32     `json:"priority"` // XFRM priority: lower wins
	Pos      Pos        `json:"pos"`
}

// Connection is one IKE SA's worth of policy.
type Connection struct {
	Name   string   `json:"name"`
	Local  Endpoint `json:"local"`
	Remote Endpoint `json:"remote"`
	// Auth of each side; the two may differ.
	LocalAuth  Auth          `json:"local_auth"`
	RemoteAuth Auth          `json:"remote_auth"`
	Configure  Configure     `json:"configure,omitzero"`  // what the peer is given
	Request    Request       `json:"request,omitzero"`    // what the peer is asked for
	Accounting Accounting    `json:"accounting,omitzero"` // who is told
	Proposals  []IKEProposal `json:"proposals"`           // in order of preference, at least one
	Initiate   Initiate      `json:"initiate"`
	Unique     Unique        `json:"unique"`
	DPD        DPD           `json:"dpd"`
	Lifetime   Lifetime      `json:"lifetime"` // of the IKE SA; Bytes and Packets are 0
	Retransmit Retransmit    `json:"retransmit"`
	// FragmentSize is the largest IP datagram, in octets with IP and UDP headers, that carries an IKE message before
	// it is fragmented by RFC 7383; 0 switches IKE fragmentation off.
	FragmentSize int `json:"fragment_size"`
	// Keepalive is the NAT keepalive interval in seconds (RFC 3948 section 4), 0 for none.
	Keepalive int `json:"keepalive"`
	// ForceEncap wraps ESP in UDP even where no NAT was found.
	ForceEncap bool    `json:"force_encap"`
	Children   []Child `json:"children"` // sorted by name, at least one
	Pos        Pos     `json:"pos"`
}

// Endpoint is one end of a connection.
type Endpoint struct {
	// Address is the IP address on the wire; invalid (an empty string in the file) means any, for the remote end only.
	Address netip.Addr `json:"address"`
	// ID is what this end calls itself in IDi or IDr. The remote one may be a pattern, or the zero Identity for whatever the peer proves, where the peer authenticates by
	// certificate or EAP.
	ID Identity `json:"id"`
}

// Identity is an IKE identity (RFC 7296 section 3.5). Data is the address, name, for a key ID lower-case hex, for ID_DER_ASN1_DN the name as text ("C=DE, O=Acme, CN=gw1",
// first attribute first). A pattern is "*.example.org", "*@example.org", or a DN some of whose values are "*".
type Identity struct {
	Type ikev2.IDType `json:"type"`
	Data string       `json:"data"`
}

// Auth says how an end proves who it is.
type Auth struct {
	Method AuthMethod `json:"method"`
	Secret string     `json:"secret"` // psk: name in Plan.Secrets; eap as our own method: the client's password is the plugin's
	// Certificate is, for our own end with method certificate, a name in Plan.Certificates.
	Certificate string `json:"certificate,omitempty"`
	// Authorities are, for the remote end with method certificate, the trust anchors it may chain to (names in Plan.Authorities), or its raw public keys.
	Authorities []string `json:"authorities,omitempty"`
	// Schemes are the signature schemes that may be used and accepted, best first; empty: ed25519, ed448, ecdsa, rsa-pss and rsa with SHA-2.
	Schemes    []Scheme   `json:"schemes,omitempty"`
	MinRSABits int        `json:"min_rsa_bits,omitempty"` // of each key in the peer's chain; 0: 2048
	Revocation Revocation `json:"revocation,omitempty"`
	// EAP names the plugins (Plan.Plugins) that may authenticate the peer, best first; for our own end one plugin that answers.
	EAP []string `json:"eap,omitempty"`
	// EAPIdentity is, for our own end, who we are in EAP; for the remote end a pattern for who the peer may be there ("" for any).
	EAPIdentity string `json:"eap_identity,omitempty"`
	// AskIdentity has the peer asked for its EAP identity; otherwise IDi is taken for it.
	AskIdentity bool `json:"ask_identity,omitempty"`
	// EAPOnly: the server does not prove itself by IKE but by the EAP method (RFC 5998).
	EAPOnly bool `json:"eap_only,omitempty"`
	// Groups: the peer must be in one of them, by the word of its EAP method; empty: any.
	Groups []string `json:"groups,omitempty"`
}

// AuthMethod is a way to authenticate.
type AuthMethod string

const (
	AuthPSK         AuthMethod = "psk"
	AuthCertificate AuthMethod = "certificate" // an X.509 certificate or a raw public key
	AuthEAP         AuthMethod = "eap"
)

// Scheme is a signature scheme with its hash.
type Scheme string

const (
	SchemeEd25519   Scheme = "ed25519"
	SchemeEd448     Scheme = "ed448"
	SchemeECDSA256  Scheme = "ecdsa-sha256" // with a key on P-256
	SchemeECDSA384  Scheme = "ecdsa-sha384" // P-384
	SchemeECDSA512  Scheme = "ecdsa-sha512" // P-521
	SchemePSS256    Scheme = "rsa-pss-sha256"
	SchemePSS384    Scheme = "rsa-pss-sha384"
	SchemePSS512    Scheme = "rsa-pss-sha512"
	SchemeRSA256    Scheme = "rsa-sha256" // PKCS #1 v1.5
	SchemeRSA384    Scheme = "rsa-sha384"
	SchemeRSA512    Scheme = "rsa-sha512"
	SchemeRSALegacy Scheme = "rsa-sha1" // method 1 of RFC 7296 with SHA-1, for peers without RFC 7427
)

// Initiate says what makes this end start negotiating.
type Initiate string

const (
	InitiateStart   Initiate = "start"   // at once, and again whenever it goes down
	InitiateTraffic Initiate = "traffic" // on the first packet that needs it
	InitiateNever   Initiate = "never"   // the peer, or the operator, does
)

// Unique says what a second IKE SA with the same peer identity does to the first.
type Unique string

const (
	UniqueReplace Unique = "replace" // the new one wins once it has authenticated
	UniqueKeep    Unique = "keep"    // the old one wins
	UniqueNever   Unique = "never"   // both stay, unless the peer says INITIAL_CONTACT
)

// IKEProposal is one proposal for the IKE SA. Each list is in order of preference.
type IKEProposal struct {
	Encr  []Encr          `json:"encr"`
	PRF   []ikev2.PRFID   `json:"prf"`
	Integ []ikev2.IntegID `json:"integ"` // empty with an AEAD
	KE    []ikev2.KEID    `json:"ke"`
	AddKE []AddKE         `json:"addke"` // additional key exchanges 1..7 (RFC 9370), in order
}

// ESPProposal is one proposal for a child. KE empty means no PFS.
type ESPProposal struct {
	Encr  []Encr          `json:"encr"`
	Integ []ikev2.IntegID `json:"integ"` // empty with an AEAD
	KE    []ikev2.KEID    `json:"ke"`
	AddKE []AddKE         `json:"addke"`
	SN    []ikev2.SNID    `json:"sn"` // at least one
}

// Encr is a cipher with its key length in bits; 0 where the length is fixed and not sent (ChaCha20, 3DES).
type Encr struct {
	ID      ikev2.EncrID `json:"id"`
	KeyBits int          `json:"key_bits"`
}

// AddKE is one additional key exchange slot; KE_NONE in the list makes it optional.
type AddKE struct {
	Slot int          `json:"slot"` // 1..7: transform type ADDKEslot
	KE   []ikev2.KEID `json:"ke"`
}

// DPD is dead-peer detection (RFC 7296 section 2.4): after Delay seconds without proof of life a liveness check
// goes out; Delay 0 switches it off. The peer is dead when Retransmit is exhausted.
type DPD struct {
	Delay int `json:"delay"`
	// Restart: begin again at once when the peer died (true) or clear and wait (false). Policies stay either way.
	Restart bool `json:"restart"`
}

// Retransmit is the schedule for unanswered requests: the n-th retransmission follows the one before by
// InitialMS * Base^n / 10^n milliseconds, Tries in all, then the exchange has failed.
type Retransmit struct {
	InitialMS int `json:"initial_ms"`
	BaseX10   int `json:"base_x10"` // 18 means a factor of 1.8
	Tries     int `json:"tries"`
}

// Lifetime bounds an SA. At Rekey seconds, less a random part of up to Jitter seconds, it is replaced; at Hard seconds it is
// gone. Likewise in octets and packets; 0 means unbounded.
type Lifetime struct {
	Rekey        int    `json:"rekey"`
	Hard         int    `json:"hard"`
	Jitter       int    `json:"jitter"`
	RekeyBytes   uint64 `json:"rekey_bytes"`
	HardBytes    uint64 `json:"hard_bytes"`
	RekeyPackets uint64 `json:"rekey_packets"`
	HardPackets  uint64 `json:"hard_packets"`
}

// Child is one pair of child SAs' worth of policy.
type Child struct {
	Name      string        `json:"name"`
	Mode      Mode          `json:"mode"`
	Local     []Selector    `json:"local"`  // at least one; the compiler's order
	Remote    []Selector    `json:"remote"` // at least one
	Proposals []ESPProposal `json:"proposals"`
	Initiate  Initiate      `json:"initiate"`
	Lifetime  Lifetime      `json:"lifetime"`
	// ReplayWindow is in packets (RFC 4303 section 3.4.3), 32..4096.
	ReplayWindow int `json:"replay_window"`
	// Reqid ties policies to SAs in the kernel: unique in the plan, stable from plan to plan while the names stay,
	// ReqidFirst..ReqidLast.
	Reqid    uint32 `json:"reqid"`
	Priority uint32 `json:"priority"` // XFRM priority of its policies: lower wins
	Pos      Pos    `json:"pos"`
}

// Mode is the ESP mode.
type Mode string

const (
	ModeTunnel    Mode = "tunnel"
	ModeTransport Mode = "transport"
)

// Selector is one traffic selector as the policy writes it: a prefix, an IP protocol (0: any) and a port range
// (0..65535 any). For ICMP the ports hold type and code as in RFC 7296 section 3.13.1.
// The prefix is invalid (an empty string) for "this end's own address", as transport mode and road warriors want.
type Selector struct {
	Prefix    netip.Prefix `json:"prefix"`
	Protocol  uint8        `json:"protocol"`
	PortFirst uint16       `json:"port_first"`
	PortLast  uint16       `json:"port_last"`
}
