// Package backend says what carries ESP, in the domain's terms: policies that stand whether or not there is an SA, pairs of SAs
// that come and go under them, and the few things that a datapath has to say by itself.
//
// Two packages implement it: kernel (Linux XFRM over netlink) and userspace (ESP over a TUN device). backendtest holds the one
// suite that both must pass. A Backend is driven by one goroutine; only Events is read beside it.
//
//	b.SetPolicies(backend.PoliciesOf(view))      // traffic is held back from here on
//	spi, err := b.AllocSPI(local, remote)
//	b.Install(pair)                              // traffic flows
//	for e := range b.Events() { … }              // Acquire, Expire, Mapping, Lost
package backend

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

// Backend carries ESP. SPIs are in host byte order; the inbound SPI, unique within a backend, names a pair.
type Backend interface {
	// Name is the datapath that this backend is.
	Name() plan.Datapath

	// Check reports what SetPolicies(p) would refuse and changes nothing: selectors that cannot be had, or too many of them, or a policy
	// of somebody else's in the way. It is asked when a reload is prepared, so that a refusal leaves the old plan standing.
	Check(p Policies) error

	// SetPolicies makes p the whole of the policies that stand. What is new is added before anything that p lacks is removed, and a
	// policy that is in both is not touched, so at no moment is protected traffic let through in clear. Pairs are not touched.
	// With add only, nothing is removed yet: the policies of a plan that is going stay until a second call without it.
	// When it fails nothing was removed; what was added may stay, for it only protects more.
	SetPolicies(p Policies, addOnly bool) error

	// AllocSPI reserves an inbound SPI, at least 256, that no pair of this backend and no one else on the host uses for packets from
	// remote to local. Install redeems it; Remove gives back one that was never installed.
	AllocSPI(local, remote netip.Addr) (uint32, error)

	// Install sets up a pair of SAs: inbound, then outbound, unless p.OutboundLater holds the outbound one back until Activate.
	// All or nothing: after an error neither stands and the SPI is free. From a pair's outbound SA on, packets prefer it to that of an
	// older pair of the same child. Install keeps what it needs of p's keys in copies of its own; the caller wipes p's.
	Install(p Pair) error

	// Activate begins to send on a pair installed with OutboundLater. It is no error on one that sends already.
	Activate(spiIn uint32) error

	// Move gives a pair other outer addresses or ports and keeps its keys, sequence numbers and replay window. Whether ESP is in UDP
	// cannot change.
	Move(spiIn uint32, local, remote netip.AddrPort) error

	// Remove takes a pair away, or an SPI that was reserved only. ErrNoSuchSA if there is neither.
	Remove(spiIn uint32) error

	// Query tells a pair's counters. ErrNoSuchSA if there is none.
	Query(spiIn uint32) (Counters, error)

	// Dump lists the pairs that stand and are ours, sorted by inbound SPI, including those that an earlier process installed where the
	// datapath outlives one. Pairs that belong to no policy of the last SetPolicies have an empty Connection.
	Dump() ([]Carried, error)

	// Stats counts what the status document tells of the datapath as a whole.
	Stats() (Stats, error)

	// Events is what the datapath has to say. The backend drops an Acquire rather than wait for a slow reader, and never an Expire or a
	// Mapping. Close closes the channel.
	Events() <-chan Event

	// Close lets go of the datapath's handles. In the kernel, SAs and policies stay for the next process to adopt; in userspace
	// the pairs go, and the TUN device, which triked holds too, keeps protected traffic from leaving in clear.
	Close() error
}

// Policies is what one plan wants of a datapath.
type Policies struct {
	Protect []Protect // sorted by connection, then child
	Bypass  []Bypass  // sorted by name
}

// Protect is one child's traffic: it crosses under an SA of that child or not at all.
type Protect struct {
	Connection, Child string
	// Reqid ties the policies to the SAs, Priority orders them: lower wins. Both come from the plan.
	Reqid, Priority uint32
	Mode            plan.Mode
	// Outer addresses. Remote is invalid where the plan lets the peer come from any address: until a pair tells it, outgoing traffic
	// that fits is dropped.
	Local, Remote netip.Addr
	// LocalTS and RemoteTS: every pair of one of each, of the same family and with protocols that meet, is protected. All prefixes are
	// valid and masked.
	LocalTS, RemoteTS []plan.Selector
	// OwnAddress: selectors (invalid prefix in the plan) that stand for the address of a peer whose address the plan does not know.
	// Each pair brings, with its own TSRemote, policies for them, and they stay, without an SA, until SetPolicies drops the child.
	OwnAddress []plan.Selector
	// Leased: RemoteTS is the range of pools that peers get addresses from. Until a pair brings one of them with its own TSRemote, for as long as it stands, nothing
	// is let through.
	Leased bool
	// Lifetime's Hard, in seconds, bounds an SA whose keeper never came back.
	Lifetime plan.Lifetime
	Pos      plan.Pos
}

// Bypass is traffic that crosses in clear by the policy's word, both ways.
type Bypass struct {
	Name              string
	Priority          uint32
	LocalTS, RemoteTS []plan.Selector
}

// Pair is two SAs, one each way, that guard has allowed.
type Pair struct {
	Connection, Child string
	Reqid             uint32
	Mode              plan.Mode
	Local, Remote     netip.AddrPort // outer; ports count only with Encap
	Encap             bool           // ESP in UDP, RFC 3948
	SPIIn, SPIOut     uint32
	Transform         msg.Transform
	// Keys as msg.InstallChild has them: the cipher's with its salt at the end, then the integrity key.
	EncrIn, IntegIn, EncrOut, IntegOut secret.Bytes
	// TSLocal and TSRemote are what was negotiated, inside the plan's selectors. An outgoing packet fits if it fits one of each; an
	// incoming one that fits none after decryption is dropped (RFC 4301 section 5.2).
	TSLocal, TSRemote []msg.TS
	ReplayWindow      int           // packets, 32..4096
	Lifetime          plan.Lifetime // octets and packets become Expire events; Hard seconds are a safety net
	OutboundLater     bool
	Replaces          uint32 // inbound SPI of the pair that this one rekeys, 0 for none
}

// Counters of one pair.
type Counters struct {
	BytesIn, BytesOut     uint64 // octets of inner packets
	PacketsIn, PacketsOut uint64
	LastIn                int64  // Unix seconds of the last packet that came in, 0 for none
	Errors                uint64 // packets dropped for replay, integrity or selector mismatch
}

// Carried is one pair that stands.
type Carried struct {
	Connection, Child string // empty when no policy that stands claims the pair's reqid
	Reqid             uint32
	SPIIn, SPIOut     uint32 // SPIOut 0 while the outbound SA waits for Activate
	Local, Remote     netip.AddrPort
	Encap             bool
}

// Stats of the datapath.
type Stats struct {
	SAs      int    // both directions counted
	Policies int    // as the datapath counts them
	Dropped  uint64 // packets held back for want of an SA, where that is counted
}

// Event is an Acquire, an Expire, a Mapping or a Lost.
type Event interface{ event() }

// Acquire: a packet wants a child that has no SA. TSLocal and TSRemote are the packet's own, zero when not known.
type Acquire struct {
	Connection, Child string
	TSLocal, TSRemote msg.TS
}

// Expire: a pair reached a limit in octets or packets, or the safety net in seconds. Hard: it is gone.
type Expire struct {
	SPIIn uint32
	Hard  bool
}

// Mapping: authenticated ESP of a pair came from another address or port. The backend has not moved the pair.
type Mapping struct {
	SPIIn  uint32
	Remote netip.AddrPort
}

// Lost: the datapath had more to say than it could; Dump tells what stands now.
type Lost struct{}

func (Acquire) event() {}
func (Expire) event()  {}
func (Mapping) event() {}
func (Lost) event()    {}

var (
	// ErrNoSuchSA: there is no pair and no reservation with this inbound SPI.
	ErrNoSuchSA = errors.New("no such SA")
	// ErrExists: the inbound SPI is taken already.
	ErrExists = errors.New("SA exists already")
	// ErrUnsupported: the datapath cannot do that at all; no use trying again.
	ErrUnsupported = errors.New("not supported by this datapath")
	// ErrClosed: the backend was closed.
	ErrClosed = errors.New("datapath closed")
)

// Error is a datapath's refusal: which step, of which child, why. Its text is for the operator and holds no keys.
type Error struct {
	Op                string // "install", "policy", "allocate SPI", …
	Connection, Child string // empty where no child is concerned
	SPI               uint32 // inbound, 0 where none is concerned
	Err               error
}

// Error names the child first: that is what the operator looks for.
func (e *Error) Error() string {
	s := e.Op
	if e.Connection != "" {
		s += fmt.Sprintf(" %q/%q", e.Connection, e.Child)
	}
	if e.SPI != 0 {
		s += fmt.Sprintf(" (SPI %08x)", e.SPI)
	}
	return s + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }
