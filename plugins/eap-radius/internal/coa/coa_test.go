package coa_test

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/coa"
	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

var (
	secret = []byte("a secret for tests")
	client = netip.MustParseAddr("192.0.2.1")
	noon   = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
)

// desk is a handler and the wishes that it carried out.
type desk struct {
	*coa.Handler
	wishes []coa.Wish
	cause  coa.Cause
}

func newDesk() *desk {
	d := &desk{}
	d.Handler = coa.New(coa.Config{Secret: secret, Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/30")}, Window: 5 * time.Minute,
		Ours: func(identifier string, address netip.Addr) bool {
			return identifier == "gw" || address == netip.MustParseAddr("198.51.100.1")
		},
		Grants: func(p *radius.Packet) eapsdk.Grants {
			return eapsdk.Grants{SessionTimeout: packet.Seconds(p, packet.SessionTimeout)}
		},
		Carry: func(w coa.Wish) coa.Cause { d.wishes = append(d.wishes, w); return d.cause }})
	return d
}

type avps = radius.Attributes

func avp(t radius.Type, v []byte) *radius.AVP { return &radius.AVP{Type: t, Attribute: v} }
func user(name string) *radius.AVP            { return avp(packet.UserName, []byte(name)) }
func at(t time.Time) *radius.AVP              { return avp(packet.EventTimestamp, packet.Number(uint32(t.Unix()))) }

func request(t testing.TB, code radius.Code, attributes ...*radius.AVP) []byte {
	t.Helper()
	b, err := packet.Seal(&radius.Packet{Code: code, Identifier: 7, Attributes: attributes}, secret)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// answered sends a request and reads the answer.
func (d *desk) answered(t *testing.T, raw []byte) *radius.Packet {
	t.Helper()
	b, err := d.Answer(noon, client, raw)
	if err != nil {
		t.Fatal(err)
	}
	p, err := packet.Open(b, raw, secret)
	if err != nil {
		t.Fatal(err)
	}
	if p.Attributes[0].Type != packet.MessageAuthenticator {
		t.Errorf("the answer begins with attribute %d", p.Attributes[0].Type)
	}
	return p
}

func TestDisconnectIsCarriedOutAndAcknowledged(t *testing.T) {
	d := newDesk()
	// Disconnect-Request -->
	p := d.answered(t, request(t, radius.CodeDisconnectRequest, at(noon), user("alice"), avp(packet.AcctSessionID, []byte("42")), avp(packet.NASIdentifier, []byte("gw")),
		avp(packet.NASIPAddress, []byte{198, 51, 100, 1}), avp(packet.FramedIPAddress, []byte{10, 0, 0, 1}), avp(packet.ReplyMessage, []byte("unpaid\nbill")),
		avp(packet.ProxyState, []byte("p1")), avp(packet.ProxyState, []byte("p2"))))
	// <-- Disconnect-ACK
	if p.Code != radius.CodeDisconnectACK {
		t.Fatalf("%v", p.Code)
	}
	if s := packet.All(p, packet.ProxyState); len(s) != 2 || string(s[0]) != "p1" || string(s[1]) != "p2" {
		t.Errorf("Proxy-State %q", s)
	}
	want := []coa.Wish{{Kind: eapsdk.Disconnect, Reason: "unpaid bill", Match: coa.Match{Identity: "alice", Session: "42", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}}}
	if !reflect.DeepEqual(d.wishes, want) {
		t.Errorf("%+v", d.wishes)
	}
}

func TestChangeIsCarriedOutAndAcknowledged(t *testing.T) {
	d := newDesk()
	p := d.answered(t, request(t, radius.CodeCoARequest, at(noon), user("alice"), avp(packet.SessionTimeout, packet.Number(60)), avp(packet.State, []byte("s"))))
	if p.Code != radius.CodeCoAACK || string(p.Get(packet.State)) != "s" {
		t.Fatalf("%v, State %q", p.Code, p.Get(packet.State))
	}
	if len(d.wishes) != 1 || d.wishes[0].Kind != eapsdk.Change || d.wishes[0].Grants.SessionTimeout != time.Minute {
		t.Errorf("%+v", d.wishes)
	}
}

func TestRefusalTellsTheCause(t *testing.T) {
	const disconnect, change = radius.CodeDisconnectRequest, radius.CodeCoARequest
	for name, c := range map[string]struct {
		code       radius.Code
		attributes avps
		want       coa.Cause
	}{
		"nobody named":                 {disconnect, nil, coa.MissingAttribute},
		"only the gateway named":       {disconnect, avps{avp(packet.NASIdentifier, []byte("gw"))}, coa.MissingAttribute},
		"another gateway's name":       {disconnect, avps{user("a"), avp(packet.NASIdentifier, []byte("gw2"))}, coa.NASMismatch},
		"another gateway's address":    {disconnect, avps{user("a"), avp(packet.NASIPAddress, []byte{1, 2, 3, 4})}, coa.NASMismatch},
		"half an address":              {disconnect, avps{user("a"), avp(packet.NASIPAddress, []byte{1, 2})}, coa.InvalidAttributeValue},
		"an address of the other kind": {disconnect, avps{avp(packet.FramedIPAddress, make([]byte, 16))}, coa.InvalidAttributeValue},
		"two users":                    {disconnect, avps{user("a"), user("b")}, coa.InvalidRequest},
		"an empty user":                {disconnect, avps{user("")}, coa.InvalidAttributeValue},
		"a timeout for a disconnect":   {disconnect, avps{user("a"), avp(packet.SessionTimeout, packet.Number(9))}, coa.UnsupportedAttribute},
		"an attribute that we cannot":  {change, avps{user("a"), avp(packet.SessionTimeout, packet.Number(9)), avp(radius.Type(28), packet.Number(9))}, coa.UnsupportedAttribute},
		"a vendor's attribute":         {change, avps{user("a"), avp(packet.VendorSpecific, packet.VendorValue(9, 1, nil))}, coa.UnsupportedAttribute},
		"authorize only":               {change, avps{user("a"), avp(packet.ServiceType, packet.Number(17)), avp(packet.State, []byte("s"))}, coa.UnsupportedService},
		"no change":                    {change, avps{user("a")}, coa.MissingAttribute},
		"a timeout of three octets":    {change, avps{user("a"), avp(packet.SessionTimeout, []byte{1, 2, 3})}, coa.InvalidAttributeValue},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk()
			p := d.answered(t, request(t, c.code, append(avps{at(noon)}, c.attributes...)...))
			if got, _ := packet.Uint(p, packet.ErrorCause); coa.Cause(got) != c.want || p.Code != c.code+2 {
				t.Errorf("%v with cause %d, want %d", p.Code, got, c.want)
			}
			if len(d.wishes) != 0 {
				t.Errorf("carried out: %+v", d.wishes)
			}
		})
	}
	d := newDesk()
	d.cause = coa.SessionNotFound
	p := d.answered(t, request(t, disconnect, at(noon), user("nobody")))
	if got, _ := packet.Uint(p, packet.ErrorCause); got != 503 || p.Code != radius.CodeDisconnectNAK {
		t.Errorf("an unknown session: %v with cause %d", p.Code, got)
	}
}

func TestReplayIsAnsweredButNotCarriedOut(t *testing.T) {
	d := newDesk()
	raw := request(t, radius.CodeDisconnectRequest, at(noon), user("alice"))
	first, err := d.Answer(noon, client, raw)
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.Answer(noon.Add(4*time.Minute), client.Next(), raw)
	if err != nil || !bytes.Equal(first, again) || len(d.wishes) != 1 {
		t.Errorf("again: %v, carried out %d times", err, len(d.wishes))
	}
	if _, err := d.Answer(noon.Add(6*time.Minute), client, raw); !errors.Is(err, coa.ErrStale) {
		t.Errorf("after the window: %v", err)
	}
}

func TestWhatCannotBeBelievedIsDropped(t *testing.T) {
	signed := request(t, radius.CodeDisconnectRequest, at(noon), user("alice"))
	flipped := bytes.Clone(signed)
	flipped[len(flipped)-1] ^= 1
	bare := &radius.Packet{Code: radius.CodeDisconnectRequest, Secret: secret, Attributes: avps{at(noon), user("alice")}}
	unsigned, err := bare.Encode()
	if err != nil {
		t.Fatal(err)
	}
	accounting, err := packet.Seal(&radius.Packet{Code: radius.CodeAccountingRequest, Attributes: avps{at(noon), avp(packet.MessageAuthenticator, make([]byte, 16))}}, secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		from netip.Addr
		raw  []byte
		want error
	}{
		"a stranger":            {netip.MustParseAddr("192.0.2.4"), signed, coa.ErrStranger},
		"a changed user":        {client, flipped, packet.ErrAuthenticator},
		"no signature":          {client, unsigned, packet.ErrUnsigned},
		"no time":               {client, request(t, radius.CodeDisconnectRequest, user("alice")), coa.ErrNoTime},
		"a time long ago":       {client, request(t, radius.CodeDisconnectRequest, user("alice"), at(noon.Add(-6*time.Minute))), coa.ErrStale},
		"a time to come":        {client, request(t, radius.CodeDisconnectRequest, user("alice"), at(noon.Add(6*time.Minute))), coa.ErrStale},
		"an accounting request": {client, accounting, packet.ErrUnsigned},
		"a request for access":  {client, request(t, radius.CodeAccessRequest, user("alice")), packet.ErrUnexpected},
		"a length that lies":    {client, signed[:len(signed)-1], packet.ErrMalformed},
		"nothing":               {client, nil, packet.ErrMalformed},
		"a 4-in-6 stranger":     {netip.MustParseAddr("::ffff:192.0.2.9"), signed, coa.ErrStranger},
	} {
		d := newDesk()
		if b, err := d.Answer(noon, c.from, c.raw); b != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if len(d.wishes) != 0 {
			t.Errorf("%s was carried out", name)
		}
	}
	if _, err := newDesk().Answer(noon, netip.MustParseAddr("::ffff:192.0.2.1"), signed); err != nil {
		t.Errorf("a client on a socket of both families: %v", err)
	}
}

func TestTooManyRequestsAreDroppedUntilTheWindowHasPassed(t *testing.T) {
	d := newDesk()
	for n := range 4096 {
		if _, err := d.Answer(noon, client, request(t, radius.CodeDisconnectRequest, at(noon), avp(packet.AcctSessionID, packet.Number(uint32(n))))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Answer(noon, client, request(t, radius.CodeDisconnectRequest, at(noon), user("one more"))); !errors.Is(err, coa.ErrTooMany) {
		t.Errorf("%v", err)
	}
	later := noon.Add(6 * time.Minute)
	if _, err := d.Answer(later, client, request(t, radius.CodeDisconnectRequest, at(later), user("one more"))); err != nil {
		t.Errorf("%v", err)
	}
}

// FuzzWish: whatever attributes a server that has the secret sends, there is an answer that it can open.
func FuzzWish(f *testing.F) {
	f.Add(true, []byte{1, 3, 'a'})
	f.Add(false, []byte{1, 3, 'a', 27, 6, 0, 0, 0, 9, 33, 4, 'p', 'q'})
	f.Fuzz(func(t *testing.T, disconnect bool, attributes []byte) {
		list, err := radius.ParseAttributes(attributes)
		if err != nil {
			return
		}
		code := radius.CodeCoARequest
		if disconnect {
			code = radius.CodeDisconnectRequest
		}
		raw, err := packet.Seal(&radius.Packet{Code: code, Attributes: append(avps{at(noon)}, list...)}, secret)
		if err != nil {
			return
		}
		answer, err := newDesk().Answer(noon, client, raw)
		if err != nil {
			// An Event-Timestamp of the fuzzer's stands behind ours and does not count; an answer with all of the Proxy-State may be too long.
			if len(raw) < 4000 {
				t.Fatalf("%v", err)
			}
			return
		}
		if _, err := packet.Open(answer, raw, secret); err != nil {
			t.Fatalf("the answer cannot be opened: %v", err)
		}
	})
}
