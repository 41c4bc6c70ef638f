package authn

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/authproc/internal/pki"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

// Secret is one of the plan's secrets as it was found: its octets, or why there are none.
type Secret struct {
	Name string
	Key  secret.Bytes // New takes it over
	Err  error
}

// State is one plan's credentials. Its methods may be called at the same time until Close.
type State struct {
	conns   map[string]*connection
	byPeer  map[string][]*connection // by the peer's identity, where it is a fixed one
	pools   map[string]plan.Pool
	keys    map[string]secret.Bytes
	dummy   secret.Bytes // what an unknown peer's AUTH is held against
	problem []msg.Problem
	warn    []string

	credentials map[string]*credential
	authorities map[string]*authority
	lists       pki.Lists
}

// connection is one of the plan's, ready to be used. fault says why it cannot authenticate.
type connection struct {
	name              string
	local             msg.ID
	peer              peer
	localAuth         plan.Auth
	remoteAuth        plan.Auth
	canon, localCanon string // canon is "" where the peer may be one of several
	configure         plan.Configure
	request           plan.Request
	unique            plan.Unique
	fault             string
}

// New prepares one plan's credentials. The problems, in the plan's order, name the connections that cannot authenticate as things are; all others can.
func New(view plan.AuthView, secrets []Secret, files []File, now time.Time) (*State, []msg.Problem) {
	s := &State{conns: map[string]*connection{}, byPeer: map[string][]*connection{}, pools: map[string]plan.Pool{},
		credentials: map[string]*credential{}, authorities: map[string]*authority{}, keys: map[string]secret.Bytes{}, dummy: random()}
	missing := map[string]string{}
	for _, x := range view.Secrets {
		missing[x.Name] = "it was not handed over"
	}
	for _, x := range secrets {
		if _, known := missing[x.Name]; !known || x.Err != nil || x.Key.Len() == 0 {
			x.Key.Close()
			if known && x.Err != nil {
				missing[x.Name] = x.Err.Error()
			}
			continue
		}
		if old, twice := s.keys[x.Name]; twice {
			old.Close()
		}
		s.keys[x.Name] = x.Key
		missing[x.Name] = ""
	}
	for _, p := range view.Pools {
		s.pools[p.Name] = p
	}
	s.loadCredentials(view, files, missing)
	for i := range view.Connections {
		c := s.newConnection(&view.Connections[i], missing, now)
		s.conns[c.name] = c
		if c.canon != "" {
			s.byPeer[c.canon] = append(s.byPeer[c.canon], c)
		}
	}
	s.mirrors(view)
	for i := range view.Connections {
		v := &view.Connections[i]
		if f := s.conns[v.Name].fault; f != "" {
			s.problem = append(s.problem, msg.Problem{Connection: v.Name, Text: f, Pos: v.Pos})
		}
	}
	return s, s.problem
}

func (s *State) newConnection(v *plan.AuthConnection, missing map[string]string, now time.Time) *connection {
	c := &connection{name: v.Name, localAuth: v.LocalAuth, remoteAuth: v.RemoteAuth, configure: v.Configure, request: v.Request, unique: v.Unique}
	var err error
	if c.local, err = wireID(v.Local.ID); err != nil {
		c.fault = "our identity: " + err.Error()
	}
	if c.peer, err = newPeer(v.Remote.ID); err != nil {
		c.fault = "the peer's identity: " + err.Error()
	}
	if v.LocalAuth.Method == plan.AuthCertificate && c.fault == "" {
		c.fault = c.checkLocal(v.Local.ID, s.credentials[v.LocalAuth.Certificate], now)
	}
	if v.RemoteAuth.Method == plan.AuthCertificate && c.fault == "" {
		c.fault = s.checkRemote(c)
	}
	c.localCanon = canonical(c.local)
	if c.peer.fixed {
		c.canon = canonical(c.peer.id)
	}
	for _, a := range []plan.Auth{v.LocalAuth, v.RemoteAuth} {
		switch a.Method {
		case plan.AuthPSK:
			why, known := missing[a.Secret]
			switch {
			case !known:
				c.fault = fmt.Sprintf("secret %q is not in the plan", a.Secret)
			case why != "":
				c.fault = fmt.Sprintf("secret %q: %s", a.Secret, why)
			case !c.peer.fixed:
				c.fault = "a pre-shared key needs one peer, and this connection's may be several"
			}
		case plan.AuthEAP, plan.AuthCertificate:
		default:
			c.fault = fmt.Sprintf("authentication by %q is not served", a.Method)
		}
	}
	return c
}

// mirrors finds connections whose peer has an identity that is ours under the same key: whoever has our AUTH could show it as the peer's.
func (s *State) mirrors(view plan.AuthView) {
	once := random()
	defer once.Close()
	print := map[string][32]byte{}
	for name, k := range s.keys {
		h := hmac.New(sha256.New, once.Reveal())
		h.Write(k.Reveal())
		print[name] = [32]byte(h.Sum(nil))
	}
	type identity struct {
		key [32]byte
		id  string
	}
	ours := map[identity]string{}
	for i := range view.Connections {
		if c := s.conns[view.Connections[i].Name]; c.fault == "" && c.localAuth.Method == plan.AuthPSK {
			ours[identity{print[c.localAuth.Secret], c.localCanon}] = c.name
		}
	}
	for i := range view.Connections {
		c := s.conns[view.Connections[i].Name]
		if c.fault != "" || c.remoteAuth.Method != plan.AuthPSK {
			continue
		}
		if of, mirrored := ours[identity{print[c.remoteAuth.Secret], c.canon}]; mirrored {
			c.fault = fmt.Sprintf("the peer is to call itself %s, which is our own identity in connection %q with the same key: it could not be told from us", c.peer, of)
		}
	}
}

// Problems are the connections that cannot authenticate.
func (s *State) Problems() []msg.Problem { return s.problem }

// Has tells whether the plan has a connection of this name.
func (s *State) Has(connection string) bool { return s.conns[connection] != nil }

// Secret is one of the plan's secrets, empty where it could not be read. It is wiped by Close.
func (s *State) Secret(name string) secret.Bytes { return s.keys[name] }

// Close wipes the keys.
func (s *State) Close() {
	for name, k := range s.keys {
		k.Close()
		delete(s.keys, name)
	}
	s.dummy.Close()
}

func random() secret.Bytes {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return secret.New(b)
}
