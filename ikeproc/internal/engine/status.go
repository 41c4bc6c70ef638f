package engine

import (
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/suite"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/status"
)

// Status tells how every connection of the plan stands.
func (e *Engine) Status(now time.Time) status.IKE {
	out := status.IKE{HalfOpen: e.half, Connections: make([]status.Connection, 0, len(e.order))}
	for _, c := range e.order {
		out.Connections = append(out.Connections, e.connStatus(c))
	}
	return out
}

func (e *Engine) connStatus(c *conn) status.Connection {
	local, _ := idOf(c.cfg.Local.ID)
	remote, any := idOf(c.cfg.Remote.ID)
	s := status.Connection{Name: c.cfg.Name, Local: c.cfg.Local.Address.String(), Remote: "any", LocalID: textID(local), RemoteID: "any",
		State: "down", Policy: e.place(c.cfg.Pos), Problem: c.problem, SAs: []status.IKESA{}, Children: []status.Child{}}
	if c.cfg.Remote.Address.IsValid() {
		s.Remote = c.cfg.Remote.Address.String()
	}
	if any {
		s.RemoteID = textID(remote)
	}
	if c.problem == nil && c.noAuth != "" {
		s.Problem = &status.Problem{Time: e.now, Code: "no-credentials", Text: c.noAuth, Policy: s.Policy}
	}
	for _, sa := range c.sas {
		s.SAs = append(s.SAs, saStatus(sa))
		switch {
		case sa.state == stateUp:
			s.State = "up"
		case sa.state < stateUp && s.State == "down":
			s.State = "connecting"
		}
	}
	for i := range c.cfg.Children {
		s.Children = append(s.Children, e.childStatus(c, c.cfg.Children[i].Name))
	}
	return s
}

func saStatus(sa *ikeSA) status.IKESA {
	out := status.IKESA{
		SPIi: fmt.Sprintf("%016x", sa.spiI), SPIr: fmt.Sprintf("%016x", sa.spiR), Initiator: sa.initiator, State: sa.state.String(),
		Local: sa.local.String(), Remote: sa.remote.String(), NAT: sa.natText(), Established: sa.established, RekeyAt: sa.rekeyAt,
	}
	if sa.state >= stateUp {
		out.PeerID, out.Suite, out.User = textID(sa.peerID), sa.suite.String(), sa.grant.User
		for _, a := range sa.grant.Peer {
			out.Addresses = append(out.Addresses, a.String())
		}
	}
	return out
}

func (e *Engine) childStatus(c *conn, name string) status.Child {
	out := status.Child{Name: name, State: "down", Policy: e.place(c.child(name).Pos), SAs: []status.ChildSA{}}
	for _, sa := range c.sas {
		for _, ch := range sa.children {
			if ch.cfg.Name != name {
				continue
			}
			switch {
			case ch.state == childRekeying:
				out.State = "rekeying"
			case out.State == "down" && ch.state == childUp:
				out.State = "up"
			}
			suiteText := suite.ESP{Encr: ch.transform.Encr, KeyBits: ch.transform.KeyBits, Integ: ch.transform.Integ}.String()
			if ch.transform.SN == ikev2.SN_ESN {
				suiteText += "/ESN"
			}
			out.SAs = append(out.SAs, status.ChildSA{
				SPIIn: fmt.Sprintf("%08x", ch.spiIn), SPIOut: fmt.Sprintf("%08x", ch.spiOut), Suite: suiteText, Mode: string(ch.mode), Encap: ch.encap,
				TSLocal: describeTS(ch.local), TSRemote: describeTS(ch.remote), Installed: ch.installed, RekeyAt: ch.rekeyAt,
			})
		}
	}
	return out
}
