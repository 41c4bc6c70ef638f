package relay_test

import (
	"crypto/md5"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"layeh.com/radius"

	"github.com/trike-ipsec/trike/plugins/eap-radius/internal/packet"
	"github.com/trike-ipsec/trike/plugins/eap-radius/relay"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

const secret = "a secret for tests"

// server is a RADIUS server on loopback that does what its handler says.
type server struct {
	t       *testing.T
	address string
	secret  string
	handle  func(p *radius.Packet, raw []byte) *radius.Packet // nil: no answer

	mu   sync.Mutex
	seen []*radius.Packet
}

// serve starts a server of UDP.
func serve(t *testing.T, handle func(p *radius.Packet, raw []byte) *radius.Packet) *server {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, address: conn.LocalAddr().String(), secret: secret, handle: handle}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			if answer := s.answer(append([]byte(nil), buffer[:n]...)); answer != nil {
				if _, err := conn.WriteTo(answer, from); err != nil {
					return
				}
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return s
}

// serveTLS starts a server of RADIUS over TLS.
func serveTLS(t *testing.T, c *tls.Config, handle func(p *radius.Packet, raw []byte) *radius.Packet) *server {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, address: "radsec://" + listener.Addr().String(), secret: "radsec", handle: handle}
	var wg sync.WaitGroup
	var open sync.Map
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			open.Store(conn, nil)
			wg.Go(func() {
				defer conn.Close()
				for {
					raw := make([]byte, 4096)
					if _, err := io.ReadFull(conn, raw[:4]); err != nil {
						return
					}
					n, err := packet.Size(raw)
					if err != nil {
						return
					}
					if _, err := io.ReadFull(conn, raw[4:n]); err != nil {
						return
					}
					answer := s.answer(raw[:n])
					if answer == nil {
						return
					}
					if _, err := conn.Write(answer); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return s
}

func (s *server) answer(raw []byte) []byte {
	open := packet.OpenAccess
	if radius.Code(raw[0]) == radius.CodeAccountingRequest {
		open = func(b, secret []byte) (*radius.Packet, error) { return packet.OpenRequest(b, secret, false) }
	}
	p, err := open(raw, []byte(s.secret))
	if err != nil {
		s.t.Errorf("a request of ours: %v", err)
		return nil
	}
	s.mu.Lock()
	s.seen = append(s.seen, p)
	s.mu.Unlock()
	a := s.handle(p, raw)
	if a == nil {
		return nil
	}
	b, err := packet.SealAnswer(a, raw, []byte(s.secret))
	if err != nil {
		s.t.Errorf("an answer of the test's: %v", err)
		return nil
	}
	return b
}

func (s *server) requests() []*radius.Packet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// log is an operator's log that may be read while it is written.
type log struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// configured is a relay with these settings and the secret; at the test's end neither it nor its log has told the secret.
func configured(t *testing.T, values map[string]string, secrets map[string][]byte) *relay.Relay {
	t.Helper()
	r := relay.New()
	l := &log{}
	if secrets == nil {
		secrets = map[string][]byte{}
	}
	secrets["secret"] = []byte(secret + "\n") // as a file has it
	if values["timeout"] == "" {
		values["timeout"] = "500ms"
	}
	if err := r.Configure(t.Context(), eapsdk.Config{Values: values, Secrets: secrets}, slog.New(slog.NewTextHandler(l, nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		if strings.Contains(l.String(), secret) {
			t.Errorf("the log tells the secret:\n%s", l)
		}
		if t.Failed() {
			t.Logf("log:\n%s", l)
		}
	})
	return r
}

func eapPacket(code, id byte, data ...byte) []byte {
	return append([]byte{code, id, 0, byte(4 + len(data))}, data...)
}

// md5Server is a server of EAP-MD5 (RFC 3748 section 5.4) with one user, which adds to its Access-Accept what is given.
func md5Server(user, password string, accept func(a *radius.Packet, raw []byte)) func(p *radius.Packet, raw []byte) *radius.Packet {
	const state = "state of the conversation"
	challenge := []byte("sixteen octets..")
	return func(p *radius.Packet, raw []byte) *radius.Packet {
		eap, err := packet.EAP(p)
		if err != nil || len(eap) < 5 {
			return nil
		}
		if eapsdk.Type(eap[4]) == eapsdk.TypeIdentity {
			a := &radius.Packet{Code: radius.CodeAccessChallenge}
			packet.AddEAP(a, eapPacket(packet.EAPRequest, eap[1]+1, append([]byte{byte(eapsdk.TypeMD5), 16}, challenge...)...))
			a.Add(packet.State, []byte(state))
			return a
		}
		a := &radius.Packet{Code: radius.CodeAccessReject}
		a.Add(packet.ReplyMessage, []byte("wrong password,\r\nor no such user"))
		packet.AddEAP(a, eapPacket(packet.EAPFailure, eap[1]))
		if string(p.Get(packet.State)) == state && string(p.Get(packet.UserName)) == user && string(eap[6:]) == string(md5Response(eap[1], password, challenge)) {
			a = &radius.Packet{Code: radius.CodeAccessAccept}
			packet.AddEAP(a, eapPacket(packet.EAPSuccess, eap[1]))
			accept(a, raw)
		}
		return a
	}
}

func md5Response(id byte, password string, challenge []byte) []byte {
	sum := md5.Sum(append(append([]byte{id}, password...), challenge...))
	return sum[:]
}

// converse plays a peer of EAP-MD5 against the relay.
func converse(t *testing.T, r *relay.Relay, b eapsdk.Begin, password string) eapsdk.Step {
	t.Helper()
	session, step, err := r.Begin(t.Context(), b)
	for n := 0; err == nil && step.Outcome == eapsdk.Continue; n++ {
		q := step.Packet
		if n > 3 || len(q) < 6 || eapsdk.Type(q[4]) != eapsdk.TypeMD5 {
			t.Fatalf("step %d: %x", n, q)
		}
		answer := md5Response(q[1], password, q[6:6+int(q[5])])
		step, err = session.Next(t.Context(), eapPacket(packet.EAPResponse, q[1], append([]byte{byte(eapsdk.TypeMD5), 16}, answer...)...))
	}
	if err != nil {
		t.Fatal(err)
	}
	return step
}
