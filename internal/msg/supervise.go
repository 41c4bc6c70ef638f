package msg

import "github.com/trike-ipsec/trike/internal/secret"

// Hello: any → triked, first on the control link. A process says what it is; triked checks that it is what it started.
type Hello struct {
	Process string // "ikeproc", "authproc" or "xfrmproc"
	PID     int
	Version string
}

// Prepare: triked → any. Build the next state from this view beside the current one. Descriptors that belong to the plan (secret
// files in the order of the view's Secrets for authproc; sockets for ikeproc and xfrmproc) come with the message, named by Files.
type Prepare struct {
	Serial uint64   // of the reload, rising
	Hash   [32]byte // of the whole plan
	View   []byte   // canonical JSON of plan.IKEView, plan.AuthView or plan.XFRMView
	Files  []File   // one for each descriptor that came with the frame, in order
	// GrantKey is set for authproc and xfrmproc only. It outlives both processes, not triked.
	GrantKey secret.Bytes
}

// File names a descriptor that came with a frame.
type File struct {
	Kind string // "ike" (UDP), "esp" (raw protocol 50), "espudp" (UDP 4500, ESP only), "tun", "secret", "link"; for authproc also "certificate", "authority" (PEM or DER), "crl" (Name is the authority's), and "leases", writable
	Name string // address:port for a socket; the device or secret's name; the process at the other end of a link
}

// Prepared: any → triked. The next state stands; Commit or Abort it. For authproc, Problems lists what it could not use.
type Prepared struct {
	Serial   uint64
	Problems []Problem
}

// NotPrepared: any → triked. The view was refused; nothing changed.
type NotPrepared struct {
	Serial uint64
	Reason string
}

// Commit: triked → any. The prepared state is now the state. Answered by Committed.
type Commit struct{ Serial uint64 }

// Committed answers Commit.
type Committed struct{ Serial uint64 }

// Abort: triked → any. Forget what was prepared.
type Abort struct{ Serial uint64 }

// Link: triked → any. The neighbour (re)started: here is a new pipe to it, its two descriptors (read end, write end) come with
// the frame. Requests that were open on the old link will not be answered. It comes when both ends have answered Commit, so
// neither is asked about a plan that it does not have yet.
type Link struct{ Process string }

// Control: triked → ikeproc. The operator wants something of a connection. Answered by Controlled.
type Control struct {
	Req        uint64
	Verb       string // "up", "down", "rekey"
	Connection string
	Child      string // "" for all children, and for rekey the IKE SA
	IKE        bool   // rekey: the IKE SA
	Wait       bool   // answer when it is done or has failed, not when it has begun
}

// Controlled answers Control.
type Controlled struct {
	Req   uint64
	Error string // for the operator
}

// StatusRequest: triked → any. Answered by StatusReply.
type StatusRequest struct{ Req uint64 }

// StatusReply carries the process's part of the status document: JSON of status.IKE, status.Auth or status.XFRM.
type StatusReply struct {
	Req  uint64
	JSON []byte
}

// Log: any → triked. One event for the log and for `trike log`: JSON of status.Event, no secrets.
type Log struct{ JSON []byte }

// Shutdown: triked → any. Delete SAs towards the peers where that is one's business, then exit 0.
type Shutdown struct{}
