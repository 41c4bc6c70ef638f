package authn

import (
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Proof is what EAP left in a conversation: from here on both AUTH payloads are made with a shared key (RFC 7296 section 2.16).
type Proof struct {
	// Connections that the EAP identity, the method and the groups fit, best first. As a client: the one.
	Connections []string
	User        string // who the peer proved to be; as a client: "" (the server is PeerID)
	PeerID      msg.ID // as a client: who the server proved to be by its certificate; Type 0 with EAP-only
	// MSK is empty where the method makes no key: then each AUTH is made with the signer's own SK_p.
	MSK    secret.Bytes
	Grants eapsdk.Grants
}

// Close wipes the key.
func (p *Proof) Close() {
	if p != nil {
		p.MSK.Close()
	}
}

// key is what the AUTH of the signer of o is made with.
func (p *Proof) key(o octets) []byte {
	if p.MSK.Len() > 0 {
		return p.MSK.Reveal()
	}
	return o.in.SKp.Reveal()
}

// With is what a decision is made with beside the plan.
type With struct {
	Issuer *Issuer
	Now    time.Time
	Proof  *Proof // nil before, and without, EAP
	Leases Leases // nil: no pool is served
}
