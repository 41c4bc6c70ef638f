package authproc

import (
	"fmt"
	"os"
	"time"

	"github.com/trike-ipsec/trike/authproc/internal/authn"
	"github.com/trike-ipsec/trike/authproc/internal/eap"
	"github.com/trike-ipsec/trike/authproc/internal/pluginhost"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Bounds on conversations. ikeproc, which may be hostile, opens them.
const (
	maxConversations = 16384
	conversationLife = 3 * time.Minute
)

// Plugins runs EAP methods. Its answers come later, as events. pluginhost.Host is the real one.
type Plugins interface {
	// Use makes a plan's plugins the ones that run. Those that did not change are not touched.
	Use(plugins []plan.Plugin, secrets func(name string) secret.Bytes)
	// Methods tells what is known of the plugins of these names, in their order; those that cannot be used are left out, and why says so.
	Methods(names []string) (methods []eap.Method, why string)
	Begin(plugin string, session uint64, b eapsdk.Begin)
	Next(session uint64, packet []byte)
	Abort(session uint64, reason string)
	Events() <-chan pluginhost.Event
	// Started, Dialed and Exited bring what triked says of plugins.
	Started(m *msg.PluginStarted, files []*os.File)
	Dialed(m *msg.PluginDialed, files []*os.File)
	Exited(m *msg.PluginExited)
	Status() []status.Plugin
	// Account tells a plugin of a session; Wishes is what back ends want done with sessions.
	Account(plugin string, rec eapsdk.Record)
	Wishes() <-chan pluginhost.Wish
	Close()
}

// machine is either side of EAP.
type machine interface {
	Packet([]byte) eap.Action
	Step(eapsdk.Step, error) eap.Action
	Abort() (eap.Method, bool)
}

// conversation is one IKE_AUTH exchange in which EAP is spoken.
type conversation struct {
	id          uint64
	began       time.Time
	connections []string // that may still be meant
	machine     machine
	server      *eap.Server // nil where we are the client
	start       msg.EAPStart
	req         uint64 // that the peer's word is waiting to be answered with; 0: none
	session     uint64 // in the plugin; 0: none
	name        string // of the last session, as the plugin knows it
	proof       *authn.Proof
	// signed and verified: both AUTH payloads that follow EAP were dealt with, and its key is not needed any more.
	signed, verified bool
	peerID           msg.ID // as a client: who the server proved to be
}

// open makes room for a conversation. The oldest goes where there are too many.
func (p *process) open(id uint64) *conversation {
	p.endConversation(id, "the conversation begins anew")
	now := p.cfg.Now()
	if len(p.conversations) >= maxConversations {
		var oldest *conversation
		for _, c := range p.conversations {
			if oldest == nil || c.began.Before(oldest.began) {
				oldest = c
			}
		}
		p.endConversation(oldest.id, "too many peers are authenticating")
	}
	c := &conversation{id: id, began: now}
	p.conversations[id] = c
	return c
}

// sweep ends conversations that ikeproc has forgotten about.
func (p *process) sweep() {
	now := p.cfg.Now()
	for id, c := range p.conversations {
		if now.Sub(c.began) > conversationLife {
			p.endConversation(id, "it took too long")
		}
	}
}

func (p *process) endConversation(id uint64, why string) {
	c := p.conversations[id]
	if c == nil {
		return
	}
	delete(p.conversations, id)
	if c.machine != nil {
		if _, open := c.machine.Abort(); open && c.session != 0 {
			p.cfg.Plugins.Abort(c.session, why)
		}
	}
	delete(p.sessions, c.session)
	c.proof.Close()
}

func (p *process) forgetConversations(why string) {
	for id := range p.conversations {
		p.endConversation(id, why)
	}
}

// identifier is one for the first request of a conversation. It need not be secret.
func (p *process) identifier() uint8 { return uint8(p.lastSession) }

// eapStart begins EAP as a server.
func (p *process) eapStart(m *msg.EAPStart) error {
	if p.state == nil {
		return p.ike.Say(&msg.EAPReply{Req: m.Req, Done: true, Error: noPlan})
	}
	offer, why := p.state.Offer(m)
	if why != "" {
		p.note("", why)
		return p.ike.Say(&msg.EAPReply{Req: m.Req, Done: true, Error: why})
	}
	c := p.open(m.Conversation)
	c.connections, c.start, c.req = offer.Connections, *m, m.Req
	c.server = eap.NewServer(eap.ServerConfig{Identifier: p.identifier(), Identity: offer.Identity, Ask: offer.Ask, NeedKeys: offer.EAPOnly, NeedMutual: offer.EAPOnly})
	c.machine = c.server
	c.start.EAPOnly = offer.EAPOnly
	return p.do(c, c.server.Start())
}

// eapPacket takes the peer's next packet.
func (p *process) eapPacket(m *msg.EAPPacket) error {
	c := p.conversations[m.Conversation]
	switch {
	case c == nil:
		return p.ike.Say(&msg.EAPReply{Req: m.Req, Done: true, Error: "no EAP is going on in this conversation"})
	case c.req != 0:
		return fmt.Errorf("ikeproc sent an EAP packet before the last one was answered")
	}
	if c.machine == nil {
		if why := p.client(c); why != "" {
			p.endConversation(c.id, why)
			return p.ike.Say(&msg.EAPReply{Req: m.Req, Done: true, Error: why})
		}
	}
	c.req = m.Req
	return p.do(c, c.machine.Packet(m.Packet))
}

// client begins EAP on the peer's side, in the connection that the server proved itself for.
func (p *process) client(c *conversation) string {
	if p.state == nil || len(c.connections) == 0 {
		return noPlan
	}
	plugin, identity, only, ok := p.state.Client(c.connections[0])
	if !ok {
		return fmt.Sprintf("connection %q: this gateway does not authenticate by EAP there", c.connections[0])
	}
	methods, why := p.cfg.Plugins.Methods([]string{plugin})
	if len(methods) == 0 {
		return fmt.Sprintf("connection %q: %s", c.connections[0], why)
	}
	unproved := only && c.peerID.Type == 0
	c.machine = eap.NewClient(eap.ClientConfig{Identity: identity, Method: methods[0], NeedKeys: unproved, NeedMutual: unproved})
	return ""
}

// pluginEvent takes what a plugin did.
func (p *process) pluginEvent(e pluginhost.Event) error {
	c := p.sessions[e.Session]
	if c == nil || c.session != e.Session {
		return nil // its conversation is over
	}
	return p.do(c, c.machine.Step(e.Step, e.Err))
}

// do carries out what a machine wants, until it waits for somebody.
func (p *process) do(c *conversation, a eap.Action) error {
	for {
		if a.Abort && c.session != 0 {
			p.cfg.Plugins.Abort(c.session, "the conversation went on without it")
			delete(p.sessions, c.session)
			c.session = 0
		}
		switch a.Kind {
		case eap.Send:
			return p.reply(c, &msg.EAPReply{Packet: a.Packet})
		case eap.Choose:
			a = p.choose(c, a.Identity)
		case eap.Begin:
			p.begin(c, a)
			return nil
		case eap.Next:
			p.cfg.Plugins.Next(c.session, a.Packet)
			return nil
		case eap.End:
			return p.eapEnd(c, a)
		default:
			return nil
		}
	}
}

func (p *process) choose(c *conversation, identity string) eap.Action {
	left, names, why := p.state.Choose(c.connections, identity)
	if len(left) == 0 {
		return c.server.Chosen(nil, why)
	}
	c.connections = left
	methods, why := p.cfg.Plugins.Methods(names)
	return c.server.Chosen(methods, why)
}

// begin opens a session in a plugin.
func (p *process) begin(c *conversation, a eap.Action) {
	p.lastSession++
	c.session = p.lastSession
	p.sessions[c.session] = c
	c.name = p.sessionName(c.session)
	b := eapsdk.Begin{Role: eapsdk.Client, Session: c.name, Connection: c.connections[0], Identity: a.Identity, Packet: a.Packet,
		Identifier: a.Identifier, Peer: c.start.PeerAddr, Local: c.start.Local}
	if c.server != nil {
		b.Role = eapsdk.Server
	} else {
		b.ServerName = authn.ServerName(c.peerID)
	}
	p.cfg.Plugins.Begin(a.Method.Name, c.session, b)
}

// sessionName is unique for as long as the gateway runs, and from one run to the next.
func (p *process) sessionName(n uint64) string { return fmt.Sprintf("%08x-%08x", p.born, n) }

// eapEnd ends EAP. With success the conversation goes on: AUTH follows on both sides.
func (p *process) eapEnd(c *conversation, a eap.Action) error {
	delete(p.sessions, c.session)
	c.session = 0
	if a.OK && c.server != nil {
		left, why := p.state.Admitted(c.connections, a.Method.Name, a.Result.Identity, a.Result.Groups)
		if len(left) == 0 {
			clear(a.Result.MSK)
			a = eap.Action{Kind: eap.End, Packet: []byte{byte(eap.Failure), a.Packet[1], 0, 4}, Reason: why}
		}
		c.connections = left
	}
	if !a.OK {
		why := a.Reason
		if len(c.connections) > 0 {
			why = fmt.Sprintf("connection %q: %s", c.connections[0], why)
		}
		p.note("", why)
		err := p.reply(c, &msg.EAPReply{Packet: a.Packet, Done: true, Error: why})
		p.endConversation(c.id, why)
		return err
	}
	c.proof = &authn.Proof{Connections: c.connections, PeerID: c.peerID, MSK: secret.New(a.Result.MSK), Grants: a.Result.Grants}
	if c.server != nil {
		c.proof.User = a.Result.Identity
	}
	return p.reply(c, &msg.EAPReply{Packet: a.Packet, Done: true, OK: true})
}

// reply answers what ikeproc waits for. The first reply of a server says which connection its own AUTH is for.
func (p *process) reply(c *conversation, r *msg.EAPReply) error {
	r.Req, c.req = c.req, 0
	if c.server != nil && len(c.connections) > 0 {
		r.Connection, r.EAPOnly = c.connections[0], c.start.EAPOnly
	}
	if p.ike == nil {
		return nil
	}
	return p.ike.Say(r)
}

// proofOf is what EAP left in a conversation, nil for none.
func (p *process) proofOf(conversation uint64) *authn.Proof {
	if c := p.conversations[conversation]; c != nil {
		return c.proof
	}
	return nil
}

// used notes that the key of a conversation was used, and ends it when it was used on both sides.
func (p *process) used(conversation uint64, how func(*conversation)) {
	c := p.conversations[conversation]
	if c == nil || c.proof == nil {
		return
	}
	if how(c); c.signed && c.verified {
		p.endConversation(c.id, "it is done")
	}
}
