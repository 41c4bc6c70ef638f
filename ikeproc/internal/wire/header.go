package wire

import (
	"encoding/binary"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// HeaderLen is the length of the IKE header in octets.
const HeaderLen = 28

// genericLen is the length of the generic payload header in octets.
const genericLen = 4

// Flags of the IKE header (RFC 7296 section 3.1). The others are reserved: sent as zero, ignored on receipt.
const (
	flagInitiator = 0x08
	flagResponse  = 0x20
)

// Header is the IKE header (RFC 7296 section 3.1).
type Header struct {
	// SPIi and SPIr name the IKE SA; SPIr is 0 until the responder has chosen one.
	SPIi, SPIr uint64
	// NextPayload is the type of the first payload. Encoders take it from the payloads.
	NextPayload ikev2.PayloadType
	// Major and Minor are the version. Encoders always write 2.0.
	Major, Minor uint8
	Exchange     ikev2.ExchangeType
	// Initiator says that the sender is the original initiator of this IKE SA, in requests and responses alike.
	Initiator bool
	// Response says that this message answers the request with the same message ID.
	Response  bool
	MessageID uint32
	// Length of the whole message in octets, header included. Encoders compute it.
	Length uint32
}

// ParseHeader reads the IKE header of b, which holds one whole message without the non-ESP marker.
//
// The header is returned as far as it was read also when there is an error, since INVALID_MAJOR_VERSION is answered
// with the same SPIs and message ID (RFC 7296 section 2.5).
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, drop(0, "%d octets are fewer than the %d of an IKE header", len(b), HeaderLen)
	}
	h := Header{
		SPIi:        binary.BigEndian.Uint64(b),
		SPIr:        binary.BigEndian.Uint64(b[8:]),
		NextPayload: ikev2.PayloadType(b[16]),
		Major:       b[17] >> 4,
		Minor:       b[17] & 15,
		Exchange:    ikev2.ExchangeType(b[18]),
		Initiator:   b[19]&flagInitiator != 0,
		Response:    b[19]&flagResponse != 0,
		MessageID:   binary.BigEndian.Uint32(b[20:]),
		Length:      binary.BigEndian.Uint32(b[24:]),
	}
	return h, h.check(len(b))
}

// Answer gives the header of the response to a request with the header h: same SPIs, exchange and message ID. The
// initiator flag turns, for it tells the sender's role in the SA (RFC 7296 section 3.1).
func (h Header) Answer() Header {
	return Header{SPIi: h.SPIi, SPIr: h.SPIr, Major: 2, Exchange: h.Exchange, Initiator: !h.Initiator, Response: true, MessageID: h.MessageID}
}

// check applies the rules of RFC 7296 section 3.1 to a header of a message of n octets.
func (h *Header) check(n int) error {
	switch {
	case h.Major > 2:
		// Section 2.5: drop, and SHOULD send INVALID_MAJOR_VERSION; but never answer a response.
		e := drop(17, "major version %d, this end speaks 2", h.Major)
		if !h.Response {
			e.Notify = ikev2.INVALID_MAJOR_VERSION
		}
		return e
	case h.Major < 2:
		return drop(17, "major version %d (IKEv1 is 1), this end speaks 2", h.Major)
	case uint64(h.Length) != uint64(n):
		return drop(24, "header says %d octets, datagram has %d", h.Length, n)
	case h.SPIi == 0:
		return drop(0, "initiator's SPI is zero")
	case h.Exchange != ikev2.IKE_SA_INIT:
		return nil
	// IKE_SA_INIT is always the original initiator's and has message ID 0 in all its repeats (section 2.2).
	case h.MessageID != 0:
		return drop(20, "IKE_SA_INIT with message ID %d, not 0", h.MessageID)
	case !h.Response && h.SPIr != 0:
		return drop(8, "IKE_SA_INIT request with a responder's SPI")
	case h.Initiator == h.Response:
		return drop(19, "IKE_SA_INIT with initiator flag %t in a message with response flag %t", h.Initiator, h.Response)
	}
	return nil
}

// appendHeader writes the header with version 2.0 and the given next payload and length.
func appendHeader(dst []byte, h Header, next ikev2.PayloadType, length int) []byte {
	dst = binary.BigEndian.AppendUint64(dst, h.SPIi)
	dst = binary.BigEndian.AppendUint64(dst, h.SPIr)
	var flags byte
	if h.Initiator {
		flags |= flagInitiator
	}
	if h.Response {
		flags |= flagResponse
	}
	dst = append(dst, byte(next), 2<<4, byte(h.Exchange), flags)
	dst = binary.BigEndian.AppendUint32(dst, h.MessageID)
	return binary.BigEndian.AppendUint32(dst, uint32(length))
}
