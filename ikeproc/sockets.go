package ikeproc

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/ikeproc/internal/udp"
	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/ipc"
)

// How many datagrams wait. What comes when there are so many is lost, as on the network.
const (
	knownLength = 2048 // of IKE SAs that exist, or claim to
	initsLength = 512  // that would begin one
	sendLength  = 1024 // to be sent, for each socket
	faultLength = 4
)

// sockets are the transports in use. Each has a goroutine that reads and one that writes.
type sockets struct {
	by     map[netip.AddrPort]*socket
	known  chan engine.Event
	inits  chan engine.Event
	faults chan error
}

// socket is one transport in use.
type socket struct {
	Transport
	out     chan Datagram
	written chan struct{} // closed when all that was queued has been sent
}

func (s *sockets) init() {
	s.by = map[netip.AddrPort]*socket{}
	s.known, s.inits, s.faults = make(chan engine.Event, knownLength), make(chan engine.Event, initsLength), make(chan error, faultLength)
}

// add takes a transport into use.
func (s *sockets) add(t Transport) {
	k := &socket{t, make(chan Datagram, sendLength), make(chan struct{})}
	s.by[t.Local()] = k
	go s.read(k)
	go s.write(k)
}

// remove takes a transport out of use and closes it.
func (s *sockets) remove(at netip.AddrPort) {
	if k := s.by[at]; k != nil {
		delete(s.by, at)
		close(k.out) // the writer closes the transport when it has written what was queued
	}
}

// close waits, a little, until what was queued has been sent: the last words are farewells.
func (s *sockets) close() {
	enough := time.After(ipc.DrainTimeout)
	for at, k := range s.by {
		s.remove(at)
		select {
		case <-k.written:
		case <-enough:
			return
		}
	}
}

// send queues a datagram on the socket of its local address. One that finds no socket or no room is lost, as on the network.
func (s *sockets) send(d engine.Send) {
	k := s.by[d.Local]
	if k == nil {
		s.fault(fmt.Errorf("no socket for %v: a datagram to %v is lost", d.Local, d.Remote))
		return
	}
	select {
	case k.out <- Datagram{Remote: d.Remote, Marker: udp.NeedsMarker(d.Local.Port(), d.Data), Data: d.Data}:
	default:
		s.fault(fmt.Errorf("%v does not send as fast as it should: a datagram to %v is lost", d.Local, d.Remote))
	}
}

// read hands on what comes in until the transport is closed. A datagram that is not wanted costs no memory.
func (s *sockets) read(k *socket) {
	local := k.Local()
	into := make([]Datagram, udp.Batch)
	failed := 0
	for {
		n, err := k.Receive(into)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) || errors.Is(err, io.EOF) {
			return
		}
		if err != nil { // what an earlier datagram met on its way; there is nobody to tell whose
			s.fault(fmt.Errorf("receive on %v: %w", local, err))
			time.Sleep(min(time.Millisecond<<min(failed, 10), time.Second))
			failed++
			continue
		}
		failed = 0
		for _, d := range into[:n] {
			b, ok := udp.Strip(local.Port(), d.Data)
			if !ok {
				continue
			}
			queue := s.known
			if begins(b) {
				queue = s.inits
			}
			if len(queue) == cap(queue) {
				continue
			}
			select {
			case queue <- engine.Datagram{Local: local, Remote: d.Remote, Data: append([]byte(nil), b...)}:
			default: // another socket was quicker
			}
		}
	}
}

// begins tells whether a message would begin an IKE SA: an IKE_SA_INIT request. b holds a header.
func begins(b []byte) bool {
	return ikev2.ExchangeType(b[18]) == ikev2.IKE_SA_INIT && b[19]&0x20 == 0
}

// write sends what is queued, in batches, and closes the transport in the end.
func (s *sockets) write(k *socket) {
	defer close(k.written)
	defer k.Close()
	batch := make([]Datagram, 0, udp.Batch)
	for d := range k.out {
		batch = append(batch[:0], d)
	more:
		for len(batch) < cap(batch) {
			select {
			case d, ok := <-k.out:
				if !ok {
					break more
				}
				batch = append(batch, d)
			default:
				break more
			}
		}
		if err := k.Send(batch); err != nil {
			s.fault(fmt.Errorf("send from %v %w", k.Local(), err))
		}
	}
}

// fault tells the loop, if it has time for it.
func (s *sockets) fault(err error) {
	select {
	case s.faults <- err:
	default:
	}
}
