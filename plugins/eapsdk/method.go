// Package eapsdk is for authors of EAP methods (RFC 3748): a plugin is a program of its own that implements Method and calls Serve.
//
//	func main() { eapsdk.Serve(myMethod{}) }
//
// trike starts the program as a user of its own, without network unless the policy says so, with an empty environment and a temporary folder. authproc
// speaks to it by gRPC (protocol trike.eap.v1); generated code stays out of an author's sight.
//
// The driving loop is authproc's. For each peer it calls Begin, then Next with every EAP packet that the peer sends, until a Step is not Continue; or
// Session.Abort when the handshake has ended otherwise. Sessions run side by side; the calls of one session never overlap. Every call has a deadline: a
// session whose plugin misses it fails, and authentication fails closed.
//
// Package turn is the lockstep of requests and responses that most methods share, package eappacket the packets, and package eaptest tries a method or a program in any language. `trike
// plugin new` writes a method to begin with.
package eapsdk

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// Bounds on what crosses between trike and a plugin. What is longer ends the session.
const (
	MaxPacket   = 65535 // octets of an EAP packet
	MaxMSK      = 64    // octets of a Master Session Key; RFC 3748 section 7.10 wants no less
	MaxIdentity = 1020  // octets of an identity
	MaxText     = 1024  // octets of a reason or a label
	MaxGroups   = 64
)

// Type is an EAP method type (RFC 3748 section 5, IANA "Method Types").
type Type uint8

const (
	TypeIdentity     Type = 1
	TypeNotification Type = 2
	TypeNak          Type = 3
	TypeMD5          Type = 4
	TypeGTC          Type = 6
	TypeTLS          Type = 13
	TypeTTLS         Type = 21
	TypePEAP         Type = 25
	TypeMSCHAPv2     Type = 26
	TypeExpanded     Type = 254
)

// Role is the side of the conversation that a session plays.
type Role uint8

const (
	Server Role = 1 // the authenticator's side: it asks
	Client Role = 2 // the peer's side: it answers
)

// String is "server" or "client".
func (r Role) String() string {
	switch r {
	case Server:
		return "server"
	case Client:
		return "client"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// Description is what a plugin says of itself, before anything else.
type Description struct {
	// Name is 1 to 63 of a-z, 0-9 and '-', for logs and the status.
	Name string
	// Version is the author's, for the status.
	Version string
	// Type is the method's. 0: any, the plugin carries whole conversations on (a relay); then it also sees the Identity response.
	Type Type
	// Roles that the plugin can play.
	Roles []Role
	// MakesKeys: a successful session ends with an MSK. Mutual: the client authenticates the server too. EAP-only authentication (RFC 5998) wants both, and IKEv2
	// wants the first of every method that is not preceded by a server's certificate.
	MakesKeys bool
	Mutual    bool
	// Accounting: the plugin takes accounting records. Serve sets it for a Method that implements Accounting.
	Accounting bool
	// Settings that the method knows, so that a wrong one is told before a peer comes.
	Settings []Setting
}

// Setting is one thing that the policy may tell a plugin.
type Setting struct {
	Name     string // as in the policy: lower case, digits and '-'
	Secret   bool   // the value comes from a secret file, never from the policy
	Required bool
	Help     string // one line
}

// Config is what the policy tells a plugin, once, before its first session. Values and secrets have the names of Description.Settings.
type Config struct {
	Values  map[string]string
	Secrets map[string][]byte
}

// Begin is what a session begins with.
type Begin struct {
	Role Role
	// Session is a name for logs and accounting, unique for as long as the gateway runs.
	Session string
	// Connection is the policy's name for what the peer wants.
	Connection string
	// Identity is, for a server, what the peer said in its EAP Response/Identity (or in IDi); for a client, who it is to be.
	Identity string
	// Peer is the other gateway's address; Local is ours. Invalid when not known.
	Peer, Local netip.Addr
	// ServerName is, for a client, the identity that the server proved by IKE, "" if it did not.
	ServerName string
	// Packet is, for a server, the whole EAP Response/Identity, or nothing when the identity came from IKE; for a client, the first request of this
	// method's type.
	Packet []byte
	// Identifier is, for a server, the identifier that its first request should carry. Later ones follow by one. A relay takes what its server says.
	Identifier uint8
}

// Outcome says how a session stands.
type Outcome uint8

const (
	Continue Outcome = 1
	Success  Outcome = 2
	Failure  Outcome = 3
)

// String is "continue", "success" or "failure".
func (o Outcome) String() string {
	switch o {
	case Continue:
		return "continue"
	case Success:
		return "success"
	case Failure:
		return "failure"
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// Step is what a session does next.
type Step struct {
	Outcome Outcome
	// Packet is a whole EAP packet for the other side. A server that continues must send one. With Success or Failure a server may leave it empty: trike then sends
	// EAP Success or Failure itself. A client that has succeeded sends its last response with Continue, and says Success when EAP Success comes.
	Packet []byte
	// MSK is the Master Session Key, 64 octets, with Success and only of a method that makes keys.
	MSK []byte
	// Identity is, with a server's Success, who the peer proved to be; "" means Begin.Identity.
	Identity string
	// Groups that the peer belongs to, for the policy to choose by.
	Groups []string
	// Grants are what the server side gives the peer beyond being let in.
	Grants Grants
	// Reason is for the operator, when the outcome is Failure: what was wrong, without secrets. The other side never sees it.
	Reason string
}

// Grants are attributes that come with success, from a RADIUS server for example. Zero values give nothing.
type Grants struct {
	Address4       netip.Addr    // Framed-IP-Address
	Address6       netip.Addr    // Framed-IPv6-Address
	SessionTimeout time.Duration // the peer must authenticate again after this
	InterimEvery   time.Duration // how often accounting wants counters
	Filter         []string      // Filter-Id
	Class          [][]byte      // to be said again in accounting
}

// Session is one conversation. Its calls never overlap.
type Session interface {
	// Next takes a whole EAP packet of the other side: a response for a server, a request, Success or Failure for a client. An error is the plugin's own fault, and ends
	// the session as a failure; what the peer did wrong is a Step with Failure and a Reason. The packet that came last may come again: the answer is the same then
	// (RFC 3748 section 4.1). Package turn does this, and more of what all methods have to do.
	Next(ctx context.Context, packet []byte) (Step, error)
	// Abort ends a session that did not come to Success or Failure. It is called at most once, after which nothing is.
	Abort(reason string)
}

// Method is an EAP method.
type Method interface {
	Describe() Description
	// Configure is called once, after Describe and before the first Begin. An error marks the plugin as failed, with that reason.
	Configure(ctx context.Context, c Config, log *slog.Logger) error
	// Begin starts a session. For a server the step carries the first request; for a client it answers Begin.Packet.
	Begin(ctx context.Context, b Begin) (Session, Step, error)
}

// Accounting is the optional second service: a Method that also implements it is told of every session that it let in.
type Accounting interface {
	// Account takes one record. It is asked again after an error, with the same record, for a few minutes.
	Account(ctx context.Context, r Record) error
	// Commands sends what the back end wants done with sessions (RFC 5176), until ctx ends. deliver reports whether trike knew such a session.
	Commands(ctx context.Context, deliver func(Command) bool) error
}

// RecordKind is what an accounting record says.
type RecordKind uint8

const (
	Start   RecordKind = 1
	Interim RecordKind = 2
	Stop    RecordKind = 3
)

// Record is one accounting record.
type Record struct {
	Kind       RecordKind
	Session    string // Begin.Session
	Connection string
	Identity   string
	Peer       netip.Addr   // where the peer is
	Addresses  []netip.Addr // what it was given
	At         time.Time
	Duration   time.Duration // since Start
	BytesIn    uint64        // from the peer
	BytesOut   uint64        // to the peer
	PacketsIn  uint64
	PacketsOut uint64
	Cause      string // of Stop: "user-request", "lost", "idle", "session-timeout", "admin-reset" or "reboot"
	Class      [][]byte
}

// CommandKind is what a back end may want of a session.
type CommandKind uint8

const (
	Disconnect CommandKind = 1
	Change     CommandKind = 2 // new Grants: SessionTimeout and Filter count
)

// Command is a back end's wish. Session, Identity or Address names whom it means; all that are given must fit.
type Command struct {
	Kind     CommandKind
	Session  string
	Identity string
	Address  netip.Addr
	Grants   Grants
	Reason   string
}
