package authproc

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/authproc/internal/authn"
	"github.com/trike-ipsec/trike/authproc/internal/pluginhost"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// maxAccounts bounds sessions that are accounted. ikeproc, which may be hostile, has each of them authenticate first.
const maxAccounts = 1 << 17

// account is a session that a plugin is told of: from the grant to the end of the peer's IKE SAs.
type account struct {
	session uint64 // of the grant
	plugin  string
	record  eapsdk.Record // what all its records have in common
	made    time.Time
	began   time.Time // zero until its IKE SA stands
	expiry  int64     // of the youngest grant, Unix seconds
	until   time.Time // by a back end's later word; zero: no bound
}

// accounting is what the plan says of a connection's.
func (p *process) accounting(connection string) plan.Accounting {
	i, ok := slices.BinarySearchFunc(p.view.Connections, connection, func(c plan.AuthConnection, n string) int { return strings.Compare(c.Name, n) })
	if !ok {
		return plan.Accounting{}
	}
	return p.view.Connections[i].Accounting
}

// openAccount remembers a session that was let in. name is the plugin's for it, "" where no plugin asked who the peer is.
func (p *process) openAccount(g *msg.Grant, proof *authn.Proof, name string, peer netip.Addr) {
	to := p.accounting(g.Connection)
	if to.Plugin == "" {
		return
	}
	if len(p.accounts) >= maxAccounts {
		p.log("error", "accounting", g.Connection, fmt.Sprintf("%d sessions are accounted already: this one is not", maxAccounts))
		return
	}
	a := &account{session: g.Session, plugin: to.Plugin, made: p.cfg.Now(), expiry: g.Expiry,
		record: eapsdk.Record{Session: name, Connection: g.Connection, Identity: g.User, Peer: peer, Addresses: g.Peer}}
	if name == "" {
		a.record.Session = fmt.Sprintf("%016x", g.Session)
	}
	if a.record.Identity == "" {
		a.record.Identity = authn.ServerName(g.PeerID)
	}
	if proof != nil {
		a.record.Class = proof.Grants.Class
	}
	p.accounts[g.Session] = a
}

// accountUsage tells the plugin what ikeproc says of a session.
func (p *process) accountUsage(m *msg.Usage) {
	a := p.accounts[m.Grant.Session]
	if a == nil {
		return
	}
	now := p.cfg.Now()
	rec := a.record
	rec.At = now
	rec.BytesIn, rec.BytesOut, rec.PacketsIn, rec.PacketsOut = m.BytesIn, m.BytesOut, m.PacketsIn, m.PacketsOut
	if m.PeerAddr.IsValid() {
		rec.Peer = m.PeerAddr
	}
	switch m.What {
	case msg.UsageStart:
		if !a.began.IsZero() {
			return
		}
		a.began, rec.Kind = now, eapsdk.Start
	case msg.UsageInterim:
		rec.Kind = eapsdk.Interim
	case msg.UsageStop:
		delete(p.accounts, a.session)
		rec.Kind, rec.Cause = eapsdk.Stop, m.Cause
	default:
		return
	}
	if a.began.IsZero() {
		return
	}
	rec.Duration = now.Sub(a.began)
	p.cfg.Plugins.Account(a.plugin, rec)
}

// sweepAccounts ends sessions whose time is over by a back end's word, and forgets those that came to nothing.
func (p *process) sweepAccounts() {
	now := p.cfg.Now()
	for session, a := range p.accounts {
		switch {
		case !a.until.IsZero() && !now.Before(a.until):
			a.until = time.Time{}
			p.terminate(a, "the authentication server's time for the session is over")
		case a.began.IsZero() && now.Sub(a.made) > conversationLife:
			delete(p.accounts, session)
		case now.Unix() > a.expiry: // ikeproc has forgotten it, and its grant is worth nothing
			p.accountUsage(&msg.Usage{Grant: msg.Grant{Session: session}, What: msg.UsageStop, Cause: "lost"})
		}
	}
}

// wish does what a plugin's back end wants with sessions that the plugin is told of.
func (p *process) wish(w pluginhost.Wish) {
	known := false
	for _, a := range p.accounts {
		if a.plugin != w.Plugin || a.began.IsZero() || !means(w.Command, a) {
			continue
		}
		known = true
		switch w.Command.Kind {
		case eapsdk.Disconnect:
			why := "the authentication server wants it gone"
			if w.Command.Reason != "" {
				why += ": " + w.Command.Reason
			}
			p.terminate(a, why)
		case eapsdk.Change:
			if t := w.Command.Grants.SessionTimeout; t > 0 {
				a.until = a.began.Add(t)
			}
		}
	}
	w.Known(known)
}

// means tells whether all that a command names fits a session, and that it names something.
func means(c eapsdk.Command, a *account) bool {
	if c.Session == "" && c.Identity == "" && !c.Address.IsValid() {
		return false
	}
	return (c.Session == "" || c.Session == a.record.Session) && (c.Identity == "" || c.Identity == a.record.Identity) &&
		(!c.Address.IsValid() || slices.Contains(a.record.Addresses, c.Address))
}

func (p *process) terminate(a *account, why string) {
	p.log("info", "terminated", a.record.Connection, fmt.Sprintf("the session of %s ends: %s", a.record.Identity, why))
	if p.ike == nil {
		return
	}
	if err := p.ike.Say(&msg.Terminate{Session: a.session, Reason: why}); err != nil {
		p.dropIKE(err)
	}
}
