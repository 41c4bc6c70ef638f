package eaptls

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// DefaultLimit is how long a session may take in all.
const DefaultLimit = 3 * time.Minute

// Inner is what a method says inside the tunnel. It has the first turn when the handshake is complete and it is this side's turn to send; then one for each message.
type Inner interface {
	// Turn takes what the other side said, which is nothing when it only acknowledged. An error is our own fault.
	Turn(ctx context.Context, t *Tunnel, text []byte) (Turn, error)
	// Abort ends what is under way inside, when the session has ended otherwise than by the last Turn.
	Abort(reason string)
}

// Ender is an Inner of a client that learns by EAP Success or Failure alone that it is complete, as EAP within TTLS does.
type Ender interface {
	// End gives the last Turn: Success or Failure.
	End(ctx context.Context, success bool) (Turn, error)
}

// Turn is what an Inner does next.
type Turn struct {
	// Send is for the other side, through the tunnel; nothing is an acknowledgement.
	Send []byte
	// Outcome Continue goes on. A server's Success or Failure ends the session at once. A client's Success and Failure send first; then only EAP Success or Failure
	// may come.
	Outcome eapsdk.Outcome
	// MSK takes the place of the one from TLS alone.
	MSK []byte
	// Identity, Groups and Grants are as in eapsdk.Step.
	Identity string
	Groups   []string
	Grants   eapsdk.Grants
	// Reason is as in eapsdk.Step. With Continue it is why the session will fail, when the other side has to be told within the tunnel first.
	Reason string
}

// Config is what makes a session of one method.
type Config struct {
	Type eapsdk.Type
	// Versioned: the low three bits of the flags are a version, and it is 0. Otherwise they are reserved, and not looked at.
	Versioned bool
	TLS       *tls.Config
	// Label12 makes the MSK under TLS 1.2.
	Label12 string
	// NeedEMS: under TLS 1.2 there are no keys without the extended master secret.
	NeedEMS bool
	// Fragment is the most octets of an EAP packet that we send, 0 for DefaultFragment.
	Fragment int
	// Log hears of what the other side is being told when the session is aborted, which no Step says then. nil for nobody.
	Log *slog.Logger
	// Limit is how long the session may take in all, 0 for DefaultLimit.
	Limit time.Duration
}

// Session is the EAP side of a TLS based method: fragments, acknowledgements, flags and the way from handshake to Inner. It implements eapsdk.Session.
type Session struct {
	// mu: the limit's timer ends the session from a goroutine of its own.
	mu     sync.Mutex
	cfg    Config
	name   string
	role   eapsdk.Role
	tunnel *Tunnel
	inner  Inner
	timer  *time.Timer

	phase      phase
	reason     string // why it failed, for when the other side has been told
	last       Turn
	identifier uint8 // of the last request: ours as a server, theirs as a client
	in         assembler
	out        *cutter // what is being sent in fragments
	octets     int
	rounds     int
	previous   []byte // the packet that came last, and the answer to it
	answer     []byte
}

type phase uint8

const (
	handshaking phase = iota + 1
	established       // the tunnel stands: Inner speaks
	failing           // the alert is under way
	finished          // a client waits for EAP Success or Failure
	ended
)

// Start begins a session. A server's step is the Start request, a client's the answer to it, so b.Packet has to be one. The other side's identity and what TLS
// checks are the method's affair, by c.TLS and inner.
func Start(ctx context.Context, c Config, b eapsdk.Begin, inner Inner) (*Session, eapsdk.Step, error) {
	if c.Fragment == 0 {
		c.Fragment = DefaultFragment
	}
	if c.Limit == 0 {
		c.Limit = DefaultLimit
	}
	s := &Session{cfg: c, name: b.Session, role: b.Role, inner: inner, phase: handshaking, identifier: b.Identifier}
	s.tunnel = NewTunnel(b.Role == eapsdk.Server, c.TLS)
	s.tunnel.needEMS = c.NeedEMS
	s.timer = time.AfterFunc(c.Limit, func() { s.Abort("the session took longer than " + c.Limit.String()) })
	if b.Role == eapsdk.Server {
		p := Packet{Code: CodeRequest, Identifier: b.Identifier, Type: c.Type, Start: true}
		s.answer = p.Bytes()
		return s, eapsdk.Step{Outcome: eapsdk.Continue, Packet: s.answer}, nil
	}
	step, err := s.Next(ctx, b.Packet)
	if err != nil {
		return nil, eapsdk.Step{}, err
	}
	return s, step, nil
}

// Abort implements eapsdk.Session.
func (s *Session) Abort(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != ended && s.cfg.Log != nil && (s.reason != "" || s.last.Reason != "") {
		s.cfg.Log.Info("EAP session aborted while the other side was being told of a failure", "session", s.name, "failure", s.reason+s.last.Reason, "aborted", reason)
	}
	s.end(reason)
}

// end frees what the session holds. Inner hears of it unless the end was its own.
func (s *Session) end(reason string) {
	if s.phase == ended {
		return
	}
	own := s.last.Outcome != 0 && s.last.Outcome != eapsdk.Continue
	s.phase, s.reason = ended, reason
	s.timer.Stop()
	s.tunnel.Close()
	s.in, s.out = assembler{}, nil
	if !own {
		s.inner.Abort(reason)
	}
}

// Next implements eapsdk.Session.
func (s *Session) Next(ctx context.Context, packet []byte) (eapsdk.Step, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == ended {
		return fail("the session has ended: %s", s.reason), nil
	}
	// The same packet again was lost on its way to us or is a copy: the answer is the same (RFC 3748 section 4.1).
	if s.rounds < MaxRounds && s.answer != nil && s.previous != nil && bytes.Equal(packet, s.previous) {
		s.rounds++
		return eapsdk.Step{Outcome: eapsdk.Continue, Packet: s.answer}, nil
	}
	step, err := s.step(ctx, packet)
	if err != nil || step.Outcome != eapsdk.Continue {
		s.end(step.Reason)
		return step, err
	}
	s.previous, s.answer = slices.Clone(packet), step.Packet
	return step, nil
}

func fail(format string, args ...any) eapsdk.Step {
	return eapsdk.Step{Outcome: eapsdk.Failure, Reason: fmt.Sprintf(format, args...)}
}

func (s *Session) step(ctx context.Context, packet []byte) (eapsdk.Step, error) {
	if s.rounds++; s.rounds > MaxRounds {
		return fail("the conversation has more than %d packets", MaxRounds), nil
	}
	p, err := ParsePacket(packet, s.cfg.Type)
	if err != nil {
		return s.unreadable(p, err), nil
	}
	if p.Code == CodeSuccess || p.Code == CodeFailure {
		return s.over(ctx, p)
	}
	if why := s.wrong(p); why != "" {
		return fail("%s", why), nil
	}
	if s.role == eapsdk.Client {
		s.identifier = p.Identifier
	}
	switch {
	case p.Start:
		return s.message(ctx, nil)
	case s.out != nil:
		if !p.isAck() {
			return fail("the other side did not wait for the rest of our fragments"), nil
		}
		return s.send(), nil
	}
	if s.octets += len(p.Data); s.octets > MaxConversation {
		return fail("the other side sent more than %d octets", MaxConversation), nil
	}
	message, done, err := s.in.add(p)
	switch {
	case err != nil:
		return fail("%v", err), nil
	case !done:
		return s.say(nil), nil
	}
	return s.message(ctx, message)
}

// unreadable is the end after a packet that is not of this method.
func (s *Session) unreadable(p Packet, err error) eapsdk.Step {
	if errors.Is(err, ErrType) && p.Type == eapsdk.TypeNak {
		return fail("the peer does not want EAP type %d", s.cfg.Type)
	}
	return fail("EAP packet: %v", err)
}

// wrong says what is illegal about a request or response, before its data counts.
func (s *Session) wrong(p Packet) string {
	switch {
	case s.role == eapsdk.Server && p.Code != CodeResponse, s.role == eapsdk.Client && p.Code != CodeRequest:
		return fmt.Sprintf("an EAP packet with code %d came where a %s gets none", p.Code, s.role)
	case s.role == eapsdk.Server && p.Identifier != s.identifier:
		return fmt.Sprintf("the response has identifier %d, and the request had %d", p.Identifier, s.identifier)
	case s.role == eapsdk.Server && p.Start:
		return "a response says Start"
	case s.role == eapsdk.Client && s.rounds == 1 && !p.Start:
		return "the first request does not say Start"
	case s.role == eapsdk.Client && s.rounds > 1 && p.Start:
		return "a second request says Start"
	// The server offers a version, and a client that knows only a lower one answers with that (RFC 5281 section 9.1).
	case s.cfg.Versioned && p.Low&7 != 0 && !(s.role == eapsdk.Client && p.Start):
		return fmt.Sprintf("the other side speaks version %d of the method, and we speak 0", p.Low&7)
	case s.phase == finished && s.reason != "":
		return s.reason
	case s.phase == finished && s.out == nil:
		return "a request came after the method was complete"
	}
	return ""
}

// over takes EAP Success or Failure, which only clients get.
func (s *Session) over(ctx context.Context, p Packet) (eapsdk.Step, error) {
	switch {
	case s.role != eapsdk.Client:
		return fail("an EAP packet with code %d came where a server gets none", p.Code), nil
	case s.reason != "":
		return fail("%s", s.reason), nil
	case s.phase == established && s.out == nil:
		if e, ok := s.inner.(Ender); ok {
			return s.endInner(ctx, e, p.Code == CodeSuccess)
		}
	}
	switch {
	case p.Code == CodeFailure:
		return fail("the server refused us"), nil
	case s.phase != finished:
		// RFC 3748 section 4.2: a Success before the method's end is a forgery or a server that skips what it has to show.
		return fail("the server said Success before the method was complete"), nil
	}
	return s.success()
}

func (s *Session) endInner(ctx context.Context, e Ender, success bool) (eapsdk.Step, error) {
	turn, err := e.End(ctx, success)
	if err != nil {
		return eapsdk.Step{}, err
	}
	s.last = turn
	if !success || turn.Outcome != eapsdk.Success {
		return fail("%s", turn.Reason), nil
	}
	return s.success()
}

// message takes a whole message of the other side.
func (s *Session) message(ctx context.Context, in []byte) (eapsdk.Step, error) {
	switch s.phase {
	case handshaking:
		return s.handshake(ctx, in)
	case failing:
		return fail("%s", s.reason), nil
	}
	text, out, err := s.tunnel.Open(in)
	if err != nil {
		return s.alert(out, fmt.Sprintf("TLS: %v", err)), nil
	}
	return s.turn(ctx, text, out)
}

func (s *Session) handshake(ctx context.Context, in []byte) (eapsdk.Step, error) {
	if s.octets > MaxHandshake {
		return fail("the TLS handshake has more than %d octets", MaxHandshake), nil
	}
	if len(in) == 0 && (s.role == eapsdk.Server || s.rounds > 1) {
		return fail("an empty message came in the midst of the TLS handshake"), nil
	}
	out, done, err := s.tunnel.Handshake(in)
	switch {
	case err != nil:
		if word, ok := plainAlert(in); ok {
			// It has ended already, and waits for no alert of ours. A client of TLS 1.3 says so before it encrypts, and crypto/tls then hears noise.
			out, err = nil, fmt.Errorf("the other side says: %w", word)
		}
		return s.alert(out, fmt.Sprintf("TLS handshake: %v", err)), nil
	case !done && len(out) == 0:
		return fail("the TLS handshake stands still: a message of the other side is not whole"), nil
	case !done:
		return s.say(out), nil
	}
	s.phase = established
	// Records behind the handshake's last belong to Inner.
	text, more, err := s.tunnel.Open(nil)
	out = append(out, more...)
	if err != nil {
		return s.alert(out, fmt.Sprintf("TLS: %v", err)), nil
	}
	if len(out) > 0 && len(text) == 0 {
		return s.say(out), nil
	}
	return s.turn(ctx, text, out)
}

// turn lets Inner speak. before goes out ahead of what it says.
func (s *Session) turn(ctx context.Context, text, before []byte) (eapsdk.Step, error) {
	turn, err := s.inner.Turn(ctx, s.tunnel, text)
	if err != nil {
		return eapsdk.Step{}, err
	}
	s.last = turn
	if s.role == eapsdk.Server && turn.Outcome == eapsdk.Failure {
		return fail("%s", turn.Reason), nil
	}
	if s.role == eapsdk.Server && turn.Outcome == eapsdk.Success {
		return s.success()
	}
	out := before
	if len(turn.Send) > 0 {
		sealed, err := s.tunnel.Seal(turn.Send)
		if err != nil {
			return eapsdk.Step{}, fmt.Errorf("TLS: %w", err)
		}
		out = append(out, sealed...)
	}
	switch turn.Outcome {
	case eapsdk.Success:
		s.phase = finished
	case eapsdk.Failure:
		s.phase, s.reason, s.last.Reason = finished, turn.Reason, ""
	}
	return s.say(out), nil
}

// success is the last step of both sides.
func (s *Session) success() (eapsdk.Step, error) {
	msk := s.last.MSK
	if msk == nil {
		var err error
		if msk, err = MSK(s.tunnel, s.cfg.Type, s.cfg.Label12); err != nil {
			return fail("%v", err), nil
		}
	}
	return eapsdk.Step{Outcome: eapsdk.Success, MSK: msk, Identity: s.last.Identity, Groups: s.last.Groups, Grants: s.last.Grants}, nil
}

// plainAlert reads a message that is one alert in the clear (RFC 8446 section 6).
func plainAlert(in []byte) (tls.AlertError, bool) {
	const recordHeader, alertRecord = 5, 21
	if len(in) != recordHeader+2 || in[0] != alertRecord {
		return 0, false
	}
	return tls.AlertError(in[recordHeader+1]), true
}

// alert tells the other side what TLS has to tell, and then it is over (RFC 5216 section 2.1.3).
func (s *Session) alert(out []byte, reason string) eapsdk.Step {
	if len(out) == 0 && s.role == eapsdk.Server {
		return fail("%s", reason)
	}
	s.reason = reason
	if s.role == eapsdk.Client {
		s.phase = finished
	} else {
		s.phase = failing
	}
	return s.say(out)
}

// say sends a message, which may be empty, in as many packets as it takes.
func (s *Session) say(message []byte) eapsdk.Step {
	s.out = newCutter(message, s.cfg.Fragment)
	return s.send()
}

// send gives the next packet of what is being sent.
func (s *Session) send() eapsdk.Step {
	p := Packet{Code: CodeResponse, Identifier: s.identifier, Type: s.cfg.Type}
	if s.role == eapsdk.Server {
		s.identifier++
		p.Code, p.Identifier = CodeRequest, s.identifier
	}
	s.out.next(&p)
	if !p.More {
		s.out = nil
	}
	return eapsdk.Step{Outcome: eapsdk.Continue, Packet: p.Bytes()}
}
