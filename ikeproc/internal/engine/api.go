package engine

import (
	"io"
	"net/netip"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/status"
)

// Config is what an Engine begins with.
type Config struct {
	View plan.IKEView
	// Entropy gives fresh randomness for SPIs, nonces, seeds, IVs and jitter. It must not fail: an Engine without randomness panics.
	Entropy io.Reader
	Now     time.Time
	Limits  Limits
}

// Limits bound what strangers can make an Engine hold. A zero field takes the default.
type Limits struct {
	// CookieThreshold is the number of half-open IKE SAs from which on an IKE_SA_INIT needs a cookie (RFC 7296 section 2.6); default 64, negative: always.
	CookieThreshold int
	// MaxHalfOpen is how many half-open IKE SAs there may be; beyond, IKE_SA_INIT requests are dropped. Default 4096.
	MaxHalfOpen int
	// MaxSAs is how many IKE SAs there may be, half-open ones included. Default 200,000.
	MaxSAs int
	// MaxChildren is how many pairs of child SAs one IKE SA may have. Default 256.
	MaxChildren int
}

func (l Limits) orDefault() Limits {
	for _, f := range []struct {
		v *int
		d int
	}{{&l.CookieThreshold, 64}, {&l.MaxHalfOpen, 4096}, {&l.MaxSAs, 200_000}, {&l.MaxChildren, 256}} {
		if *f.v == 0 {
			*f.v = f.d
		}
	}
	return l
}

// Event is something that happened: Datagram, Tick, Computed, FromAuth, FromXFRM, LinkReset, Control, Reload or Shutdown.
type Event interface{ event() }

// Datagram is an IKE message that came in, without the non-ESP marker. The Engine keeps no reference to Data.
type Datagram struct {
	Local, Remote netip.AddrPort
	Data          []byte
}

// Tick says that Deadline has come. A needless one does no harm.
type Tick struct{}

// Computed is the result of a Compute effect.
type Computed struct{ suite.KEResult }

// FromAuth is a message from authproc: *msg.Signed, *msg.Verified, *msg.EAPReply, *msg.Renewed, *msg.Terminate or *msg.TrustHints.
type FromAuth struct{ Msg msg.Message }

// FromXFRM is a message from xfrmproc: *msg.SPI, *msg.Installed, *msg.Refused, *msg.Counters, *msg.Acquire, *msg.Expire, *msg.Mapping or *msg.Inventory.
type FromXFRM struct{ Msg msg.Message }

// LinkReset says that the neighbour process ("authproc" or "xfrmproc") is a new one: what was asked of the old one will not be answered.
// The Engine asks again.
type LinkReset struct{ Process string }

// Control is an operator's wish. Answered by ControlDone.
type Control struct{ msg.Control }

// Reload puts another view in force. Connections that did not change are not touched. ReloadDone follows to xfrmproc.
type Reload struct {
	Serial uint64
	View   plan.IKEView
}

// Shutdown makes the Engine delete its IKE SAs towards the peers; Exit follows.
type Shutdown struct{}

func (Datagram) event()  {}
func (Tick) event()      {}
func (Computed) event()  {}
func (FromAuth) event()  {}
func (FromXFRM) event()  {}
func (LinkReset) event() {}
func (Control) event()   {}
func (Reload) event()    {}
func (Shutdown) event()  {}

// Effect is something to do: Send, ToAuth, ToXFRM, Compute, Log, ControlDone or Exit. Effects are plain data, print without secrets, and are to
// be done in order.
type Effect interface{ effect() }

// Send is a UDP datagram. From port 4500 it gets the non-ESP marker in front, unless it is a keepalive: a single octet 0xff (RFC 3948 section 2.3). Data is the
// Engine's: it may be sent again, so it must not be changed.
type Send struct {
	Local, Remote netip.AddrPort
	Data          []byte
}

// ToAuth is a message for authproc: *msg.Sign, *msg.Verify, *msg.EAPStart, *msg.EAPPacket, *msg.Forget, *msg.Renew or *msg.Usage.
type ToAuth struct{ Msg msg.Message }

// ToXFRM is a message for xfrmproc: *msg.AllocSPI, *msg.InstallChild, *msg.UpdateChild, *msg.RemoveChild, *msg.QueryChild or *msg.ReloadDone.
type ToXFRM struct{ Msg msg.Message }

// Compute is public-key work for a worker. Its result comes back as Computed, in any order.
type Compute struct{ Job suite.KEJob }

// Log is one line for the log.
type Log struct{ Event status.Event }

// ControlDone answers Control.
type ControlDone struct{ msg.Controlled }

// Exit says that nothing is left to do after Shutdown.
type Exit struct{}

func (Send) effect()        {}
func (ToAuth) effect()      {}
func (ToXFRM) effect()      {}
func (Compute) effect()     {}
func (Log) effect()         {}
func (ControlDone) effect() {}
func (Exit) effect()        {}
