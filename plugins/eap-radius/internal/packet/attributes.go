package packet

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"layeh.com/radius"
)

// Attribute types (IANA "RADIUS Attribute Types").
const (
	UserName             radius.Type = 1
	NASIPAddress         radius.Type = 4
	ServiceType          radius.Type = 6
	FramedIPAddress      radius.Type = 8
	FilterID             radius.Type = 11
	FramedMTU            radius.Type = 12
	ReplyMessage         radius.Type = 18
	State                radius.Type = 24
	Class                radius.Type = 25
	VendorSpecific       radius.Type = 26
	SessionTimeout       radius.Type = 27
	CalledStationID      radius.Type = 30
	CallingStationID     radius.Type = 31
	NASIdentifier        radius.Type = 32
	ProxyState           radius.Type = 33
	AcctStatusType       radius.Type = 40
	AcctDelayTime        radius.Type = 41
	AcctInputOctets      radius.Type = 42
	AcctOutputOctets     radius.Type = 43
	AcctSessionID        radius.Type = 44
	AcctAuthentic        radius.Type = 45
	AcctSessionTime      radius.Type = 46
	AcctInputPackets     radius.Type = 47
	AcctOutputPackets    radius.Type = 48
	AcctTerminateCause   radius.Type = 49
	AcctInputGigawords   radius.Type = 52
	AcctOutputGigawords  radius.Type = 53
	EventTimestamp       radius.Type = 55
	NASPortType          radius.Type = 61
	EAPMessage           radius.Type = 79
	MessageAuthenticator radius.Type = 80
	AcctInterimInterval  radius.Type = 85
	NASPortID            radius.Type = 87
	NASIPv6Address       radius.Type = 95
	FramedInterfaceID    radius.Type = 96
	FramedIPv6Prefix     radius.Type = 97
	ErrorCause           radius.Type = 101
	FramedIPv6Address    radius.Type = 168
)

// MaxValue is the longest value of one attribute, in octets.
const MaxValue = 253

// Text is an attribute of characters; what is too long is cut.
func Text(s string) radius.Attribute { return radius.Attribute(s[:min(len(s), MaxValue)]) }

// Number is an attribute of 32 bits.
func Number(n uint32) radius.Attribute { return binary.BigEndian.AppendUint32(nil, n) }

// Address is an attribute of an address, 4 or 16 octets.
func Address(a netip.Addr) radius.Attribute { return a.Unmap().AsSlice() }

// Uint is the first attribute of a type, as a number.
func Uint(p *radius.Packet, t radius.Type) (uint32, bool) {
	v, ok := p.Lookup(t)
	if !ok || len(v) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(v), true
}

// Seconds is the first attribute of a type, as a time span; 0 if there is none.
func Seconds(p *radius.Packet, t radius.Type) time.Duration {
	n, _ := Uint(p, t)
	return time.Duration(n) * time.Second
}

// All are the values of a type, in order.
func All(p *radius.Packet, t radius.Type) (out [][]byte) {
	for _, avp := range p.Attributes {
		if avp.Type == t {
			out = append(out, avp.Attribute)
		}
	}
	return out
}

// Printable makes what another side wrote fit for a log: valid UTF-8, one line, at most limit octets.
func Printable(b []byte, limit int) string {
	s := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b), " "))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	return s
}

// IPv4 is the Framed-IP-Address. 255.255.255.255 and 255.255.255.254 leave the choice to the peer and to us (RFC 2865 section 5.8): no address.
func IPv4(p *radius.Packet) netip.Addr {
	v, ok := p.Lookup(FramedIPAddress)
	if !ok || len(v) != 4 || (v[0] == 255 && v[1] == 255 && v[2] == 255 && v[3] >= 254) {
		return netip.Addr{}
	}
	return usable(netip.AddrFrom4([4]byte(v)))
}

// IPv6 is the Framed-IPv6-Address (RFC 6911), or a Framed-IPv6-Prefix of 128 bits, or one of 64 with Framed-Interface-Id (RFC 3162 section 2).
func IPv6(p *radius.Packet) netip.Addr {
	if v, ok := p.Lookup(FramedIPv6Address); ok && len(v) == 16 {
		return usable(netip.AddrFrom16([16]byte(v)))
	}
	v, ok := p.Lookup(FramedIPv6Prefix)
	if !ok || len(v) < 2 || len(v) > 18 || v[1] > 128 {
		return netip.Addr{}
	}
	var a [16]byte
	copy(a[:], v[2:])
	id, _ := p.Lookup(FramedInterfaceID)
	switch {
	case v[1] == 128:
	case v[1] == 64 && len(id) == 8:
		copy(a[8:], id)
	default:
		return netip.Addr{}
	}
	return usable(netip.AddrFrom16(a))
}

// usable refuses addresses that no host can have.
func usable(a netip.Addr) netip.Addr {
	if a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.Is4In6() {
		return netip.Addr{}
	}
	return a
}
