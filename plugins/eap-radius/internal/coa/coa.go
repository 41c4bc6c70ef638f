// Package coa answers Disconnect-Request and CoA-Request (RFC 5176): what a RADIUS server wants done with sessions that stand.
//
//	h := coa.New(coa.Config{Secret: …, Clients: …, Window: …, Carry: …})
//	answer, err := h.Answer(now, from, datagram) // no answer: dropped, err says why
//
// A request is believed if it comes from a known address, has the right Request Authenticator and Message-Authenticator, and an Event-Timestamp within the window.
// One that comes again within the window gets the answer of the first time, and is not carried out again.
package coa

import (
	"errors"
	"net/netip"
	"time"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// maxSeen bounds how many requests within the window are remembered; more are dropped.
const maxSeen = 4096

// maxReason bounds what a server may tell the operator, in octets.
const maxReason = 200

// Cause is an Error-Cause (RFC 5176 section 3.5).
type Cause uint32

// The causes that we give.
const (
	UnsupportedAttribute  Cause = 401
	MissingAttribute      Cause = 402
	NASMismatch           Cause = 403
	InvalidRequest        Cause = 404
	UnsupportedService    Cause = 405
	InvalidAttributeValue Cause = 407
	SessionNotFound       Cause = 503
	ResourcesUnavailable  Cause = 506
)

// Match names the sessions that are meant; all that is given must fit.
type Match struct {
	Session   string       // Acct-Session-Id
	Identity  string       // User-Name
	Calling   string       // Calling-Station-Id
	Called    string       // Called-Station-Id
	Port      string       // NAS-Port-Id
	Addresses []netip.Addr // Framed-IP-Address, Framed-IPv6-Address
}

// Wish is what a server wants.
type Wish struct {
	Kind   eapsdk.CommandKind
	Match  Match
	Grants eapsdk.Grants // of Change
	Reason string
}

// Config is what a Handler is made of.
type Config struct {
	Secret  []byte
	Clients []netip.Prefix // who may ask
	Window  time.Duration  // how far a request's clock may be from ours, either way
	// Ours reports whether a NAS-Identifier, NAS-IP-Address or NAS-IPv6-Address is this gateway's.
	Ours func(identifier string, address netip.Addr) bool
	// Grants reads what a CoA-Request changes.
	Grants func(p *radius.Packet) eapsdk.Grants
	// Carry carries a wish out; 0 says that it was done.
	Carry func(w Wish) Cause
}

// Why datagrams are dropped.
var (
	ErrStranger = errors.New("the sender is none of coa-clients")
	ErrNoTime   = errors.New("no Event-Timestamp: set the server to send it")
	ErrStale    = errors.New("the Event-Timestamp is outside of the window: are both clocks right?")
	ErrTooMany  = errors.New("too many requests within the window")
)

// Handler remembers what it answered. It belongs to one goroutine.
type Handler struct {
	config Config
	seen   map[[16]byte]seen // by Request Authenticator, which is a hash over all of a request
}

type seen struct {
	answer []byte
	until  time.Time
}

// New makes a handler that has seen nothing.
func New(c Config) *Handler { return &Handler{config: c, seen: map[[16]byte]seen{}} }

// Answer takes one datagram.
func (h *Handler) Answer(now time.Time, from netip.Addr, datagram []byte) ([]byte, error) {
	if !h.allowed(from.Unmap().WithZone("")) {
		return nil, ErrStranger
	}
	p, err := packet.OpenRequest(datagram, h.config.Secret, true)
	if err != nil {
		return nil, err
	}
	if p.Code != radius.CodeDisconnectRequest && p.Code != radius.CodeCoARequest {
		return nil, packet.ErrUnexpected
	}
	until, err := h.fresh(now, p)
	if err != nil {
		return nil, err
	}
	if s, ok := h.seen[p.Authenticator]; ok {
		return s.answer, nil
	}
	if len(h.seen) >= maxSeen {
		h.forget(now)
	}
	if len(h.seen) >= maxSeen {
		return nil, ErrTooMany
	}
	answer, err := packet.SealAnswer(h.decide(p), datagram, h.config.Secret)
	if err != nil {
		return nil, err
	}
	h.seen[p.Authenticator] = seen{answer, until}
	return answer, nil
}

func (h *Handler) allowed(from netip.Addr) bool {
	for _, c := range h.config.Clients {
		if c.Contains(from) {
			return true
		}
	}
	return false
}

// fresh checks the Event-Timestamp (RFC 5176 section 6.3) and gives the end of its window.
func (h *Handler) fresh(now time.Time, p *radius.Packet) (time.Time, error) {
	n, ok := packet.Uint(p, packet.EventTimestamp)
	if !ok {
		return time.Time{}, ErrNoTime
	}
	at := time.Unix(int64(n), 0)
	if d := now.Sub(at); d > h.config.Window || -d > h.config.Window {
		return time.Time{}, ErrStale
	}
	return at.Add(h.config.Window), nil
}

func (h *Handler) forget(now time.Time) {
	for k, s := range h.seen {
		if now.After(s.until) {
			delete(h.seen, k)
		}
	}
}

// decide carries out what p wants and makes the answer.
func (h *Handler) decide(p *radius.Packet) *radius.Packet {
	a := &radius.Packet{Code: radius.CodeDisconnectACK}
	if p.Code == radius.CodeCoARequest {
		a.Code = radius.CodeCoAACK
		// State comes back as it was (RFC 5176 section 3.3).
		if s, ok := p.Lookup(packet.State); ok {
			a.Add(packet.State, s)
		}
	}
	w, cause := h.read(p)
	if cause == 0 {
		cause = h.config.Carry(w)
	}
	if cause != 0 {
		a.Code++ // both NAKs follow their ACKs
		a.Add(packet.ErrorCause, packet.Number(uint32(cause)))
	}
	// Proxy-State comes back unchanged and in order (RFC 5176 section 3.1).
	for _, s := range packet.All(p, packet.ProxyState) {
		a.Add(packet.ProxyState, s)
	}
	return a
}

// read makes a wish of a request. What we cannot honour refuses all of it (RFC 5176 section 2.2).
func (h *Handler) read(p *radius.Packet) (w Wish, cause Cause) {
	w.Kind = eapsdk.Disconnect
	if p.Code == radius.CodeCoARequest {
		w.Kind = eapsdk.Change
	}
	once := map[radius.Type]bool{}
	change := false
	for _, avp := range p.Attributes {
		t, v := avp.Type, avp.Attribute
		if cause := h.nas(t, v); cause != 0 {
			return w, cause
		}
		switch t {
		case packet.UserName, packet.AcctSessionID, packet.CallingStationID, packet.CalledStationID, packet.NASPortID, packet.FramedIPAddress, packet.FramedIPv6Address:
			if once[t] {
				return w, InvalidRequest
			}
			once[t] = true
			if !w.Match.add(t, v) {
				return w, InvalidAttributeValue
			}
		case packet.SessionTimeout, packet.FilterID:
			if w.Kind != eapsdk.Change {
				return w, UnsupportedAttribute
			}
			if t == packet.SessionTimeout && len(v) != 4 {
				return w, InvalidAttributeValue
			}
			change = true
		case packet.ReplyMessage:
			w.Reason = packet.Printable(append([]byte(w.Reason+" "), v...), maxReason)
		case packet.ServiceType:
			// "Authorize Only" asks for an Access-Request without EAP, which no peer of ours could follow.
			return w, UnsupportedService
		case packet.State, packet.ProxyState, packet.EventTimestamp, packet.MessageAuthenticator, packet.AcctTerminateCause,
			packet.NASIdentifier, packet.NASIPAddress, packet.NASIPv6Address:
		default:
			return w, UnsupportedAttribute
		}
	}
	if len(once) == 0 || w.Kind == eapsdk.Change && !change {
		return w, MissingAttribute
	}
	if change {
		w.Grants = h.config.Grants(p)
	}
	return w, 0
}

// nas checks an attribute that names the gateway.
func (h *Handler) nas(t radius.Type, v []byte) Cause {
	switch t {
	case packet.NASIdentifier:
		if !h.config.Ours(string(v), netip.Addr{}) {
			return NASMismatch
		}
	case packet.NASIPAddress, packet.NASIPv6Address:
		a, ok := address(t == packet.NASIPAddress, v)
		if !ok {
			return InvalidAttributeValue
		}
		if !h.config.Ours("", a) {
			return NASMismatch
		}
	}
	return 0
}

// add notes one attribute that names sessions; false if its value cannot be one.
func (m *Match) add(t radius.Type, v []byte) bool {
	if t == packet.FramedIPAddress || t == packet.FramedIPv6Address {
		a, ok := address(t == packet.FramedIPAddress, v)
		m.Addresses = append(m.Addresses, a)
		return ok
	}
	field := map[radius.Type]*string{packet.UserName: &m.Identity, packet.AcctSessionID: &m.Session, packet.CallingStationID: &m.Calling,
		packet.CalledStationID: &m.Called, packet.NASPortID: &m.Port}[t]
	*field = string(v)
	return len(v) > 0
}

func address(four bool, v []byte) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(v)
	return a, ok && a.Is4() == four
}
