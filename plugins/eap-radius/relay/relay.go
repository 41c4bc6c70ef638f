package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/ledger"
	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/servers"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Values of attributes that a gateway of tunnels sends (RFC 2865 section 5.6, RFC 2865 section 5.41).
const (
	serviceFramed = 2
	portVirtual   = 5
)

// framedMTU tells the server how long its EAP packets ought to be, in octets (RFC 3579 section 2.4): one fits an IKE message that nobody fragments.
const framedMTU = 1200

// Relay is the method. New makes one; Configure must come before Begin.
type Relay struct {
	settings settings
	log      *slog.Logger
	auth     *servers.Group
	acct     *servers.Group // nil without accounting
	ledger   *ledger.Ledger // with acct
	coa      *listener      // nil without coa-listen
	sessions sessions
	opened   sync.Once   // Accounting-On
	began    atomic.Bool // it was sent
	closed   sync.Once
}

// New is a relay that has not been configured.
func New() *Relay { return &Relay{} }

// Describe tells that the relay carries any method on, in the server's role. It does not claim that the client authenticates the server: that depends on
// what those two speak.
func (r *Relay) Describe() eapsdk.Description {
	return eapsdk.Description{Name: "radius", Version: "1", Roles: []eapsdk.Role{eapsdk.Server}, MakesKeys: true, Settings: known()}
}

// Configure takes the policy's settings. No server is asked before the first conversation.
func (r *Relay) Configure(_ context.Context, c eapsdk.Config, log *slog.Logger) error {
	s, err := read(c)
	if err != nil {
		return err
	}
	r.settings, r.log = s, log
	r.auth = servers.New(s.group(s.auth, log))
	if len(s.acct) > 0 {
		r.acct = servers.New(s.group(s.acct, log))
		r.ledger = ledger.New(ledger.Config{Send: r.tell, Log: log})
	}
	if s.coaListen.IsValid() {
		if err := r.listen(); err != nil {
			return fmt.Errorf("coa-listen: %w", err)
		}
	}
	return nil
}

// Close ends what is under way, within two seconds.
func (r *Relay) Close() { r.closed.Do(r.close) }

func (r *Relay) close() {
	if r.coa != nil {
		r.coa.close()
	}
	if r.acct != nil {
		r.shut()
		r.acct.Close()
	}
	if r.auth != nil {
		r.auth.Close()
	}
}

// Begin carries the peer's identity to a server.
func (r *Relay) Begin(ctx context.Context, b eapsdk.Begin) (eapsdk.Session, eapsdk.Step, error) {
	if b.Role != eapsdk.Server {
		return nil, eapsdk.Step{}, errors.New("the RADIUS relay plays the server alone")
	}
	if len(b.Packet) == 0 {
		// The identity came from IKE: the server is told it as EAP would have (RFC 3748 section 5.1).
		b.Packet = identityResponse(b.Identifier-1, b.Identity)
	}
	c := &conversation{relay: r, begin: b}
	step, err := c.start(ctx)
	return c, step, err
}

func identityResponse(id uint8, identity string) []byte {
	n := 5 + len(identity)
	return append([]byte{packet.EAPResponse, id, byte(n >> 8), byte(n), byte(eapsdk.TypeIdentity)}, identity...)
}

// group is what a group of servers is made of.
func (s *settings) group(endpoints []servers.Endpoint, log *slog.Logger) servers.Config {
	return servers.Config{Servers: endpoints, Secret: s.secret, Timeout: s.timeout, Tries: s.tries, Dead: s.dead, TLS: s.tls, Log: log}
}

// nas are the attributes that tell who we are, in every request (RFC 2865 section 4.1).
func (s *settings) nas(p *radius.Packet, b eapsdk.Begin) {
	p.Add(packet.NASIdentifier, packet.Text(s.identifier))
	address := s.address
	if !address.IsValid() {
		address = b.Local
	}
	switch a := address.Unmap(); {
	case a.Is4():
		p.Add(packet.NASIPAddress, packet.Address(a))
	case a.Is6():
		p.Add(packet.NASIPv6Address, packet.Address(a))
	}
	if b.Connection != "" {
		p.Add(packet.NASPortID, packet.Text(b.Connection))
	}
	if b.Local.IsValid() {
		p.Add(packet.CalledStationID, packet.Text(b.Local.Unmap().WithZone("").String()))
	}
	if b.Peer.IsValid() {
		p.Add(packet.CallingStationID, packet.Text(b.Peer.Unmap().WithZone("").String()))
	}
	p.Add(packet.NASPortType, packet.Number(portVirtual))
}

// defaults of the settings.
const (
	defaultTimeout = time.Second
	defaultTries   = 3
	defaultDead    = time.Minute
	defaultWindow  = 5 * time.Minute // RFC 5176 section 6.3
)
