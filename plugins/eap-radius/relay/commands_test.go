package relay_test

import (
	"context"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// freePort is a port of loopback that nobody has; somebody may take it before it is used, which then fails loudly.
func freePort(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

// commands is trike's side: it knows some sessions.
type commands struct {
	mu    sync.Mutex
	knows map[string]bool
	heard []eapsdk.Command
}

func (c *commands) deliver(cmd eapsdk.Command) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = append(c.heard, cmd)
	return c.knows[cmd.Session] || cmd.Session == "" && c.knows[cmd.Identity]
}

func (c *commands) take() []eapsdk.Command {
	c.mu.Lock()
	defer c.mu.Unlock()
	heard := c.heard
	c.heard = nil
	return heard
}

// ask sends a request as a server would, again until it is answered.
func ask(t *testing.T, to string, code radius.Code, attributes ...*radius.AVP) (radius.Code, uint32) {
	t.Helper()
	p := &radius.Packet{Code: code, Attributes: append(attributes, &radius.AVP{Type: packet.EventTimestamp, Attribute: packet.Number(uint32(time.Now().Unix()))})}
	raw, err := packet.Seal(p, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 20 {
		if _, err := conn.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		n, err := conn.Read(b)
		if err != nil {
			continue
		}
		a, err := packet.Open(b[:n], raw, []byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		cause, _ := packet.Uint(a, packet.ErrorCause)
		return a.Code, cause
	}
	t.Fatal("no answer")
	return 0, 0
}

func text(t radius.Type, v string) *radius.AVP { return &radius.AVP{Type: t, Attribute: []byte(v)} }

func TestServersEndAndChangeSessions(t *testing.T) {
	address := freePort(t)
	r := configured(t, map[string]string{"servers": "127.0.0.1", "acct-servers": "none", "coa-listen": address, "coa-clients": "127.0.0.1"}, nil)
	// Nobody listens to commands yet.
	if code, cause := ask(t, address, radius.CodeDisconnectRequest, text(packet.AcctSessionID, "0")); code != radius.CodeDisconnectNAK || cause != 506 {
		t.Errorf("before Commands: %v, cause %d", code, cause)
	}
	ctx, cancel := context.WithCancel(t.Context())
	trike := &commands{knows: map[string]bool{"1": true, "2": true, "alice": true}}
	over := make(chan error)
	go func() { over <- r.Commands(ctx, trike.deliver) }()
	for n, s := range []string{"1", "2", "3"} {
		rec := eapsdk.Record{Kind: eapsdk.Start, Session: s, Connection: "roadwarrior", Identity: "alice", Peer: netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), netip.MustParseAddr("2001:db8::1")}}
		if err := r.Account(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	// Until Commands is heard of: it runs in a goroutine.
	for range 1000 {
		if code, _ := ask(t, address, radius.CodeDisconnectRequest, text(packet.AcctSessionID, "none")); code == radius.CodeDisconnectNAK && len(trike.take()) > 0 {
			break
		}
		time.Sleep(time.Second) // an Event-Timestamp of another second makes another request
	}
	const why = "a RADIUS server wants it"
	for _, c := range []struct {
		name       string
		code, want radius.Code
		cause      uint32
		attributes radius.Attributes
		heard      []eapsdk.Command
	}{
		{"by session", radius.CodeDisconnectRequest, radius.CodeDisconnectACK, 0, radius.Attributes{text(packet.AcctSessionID, "1")},
			[]eapsdk.Command{{Kind: eapsdk.Disconnect, Session: "1", Reason: why}}},
		{"by user and address", radius.CodeDisconnectRequest, radius.CodeDisconnectACK, 0,
			radius.Attributes{text(packet.UserName, "alice"), text(packet.FramedIPAddress, "\x0a\x00\x00\x01"), text(packet.ReplyMessage, "unpaid")},
			[]eapsdk.Command{{Kind: eapsdk.Disconnect, Identity: "alice", Address: netip.MustParseAddr("10.0.0.1"), Reason: "unpaid"}}},
		{"by the peer's address", radius.CodeDisconnectRequest, radius.CodeDisconnectACK, 0, radius.Attributes{text(packet.CallingStationID, "192.0.2.1")},
			[]eapsdk.Command{{Kind: eapsdk.Disconnect, Session: "2", Reason: why}}},
		{"by connection", radius.CodeDisconnectRequest, radius.CodeDisconnectACK, 0, radius.Attributes{text(packet.NASPortID, "roadwarrior"), text(packet.UserName, "alice")},
			[]eapsdk.Command{{Kind: eapsdk.Disconnect, Session: "1", Identity: "alice", Reason: why}, {Kind: eapsdk.Disconnect, Session: "2", Identity: "alice", Reason: why},
				{Kind: eapsdk.Disconnect, Session: "3", Identity: "alice", Reason: why}}},
		{"by two addresses", radius.CodeDisconnectRequest, radius.CodeDisconnectNAK, 503, radius.Attributes{text(packet.FramedIPAddress, "\x0a\x00\x00\x02"),
			text(packet.FramedIPv6Address, string(packet.Address(netip.MustParseAddr("2001:db8::1"))))}, []eapsdk.Command{{Kind: eapsdk.Disconnect, Session: "3", Reason: why}}},
		{"an unknown session", radius.CodeDisconnectRequest, radius.CodeDisconnectNAK, 503, radius.Attributes{text(packet.AcctSessionID, "9")},
			[]eapsdk.Command{{Kind: eapsdk.Disconnect, Session: "9", Reason: why}}},
		{"an unknown peer", radius.CodeDisconnectRequest, radius.CodeDisconnectNAK, 503, radius.Attributes{text(packet.CallingStationID, "192.0.2.77")}, nil},
		{"another gateway", radius.CodeDisconnectRequest, radius.CodeDisconnectNAK, 403, radius.Attributes{text(packet.AcctSessionID, "1"), text(packet.NASIdentifier, "gw9")}, nil},
		{"a change", radius.CodeCoARequest, radius.CodeCoAACK, 0, radius.Attributes{text(packet.AcctSessionID, "1"), text(packet.NASIdentifier, "trike"),
			{Type: packet.SessionTimeout, Attribute: packet.Number(60)}, text(packet.FilterID, "slow")},
			[]eapsdk.Command{{Kind: eapsdk.Change, Session: "1", Reason: why, Grants: eapsdk.Grants{SessionTimeout: time.Minute, Filter: []string{"slow"}}}}},
	} {
		code, cause := ask(t, address, c.code, c.attributes...)
		if heard := trike.take(); code != c.want || cause != c.cause || !reflect.DeepEqual(heard, c.heard) {
			t.Errorf("%s: %v, cause %d, heard %+v", c.name, code, cause, heard)
		}
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
	r.Close()
	if conn, err := net.ListenPacket("udp", address); err != nil {
		t.Errorf("the socket is still open: %v", err)
	} else {
		conn.Close()
	}
}
