package relay_test

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

func acknowledge(*radius.Packet, []byte) *radius.Packet {
	return &radius.Packet{Code: radius.CodeAccountingResponse}
}

// statuses is what an accounting server heard.
func (s *server) statuses() (out []uint32) {
	for _, p := range s.requests() {
		n, _ := packet.Uint(p, packet.AcctStatusType)
		out = append(out, n)
	}
	return out
}

func TestSessionIsAccountedForFromStartToStop(t *testing.T) {
	auth := serve(t, md5Server("alice", "open", withMSK(t, msk(), &radius.AVP{Type: packet.Class, Attribute: []byte("gold")})))
	acct := serve(t, acknowledge)
	r := configured(t, map[string]string{"servers": auth.address, "acct-servers": acct.address}, nil)
	b := begin("alice")
	step := converse(t, r, b, "open")
	rec := eapsdk.Record{Kind: eapsdk.Start, Session: b.Session, Connection: b.Connection, Identity: "alice", Peer: b.Peer, At: time.Now(), Class: step.Grants.Class,
		Addresses: []netip.Addr{netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("2001:db8::3")}}
	for _, kind := range []eapsdk.RecordKind{eapsdk.Start, eapsdk.Interim, eapsdk.Stop} {
		rec.Kind = kind
		if kind != eapsdk.Start {
			rec.Duration, rec.BytesIn, rec.BytesOut, rec.PacketsIn, rec.PacketsOut = 90*time.Second, 5<<32|7, 9, 3, 4
		}
		if kind == eapsdk.Stop {
			rec.Cause = "idle"
		}
		if err := r.Account(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	if got := acct.statuses(); !slices.Equal(got, []uint32{7, 1, 3, 2, 8}) {
		t.Fatalf("the server heard %d", got)
	}
	heard := acct.requests()
	for i, p := range heard[1:4] {
		for kind, want := range map[radius.Type]string{packet.UserName: "alice", packet.AcctSessionID: "7", packet.Class: "gold", packet.FramedIPAddress: "\x0a\x01\x02\x03",
			packet.CallingStationID: "192.0.2.9", packet.NASIPAddress: "\xc6\x33\x64\x01", packet.NASIdentifier: "trike", packet.NASPortID: "roadwarrior"} {
			if got := p.Get(kind); string(got) != want {
				t.Errorf("record %d: attribute %d is %q, want %q", i, kind, got, want)
			}
		}
		if at, ok := packet.Uint(p, packet.EventTimestamp); !ok || int64(at) != rec.At.Unix() {
			t.Errorf("record %d: Event-Timestamp %d", i, at)
		}
		if _, ok := packet.Uint(p, packet.AcctDelayTime); !ok {
			t.Errorf("record %d: no Acct-Delay-Time", i)
		}
		for kind, want := range map[radius.Type]uint32{packet.AcctSessionTime: 90, packet.AcctInputOctets: 7, packet.AcctInputGigawords: 5, packet.AcctOutputOctets: 9,
			packet.AcctInputPackets: 3, packet.AcctOutputPackets: 4} {
			if got, ok := packet.Uint(p, kind); ok != (i > 0) || ok && got != want {
				t.Errorf("record %d: attribute %d is %d", i, kind, got)
			}
		}
		if got, ok := packet.Uint(p, packet.AcctTerminateCause); ok != (i == 2) || ok && got != 4 {
			t.Errorf("record %d: Acct-Terminate-Cause %d", i, got)
		}
		if _, ok := p.Lookup(packet.AcctOutputGigawords); ok {
			t.Errorf("record %d: gigawords of nothing", i)
		}
	}
}

func TestRecordIsKeptWhileServersAreSilent(t *testing.T) {
	auth := serve(t, md5Server("alice", "open", withMSK(t, msk())))
	var up atomic.Bool
	acct := serve(t, func(p *radius.Packet, raw []byte) *radius.Packet {
		if !up.Load() {
			return nil
		}
		return acknowledge(p, raw)
	})
	r := configured(t, map[string]string{"servers": auth.address, "acct-servers": acct.address, "timeout": "10ms", "tries": "2", "acct-on-off": "no"}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	rec := eapsdk.Record{Kind: eapsdk.Start, Session: "1", Identity: "alice", At: time.Now()}
	if err := r.Account(ctx, rec); err == nil {
		t.Fatal("a silent server acknowledged")
	}
	up.Store(true)
	if err := r.Account(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	before := len(acct.requests())
	if err := r.Account(t.Context(), rec); err != nil || len(acct.requests()) != before {
		t.Errorf("an acknowledged record is sent again: %v", err)
	}
}

// A plugin that is started anew while sessions stand must not end them in the servers' books.
func TestSessionsThatStandAreNotForgotten(t *testing.T) {
	acct := serve(t, acknowledge)
	r := configured(t, map[string]string{"servers": "127.0.0.1", "acct-servers": acct.address}, nil)
	for _, kind := range []eapsdk.RecordKind{eapsdk.Interim, eapsdk.Start} {
		if err := r.Account(t.Context(), eapsdk.Record{Kind: kind, Session: "1", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	if got := acct.statuses(); !slices.Equal(got, []uint32{3, 1}) {
		t.Errorf("the server heard %d", got)
	}
}

func TestAccountingMayBeLeftOut(t *testing.T) {
	auth := serve(t, md5Server("alice", "open", withMSK(t, msk())))
	r := configured(t, map[string]string{"servers": auth.address, "acct-servers": "none"}, nil)
	if err := r.Account(t.Context(), eapsdk.Record{Kind: eapsdk.Start, Session: "1"}); err != nil {
		t.Error(err)
	}
	if err := r.Account(t.Context(), eapsdk.Record{Kind: 9}); err == nil {
		t.Error("a record of no kind was taken")
	}
}
