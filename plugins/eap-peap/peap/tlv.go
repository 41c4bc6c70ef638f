package peap

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eappacket"
)

// typeExtensions is the EAP TLV Extensions Method, with which PEAP says the result ([MS-PEAP] section 2.2.8.1).
const typeExtensions eapsdk.Type = 33

// TLV types ([MS-PEAP] section 2.2.4).
const (
	tlvResult  = 3
	tlvBinding = 12
)

const (
	tlvMandatory = 0x8000
	tlvTypeMask  = 0x3fff
	maxTLVs      = 16
)

// Values of a Result TLV.
const (
	resultSuccess = 1
	resultFailure = 2
)

// Layout of a Cryptobinding TLV's value ([MS-PEAP] section 2.2.8.1.1).
const (
	bindingSize  = 56
	nonceSize    = 32
	bindRequest  = 0
	bindResponse = 1
)

// Errors of the TLV codec.
var (
	errTLVShort   = errors.New("a TLV ends within its header")
	errTLVLength  = errors.New("a TLV's length is not within the message")
	errTLVMany    = fmt.Errorf("a message has more than %d TLVs", maxTLVs)
	errTLVTwice   = errors.New("a TLV comes twice")
	errTLVResult  = errors.New("a Result TLV says neither success nor failure")
	errTLVBinding = fmt.Errorf("a Cryptobinding TLV has not %d octets of version 0", bindingSize)
)

// binding is a Cryptobinding TLV: both sides show that who spoke the inner method holds the tunnel's keys.
type binding struct {
	subtype uint8
	nonce   [nonceSize]byte
	mac     [sha1.Size]byte
}

func (b binding) marshal() []byte {
	out := []byte{0, tlvBinding, 0, bindingSize, 0, 0, 0, b.subtype}
	out = append(out, b.nonce[:]...)
	return append(out, b.mac[:]...)
}

// sum is the compound MAC: over the TLV with none, and the type of PEAP ([MS-PEAP] section 3.1.5.5.1). There are no outer TLVs here.
func (b binding) sum(cmk []byte) (mac [sha1.Size]byte) {
	b.mac = [sha1.Size]byte{}
	h := hmac.New(sha1.New, cmk)
	h.Write(b.marshal())
	h.Write([]byte{byte(eapsdk.TypePEAP)})
	return [sha1.Size]byte(h.Sum(nil))
}

func (b binding) right(cmk []byte) bool {
	want := b.sum(cmk)
	return hmac.Equal(b.mac[:], want[:])
}

// extensions is what the TLVs of one packet say.
type extensions struct {
	result  uint16 // 0 for none
	binding *binding
}

func (e extensions) marshal() []byte {
	out := []byte{tlvMandatory >> 8, tlvResult, 0, 2, byte(e.result >> 8), byte(e.result)}
	if e.binding != nil {
		out = append(out, e.binding.marshal()...)
	}
	return out
}

// parseExtensions reads TLVs. Those that nobody here knows are an error when they are mandatory, and nothing otherwise.
func parseExtensions(b []byte) (e extensions, err error) {
	for n := 0; len(b) > 0; n++ {
		switch {
		case n == maxTLVs:
			return e, errTLVMany
		case len(b) < 4:
			return e, errTLVShort
		}
		head, length := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if length > len(b)-4 {
			return e, errTLVLength
		}
		if err = e.add(head, b[4:4+length]); err != nil {
			return e, err
		}
		b = b[4+length:]
	}
	return e, nil
}

func (e *extensions) add(head uint16, value []byte) error {
	switch head & tlvTypeMask {
	case tlvResult:
		if e.result != 0 {
			return errTLVTwice
		}
		if len(value) != 2 || value[0] != 0 || value[1] != resultSuccess && value[1] != resultFailure {
			return errTLVResult
		}
		e.result = uint16(value[1])
	case tlvBinding:
		if e.binding != nil {
			return errTLVTwice
		}
		if len(value) != bindingSize || value[1] != 0 || value[2] != 0 {
			return errTLVBinding
		}
		e.binding = &binding{subtype: value[3], nonce: [nonceSize]byte(value[4:]), mac: [sha1.Size]byte(value[4+nonceSize:])}
	default:
		if head&tlvMandatory != 0 {
			return fmt.Errorf("a TLV that is mandatory and unknown here: type %d", head&tlvTypeMask)
		}
	}
	return nil
}

// compress takes the header off an inner packet, which the outer one has too; but not off those that the draft excepts ([MS-PEAP] section 3.1.5.6).
func compress(packet []byte) []byte {
	const header = 4
	return packet[header:]
}

// expand gives an inner packet its header back. whole says that it came with one.
func expand(text []byte, code eappacket.Code, identifier uint8) (packet []byte, whole bool) {
	const header, typeAt = 4, 4
	if len(text) > typeAt && text[0] == byte(code) && int(binary.BigEndian.Uint16(text[2:])) == len(text) &&
		(eapsdk.Type(text[typeAt]) == typeExtensions || eapsdk.Type(text[typeAt]) == eapsdk.TypeExpanded) {
		return text, true
	}
	length := header + len(text)
	return append([]byte{byte(code), identifier, byte(length >> 8), byte(length)}, text...), false
}
