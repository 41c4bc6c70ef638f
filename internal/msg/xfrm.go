package msg

import (
	"net/netip"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

// TS is one traffic selector as negotiated (RFC 7296 section 3.13): an address range of one family.
type TS struct {
	Protocol            uint8
	PortFirst, PortLast uint16
	First, Last         netip.Addr
}

// Transform is the negotiated ESP suite.
type Transform struct {
	Encr    ikev2.EncrID
	KeyBits int // 0 where the cipher has one length
	Integ   ikev2.IntegID
	SN      ikev2.SNID
}

// AllocSPI: ikeproc → xfrmproc. Reserve an inbound SPI for a child between these addresses.
type AllocSPI struct {
	Req           uint64
	Connection    string
	Child         string
	Local, Remote netip.Addr
}

// SPI answers AllocSPI. SPI 0 with Error set when it was refused.
type SPI struct {
	Req   uint64
	SPI   uint32
	Error string
}

// InstallChild: ikeproc → xfrmproc. Install a pair of SAs. xfrmproc's guard checks every field against its view of the plan,
// and the grant, before anything is installed.
type InstallChild struct {
	Req           uint64
	Grant         Grant
	Connection    string
	Child         string
	Mode          plan.Mode
	Local, Remote netip.AddrPort // outer addresses; ports count only with Encap
	Encap         bool           // ESP in UDP (RFC 3948)
	SPIIn, SPIOut uint32         // SPIIn came from AllocSPI
	Transform     Transform
	// Keys: encryption key with its salt, then the integrity key, as RFC 7296 section 2.17 orders them.
	EncrIn, IntegIn, EncrOut, IntegOut secret.Bytes
	TSLocal, TSRemote                  []TS
	// OutboundLater keeps sending on the SA that is being replaced until UpdateChild says Activate: the responder of a rekey
	// must not send on the new SA before its peer has the keys.
	OutboundLater bool
	// Replaces is the inbound SPI of the SA that this one rekeys, 0 for a new one.
	Replaces uint32
}

// Installed answers InstallChild, UpdateChild and RemoveChild after the kernel (or the userspace datapath) has done it.
type Installed struct{ Req uint64 }

// Refused answers them when it was not done. Nothing of the request stays.
type Refused struct {
	Req    uint64
	Reason string   // for the operator
	Pos    plan.Pos // the line of policy that stands against it, if one does
}

// UpdateChild: ikeproc → xfrmproc. Activate begins sending on an SA installed with OutboundLater; valid addresses move the SA.
type UpdateChild struct {
	Req           uint64
	SPIIn         uint32
	Activate      bool
	Local, Remote netip.AddrPort // both zero: as they are
}

// RemoveChild: ikeproc → xfrmproc. Remove both directions of the pair with this inbound SPI. Policies stay: what they protect is
// dropped until there is an SA again.
type RemoveChild struct {
	Req   uint64
	SPIIn uint32
}

// QueryChild: ikeproc → xfrmproc. Answered by Counters with the same Req.
type QueryChild struct {
	Req   uint64
	SPIIn uint32
}

// Counters answers QueryChild. Missing is set when there is no such SA.
type Counters struct {
	Req                   uint64
	SPIIn                 uint32
	Missing               bool
	BytesIn, BytesOut     uint64
	PacketsIn, PacketsOut uint64
	// LastIn is the time, Unix seconds, of the last packet that passed the inbound SA; 0 for none yet.
	LastIn int64
	Errors uint64 // packets dropped for replay, integrity or selector mismatch
}

// Acquire: xfrmproc → ikeproc. A packet wants a child that has no SA.
type Acquire struct {
	Connection string
	Child      string
	// Packet's own selectors; the first TSi and TSr of the request (RFC 7296 section 2.9). Zero when not known.
	TSLocal, TSRemote TS
}

// Expire: xfrmproc → ikeproc. The SA with this inbound SPI reached a limit in octets or packets (Hard: it is gone).
type Expire struct {
	SPIIn uint32
	Hard  bool
}

// Mapping: xfrmproc → ikeproc. Authenticated ESP came from another address: the peer's NAT changed its mind (RFC 7296 section 2.23).
type Mapping struct {
	SPIIn  uint32
	Remote netip.AddrPort
}

// Inventory: xfrmproc → ikeproc, first on every new link between them and after every reconcile: the children that carry traffic now. The
// engine makes again those of its own that are missing, and takes over by a new negotiation those that it does not know.
type Inventory struct {
	Datapath string // "kernel" or "userspace"
	Why      string // what decided it
	Children []Carried
}

// Carried is one pair of SAs that the datapath holds.
type Carried struct {
	Connection    string
	Child         string
	SPIIn, SPIOut uint32
	Local, Remote netip.AddrPort
}

// ReloadDone: ikeproc → xfrmproc. The engine has finished with what the last Commit removed: drop what is stale.
type ReloadDone struct{ Serial uint64 }
