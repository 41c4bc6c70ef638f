// Package guard decides what ikeproc may have installed. ikeproc is assumed to be taken over: it names things of the plan, and
// nothing that the plan does not say, or that authproc did not vouch for, comes past Allow.
//
// Allow is a pure function of the view, the grant key, the time, what has been allocated and installed, and the request:
//
//	if err := guard.Allow(&view, key, now, state, m); err != nil {
//		var r *guard.Refusal // says why and which line of policy stands against it
//	}
//	… the datapath does it …
//	state.Installed(m)
package guard

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
)

// encapPort is the local port of ESP in UDP (RFC 7296 section 2.23): the one on which the kernel decapsulates.
const encapPort = 4500

// minSPI: SPIs 1..255 are reserved (RFC 4303 section 2.1).
const minSPI = 256

// Refusal is a no: why, for the operator, and the line of policy that stands against it.
type Refusal struct {
	Connection, Child string
	Reason            string
	Pos               plan.Pos // zero when no line of policy is concerned
	Where             string   // Pos as file:line:column, "" with a zero Pos
}

// Error names the child, the reason and the line of policy.
func (r *Refusal) Error() string {
	var b strings.Builder
	if r.Connection != "" {
		fmt.Fprintf(&b, "%q", r.Connection)
		if r.Child != "" {
			fmt.Fprintf(&b, "/%q", r.Child)
		}
		b.WriteString(": ")
	}
	b.WriteString(r.Reason)
	if r.Where != "" {
		b.WriteString(" (policy: " + r.Where + ")")
	}
	return b.String()
}

// Allow says whether the plan lets this request be done. The error is always a *Refusal.
func Allow(view *plan.XFRMView, grantKey secret.Bytes, now time.Time, state *State, request msg.Message) error {
	c := check{view: view, key: grantKey, now: now, state: state}
	var r *Refusal
	switch m := request.(type) {
	case *msg.AllocSPI:
		r = c.allocSPI(m)
	case *msg.InstallChild:
		r = c.install(m)
	case *msg.UpdateChild:
		r = c.update(m)
	case *msg.RemoveChild:
		r = c.remove(m)
	default:
		r = &Refusal{Reason: fmt.Sprintf("%T is no request to a datapath", request)}
	}
	if r != nil {
		return r
	}
	return nil
}

// check is one request under examination. conn and child are set by find.
type check struct {
	view  *plan.XFRMView
	key   secret.Bytes
	now   time.Time
	state *State
	conn  *plan.XFRMConnection
	child *plan.Child
}

func (c *check) allocSPI(m *msg.AllocSPI) *Refusal {
	if r := c.find(m.Connection, m.Child); r != nil {
		return r
	}
	if r := c.addresses(m.Local, m.Remote); r != nil {
		return r
	}
	switch n := c.state.count(m.Connection, m.Child); {
	case n.pending >= c.bound(maxPendingFixed, maxPendingAny):
		return c.refuse("%d SPIs are reserved and not used: too many at once", n.pending)
	case len(c.state.pending) >= maxPending:
		return c.refuse("%d SPIs are reserved on this gateway and not used: too many at once", len(c.state.pending))
	}
	return nil
}

func (c *check) install(m *msg.InstallChild) *Refusal {
	if r := c.find(m.Connection, m.Child); r != nil {
		return r
	}
	for _, step := range []func(*msg.InstallChild) *Refusal{c.grant, c.endpoints, c.spis, c.transform, c.selectors, c.replaces} {
		if r := step(m); r != nil {
			return r
		}
	}
	return nil
}

func (c *check) update(m *msg.UpdateChild) *Refusal {
	sa := c.state.sas[m.SPIIn]
	if sa == nil {
		return &Refusal{Reason: fmt.Sprintf("SPI %08x names no child SA here", m.SPIIn)}
	}
	if r := c.find(sa.Connection, sa.Child); r != nil {
		return r
	}
	moves := m.Local != netip.AddrPort{} || m.Remote != netip.AddrPort{}
	if !moves && !m.Activate {
		return c.refuse("an update that changes nothing")
	}
	if moves {
		return c.outer(m.Local, m.Remote, sa.Encap)
	}
	return nil
}

// remove is always allowed for what is here: it only lets less traffic cross.
func (c *check) remove(m *msg.RemoveChild) *Refusal {
	_, pending := c.state.pending[m.SPIIn]
	_, held := c.state.sas[m.SPIIn]
	if !pending && !held {
		return &Refusal{Reason: fmt.Sprintf("SPI %08x names no child SA here", m.SPIIn)}
	}
	return nil
}

// find looks connection and child up in the plan. Both lists are sorted by name: CheckView saw to it.
func (c *check) find(connection, child string) *Refusal {
	conn, ch := Find(c.view, connection, child)
	if conn == nil {
		return &Refusal{Connection: clip(connection), Child: clip(child), Reason: "the plan has no such connection"}
	}
	c.conn = conn
	if ch == nil {
		r := c.refuse("the connection has no such child")
		r.Child = clip(child)
		return r
	}
	c.child = ch
	return nil
}

// Find looks a child up by name; conn or child are nil where the view has none.
func Find(view *plan.XFRMView, connection, child string) (*plan.XFRMConnection, *plan.Child) {
	i, ok := slices.BinarySearchFunc(view.Connections, connection, func(x plan.XFRMConnection, n string) int { return strings.Compare(x.Name, n) })
	if !ok {
		return nil, nil
	}
	conn := &view.Connections[i]
	i, ok = slices.BinarySearchFunc(conn.Children, child, func(x plan.Child, n string) int { return strings.Compare(x.Name, n) })
	if !ok {
		return conn, nil
	}
	return conn, &conn.Children[i]
}

// endpoints checks the outer addresses, ports and encapsulation, and the mode.
func (c *check) endpoints(m *msg.InstallChild) *Refusal {
	if m.Mode != c.child.Mode {
		return c.refuse("the plan says %s mode", c.child.Mode)
	}
	if c.conn.ForceEncap && !m.Encap {
		return c.refuse("the plan forces ESP in UDP, and this is plain ESP")
	}
	return c.outer(m.Local, m.Remote, m.Encap)
}

func (c *check) outer(local, remote netip.AddrPort, encap bool) *Refusal {
	if r := c.addresses(local.Addr(), remote.Addr()); r != nil {
		return r
	}
	if encap && local.Port() != encapPort {
		return c.refuse("ESP in UDP from port %d: only %d is served", local.Port(), encapPort)
	}
	if encap && remote.Port() == 0 {
		return c.refuse("ESP in UDP to port 0")
	}
	return nil
}

// addresses checks the outer addresses: ours is the connection's and is served, the peer's is the plan's, or any host's where the plan
// leaves it open.
func (c *check) addresses(local, remote netip.Addr) *Refusal {
	if local != c.conn.Local.Address || !slices.Contains(c.view.Listen, local) {
		return c.refuse("local address %v is not the connection's, %v", local, c.conn.Local.Address)
	}
	if want := c.conn.Remote.Address; want.IsValid() && remote != want {
		return c.refuse("remote address %v is not the plan's, %v", remote, want)
	}
	if !hostAddress(remote) || remote.Is4() != local.Is4() {
		return c.refuse("remote address %v is not that of a host that %v can reach", remote, local)
	}
	return nil
}

// hostAddress: an address of one host, that is not this one.
func hostAddress(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func (c *check) spis(m *msg.InstallChild) *Refusal {
	p, ok := c.state.pending[m.SPIIn]
	if !ok {
		return c.refuse("inbound SPI %08x was not allocated here, or is in use", m.SPIIn)
	}
	if p.Connection != m.Connection || p.Child != m.Child || p.Local != m.Local.Addr() {
		return c.refuse("inbound SPI %08x was allocated for %q/%q at %v", m.SPIIn, p.Connection, p.Child, p.Local)
	}
	if m.SPIOut < minSPI {
		return c.refuse("outbound SPI %08x is reserved (RFC 4303 section 2.1)", m.SPIOut)
	}
	if n := c.state.count(m.Connection, m.Child); n.sas >= c.bound(maxSAsFixed, maxSAsAny) {
		return c.refuse("%d SA pairs stand already: too many at once", n.sas)
	}
	return nil
}

func (c *check) replaces(m *msg.InstallChild) *Refusal {
	// An SA that is gone meanwhile (it expired, or the datapath was lost) may still be named: nothing depends on it.
	if sa := c.state.sas[m.Replaces]; sa != nil && (sa.Connection != m.Connection || sa.Child != m.Child) {
		return c.refuse("SPI %08x, which it would replace, belongs to %q/%q", m.Replaces, sa.Connection, sa.Child)
	}
	return nil
}

// bound picks the limit that fits: a child with one known peer needs a few SAs, one that serves any peer many.
func (c *check) bound(fixed, any int) int {
	if c.conn.Remote.Address.IsValid() {
		return fixed
	}
	return any
}

func (c *check) refuse(format string, args ...any) *Refusal {
	r := &Refusal{Connection: c.conn.Name, Reason: fmt.Sprintf(format, args...), Pos: c.conn.Pos}
	if c.child != nil {
		r.Child = c.child.Name
		r.Pos = c.child.Pos
	}
	r.Where = Where(c.view, r.Pos)
	return r
}

// Where is a position as file:line:column, "" when it is unknown.
func Where(view *plan.XFRMView, p plan.Pos) string {
	if p == (plan.Pos{}) || p.File < 0 || p.File >= len(view.Sources) {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", view.Sources[p.File], p.Line, p.Column)
}

// clip keeps a name that a hostile process chose from flooding the log.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
