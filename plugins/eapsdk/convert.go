package eapsdk

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	wire "github.com/trike-ipsec/trike/plugins/eapsdk/trikeeapv1"
)

// More bounds on what crosses.
const (
	maxSettings  = 64
	maxAddresses = 8
	maxClasses   = 16
	maxClass     = 4096                 // octets of one
	maxDuration  = 366 * 24 * time.Hour // of a session, and between records
)

// description reads what a plugin says of itself, which may be anything.
func description(w *wire.Description) (Description, error) {
	d := Description{Name: w.GetName(), Version: w.GetVersion(), Type: Type(w.GetType()), MakesKeys: w.GetMakesKeys(), Mutual: w.GetMutual(), Accounting: w.GetAccounting()}
	switch {
	case !isName(d.Name):
		return d, fmt.Errorf("the plugin calls itself %.64q: 1 to 63 of a-z, 0-9 and '-' are a name", d.Name)
	case !isText(d.Version, 64):
		return d, fmt.Errorf("the plugin's version has %d octets or strange ones: 64 of printable text are possible", len(d.Version))
	case w.GetType() > 255 || d.Type == TypeNotification || d.Type == TypeNak || d.Type == TypeIdentity:
		return d, fmt.Errorf("the plugin says that it is of EAP type %d, which is no method", w.GetType())
	case d.Mutual && !d.MakesKeys:
		return d, fmt.Errorf("the plugin says that it is mutual and makes no keys: then nothing binds what it proved to the session")
	case len(w.GetSettings()) > maxSettings:
		return d, fmt.Errorf("the plugin has %d settings: %d are possible", len(w.GetSettings()), maxSettings)
	}
	for _, r := range w.GetRoles() {
		role := Role(r)
		if role != Server && role != Client || slices.Contains(d.Roles, role) {
			return d, fmt.Errorf("the plugin says that it plays the roles %v", w.GetRoles())
		}
		d.Roles = append(d.Roles, role)
	}
	if len(d.Roles) == 0 {
		return d, fmt.Errorf("the plugin plays no role")
	}
	for _, x := range w.GetSettings() {
		if !isName(x.GetName()) || !isText(x.GetHelp(), MaxText) {
			return d, fmt.Errorf("the plugin has a setting %.64q with help of %d octets: its name must be 1 to 63 of a-z, 0-9 and '-', its help a line", x.GetName(), len(x.GetHelp()))
		}
		d.Settings = append(d.Settings, Setting{Name: x.GetName(), Secret: x.GetSecret(), Required: x.GetRequired(), Help: x.GetHelp()})
	}
	return d, nil
}

func (d *Description) wire() *wire.Description {
	w := &wire.Description{Name: d.Name, Version: d.Version, Type: uint32(d.Type), MakesKeys: d.MakesKeys, Mutual: d.Mutual, Accounting: d.Accounting}
	for _, r := range d.Roles {
		w.Roles = append(w.Roles, wire.Role(r))
	}
	for _, x := range d.Settings {
		w.Settings = append(w.Settings, &wire.Setting{Name: x.Name, Secret: x.Secret, Required: x.Required, Help: x.Help})
	}
	return w
}

// begin reads how a session begins.
func begin(w *wire.BeginRequest) (Begin, error) {
	b := Begin{Role: Role(w.GetRole()), Session: w.GetSession(), Connection: w.GetConnection(), Identity: w.GetIdentity(), ServerName: w.GetServerName(), Packet: w.GetPacket(),
		Identifier: uint8(w.GetIdentifier())}
	var err error
	if b.Peer, err = address(w.GetPeer()); err != nil {
		return b, err
	}
	if b.Local, err = address(w.GetLocal()); err != nil {
		return b, err
	}
	if b.Role != Server && b.Role != Client || len(b.Packet) > MaxPacket || w.GetIdentifier() > 255 || len(b.Identity) > MaxIdentity {
		return b, fmt.Errorf("a session cannot begin with role %v, identifier %d, a packet of %d octets and an identity of %d", b.Role, w.GetIdentifier(), len(b.Packet), len(b.Identity))
	}
	return b, nil
}

func (b *Begin) wire(id uint64) *wire.BeginRequest {
	// An identity is what the peer says, which need not be text; the wire format carries nothing else in its strings.
	return &wire.BeginRequest{Id: id, Role: wire.Role(b.Role), Session: b.Session, Connection: b.Connection, Identity: strings.ToValidUTF8(b.Identity, "\uFFFD"), Peer: octets(b.Peer), Local: octets(b.Local),
		ServerName: strings.ToValidUTF8(b.ServerName, "\uFFFD"), Packet: b.Packet, Identifier: uint32(b.Identifier)}
}

// step reads what a session does next, of a plugin that plays role.
func step(w *wire.Step, role Role) (Step, error) {
	s := Step{Outcome: Outcome(w.GetOutcome()), Packet: w.GetPacket(), MSK: w.GetMsk(), Identity: w.GetIdentity(), Groups: w.GetGroups(), Reason: w.GetReason()}
	bad := func(format string, args ...any) (Step, error) {
		clear(s.MSK)
		return Step{}, fmt.Errorf("the plugin gave "+format, args...)
	}
	switch s.Outcome {
	case Continue, Success, Failure:
	default:
		return bad("the outcome %d, which there is not", w.GetOutcome())
	}
	switch {
	case len(s.Packet) > MaxPacket || len(s.Packet) > 0 && len(s.Packet) < 4:
		return bad("an EAP packet of %d octets", len(s.Packet))
	case len(s.Packet) >= 4 && int(s.Packet[2])<<8|int(s.Packet[3]) != len(s.Packet):
		return bad("an EAP packet of %d octets that says that it has %d", len(s.Packet), int(s.Packet[2])<<8|int(s.Packet[3]))
	case s.Outcome == Continue && len(s.Packet) == 0:
		return bad("nothing to send, and did not come to an end")
	case s.Outcome != Success && len(s.MSK) > 0:
		return bad("a key without success")
	case len(s.MSK) != 0 && len(s.MSK) != MaxMSK:
		return bad("a key of %d octets: an MSK has %d", len(s.MSK), MaxMSK)
	case len(s.Identity) > MaxIdentity || !isText(s.Reason, MaxText) || len(s.Groups) > MaxGroups:
		return bad("an identity of %d octets, %d groups and a reason of %d octets", len(s.Identity), len(s.Groups), len(s.Reason))
	case role == Client && (s.Identity != "" || len(s.Groups) > 0):
		return bad("an identity or groups as a client: a server alone does that")
	}
	for _, g := range s.Groups {
		if g == "" || !isText(g, MaxText) {
			return bad("a group whose name has %d octets or strange ones", len(g))
		}
	}
	var err error
	if s.Grants, err = grants(w.GetGrants()); err != nil {
		return bad("%w", err)
	}
	return s, nil
}

func (s *Step) wire() *wire.Step {
	return &wire.Step{Outcome: wire.Outcome(s.Outcome), Packet: s.Packet, Msk: s.MSK, Identity: strings.ToValidUTF8(s.Identity, "\uFFFD"), Groups: s.Groups, Grants: s.Grants.wire(),
		Reason: clip(s.Reason)}
}

func grants(w *wire.Grants) (g Grants, err error) {
	if g.Address4, err = address(w.GetAddress4()); err != nil {
		return g, err
	}
	if g.Address6, err = address(w.GetAddress6()); err != nil {
		return g, err
	}
	g.SessionTimeout, g.InterimEvery = duration(w.GetSessionTimeoutMs()), duration(w.GetInterimEveryMs())
	g.Filter, g.Class = w.GetFilter(), w.GetClass()
	switch {
	case g.Address4.IsValid() && !g.Address4.Is4(), g.Address6.IsValid() && !g.Address6.Is6():
		return g, fmt.Errorf("the addresses %v and %v: the first is to be IPv4, the second IPv6", g.Address4, g.Address6)
	case len(g.Filter) > maxClasses || len(g.Class) > maxClasses:
		return g, fmt.Errorf("%d filters and %d classes: %d are possible", len(g.Filter), len(g.Class), maxClasses)
	}
	for _, f := range g.Filter {
		if !isText(f, MaxText) {
			return g, fmt.Errorf("a filter's name of %d octets, or with strange ones", len(f))
		}
	}
	for _, c := range g.Class {
		if len(c) > maxClass {
			return g, fmt.Errorf("a class of %d octets: %d are possible", len(c), maxClass)
		}
	}
	return g, nil
}

func (g *Grants) wire() *wire.Grants {
	return &wire.Grants{Address4: octets(g.Address4), Address6: octets(g.Address6), SessionTimeoutMs: uint64(g.SessionTimeout.Milliseconds()),
		InterimEveryMs: uint64(g.InterimEvery.Milliseconds()), Filter: g.Filter, Class: g.Class}
}

func record(w *wire.Record) (Record, error) {
	r := Record{Kind: RecordKind(w.GetKind()), Session: w.GetSession(), Connection: w.GetConnection(), Identity: w.GetIdentity(), At: time.UnixMilli(w.GetAtMs()).UTC(),
		Duration: duration(w.GetDurationMs()), BytesIn: w.GetBytesIn(), BytesOut: w.GetBytesOut(), PacketsIn: w.GetPacketsIn(), PacketsOut: w.GetPacketsOut(), Cause: w.GetCause(), Class: w.GetClass()}
	var err error
	if r.Peer, err = address(w.GetPeer()); err != nil {
		return r, err
	}
	for _, a := range w.GetAddresses()[:min(len(w.GetAddresses()), maxAddresses)] {
		x, err := address(a)
		if err != nil {
			return r, err
		}
		r.Addresses = append(r.Addresses, x)
	}
	return r, nil
}

func (r *Record) wire() *wire.Record {
	w := &wire.Record{Kind: wire.RecordKind(r.Kind), Session: r.Session, Connection: r.Connection, Identity: strings.ToValidUTF8(r.Identity, "\uFFFD"), Peer: octets(r.Peer), AtMs: r.At.UnixMilli(),
		DurationMs: uint64(r.Duration.Milliseconds()), BytesIn: r.BytesIn, BytesOut: r.BytesOut, PacketsIn: r.PacketsIn, PacketsOut: r.PacketsOut, Cause: r.Cause, Class: r.Class}
	for _, a := range r.Addresses {
		w.Addresses = append(w.Addresses, octets(a))
	}
	return w
}

func command(w *wire.Command) (Command, error) {
	c := Command{Kind: CommandKind(w.GetKind()), Session: w.GetSession(), Identity: w.GetIdentity(), Reason: clip(w.GetReason())}
	var err error
	if c.Address, err = address(w.GetAddress()); err != nil {
		return c, err
	}
	if c.Grants, err = grants(w.GetGrants()); err != nil {
		return c, err
	}
	if c.Kind != Disconnect && c.Kind != Change || len(c.Session) > MaxText || len(c.Identity) > MaxIdentity {
		return c, fmt.Errorf("the plugin wants %d done with a session %.64q", c.Kind, c.Session)
	}
	if c.Session == "" && c.Identity == "" && !c.Address.IsValid() {
		return c, fmt.Errorf("the plugin wants something done and does not say with which session")
	}
	return c, nil
}

func (c *Command) wire(id uint64) *wire.Command {
	return &wire.Command{Id: id, Kind: wire.CommandKind(c.Kind), Session: c.Session, Identity: c.Identity, Address: octets(c.Address), Grants: c.Grants.wire(), Reason: clip(c.Reason)}
}

func address(b []byte) (netip.Addr, error) {
	if len(b) == 0 {
		return netip.Addr{}, nil
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok || a.Is4In6() {
		return netip.Addr{}, fmt.Errorf("an address of %d octets, or of IPv4 within IPv6", len(b))
	}
	return a, nil
}

func octets(a netip.Addr) []byte { return a.AsSlice() }

// duration is one in milliseconds, bounded.
func duration(ms uint64) time.Duration {
	return time.Duration(min(ms, uint64(maxDuration/time.Millisecond))) * time.Millisecond
}

func isName(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// isText is a line of text of at most so many octets.
func isText(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// clip makes one line of at most MaxText octets of anything.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > MaxText {
		s = strings.ToValidUTF8(s[:MaxText], "")
	}
	return s
}
