// Package status is the shape of what the running gateway tells: `trike status --json` and the lines of `trike log --json`.
// Fields are added, never renamed: programs read them.
package status

import "time"

// Gateway is the whole status document.
type Gateway struct {
	Gateway   string    `json:"gateway"`
	Version   string    `json:"version"`
	PlanHash  string    `json:"plan_hash"`
	Serial    uint64    `json:"serial"` // of the plan now in force, rising with each apply
	Since     time.Time `json:"since"`
	Processes []Process `json:"processes"`
	IKE       IKE       `json:"ike"`
	Auth      Auth      `json:"auth"`
	XFRM      XFRM      `json:"xfrm"`
}

// Process is one of the trio.
type Process struct {
	Name     string    `json:"name"`
	PID      int       `json:"pid"`
	State    string    `json:"state"` // running, backoff, failed
	Since    time.Time `json:"since"`
	Restarts int       `json:"restarts"`
}

// IKE is ikeproc's part.
type IKE struct {
	Connections []Connection `json:"connections"`
	HalfOpen    int          `json:"half_open"`
}

// Connection is one connection of the plan with its SAs.
type Connection struct {
	Name     string   `json:"name"`
	Local    string   `json:"local"`
	Remote   string   `json:"remote"`
	LocalID  string   `json:"local_id"`
	RemoteID string   `json:"remote_id"`
	State    string   `json:"state"` // down, connecting, up
	SAs      []IKESA  `json:"sas"`
	Children []Child  `json:"children"` // one for each child of the plan
	Problem  *Problem `json:"problem,omitempty"`
	Policy   string   `json:"policy"` // file:line:column
}

// IKESA is one IKE SA.
type IKESA struct {
	SPIi        string    `json:"spi_i"`
	SPIr        string    `json:"spi_r"`
	Initiator   bool      `json:"initiator"`
	State       string    `json:"state"`
	Local       string    `json:"local"`
	Remote      string    `json:"remote"`
	PeerID      string    `json:"peer_id"`
	User        string    `json:"user,omitempty"`      // who the peer proved to be by EAP
	Addresses   []string  `json:"addresses,omitempty"` // that a pool gave it
	Suite       string    `json:"suite"`
	NAT         string    `json:"nat"` // none, local, remote, both
	Established time.Time `json:"established"`
	RekeyAt     time.Time `json:"rekey_at"`
}

// Child is one child of the plan, with the SAs that carry it.
type Child struct {
	Name   string    `json:"name"`
	State  string    `json:"state"` // down, up, rekeying
	SAs    []ChildSA `json:"sas"`
	Policy string    `json:"policy"`
}

// ChildSA is one pair of ESP SAs.
type ChildSA struct {
	SPIIn      string    `json:"spi_in"`
	SPIOut     string    `json:"spi_out"`
	Suite      string    `json:"suite"`
	Mode       string    `json:"mode"`
	Encap      bool      `json:"encap"`
	TSLocal    []string  `json:"ts_local"`
	TSRemote   []string  `json:"ts_remote"`
	Installed  time.Time `json:"installed"`
	RekeyAt    time.Time `json:"rekey_at"`
	BytesIn    uint64    `json:"bytes_in"`
	BytesOut   uint64    `json:"bytes_out"`
	PacketsIn  uint64    `json:"packets_in"`
	PacketsOut uint64    `json:"packets_out"`
}

// Problem is why a negotiation failed, in full: what happened, both sides' lists, the policy line, what to do.
type Problem struct {
	Time   time.Time `json:"time"`
	Code   string    `json:"code"` // e.g. no-proposal-chosen, authentication-failed, ts-unacceptable, no-answer
	Text   string    `json:"text"`
	Ours   []string  `json:"ours,omitempty"`   // our proposals or selectors
	Theirs []string  `json:"theirs,omitempty"` // the peer's
	Policy string    `json:"policy,omitempty"` // file:line:column
	Hint   string    `json:"hint,omitempty"`
}

// Auth is authproc's part.
type Auth struct {
	Problems []AuthProblem `json:"problems"`
	Pools    []Pool        `json:"pools,omitempty"`
	// Certificates are our own, and those of authorities that come to their end.
	Certificates []Certificate `json:"certificates,omitempty"`
	Plugins      []Plugin      `json:"plugins,omitempty"`
}

// Plugin is one EAP method process.
type Plugin struct {
	Name     string `json:"name"`   // in the policy
	Method   string `json:"method"` // what it calls itself, "" before it has said so
	State    string `json:"state"`  // starting, running, waiting (to be started again), failed (given up)
	PID      int    `json:"pid,omitempty"`
	Restarts int    `json:"restarts"`
	Problem  string `json:"problem,omitempty"` // why it does not run
}

// Certificate is one certificate or raw key.
type Certificate struct {
	Name     string    `json:"name"` // in the policy
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"not_after,omitzero"`
	Problem  string    `json:"problem,omitempty"`
}

// Pool is one pool of addresses.
type Pool struct {
	Name   string `json:"name"`
	Size   uint64 `json:"size"` // addresses; 2^62 for as many and more
	Held   int    `json:"held"` // in use
	Policy string `json:"policy"`
}

// AuthProblem is a connection that cannot authenticate as things are.
type AuthProblem struct {
	Connection string `json:"connection"`
	Text       string `json:"text"`
	Policy     string `json:"policy"`
}

// XFRM is xfrmproc's part.
type XFRM struct {
	Datapath string `json:"datapath"` // kernel or userspace
	Why      string `json:"why"`
	SAs      int    `json:"sas"`
	Policies int    `json:"policies"`
	Refused  uint64 `json:"refused"` // requests that the guard refused since start
	Dropped  uint64 `json:"dropped"` // packets that policy protects and that had no SA, where the datapath counts them
	// Traffic is what each pair has carried. Join brings it to the children, and nothing of it stays here.
	Traffic []Traffic `json:"traffic,omitempty"`
}

// Traffic is what one pair of child SAs has carried, in octets and packets of what is inside.
type Traffic struct {
	SPIIn      string `json:"spi_in"`
	BytesIn    uint64 `json:"bytes_in"`
	BytesOut   uint64 `json:"bytes_out"`
	PacketsIn  uint64 `json:"packets_in"`
	PacketsOut uint64 `json:"packets_out"`
}

// Join puts together what ikeproc and xfrmproc say of the same SAs.
func (g *Gateway) Join() {
	carried := make(map[string]Traffic, len(g.XFRM.Traffic))
	for _, t := range g.XFRM.Traffic {
		carried[t.SPIIn] = t
	}
	g.XFRM.Traffic = nil
	for _, c := range g.IKE.Connections {
		for _, ch := range c.Children {
			for i := range ch.SAs {
				sa := &ch.SAs[i]
				if t, ok := carried[sa.SPIIn]; ok {
					sa.BytesIn, sa.BytesOut, sa.PacketsIn, sa.PacketsOut = t.BytesIn, t.BytesOut, t.PacketsIn, t.PacketsOut
				}
			}
		}
	}
}

// Event is one line of the log.
type Event struct {
	Time       time.Time `json:"time"`
	Level      string    `json:"level"` // debug, info, warn, error
	Process    string    `json:"process"`
	Event      string    `json:"event"` // e.g. ike-up, child-rekeyed, negotiation-failed
	Connection string    `json:"connection,omitempty"`
	Child      string    `json:"child,omitempty"`
	Peer       string    `json:"peer,omitempty"`
	Text       string    `json:"text"`
	Problem    *Problem  `json:"problem,omitempty"`
}
