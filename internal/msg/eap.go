package msg

import (
	"net/netip"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// Cert is the content of a CERT or CERTREQ payload (RFC 7296 sections 3.6 and 3.7).
type Cert struct {
	Encoding ikev2.CertEncoding
	Data     []byte
}

// ConfigAttribute is one attribute of a configuration payload (RFC 7296 section 3.15.1). authproc makes and reads them; ikeproc carries them.
type ConfigAttribute struct {
	Type  uint16
	Value []byte
}

// EAPStart: ikeproc → authproc. An initiator sent IKE_AUTH without AUTH: it wants EAP (RFC 7296 section 2.16). Connections are the candidates, best first.
type EAPStart struct {
	Req             uint64
	Conversation    uint64
	Connections     []string
	PeerID          ID
	LocalID         ID // what the peer calls us; Type 0 when it did not say
	Local, PeerAddr netip.Addr
	EAPOnly         bool // the peer said EAP_ONLY_AUTHENTICATION (RFC 5998)
}

// EAPPacket: ikeproc → authproc. A whole EAP packet of the peer's: a response where we are the server; a request, Success or Failure where we are the client.
type EAPPacket struct {
	Req          uint64
	Conversation uint64
	Packet       []byte
}

// EAPReply answers EAPStart and EAPPacket.
type EAPReply struct {
	Req    uint64
	Packet []byte // to send; empty for a client that has seen Success or Failure
	// Done: this was the last. OK then tells success from failure. After success the AUTH payloads follow, made with the MSK or SK_p by Sign and checked by Verify.
	Done, OK bool
	// Connection is, in the answer to EAPStart, the one whose identity and certificate the server's first AUTH is made with; EAPOnly: there is no such AUTH.
	Connection string
	EAPOnly    bool
	Error      string // for the operator, with failure
}

// Forget: ikeproc → authproc. This conversation will not go on; its EAP session is aborted.
type Forget struct {
	Conversation uint64
	Reason       string
}

// UsageKind is what Usage says.
type UsageKind uint8

const (
	UsageStart   UsageKind = 1 // the IKE SA stands
	UsageInterim UsageKind = 2 // counters, as they are
	UsageStop    UsageKind = 3 // it is gone: its leases are free, its session has ended
)

// Usage: ikeproc → authproc. What became of the session that a grant opened.
type Usage struct {
	Grant                 Grant
	What                  UsageKind
	PeerAddr              netip.Addr
	BytesIn, BytesOut     uint64 // of the session so far, from and to the peer
	PacketsIn, PacketsOut uint64
	Cause                 string // of UsageStop, as eapsdk.Record.Cause
}

// Terminate: authproc → ikeproc. End the IKE SAs of this session (Grant.Session): its time is over, its certificate was revoked, or a back end wants it gone.
type Terminate struct {
	Session uint64
	Reason  string
}
