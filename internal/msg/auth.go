package msg

import (
	"net/netip"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

// ID is an identification payload's content as on the wire (RFC 7296 section 3.5): type, and data without the three
// reserved octets.
type ID struct {
	Type ikev2.IDType
	Data []byte
}

// Octets are the inputs of one side's AUTH (RFC 7296 section 2.15). authproc itself joins them with the identity; it checks
// that Message is an IKE_SA_INIT of the direction that fits the role, which keeps what we sign and what we verify apart.
type Octets struct {
	PRF     ikev2.PRFID
	Message []byte       // the signer's own IKE_SA_INIT message, without the non-ESP marker
	Nonce   []byte       // the other side's nonce data
	SKp     secret.Bytes // the signer's SK_pi or SK_pr
	IntAuth []byte       // IntAuth of RFC 9242 section 3.3.2, empty without IKE_INTERMEDIATE
	// IDReserved are the three reserved octets of the signer's ID payload as sent: they are part of what is signed.
	IDReserved [3]byte
}

// Sign: ikeproc → authproc. Make our AUTH payload for this connection. After EAP succeeded in the same conversation, it is made with what EAP left.
type Sign struct {
	Req uint64
	// Conversation ties the messages of one IKE_AUTH exchange together: a number that ikeproc has not used before on this link.
	Conversation uint64
	Connection   string
	Initiator    bool // we are the original initiator
	// Hashes are those of the peer's SIGNATURE_HASH_ALGORITHMS (RFC 7427 section 4), and Requests its CERTREQs.
	Hashes   []uint16
	Requests []Cert
	Octets   Octets
}

// Signed answers Sign. With Error set (for the operator) there is no AUTH.
type Signed struct {
	Req    uint64
	ID     ID // our identity, for IDi or IDr, from the plan
	Method uint8
	Data   []byte
	// Certs are to be sent before AUTH, in this order; Requests are our CERTREQs, for an initiator.
	Certs    []Cert
	Requests []Cert
	// EAP: we are a client that authenticates by EAP: IKE_AUTH goes out without AUTH; EAPOnly: and with EAP_ONLY_AUTHENTICATION.
	EAP, EAPOnly bool
	Error        string
}

// Verify: ikeproc → authproc. Check the peer's AUTH. Connections are the candidates, best first: those whose addresses and
// proposals fit. authproc keeps those whose identities and credentials fit.
type Verify struct {
	Req          uint64
	Conversation uint64
	Connections  []string
	Initiator    bool // the peer is the original initiator
	PeerID       ID
	LocalID      ID // what the peer calls us (IDr of an initiator that sent one); Type 0 when it did not
	PeerAddr     netip.Addr
	Method       uint8
	Data         []byte
	// Certs are the peer's CERT payloads, as they stood.
	Certs  []Cert
	Octets Octets
	// HasConfig: the peer's message had a configuration payload, with these attributes: what it asks for (the peer is the initiator) or what it gives us.
	HasConfig bool
	Config    []ConfigAttribute
}

// Verified answers Verify.
type Verified struct {
	Req   uint64
	OK    bool
	Error string // for the operator: which connections were tried and why each failed; the peer learns nothing of it
	// Grants, best first, one for each connection that the peer may use. xfrmproc installs children under one of them.
	Grants []Grant
	// More: the peer has proved itself, and EAP must follow before there is a grant (we are the client).
	More bool
	// Config is what the first grant's connection gives the peer: the attributes of CFG_REPLY.
	Config []ConfigAttribute
	// InternalAddressFailure: the peer asked for an address and no pool had one (RFC 7296 section 3.15.4). The IKE SA stands; no child does.
	InternalAddressFailure string
	// Reauth is the number of seconds after which the peer must authenticate again, 0 for never (RFC 4478).
	Reauth uint32
}

// Grant is authproc's word, to xfrmproc, that a peer has authenticated for a connection. ikeproc carries it and can neither
// make nor change one: MAC is HMAC-SHA-256 by a key that only authproc and xfrmproc have.
type Grant struct {
	Serial     uint64 // unique, rising
	Session    uint64 // the same through all renewals
	Connection string
	PeerID     ID
	User       string // who the peer proved to be by EAP, "" without
	// Peer are addresses that a pool gave the peer; Own those that the peer gave us. Selectors may name them.
	Peer, Own []netip.Addr
	Expiry    int64 // Unix seconds
	MAC       [32]byte
}

// Renew: ikeproc → authproc. Extend a grant that is still true: same connection in the plan, same identity.
type Renew struct {
	Req   uint64
	Grant Grant
}

// Renewed answers Renew.
type Renewed struct {
	Req   uint64
	Grant Grant
	Error string
}

// TrustHints: authproc → ikeproc, after each Commit: which connections cannot authenticate and why (a secret that cannot be
// read), so that status can say so before a peer finds out.
type TrustHints struct {
	Problems []Problem
	// Requests are the CERTREQs of a responder that does not know yet who is coming.
	Requests []Cert
}

// Problem is one thing for the operator about one connection.
type Problem struct {
	Connection string
	Text       string
	Pos        plan.Pos
}
