package relay

import (
	"context"
	"fmt"
	"time"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Values of Acct-Status-Type (RFC 2866 section 5.1). On and Off are no records of trike's; the ledger carries them under the name of no session.
const (
	statusStart   = 1
	statusStop    = 2
	statusInterim = 3
	statusOn      = 7
	statusOff     = 8
)

// recordOn and recordOff are kinds of records that this package makes for itself.
const (
	recordOn  eapsdk.RecordKind = 100
	recordOff eapsdk.RecordKind = 101
)

// authRADIUS is the Acct-Authentic of a peer that a RADIUS server let in (RFC 2866 section 5.6).
const authRADIUS = 1

// How long Close waits for records that are under way, and for the servers to hear that accounting ends. A plugin has two seconds to end in.
const (
	flushWait = 800 * time.Millisecond
	offWait   = 800 * time.Millisecond
)

// Account carries one record to an accounting server, and returns when it is acknowledged.
func (r *Relay) Account(ctx context.Context, rec eapsdk.Record) error {
	switch rec.Kind {
	case eapsdk.Start, eapsdk.Interim:
		r.sessions.account(rec)
	case eapsdk.Stop:
		defer r.sessions.end(rec.Session)
	default:
		return fmt.Errorf("an accounting record of kind %d is not known", rec.Kind)
	}
	if r.acct == nil {
		return nil
	}
	r.open(rec.Kind)
	return r.ledger.Add(ctx, rec)
}

// open tells the servers that accounting begins, before the first record: they forget the sessions of before. If that record is of a session that stands already, only
// this plugin began anew, and nothing is told.
func (r *Relay) open(first eapsdk.RecordKind) {
	r.opened.Do(func() {
		if r.settings.silent || first != eapsdk.Start {
			return
		}
		over, cancel := context.WithCancel(context.Background())
		cancel()
		if err := r.ledger.Add(over, eapsdk.Record{Kind: recordOn, At: time.Now()}); err != nil && over.Err() == nil {
			r.log.Warn("the RADIUS servers are not told that accounting begins", "error", err)
		}
		r.began.Store(true)
	})
}

// shut ends accounting: what is under way gets a moment, then the servers are told.
func (r *Relay) shut() {
	if lost := r.ledger.Close(flushWait); lost > 0 {
		r.log.Warn("accounting ends with records that no server acknowledged", "lost", lost)
	}
	if r.began.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), offWait)
		defer cancel()
		if err := r.tell(ctx, eapsdk.Record{Kind: recordOff, At: time.Now()}); err != nil {
			r.log.Warn("the RADIUS servers did not hear that accounting ends", "error", err)
		}
	}
}

// tell carries one record to a server, now.
func (r *Relay) tell(ctx context.Context, rec eapsdk.Record) error {
	_, err := r.acct.Exchange(ctx, nil, r.record(rec, time.Now()))
	return err
}

// record is the Accounting-Request for a record (RFC 2866 section 4.1, RFC 2869 section 2.1).
func (r *Relay) record(rec eapsdk.Record, now time.Time) *radius.Packet {
	p := &radius.Packet{Code: radius.CodeAccountingRequest}
	status := map[eapsdk.RecordKind]uint32{eapsdk.Start: statusStart, eapsdk.Interim: statusInterim, eapsdk.Stop: statusStop, recordOn: statusOn, recordOff: statusOff}[rec.Kind]
	p.Add(packet.AcctStatusType, packet.Number(status))
	s := r.sessions.get(rec.Session)
	r.settings.nas(p, eapsdk.Begin{Connection: rec.Connection, Peer: rec.Peer, Local: s.local})
	p.Add(packet.EventTimestamp, packet.Number(uint32(rec.At.Unix())))
	p.Add(packet.AcctDelayTime, packet.Number(uint32(max(0, now.Sub(rec.At)/time.Second))))
	p.Add(packet.AcctAuthentic, packet.Number(authRADIUS))
	if status == statusOn || status == statusOff {
		// RFC 2866 section 5.5 wants one in every request.
		p.Add(packet.AcctSessionID, packet.Text("gateway"))
		return p
	}
	p.Add(packet.AcctSessionID, packet.Text(rec.Session))
	if rec.Identity != "" {
		p.Add(packet.UserName, packet.Text(rec.Identity))
	}
	p.Add(packet.ServiceType, packet.Number(serviceFramed))
	for _, a := range rec.Addresses {
		if a = a.Unmap(); a.Is4() {
			p.Add(packet.FramedIPAddress, packet.Address(a))
		} else if a.Is6() {
			p.Add(packet.FramedIPv6Address, packet.Address(a.WithZone("")))
		}
	}
	for _, c := range rec.Class {
		p.Add(packet.Class, c[:min(len(c), packet.MaxValue)])
	}
	if rec.Kind == eapsdk.Start {
		return p
	}
	p.Add(packet.AcctSessionTime, packet.Number(uint32(max(0, rec.Duration/time.Second))))
	counter(p, packet.AcctInputOctets, packet.AcctInputGigawords, rec.BytesIn)
	counter(p, packet.AcctOutputOctets, packet.AcctOutputGigawords, rec.BytesOut)
	p.Add(packet.AcctInputPackets, packet.Number(uint32(rec.PacketsIn)))
	p.Add(packet.AcctOutputPackets, packet.Number(uint32(rec.PacketsOut)))
	if rec.Kind == eapsdk.Stop {
		p.Add(packet.AcctTerminateCause, packet.Number(cause(rec.Cause)))
	}
	return p
}

// counter adds an octet counter of 64 bits as its two halves (RFC 2869 sections 5.1 and 5.2).
func counter(p *radius.Packet, low, high radius.Type, n uint64) {
	p.Add(low, packet.Number(uint32(n)))
	if n>>32 != 0 {
		p.Add(high, packet.Number(uint32(n>>32)))
	}
}

// cause is the Acct-Terminate-Cause (RFC 2866 section 5.10) of trike's word for it.
func cause(word string) uint32 {
	switch word {
	case "user-request":
		return 1
	case "lost":
		return 2 // Lost Carrier
	case "idle":
		return 4
	case "session-timeout":
		return 5
	case "admin-reset":
		return 6
	case "reboot":
		return 7 // Admin Reboot
	}
	return 10 // NAS Request
}
