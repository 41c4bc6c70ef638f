package kernel

import (
	"encoding/binary"
	"net/netip"
)

// Numbers of linux/netlink.h and linux/xfrm.h. They are written out because the messages are: no header of the build host is used.
const (
	nlmsgError = 2
	nlmsgDone  = 3

	flagRequest = 0x1
	flagAck     = 0x4
	flagDump    = 0x300
	flagCapped  = 0x100
	flagAckTLVs = 0x200
	flagIntr    = 0x10

	msgNewSA      = 0x10
	msgDelSA      = 0x11
	msgGetSA      = 0x12
	msgNewPolicy  = 0x13
	msgDelPolicy  = 0x14
	msgGetPolicy  = 0x15
	msgAllocSPI   = 0x16
	msgAcquire    = 0x17
	msgExpire     = 0x18
	msgUpdPolicy  = 0x19
	msgUpdSA      = 0x1a
	msgNewSPDInfo = 0x24
	msgMapping    = 0x26

	attrAlgCrypt  = 2
	attrEncap     = 4
	attrTmpl      = 5
	attrLtime     = 9
	attrReplay    = 10
	attrLastUsed  = 15
	attrAlgAEAD   = 18
	attrAlgTrunc  = 20
	attrReplayESN = 23
	attrSADir     = 33

	spdIPv4Thresh = 3
	spdIPv6Thresh = 4

	afINET  = 2
	afINET6 = 10

	protoESP       = 50
	udpEncapESP    = 2 // UDP_ENCAP_ESPINUDP
	modeTransport  = 0
	modeTunnel     = 1
	stateESN       = 128
	stateAFUnspec  = 32
	dirIn          = 0
	dirOut         = 1
	dirFwd         = 2
	saDirIn        = 1
	saDirOut       = 2
	actionAllow    = 0
	actionBlock    = 1
	lifetimeNoEnd  = ^uint64(0)
	allAlgorithms  = ^uint32(0)
	groupAcquire   = 1
	groupExpire    = 2
	groupMapping   = 8
	sizeHeader     = 16
	sizeSelector   = 56
	sizeSAInfo     = 224
	sizeSAID       = 24
	sizePolicyInfo = 168
	sizeTmpl       = 64
	sizeAcquire    = 280
	sizeMapping    = 64
	sizeEncap      = 24
	sizeLtime      = 32
)

// Offsets into struct xfrm_usersa_info.
const (
	offSAID     = 56
	offSASPI    = 72
	offSAProto  = 76
	offSASrc    = 80
	offSALft    = 96
	offSACur    = 160
	offSAStats  = 192
	offSASeq    = 204
	offSAReqid  = 208
	offSAFamily = 212
	offSAMode   = 214
	offSAWindow = 215
	offSAFlags  = 216
)

// message is one netlink request being built: header, fixed part, attributes.
type message []byte

// newMessage begins a request with a fixed part of size octets, which is zero.
func newMessage(typ, flags uint16, size int) message {
	m := make(message, sizeHeader+align(size), sizeHeader+align(size)+512)
	binary.NativeEndian.PutUint16(m[4:], typ)
	binary.NativeEndian.PutUint16(m[6:], flags|flagRequest)
	return m
}

// body is the fixed part and what follows.
func (m message) body() []byte { return m[sizeHeader:] }

// attr appends an attribute.
func (m *message) attr(typ uint16, data []byte) {
	var h [4]byte
	binary.NativeEndian.PutUint16(h[0:], uint16(4+len(data)))
	binary.NativeEndian.PutUint16(h[2:], typ)
	old := *m
	*m = append(append(*m, h[:]...), data...)
	for len(*m)%4 != 0 {
		*m = append(*m, 0)
	}
	if len(old) > 0 && &old[0] != &(*m)[0] {
		clear(old) // it may hold keys
	}
}

// seal writes length and sequence number.
func (m message) seal(seq uint32) {
	binary.NativeEndian.PutUint32(m[0:], uint32(len(m)))
	binary.NativeEndian.PutUint32(m[8:], seq)
}

func align(n int) int { return (n + 3) &^ 3 }

func put16(b []byte, v uint16) { binary.NativeEndian.PutUint16(b, v) }
func put32(b []byte, v uint32) { binary.NativeEndian.PutUint32(b, v) }
func put64(b []byte, v uint64) { binary.NativeEndian.PutUint64(b, v) }
func get16(b []byte) uint16    { return binary.NativeEndian.Uint16(b) }
func get32(b []byte) uint32    { return binary.NativeEndian.Uint32(b) }
func get64(b []byte) uint64    { return binary.NativeEndian.Uint64(b) }

// putAddr writes an xfrm_address_t; an invalid address is all zeros.
func putAddr(b []byte, a netip.Addr) {
	if a.IsValid() {
		copy(b, a.AsSlice())
	}
}

// getAddr reads an xfrm_address_t of the family; all zeros is any, which is the invalid address.
func getAddr(b []byte, family uint16) netip.Addr {
	var a netip.Addr
	switch family {
	case afINET:
		a = netip.AddrFrom4([4]byte(b[:4]))
	case afINET6:
		a = netip.AddrFrom16([16]byte(b[:16]))
	}
	if a.IsValid() && a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

func familyOf(a netip.Addr) uint16 {
	if a.Is4() {
		return afINET
	}
	return afINET6
}

// attribute is one parsed attribute; data points into the message.
type attribute struct {
	typ  uint16
	data []byte
}

// parseAttrs splits what follows a fixed part. Octets that make no whole attribute are an error: the kernel sends none.
func parseAttrs(b []byte) ([]attribute, error) {
	var out []attribute
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, errShort
		}
		n := int(get16(b))
		if n < 4 || n > len(b) {
			return nil, errShort
		}
		out = append(out, attribute{get16(b[2:]) & 0x3fff, b[4:n]})
		b = b[min(align(n), len(b)):]
	}
	return out, nil
}

// find is the data of the first attribute of a type that is at least size octets long, or nil.
func find(attrs []attribute, typ uint16, size int) []byte {
	for _, a := range attrs {
		if a.typ == typ && len(a.data) >= size {
			return a.data
		}
	}
	return nil
}
