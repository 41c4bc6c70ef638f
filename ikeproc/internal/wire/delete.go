package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// Delete is the delete payload: the sender's inbound SAs that it has removed (RFC 7296 section 3.11).
type Delete struct {
	Protocol ikev2.ProtocolID
	// SPIs are the sender's inbound SPIs for ESP and AH. For IKE it is empty: the SA that carries the message.
	SPIs []uint32
	// SPISize and Raw hold the SPIs of a protocol that this codec does not know: ignored.
	SPISize uint8
	Raw     []byte
}

// PayloadType is D.
func (*Delete) PayloadType() ikev2.PayloadType { return ikev2.PayloadDelete }

// AppendBody writes the payload without its generic header.
func (p *Delete) AppendBody(dst []byte) ([]byte, error) {
	size, count := spiSize(p.Protocol), len(p.SPIs)
	if size < 0 {
		if size = int(p.SPISize); size > 0 {
			count = len(p.Raw) / size
		}
		if len(p.SPIs) != 0 || count*size != len(p.Raw) {
			return nil, fmt.Errorf("encode D payload: %s with %d octets of SPIs of %d", p.Protocol, len(p.Raw), size)
		}
	} else if p.SPISize != 0 || len(p.Raw) != 0 {
		return nil, fmt.Errorf("encode D payload: raw SPIs for %s", p.Protocol)
	}
	if count > 0xffff || size == 0 && count != 0 {
		return nil, fmt.Errorf("encode D payload: %d SPIs for %s", count, p.Protocol)
	}
	dst = append(dst, byte(p.Protocol), byte(size))
	dst = binary.BigEndian.AppendUint16(dst, uint16(count))
	for _, spi := range p.SPIs {
		dst = binary.BigEndian.AppendUint32(dst, spi)
	}
	return append(dst, p.Raw...), nil
}

// spiSize is the size of a protocol's SPI in a delete payload, -1 for an unknown protocol.
func spiSize(p ikev2.ProtocolID) int {
	switch p {
	case ikev2.ProtocolIKE:
		return 0
	case ikev2.ProtocolESP, ikev2.ProtocolAH:
		return 4
	}
	return -1
}

func parseDelete(b []byte, at int) (*Delete, error) {
	if len(b) < 4 {
		return nil, syntax(ikev2.PayloadDelete, at, "%d octets, at least 4 are needed", len(b))
	}
	p := &Delete{Protocol: ikev2.ProtocolID(b[0])}
	size, count := int(b[1]), int(binary.BigEndian.Uint16(b[2:]))
	want := spiSize(p.Protocol)
	switch b = b[4:]; {
	case size*count != len(b):
		return nil, syntax(ikev2.PayloadDelete, at, "%d SPIs of %d octets in %d octets", count, size, len(b))
	case size == 0 && count != 0:
		return nil, syntax(ikev2.PayloadDelete, at, "%d SPIs of no octets", count)
	case want < 0:
		p.SPISize, p.Raw = uint8(size), octets(b)
		return p, nil
	case size != want && (count != 0 || p.Protocol == ikev2.ProtocolIKE):
		return nil, syntax(ikev2.PayloadDelete, at, "SPI size %d for %s, not %d", size, p.Protocol, want)
	}
	if count > 0 {
		p.SPIs = make([]uint32, count)
		for i := range p.SPIs {
			p.SPIs[i] = binary.BigEndian.Uint32(b[4*i:])
		}
	}
	return p, nil
}
