package relay_test

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
	"github.com/trike-ipsec/trike/plugins/eap-radius/relay"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

func begin(identity string) eapsdk.Begin {
	return eapsdk.Begin{Role: eapsdk.Server, Session: "7", Connection: "roadwarrior", Identity: identity, Peer: netip.MustParseAddr("192.0.2.9"),
		Local: netip.MustParseAddr("198.51.100.1"), Packet: eapPacket(packet.EAPResponse, 4, append([]byte{1}, identity...)...), Identifier: 5}
}

func withMSK(t *testing.T, msk []byte, more ...*radius.AVP) func(*radius.Packet, []byte) {
	return func(a *radius.Packet, raw []byte) {
		if err := packet.AddMSK(a, msk, raw, []byte(secret)); err != nil {
			t.Error(err)
		}
		a.Attributes = append(a.Attributes, more...)
	}
}

func msk() []byte {
	b := make([]byte, 64)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func TestConversationIsCarriedToItsEnd(t *testing.T) {
	s := serve(t, md5Server("alice", "open", withMSK(t, msk(),
		&radius.AVP{Type: packet.UserName, Attribute: []byte("alice@inner")},
		&radius.AVP{Type: packet.FramedIPAddress, Attribute: []byte{10, 1, 2, 3}},
		&radius.AVP{Type: packet.FramedIPv6Address, Attribute: packet.Address(netip.MustParseAddr("2001:db8::5"))},
		&radius.AVP{Type: packet.SessionTimeout, Attribute: packet.Number(3600)},
		&radius.AVP{Type: packet.AcctInterimInterval, Attribute: packet.Number(5)},
		&radius.AVP{Type: packet.Class, Attribute: []byte("c1")},
		&radius.AVP{Type: packet.Class, Attribute: []byte{0, 255}},
		&radius.AVP{Type: packet.FilterID, Attribute: []byte("staff; OU=admins,staff")},
	)))
	r := configured(t, map[string]string{"servers": s.address, "nas-identifier": "gw1"}, nil)
	step := converse(t, r, begin("alice"), "open")
	if step.Outcome != eapsdk.Success || !bytes.Equal(step.MSK, msk()) || step.Identity != "alice@inner" || !bytes.Equal(step.Packet, eapPacket(3, 5)) {
		t.Fatalf("%v %q, identity %q, packet %x, MSK of %d octets", step.Outcome, step.Reason, step.Identity, step.Packet, len(step.MSK))
	}
	if !slices.Equal(step.Groups, []string{"staff", "admins"}) {
		t.Errorf("groups %q", step.Groups)
	}
	g := step.Grants
	if g.Address4.String() != "10.1.2.3" || g.Address6.String() != "2001:db8::5" || g.SessionTimeout != time.Hour || g.InterimEvery != time.Minute ||
		len(g.Class) != 2 || string(g.Class[0]) != "c1" || len(g.Filter) != 1 {
		t.Errorf("grants %+v", g)
	}
	requests := s.requests()
	if len(requests) != 2 {
		t.Fatalf("%d requests", len(requests))
	}
	for i, p := range requests {
		for kind, want := range map[radius.Type]string{packet.UserName: "alice", packet.NASIdentifier: "gw1", packet.NASIPAddress: "\xc6\x33\x64\x01",
			packet.CallingStationID: "192.0.2.9", packet.CalledStationID: "198.51.100.1", packet.AcctSessionID: "7", packet.NASPortID: "roadwarrior",
			packet.NASPortType: "\x00\x00\x00\x05", packet.ServiceType: "\x00\x00\x00\x02"} {
			if got := p.Get(kind); string(got) != want {
				t.Errorf("request %d: attribute %d is %q, want %q", i, kind, got, want)
			}
		}
		if _, has := p.Lookup(packet.State); has != (i == 1) {
			t.Errorf("request %d: State %v", i, has)
		}
	}
}

func TestIdentityFromIKEIsToldAsByEAP(t *testing.T) {
	s := serve(t, md5Server("bob", "open", withMSK(t, msk())))
	r := configured(t, map[string]string{"servers": s.address}, nil)
	b := begin("bob")
	b.Packet = nil
	if step := converse(t, r, b, "open"); step.Outcome != eapsdk.Success {
		t.Errorf("%v %q", step.Outcome, step.Reason)
	}
	if eap, err := packet.EAP(s.requests()[0]); err != nil || eap[1] != 4 || string(eap[5:]) != "bob" {
		t.Errorf("%x, %v", eap, err)
	}
}

func TestRejectTellsTheOperatorWhy(t *testing.T) {
	s := serve(t, md5Server("alice", "open", withMSK(t, msk())))
	r := configured(t, map[string]string{"servers": s.address}, nil)
	step := converse(t, r, begin("alice"), "shut")
	if step.Outcome != eapsdk.Failure || !strings.HasSuffix(step.Reason, "rejected the peer: wrong password, or no such user") || !bytes.Equal(step.Packet, eapPacket(4, 5)) {
		t.Errorf("%v %q %x", step.Outcome, step.Reason, step.Packet)
	}
}

func TestKeylessSuccessNeedsPermission(t *testing.T) {
	s := serve(t, md5Server("alice", "open", func(*radius.Packet, []byte) {}))
	r := configured(t, map[string]string{"servers": s.address}, nil)
	if step := converse(t, r, begin("alice"), "open"); step.Outcome != eapsdk.Failure || !strings.Contains(step.Reason, "keyless") {
		t.Errorf("%v %q", step.Outcome, step.Reason)
	}
	r = configured(t, map[string]string{"servers": s.address, "keyless": "allow"}, nil)
	if step := converse(t, r, begin("alice"), "open"); step.Outcome != eapsdk.Success || step.MSK != nil {
		t.Errorf("%v %q", step.Outcome, step.Reason)
	}
}

// A server that we believe may still say what makes no sense: the conversation fails, and closed.
func TestSenselessAnswersEndTheConversation(t *testing.T) {
	eap := func(code radius.Code, b ...byte) func(*radius.Packet, []byte) *radius.Packet {
		return func(*radius.Packet, []byte) *radius.Packet {
			p := &radius.Packet{Code: code}
			packet.AddEAP(p, b)
			return p
		}
	}
	for name, c := range map[string]struct {
		handle func(*radius.Packet, []byte) *radius.Packet
		want   string
	}{
		"an accept with EAP Failure":        {eap(radius.CodeAccessAccept, eapPacket(4, 4)...), "something else"},
		"an accept with an EAP request":     {eap(radius.CodeAccessAccept, eapPacket(1, 5, 4)...), "something else"},
		"an accept without keys":            {eap(radius.CodeAccessAccept, eapPacket(3, 4)...), "keyless"},
		"a challenge without EAP":           {eap(radius.CodeAccessChallenge), "without an EAP request"},
		"a challenge with EAP Success":      {eap(radius.CodeAccessChallenge, eapPacket(3, 4)...), "without an EAP request"},
		"a challenge with an EAP response":  {eap(radius.CodeAccessChallenge, eapPacket(2, 4, 1)...), "without an EAP request"},
		"a challenge with a lying length":   {eap(radius.CodeAccessChallenge, 1, 5, 9, 9, 4), "no EAP packet"},
		"a reject with EAP Success":         {eap(radius.CodeAccessReject, eapPacket(3, 4)...), "rejected"},
		"an accept with a key that is torn": {func(*radius.Packet, []byte) *radius.Packet { return torn() }, "cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.handle)
			r := configured(t, map[string]string{"servers": s.address}, nil)
			_, step, err := r.Begin(t.Context(), begin("alice"))
			if err != nil || step.Outcome != eapsdk.Failure || !strings.Contains(step.Reason, c.want) || step.MSK != nil || step.Packet != nil {
				t.Errorf("%v %q %x, %v", step.Outcome, step.Reason, step.Packet, err)
			}
		})
	}
}

func torn() *radius.Packet {
	p := &radius.Packet{Code: radius.CodeAccessAccept}
	p.Add(packet.VendorSpecific, packet.VendorValue(311, 16, make([]byte, 20)))
	return p
}

func TestPeersNonsenseReachesNoServer(t *testing.T) {
	s := serve(t, md5Server("alice", "open", withMSK(t, msk())))
	r := configured(t, map[string]string{"servers": s.address}, nil)
	for name, p := range map[string][]byte{
		"a request": eapPacket(1, 4, 1, 'a'), "another type": eapPacket(2, 4, 4, 'a'), "no type": eapPacket(2, 4), "a lying length": {2, 4, 0, 9, 1}, "three octets": {2, 4, 0},
		"a name too long": identity(300),
	} {
		b := begin("alice")
		b.Packet = p
		if _, step, err := r.Begin(t.Context(), b); err != nil || step.Outcome != eapsdk.Failure {
			t.Errorf("%s: %v, %v", name, step.Outcome, err)
		}
	}
	if n := len(s.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	session, _, err := r.Begin(t.Context(), begin("alice"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range [][]byte{nil, eapPacket(3, 5), append([]byte{2, 5, 0x13, 0x88, 4}, make([]byte, 4995)...)} {
		if step, err := session.Next(t.Context(), p); err != nil || step.Outcome != eapsdk.Failure {
			t.Errorf("%d octets: %v, %v", len(p), step.Outcome, err)
		}
	}
}

func identity(n int) []byte {
	return append([]byte{2, 4, byte((n + 5) >> 8), byte(n + 5), 1}, bytes.Repeat([]byte("a"), n)...)
}

func TestNextServerStandsInForTheDead(t *testing.T) {
	// A port that nobody listens on any more.
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := gone.LocalAddr().String()
	gone.Close()
	s := serve(t, md5Server("alice", "open", withMSK(t, msk())))
	r := configured(t, map[string]string{"servers": dead + ", " + s.address, "timeout": "20ms", "tries": "2"}, nil)
	if step := converse(t, r, begin("alice"), "open"); step.Outcome != eapsdk.Success {
		t.Errorf("%v %q", step.Outcome, step.Reason)
	}
	r = configured(t, map[string]string{"servers": dead, "timeout": "20ms", "tries": "2"}, nil)
	_, step, err := r.Begin(t.Context(), begin("alice"))
	if err != nil || step.Outcome != eapsdk.Failure || !strings.Contains(step.Reason, "no answer from the RADIUS servers ("+dead) || !strings.Contains(step.Reason, "refused") {
		t.Errorf("%v %q, %v", step.Outcome, step.Reason, err)
	}
}

func TestEveryWrongSettingIsTold(t *testing.T) {
	err := relay.New().Configure(t.Context(), eapsdk.Config{Values: map[string]string{"servers": "radsec://a, b:99999", "timeout": "soon", "tries": "0", "dead-time": "1ns",
		"nas-address": "here", "groups-from": "26", "keyless": "perhaps", "nas-identifier": strings.Repeat("n", 300),
		"coa-listen": "everywhere", "coa-clients": "all", "coa-window": "1d", "acct-servers": "@", "acct-on-off": "maybe"},
		Secrets: map[string][]byte{"tls-key": []byte("the key of a test")}}, nil)
	if err == nil {
		t.Fatal("all of it was taken")
	}
	for _, want := range []string{"servers: \"b:99999\"", "timeout: ", "tries: ", "dead-time: ", "nas-address: ", "groups-from: ", "keyless: ", "nas-identifier: ", "tls-ca: ",
		"tls-certificate, tls-key: ", "coa-listen: ", "coa-clients: ", "coa-window: ", "acct-servers: ", "acct-on-off: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing is said of %q", want)
		}
	}
	if strings.Contains(err.Error(), "the key of a test") {
		t.Error("a key is told")
	}
	for _, servers := range []string{"", "host:1:2", "user@host", "[::1", "http://x/"} {
		if err := relay.New().Configure(t.Context(), eapsdk.Config{Values: map[string]string{"servers": servers}, Secrets: map[string][]byte{"secret": {1}}}, nil); err == nil {
			t.Errorf("servers %q was taken", servers)
		}
	}
	for _, c := range []map[string]string{{"servers": "h"}, {"servers": "::1,[::1]:1812 10.0.0.1", "groups-from": "9:1"}, {"servers": "h:1", "groups-from": "none"}} {
		if err := relay.New().Configure(t.Context(), eapsdk.Config{Values: c, Secrets: map[string][]byte{"secret": {1}}}, nil); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
}
