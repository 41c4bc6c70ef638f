package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/trike-ipsec/trike/internal/ikev2"
)

// Notify is the notify payload (RFC 7296 section 3.10).
type Notify struct {
	// Protocol and SPI name the SA that the notify speaks of. They are 0 and empty unless it is about a Child SA.
	Protocol ikev2.ProtocolID
	SPI      []byte
	Type     ikev2.NotifyType
	Data     []byte
}

// PayloadType is N.
func (*Notify) PayloadType() ikev2.PayloadType { return ikev2.PayloadNotify }

// AppendBody writes the payload without its generic header.
func (p *Notify) AppendBody(dst []byte) ([]byte, error) {
	if len(p.SPI) > 255 {
		return nil, fmt.Errorf("encode N(%s) payload: SPI of %d octets", p.Type, len(p.SPI))
	}
	dst = append(dst, byte(p.Protocol), byte(len(p.SPI)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.Type))
	return append(append(dst, p.SPI...), p.Data...), nil
}

func (p *Notify) parse(b []byte, at int) error {
	if len(b) < 4 {
		return syntax(ikev2.PayloadNotify, at, "%d octets, at least 4 are needed", len(b))
	}
	spi := 4 + int(b[1])
	if spi > len(b) {
		return syntax(ikev2.PayloadNotify, at, "SPI of %d octets with %d left", b[1], len(b)-4)
	}
	*p = Notify{Protocol: ikev2.ProtocolID(b[0]), SPI: octets(b[4:spi]), Type: ikev2.NotifyType(binary.BigEndian.Uint16(b[2:])), Data: octets(b[spi:])}
	return nil
}

// NotifyStatus makes a notify that speaks of no particular SA.
func NotifyStatus(t ikev2.NotifyType, data []byte) *Notify { return &Notify{Type: t, Data: data} }

// NotifyChild makes a notify about an ESP or AH SA: REKEY_SA, CHILD_SA_NOT_FOUND (sections 2.8, 2.25).
func NotifyChild(t ikev2.NotifyType, p ikev2.ProtocolID, spi uint32) *Notify {
	return &Notify{Type: t, Protocol: p, SPI: binary.BigEndian.AppendUint32(nil, spi)}
}

// NotifyInvalidKE makes INVALID_KE_PAYLOAD: the method that the sender wants instead (section 1.2).
func NotifyInvalidKE(want ikev2.KEID) *Notify {
	return &Notify{Type: ikev2.INVALID_KE_PAYLOAD, Data: binary.BigEndian.AppendUint16(nil, uint16(want))}
}

// NotifyHashes makes SIGNATURE_HASH_ALGORITHMS (RFC 7427 section 4).
func NotifyHashes(hs ...ikev2.HashID) *Notify {
	n := &Notify{Type: ikev2.SIGNATURE_HASH_ALGORITHMS}
	for _, h := range hs {
		n.Data = binary.BigEndian.AppendUint16(n.Data, uint16(h))
	}
	return n
}

// Uint16 reads data of exactly two octets: INVALID_KE_PAYLOAD's method.
func (p *Notify) Uint16() (v uint16, ok bool) {
	if len(p.Data) != 2 {
		return 0, false
	}
	return binary.BigEndian.Uint16(p.Data), true
}

// Uint32 reads data of exactly four octets: SET_WINDOW_SIZE, INVALID_MESSAGE_ID, AUTH_LIFETIME in seconds.
func (p *Notify) Uint32() (v uint32, ok bool) {
	if len(p.Data) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(p.Data), true
}

// ChildSPI reads the SPI of an ESP or AH SA that the notify speaks of.
func (p *Notify) ChildSPI() (spi uint32, ok bool) {
	if len(p.SPI) != 4 || p.Protocol != ikev2.ProtocolESP && p.Protocol != ikev2.ProtocolAH {
		return 0, false
	}
	return binary.BigEndian.Uint32(p.SPI), true
}

// MaxCookie is the longest cookie in octets; the shortest is 1 (RFC 7296 section 2.6).
const MaxCookie = 64

// Cookie reads a COOKIE of legal length; another is to be ignored.
func (p *Notify) Cookie() (cookie []byte, ok bool) {
	return p.Data, p.Type == ikev2.COOKIE && len(p.Data) >= 1 && len(p.Data) <= MaxCookie
}

// Hashes reads SIGNATURE_HASH_ALGORITHMS, nil if the data is not a list of 16-bit numbers.
func (p *Notify) Hashes() []ikev2.HashID {
	if len(p.Data)%2 != 0 {
		return nil
	}
	var hs []ikev2.HashID
	for b := p.Data; len(b) > 0; b = b[2:] {
		hs = append(hs, ikev2.HashID(binary.BigEndian.Uint16(b)))
	}
	return hs
}
