package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/net/ipv4"
)

// socket is a UDP socket of the kernel's.
type socket struct {
	conn  *net.UDPConn
	batch *ipv4.PacketConn // its batches serve IPv6 as well
	local netip.AddrPort
	in    []ipv4.Message
	out   []ipv4.Message
	to    []net.UDPAddr
}

// Open adopts a bound UDP socket. name, address and port, must be its own: what triked calls it and what it is are compared. The file is closed.
func Open(name string, f *os.File) (Transport, error) {
	defer f.Close()
	want, err := netip.ParseAddrPort(name)
	if err != nil {
		return nil, fmt.Errorf("socket %q: %w", name, err)
	}
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", name, err)
	}
	conn, ok := c.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("socket %s is not UDP", name), c.Close())
	}
	at, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok || unmapped(at.AddrPort()) != want {
		return nil, errors.Join(fmt.Errorf("socket %s is bound to %v", name, conn.LocalAddr()), c.Close())
	}
	return newSocket(conn, want), nil
}

func newSocket(conn *net.UDPConn, local netip.AddrPort) *socket {
	s := &socket{conn: conn, batch: ipv4.NewPacketConn(conn), local: local, in: make([]ipv4.Message, Batch), out: make([]ipv4.Message, Batch), to: make([]net.UDPAddr, Batch)}
	for i := range s.in {
		s.in[i].Buffers = [][]byte{make([]byte, MaxSize)}
	}
	for i := range s.out {
		s.out[i].Buffers = make([][]byte, 0, 2)
		s.out[i].Addr = &s.to[i]
	}
	return s
}

func (s *socket) Local() netip.AddrPort { return s.local }
func (s *socket) Close() error          { return s.conn.Close() }

func (s *socket) Receive(into []Datagram) (int, error) {
	n, err := s.batch.ReadBatch(s.in[:min(len(into), len(s.in))], 0)
	if err != nil {
		return 0, err
	}
	for i := range s.in[:n] {
		m := &s.in[i]
		into[i] = Datagram{Data: m.Buffers[0][:m.N]}
		if from, ok := m.Addr.(*net.UDPAddr); ok {
			into[i].Remote = unmapped(from.AddrPort())
		}
	}
	return n, nil
}

// marker is the non-ESP marker; it is only read.
func marker() []byte { return make([]byte, 4) }

func (s *socket) Send(ds []Datagram) (last error) {
	var front []byte
	for len(ds) > 0 {
		batch := s.out[:min(len(ds), len(s.out))]
		for i := range batch {
			d := &ds[i]
			batch[i].Buffers = batch[i].Buffers[:0]
			if d.Marker {
				if front == nil {
					front = marker()
				}
				batch[i].Buffers = append(batch[i].Buffers, front)
			}
			batch[i].Buffers = append(batch[i].Buffers, d.Data)
			s.to[i].IP, s.to[i].Port, s.to[i].Zone = d.Remote.Addr().AsSlice(), int(d.Remote.Port()), d.Remote.Addr().Zone()
		}
		n, err := s.batch.WriteBatch(batch, 0)
		if err != nil { // the first of what is left cannot go
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			last = fmt.Errorf("to %v: %w", ds[max(n, 0)].Remote, err)
			n = max(n, 0) + 1
		}
		ds = ds[n:]
	}
	return last
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
