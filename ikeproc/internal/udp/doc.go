// Package udp carries IKE over UDP ports 500 and 4500 (RFC 7296 sections 2.23 and 3.1, RFC 3948): sockets that somebody else opened, read and written in
// batches, and the four octets that tell IKE from ESP on port 4500.
//
//	t, err := udp.Open("192.0.2.1:4500", f)
//	n, err := t.Receive(into)
//	for _, d := range into[:n] {
//		if ike, ok := udp.Strip(t.Local().Port(), d.Data); ok { … }
//	}
//	err = t.Send([]udp.Datagram{{Remote: peer, Marker: udp.NeedsMarker(port, b), Data: b}})
package udp

import "net/netip"

const (
	// NATPort is where IKE shares a socket with ESP (RFC 3948 section 2). IKE has the non-ESP marker in front there, and there alone.
	NATPort = 4500
	// MaxSize is the most that a UDP datagram can hold, in octets.
	MaxSize = 65535
	// Batch is how many datagrams are read or written at once.
	Batch = 32

	keepalive = 0xff // a datagram of this one octet keeps a NAT's mapping alive (RFC 3948 section 2.3)
	minIKE    = 28   // an IKE header
)

// Datagram is the content of one UDP datagram.
type Datagram struct {
	Remote netip.AddrPort
	// Marker, when sending: the non-ESP marker goes in front of Data.
	Marker bool
	Data   []byte
}

// Transport is one local address and port. Receive and Send are each called by one goroutine at a time.
type Transport interface {
	// Local is the address and port that it serves.
	Local() netip.AddrPort
	// Receive waits for datagrams and fills in as many as there are, at most len(into). Their data, which begins with the non-ESP marker where there is one, is good until
	// the next call.
	Receive(into []Datagram) (n int, err error)
	// Send sends datagrams in order. The data is not changed. One that cannot be sent does not keep the next from being sent; the error says why the last such
	// could not.
	Send(ds []Datagram) error
	// Close ends a Receive that waits.
	Close() error
}

// Strip gives the IKE message in a datagram that came in on a port. ok is false for what is none: a NAT keepalive, ESP, or too little.
func Strip(port uint16, b []byte) (ike []byte, ok bool) {
	if port == NATPort {
		if len(b) < 4 || b[0]|b[1]|b[2]|b[3] != 0 {
			return nil, false
		}
		b = b[4:]
	}
	return b, len(b) >= minIKE
}

// NeedsMarker tells whether a datagram leaves with the non-ESP marker: all from port 4500 but keepalives.
func NeedsMarker(port uint16, b []byte) bool {
	return port == NATPort && !(len(b) == 1 && b[0] == keepalive)
}

// AppendTo writes what goes on the wire to b: marker, if any, and data.
func (d Datagram) AppendTo(b []byte) []byte {
	if d.Marker {
		b = append(b, 0, 0, 0, 0)
	}
	return append(b, d.Data...)
}
