// Package esp seals and opens ESP packets (RFC 4303) in the caller's buffers: transforms, padding, sequence numbers with and without ESN,
// and the replay window. It knows nothing of IP, of policies or of sockets, and does not allocate per packet.
//
// An Outbound or Inbound is one SA in one direction and is not safe for concurrent use: its owner serialises the calls.
//
//	out, err := esp.NewOutbound(spi, suite, encrKey, integKey)
//	// payload stands at buf[off:off+n], with out.Headroom() octets free before it and out.Tailroom() after it
//	packet, err := out.Seal(buf, off, n, 4)
//
//	in, err := esp.NewInbound(spi, suite, encrKey, integKey, 1024)
//	payload, next, err := in.Open(scratch, packet)
package esp

import "errors"

// Next Header values that ESP itself gives a meaning to (RFC 4303 section 2.6).
const (
	NextIPv4  = 4
	NextIPv6  = 41
	NextDummy = 59
)

// headerLen is SPI and sequence number, trailerLen is Pad Length and Next Header.
const (
	headerLen  = 8
	trailerLen = 2
)

// Why a packet was not sealed or not opened. The caller counts them apart; none of them says anything of keys.
var (
	ErrExhausted = errors.New("sequence numbers used up")                // RFC 4303 section 3.3.3: the SA must be replaced
	ErrReplay    = errors.New("sequence number seen before or too old")  // RFC 4303 section 3.4.3
	ErrIntegrity = errors.New("integrity check failed")                  // RFC 4303 section 3.4.4
	ErrMalformed = errors.New("ESP packet with impossible lengths")      // too short, or not a whole number of blocks
	ErrPadding   = errors.New("padding is not what RFC 4303 prescribes") // RFC 4303 section 2.4, after the integrity check
	errRoom      = errors.New("buffer too small for the ESP packet")
)
