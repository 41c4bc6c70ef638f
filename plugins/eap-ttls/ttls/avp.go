package ttls

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// attribute is an AVP's code and vendor (RFC 5281 section 10.1), which are those of Diameter and so of RADIUS.
type attribute struct{ vendor, code uint32 }

// microsoft is the vendor of the MS-CHAP attributes (RFC 2548).
const microsoft = 311

// Attributes that tunnelled authentication speaks of (RFC 5281 section 11.2).
func userName() attribute        { return attribute{0, 1} }
func userPassword() attribute    { return attribute{0, 2} }
func replyMessage() attribute    { return attribute{0, 18} }
func eapMessage() attribute      { return attribute{0, 79} }
func msCHAPError() attribute     { return attribute{microsoft, 2} }
func msCHAPChallenge() attribute { return attribute{microsoft, 11} }
func msCHAP2Response() attribute { return attribute{microsoft, 25} }
func msCHAP2Success() attribute  { return attribute{microsoft, 26} }

// Flags of an AVP.
const (
	flagVendor    = 0x80
	flagMandatory = 0x40
	flagsReserved = 0x3f
)

// Bounds of one message.
const (
	maxAVPs = 64
)

// Errors of the AVP codec.
var (
	errAVPShort  = errors.New("an AVP ends within its header")
	errAVPLength = errors.New("an AVP's length is not within the message")
	errAVPFlags  = errors.New("an AVP has flags that must be zero")
	errAVPMany   = fmt.Errorf("a message has more than %d AVPs", maxAVPs)
)

// avp is one attribute-value pair.
type avp struct {
	attribute
	mandatory bool
	data      []byte
}

// parseAVPs reads a message of AVPs, each filled up to four octets (RFC 5281 section 10.2). The filling is not looked at, and the last may lack it.
func parseAVPs(b []byte) ([]avp, error) {
	var all []avp
	for len(b) > 0 {
		if len(all) == maxAVPs {
			return nil, errAVPMany
		}
		if len(b) < 8 {
			return nil, errAVPShort
		}
		a := avp{attribute: attribute{code: binary.BigEndian.Uint32(b)}, mandatory: b[4]&flagMandatory != 0}
		header, length := 8, int(binary.BigEndian.Uint32(b[4:])&0xffffff)
		if b[4]&flagsReserved != 0 {
			return nil, errAVPFlags
		}
		if b[4]&flagVendor != 0 {
			if header = 12; len(b) < header {
				return nil, errAVPShort
			}
			a.vendor = binary.BigEndian.Uint32(b[8:])
		}
		if length < header || length > len(b) {
			return nil, errAVPLength
		}
		a.data = b[header:length]
		all = append(all, a)
		b = b[min((length+3)&^3, len(b)):]
	}
	return all, nil
}

// appendAVP puts a mandatory AVP behind b. Vendor 0 is none.
func appendAVP(b []byte, of attribute, data []byte) []byte {
	flags, header := uint32(flagMandatory), uint32(8)
	if of.vendor != 0 {
		flags, header = flags|flagVendor, 12
	}
	b = binary.BigEndian.AppendUint32(b, of.code)
	b = binary.BigEndian.AppendUint32(b, flags<<24|header+uint32(len(data)))
	if of.vendor != 0 {
		b = binary.BigEndian.AppendUint32(b, of.vendor)
	}
	b = append(b, data...)
	return append(b, make([]byte, -len(data)&3)...)
}

// message is AVPs by attribute. EAP-Message may come in parts; of the others each comes once.
type message map[attribute][]byte

// readMessage gives the AVPs that are known. An unknown one that is mandatory is an error (RFC 5281 section 10.1), and so is a repeated one.
func readMessage(b []byte, known ...attribute) (message, error) {
	all, err := parseAVPs(b)
	if err != nil {
		return nil, err
	}
	m := message{}
	for _, a := range all {
		ours := false
		for _, k := range known {
			ours = ours || k == a.attribute
		}
		_, again := m[a.attribute]
		switch {
		case !ours && a.mandatory:
			return nil, fmt.Errorf("an AVP that is mandatory and unknown here: vendor %d, code %d", a.vendor, a.code)
		case !ours:
		case again && a.attribute != eapMessage():
			return nil, fmt.Errorf("AVP %d of vendor %d comes twice", a.code, a.vendor)
		default:
			m[a.attribute] = append(m[a.attribute], a.data...)
		}
	}
	return m, nil
}

// has reports whether all of them are there.
func (m message) has(attributes ...attribute) bool {
	for _, a := range attributes {
		if _, ok := m[a]; !ok {
			return false
		}
	}
	return true
}
