package userspace

import (
	"net/netip"
)

// Device is a TUN device: packets without link header, in batches. Those of golang.zx2c4.com/wireguard/tun are some.
type Device interface {
	// Read waits for packets and puts one into each of bufs from offset on, with its length in sizes. It returns how many.
	Read(bufs [][]byte, sizes []int, offset int) (n int, err error)
	// Write takes the packets that stand in bufs from offset on. It may use the offset octets before them, and what each buffer has capacity
	// for after them.
	Write(bufs [][]byte, offset int) (int, error)
	// BatchSize is how many packets a Read returns at most.
	BatchSize() int
	Close() error
}

// Socket carries ESP packets of one local address, in UDP or straight in IP. Receive and Send are each called by one goroutine at a time.
type Socket interface {
	// Local is the address, with the UDP port or 0. An unspecified address serves every local address of its family.
	Local() netip.AddrPort
	// Encap reports whether ESP is in UDP (RFC 3948) on this socket.
	Encap() bool
	// Receive waits for packets and fills in as many as there are, at most len(into). They are good until the next call.
	Receive(into []Received) (n int, err error)
	// Send sends packets in order, and reports what it learns of paths to the function given to OnPathMTU. It returns how many it could not send.
	Send(packets []Datagram) (lost int)
	// OnPathMTU sets, before the first Send or Receive, whom to tell of the MTU of the path to a peer, in octets of the outer IP packet.
	OnPathMTU(func(peer netip.Addr, mtu int))
	Close() error
}

// Received is an ESP packet that came in.
type Received struct {
	From netip.AddrPort // port 0 without UDP
	TOS  uint8          // of the outer packet
	ESP  []byte
}

// Datagram is an ESP packet to send.
type Datagram struct {
	To   netip.AddrPort
	From netip.Addr // counts on a socket for every local address
	TOS  uint8
	ESP  []byte
	// MayFragment: the outer packet may be fragmented, as the inner one cannot be smaller.
	MayFragment bool
}

// Sizes of buffers and batches.
const (
	maxPacket  = 65535
	headroom   = 64 // before a packet from the device: ESP header, IV, and what an offloading device keeps there
	tailroom   = 64 // after it: padding, trailer, ICV
	inOffset   = 16 // before a packet to the device
	inBatch    = 128
	defaultMTU = 1500 // of the outer path, until something else is learned
	minMTU4    = 576  // RFC 4301 section 8.2: no forged ICMP pushes a path below these
	minMTU6    = 1280 // RFC 8200 section 5
)
