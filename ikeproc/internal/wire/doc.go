// Package wire is the codec of IKEv2: octets to structs and back, a file per payload (RFC 7296 section 3, RFC 7383).
//
// It knows what a message may look like and nothing of what it means: no keys, no state of an SA, no clock.
// A parser returns a value or an *Error that names the notify the RFC wants; the engine decides what the peer is told.
//
// Parsed payloads alias the octets they were parsed from. Whoever keeps a payload longer than the datagram copies it.
//
// # Receiving
//
//	h, err := wire.ParseHeader(datagram)          // the SA is looked up by h's SPIs
//	switch {
//	case IKE_SA_INIT:
//		m, err := wire.ParseMessage(datagram)
//		shape, err := wire.Classify(h.Exchange, h.Response, m.Payloads)
//	default:
//		s, err := wire.ParseSealed(datagram)     // SK or SKF: the framing only
//		if s.Fragment() {
//			in, done, err = reassembler.Add(s, protector, tick)
//		} else {
//			in, err = s.Open(protector)          // the ICV is checked before anything inside is parsed
//		}
//		payloads, err := in.Payloads(wire.DefaultLimits())
//		shape, err := wire.Classify(in.Header.Exchange, in.Header.Response, payloads)
//	}
//
// # Sending
//
//	b, err := wire.AppendMessage(nil, h, payloads)       // IKE_SA_INIT
//	b, err := wire.Seal(nil, h, payloads, protector)     // SK
//	bs, err := wire.SealFragments(h, payloads, protector, wire.MaxMessage(mtu, ipv6, marker)) // SK, or SKF if it must be
//
// A known payload's critical bit and every reserved bit are ignored on receipt and sent as zero.
package wire
