package authn

import (
	"fmt"
	"slices"
	"strings"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// Offer is what an initiator that wants EAP is met with.
type Offer struct {
	Connections []string // that may still be meant, best first; all have the first one's identity, credentials and way
	Ask         bool     // for the EAP identity
	Identity    string   // IDi as an EAP identity
	EAPOnly     bool     // the server proves itself by the method alone
}

// Offer finds the connections that an initiator without AUTH may mean (RFC 7296 section 2.16). The text says, for the operator, why there is none.
func (s *State) Offer(m *msg.EAPStart) (Offer, string) {
	v := &msg.Verify{Connections: m.Connections, PeerID: m.PeerID, LocalID: m.LocalID, PeerAddr: m.PeerAddr, Initiator: true}
	if len(m.PeerID.Data) > maxID || len(m.LocalID.Data) > maxID {
		return Offer{}, fmt.Sprintf("an identity of %d octets", len(m.PeerID.Data))
	}
	var first *connection
	fits, r := s.candidates(v, func(c *connection) string {
		switch {
		case c.remoteAuth.Method != plan.AuthEAP:
			return fmt.Sprintf("the peer wants EAP, and the plan wants %s", c.remoteAuth.Method)
		case c.remoteAuth.EAPOnly && !m.EAPOnly && c.localAuth.Method != plan.AuthCertificate && c.localAuth.Method != plan.AuthPSK:
			return "the policy has the EAP method prove this gateway (`only`), and the peer does not offer that (RFC 5998)"
		}
		return ""
	})
	out := Offer{Identity: eapIdentity(m.PeerID)}
	for _, c := range fits {
		if first == nil {
			first = c
			out.Ask, out.EAPOnly = c.remoteAuth.AskIdentity || out.Identity == "", c.remoteAuth.EAPOnly && m.EAPOnly
		}
		if c.localCanon == first.localCanon && c.localAuth.Equal(first.localAuth) && c.remoteAuth.AskIdentity == first.remoteAuth.AskIdentity && c.remoteAuth.EAPOnly == first.remoteAuth.EAPOnly {
			out.Connections = append(out.Connections, c.name)
		}
	}
	if first == nil {
		return Offer{}, s.explain(v, r)
	}
	return out, ""
}

// eapIdentity is an IKE identity as a name for EAP; "" for one that is no name.
func eapIdentity(id msg.ID) string {
	switch id.Type {
	case ikev2.ID_FQDN, ikev2.ID_RFC822_ADDR:
		return string(id.Data)
	case ikev2.ID_KEY_ID:
		for _, b := range id.Data {
			if b < ' ' || b > '~' {
				return ""
			}
		}
		return string(id.Data)
	}
	return ""
}

// Choose leaves the connections that an EAP identity may use, and names the plugins that may authenticate it, best first. The text says why there are none.
func (s *State) Choose(connections []string, identity string) (left, plugins []string, why string) {
	var wanted []string
	for _, name := range connections {
		c := s.conns[name]
		if c == nil || c.fault != "" {
			continue
		}
		if !fitsName(c.remoteAuth.EAPIdentity, identity) {
			wanted = append(wanted, fmt.Sprintf("connection %q is for %q", name, c.remoteAuth.EAPIdentity))
			continue
		}
		if plugins == nil {
			plugins = c.remoteAuth.EAP
		}
		left = append(left, name)
	}
	if len(left) == 0 {
		return nil, nil, "no connection is for this EAP identity: " + strings.Join(wanted[:min(len(wanted), maxTold)], "; ")
	}
	return left, plugins, ""
}

// fitsName tells whether a name is one, or fits a pattern: "" or "*" is any, "*@example.org" and "*.example.org" any before that, "EXAMPLE\*" any behind. Case does not count.
func fitsName(pattern, name string) bool {
	p, n := strings.ToLower(pattern), strings.ToLower(name)
	switch {
	case p == "" || p == "*":
		return true
	case strings.HasPrefix(p, "*"):
		return len(n) >= len(p) && strings.HasSuffix(n, p[1:])
	case strings.HasSuffix(p, "*"):
		return len(n) >= len(p) && strings.HasPrefix(n, p[:len(p)-1])
	}
	return p == n
}

// Admitted leaves the connections whose plugin, names and groups are the ones that the peer authenticated with. user is who it proved to be, which need not be who it said it
// was when a connection was chosen: methods that carry a name of their own, such as MSCHAPv2 and all tunnels, prove that one. The text says why there are none.
func (s *State) Admitted(connections []string, plugin, user string, groups []string) (left []string, why string) {
	var missed []string
	for _, name := range connections {
		c := s.conns[name]
		switch {
		case c == nil || c.fault != "":
		case !slices.Contains(c.remoteAuth.EAP, plugin):
			missed = append(missed, fmt.Sprintf("connection %q does not take EAP plugin %q", name, plugin))
		case !fitsName(c.remoteAuth.EAPIdentity, user):
			missed = append(missed, fmt.Sprintf("connection %q is for %q", name, c.remoteAuth.EAPIdentity))
		case len(c.remoteAuth.Groups) > 0 && !slices.ContainsFunc(c.remoteAuth.Groups, func(g string) bool { return slices.Contains(groups, g) }):
			missed = append(missed, fmt.Sprintf("connection %q is for the groups %q", name, c.remoteAuth.Groups))
		default:
			left = append(left, name)
		}
	}
	if len(left) == 0 {
		why = fmt.Sprintf("the peer authenticated as %q, and is in the groups %q: %s", clip(user, 64), clipAll(groups), strings.Join(missed[:min(len(missed), maxTold)], "; "))
	}
	return left, why
}

func clipAll(list []string) (out []string) {
	for _, s := range list[:min(len(list), maxTold)] {
		out = append(out, clip(s, 64))
	}
	return out
}

// Client says how this gateway authenticates by EAP in a connection; ok is false where it does not.
func (s *State) Client(connection string) (plugin, identity string, only, ok bool) {
	c := s.conns[connection]
	if c == nil || c.fault != "" || c.localAuth.Method != plan.AuthEAP || len(c.localAuth.EAP) == 0 {
		return "", "", false, false
	}
	identity = c.localAuth.EAPIdentity
	if identity == "" {
		identity = eapIdentity(c.local)
	}
	return c.localAuth.EAP[0], identity, c.localAuth.EAPOnly, true
}
