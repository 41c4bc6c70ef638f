// Package eapradiustest puts the server side of any eapsdk.Method behind a small RADIUS server on loopback (RFC 3579), so that an independent peer that speaks RADIUS,
// wpa_supplicant's eapol_test, can be held against it. It is for tests: one secret, no accounting, no retransmission.
package eapradiustest

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/vendors/microsoft"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Server is the RADIUS server of one method.
type Server struct {
	conn   net.PacketConn
	method eapsdk.Method
	secret []byte

	sessions map[string]eapsdk.Session // by State
	done     chan struct{}

	// mu: the test reads while the server's goroutine writes.
	mu    sync.Mutex
	last  eapsdk.Step
	fault error
}

// Start listens on a port of loopback that is free.
func Start(m eapsdk.Method, secret []byte) (*Server, error) { return StartAt(m, secret, "127.0.0.1:0") }

// StartAt listens on this address and port.
func StartAt(m eapsdk.Method, secret []byte, address string) (*Server, error) {
	conn, err := net.ListenPacket("udp4", address)
	if err != nil {
		return nil, err
	}
	s := &Server{conn: conn, method: m, secret: secret, sessions: map[string]eapsdk.Session{}, done: make(chan struct{})}
	go s.run()
	return s, nil
}

// Port is where it listens.
func (s *Server) Port() int { return s.conn.LocalAddr().(*net.UDPAddr).Port }

// Close ends the server and the sessions that stand, and gives what went wrong.
func (s *Server) Close() error {
	_ = s.conn.Close()
	<-s.done
	for _, session := range s.sessions {
		session.Abort("the server is closed")
	}
	return s.fault
}

// Last is the last step of the last session.
func (s *Server) Last() eapsdk.Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *Server) run() {
	defer close(s.done)
	buf := make([]byte, 8192)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		var answer []byte
		if err == nil {
			answer, err = s.serve(buf[:n])
		}
		if err == nil {
			_, err = s.conn.WriteTo(answer, from)
		}
		if err != nil {
			s.mu.Lock()
			s.fault = errors.Join(s.fault, err)
			s.mu.Unlock()
		}
	}
}

func (s *Server) serve(b []byte) ([]byte, error) {
	request, err := radius.Parse(b, s.secret)
	switch {
	case err != nil:
		return nil, err
	case request.Code != radius.CodeAccessRequest:
		return nil, fmt.Errorf("a packet with code %v", request.Code)
	}
	if err := s.authentic(request); err != nil {
		return nil, err
	}
	step, state, err := s.step(request)
	if err != nil {
		step = eapsdk.Step{Outcome: eapsdk.Failure, Reason: err.Error()}
	}
	s.mu.Lock()
	s.last = step
	s.mu.Unlock()
	return s.answer(request, step, state)
}

// authentic checks the Message-Authenticator (RFC 3579 section 3.2).
func (s *Server) authentic(p *radius.Packet) error {
	got := append([]byte(nil), rfc2869.MessageAuthenticator_Get(p)...)
	want, err := s.sign(p, p.Authenticator)
	if err != nil {
		return err
	}
	if !hmac.Equal(got, want) {
		return errors.New("a request with a wrong Message-Authenticator")
	}
	return nil
}

// sign gives the Message-Authenticator of a packet with that authenticator in its header.
func (s *Server) sign(p *radius.Packet, authenticator [16]byte) ([]byte, error) {
	if err := rfc2869.MessageAuthenticator_Set(p, make([]byte, md5.Size)); err != nil {
		return nil, err
	}
	b, err := p.MarshalBinary()
	if err != nil {
		return nil, err
	}
	copy(b[4:20], authenticator[:])
	mac := hmac.New(md5.New, s.secret)
	mac.Write(b)
	return mac.Sum(nil), nil
}

func (s *Server) step(request *radius.Packet) (eapsdk.Step, string, error) {
	ctx := context.Background()
	var packet []byte
	for _, a := range request.Attributes {
		if a.Type == rfc2869.EAPMessage_Type {
			packet = append(packet, a.Attribute...)
		}
	}
	if len(packet) < 5 {
		return eapsdk.Step{}, "", errors.New("a request without an EAP packet")
	}
	state := string(rfc2865.State_Get(request))
	session, ok := s.sessions[state]
	if !ok {
		if packet[4] != uint8(eapsdk.TypeIdentity) {
			return eapsdk.Step{}, "", fmt.Errorf("a session begins with type %d", packet[4])
		}
		state = rand.Text()
		session, step, err := s.method.Begin(ctx, eapsdk.Begin{Role: eapsdk.Server, Session: state, Connection: "test", Identity: string(packet[5:]),
			Packet: packet, Identifier: packet[1] + 1})
		if err == nil {
			s.sessions[state] = session
		}
		return step, state, err
	}
	step, err := session.Next(ctx, packet)
	if err != nil || step.Outcome != eapsdk.Continue {
		delete(s.sessions, state)
	}
	if len(step.Packet) == 0 {
		step.Packet = []byte{uint8(2 + step.Outcome - eapsdk.Success + 1), packet[1], 0, 4}
	}
	return step, state, err
}

func (s *Server) answer(request *radius.Packet, step eapsdk.Step, state string) ([]byte, error) {
	code := radius.CodeAccessChallenge
	switch step.Outcome {
	case eapsdk.Success:
		code = radius.CodeAccessAccept
	case eapsdk.Failure:
		code = radius.CodeAccessReject
	}
	answer := request.Response(code)
	var errs []error
	for rest := step.Packet; len(rest) > 0; {
		n := min(len(rest), 253)
		answer.Add(rfc2869.EAPMessage_Type, radius.Attribute(rest[:n]))
		rest = rest[n:]
	}
	if code == radius.CodeAccessChallenge {
		errs = append(errs, rfc2865.State_SetString(answer, state))
	}
	if len(step.MSK) == 64 {
		// RFC 2548 section 2.4; which half is which says RFC 3748's user in 802.11: the peer receives with the first.
		errs = append(errs, microsoft.MSMPPERecvKey_Add(answer, step.MSK[:32]), microsoft.MSMPPESendKey_Add(answer, step.MSK[32:]))
	}
	sum, err := s.sign(answer, request.Authenticator)
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	if err := rfc2869.MessageAuthenticator_Set(answer, sum); err != nil {
		return nil, err
	}
	return answer.Encode()
}
