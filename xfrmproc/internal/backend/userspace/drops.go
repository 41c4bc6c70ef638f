package userspace

import "sync/atomic"

// Drops counts packets that went nowhere, by cause, since the start. Errors of one pair are in its own counters as well.
type Drops struct {
	NoSA        uint64 // protected, but there is no SA that covers it
	NoPolicy    uint64 // entered the TUN device and no policy wants it: answered with ICMP
	Bypass      uint64 // a bypass policy wants it in clear, which a TUN device cannot do: a route led it astray
	Loop        uint64 // our own ESP came back to us: a route led it astray
	Malformed   uint64 // not an IP packet, or not an ESP packet
	TooBig      uint64 // did not fit the path: the sender was told
	Unsupported uint64 // transport mode of a fragment, or of a packet with options
	UnknownSPI  uint64
	Replay      uint64
	Integrity   uint64
	Selectors   uint64 // decrypted, but not what the SA is for (RFC 4301 section 5.2)
	ECN         uint64 // congestion was marked on a packet that cannot tell (RFC 6040 section 4.2)
	Send        uint64 // the socket refused it
	Deliver     uint64 // the TUN device refused it
}

type drops struct {
	noSA, noPolicy, bypass, loop, malformed, tooBig, unsupported, unknownSPI, replay, integrity, selectors, ecn, send, deliver atomic.Uint64
}

func (d *drops) read() Drops {
	return Drops{NoSA: d.noSA.Load(), NoPolicy: d.noPolicy.Load(), Bypass: d.bypass.Load(), Loop: d.loop.Load(), Malformed: d.malformed.Load(),
		TooBig: d.tooBig.Load(), Unsupported: d.unsupported.Load(), UnknownSPI: d.unknownSPI.Load(), Replay: d.replay.Load(), Integrity: d.integrity.Load(),
		Selectors: d.selectors.Load(), ECN: d.ecn.Load(), Send: d.send.Load(), Deliver: d.deliver.Load()}
}
