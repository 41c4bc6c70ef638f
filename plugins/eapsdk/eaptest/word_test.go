package eaptest

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/turn"
)

const typeWord eapsdk.Type = 255 // RFC 3748 section 5: for experiments

// word is a method that is right, and a fault that makes it wrong in one way.
type word struct {
	fault string

	mu        sync.Mutex
	word      []byte
	described int
	begun     int
	open      int
	broken    bool
	challenge []byte // of the session begun last
}

func (w *word) has(fault string) bool { return w.fault == fault }

func (w *word) Describe() eapsdk.Description {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := eapsdk.Description{Name: "word", Version: "1", Type: typeWord, Roles: []eapsdk.Role{eapsdk.Server, eapsdk.Client}, MakesKeys: true, Mutual: true,
		Settings: []eapsdk.Setting{{Name: "word", Secret: true, Required: true, Help: "the word"}}}
	w.described++
	switch {
	case w.has("describes itself otherwise") && w.described > 1:
		d.Version = "2"
	case w.has("cannot bear to have no settings") && w.broken:
		d.Name = ""
	}
	return d
}

func (w *word) Configure(_ context.Context, c eapsdk.Config, _ *slog.Logger) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.word = c.Secrets["word"]; len(w.word) == 0 || w.has("takes no settings") {
		w.broken = w.has("cannot bear to have no settings")
		return errors.New("the word is missing")
	}
	return nil
}

func (w *word) Begin(ctx context.Context, b eapsdk.Begin) (s eapsdk.Session, step eapsdk.Step, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun, w.open = w.begun+1, w.open+1
	if end, ok := ctx.Deadline(); w.has("breaks when it is hurried") && ok && w.soon(end) {
		w.broken = true
	}
	switch {
	case w.has("keeps what was given up") && w.begun > 500, w.has("has one session at a time") && w.open > 2, w.has("breaks when it is hurried") && w.broken:
		return nil, step, errors.New("there is no room")
	}
	switch b.Role {
	case eapsdk.Server:
		challenge := make([]byte, 16)
		if !w.has("asks the same in each session") {
			_, _ = rand.Read(challenge)
		}
		w.challenge = challenge
		id := b.Identifier
		if w.has("begins with an identifier of its own") {
			id = 77
		}
		s, step = turn.Serve(typeWord, id, challenge, &wordServer{w: w, mine: challenge})
	default:
		s, step, err = turn.Reply(ctx, typeWord, b.Packet, &wordClient{w: w})
	}
	return &wrapped{Session: s, w: w, role: b.Role, last: step.Packet}, step, err
}

// proof is what a side shows, and what the key is made of.
func (w *word) proof(what string, a, b []byte) []byte {
	h := hmac.New(sha512.New, w.word)
	h.Write(slices.Concat([]byte(what), a, b))
	return h.Sum(nil)
}

func (w *word) key(role eapsdk.Role, a, b []byte) []byte {
	switch {
	case w.has("makes a key of its own on each side"):
		return w.proof(role.String(), a, b)
	case w.has("makes the same key each time"):
		return w.proof("key", nil, nil)
	}
	return w.proof("key", a, b)
}

type wordServer struct {
	w            *word
	mine, theirs []byte
}

func (s *wordServer) Respond(_ context.Context, _ uint8, data []byte) (turn.Turn, error) {
	if s.theirs == nil {
		mine := s.mine
		if s.w.has("has one challenge for all") {
			s.w.mu.Lock()
			mine = s.w.challenge
			s.w.mu.Unlock()
		}
		if len(data) != 16+sha512.Size {
			return turn.Fail("a response of %d octets", len(data)), nil
		}
		if !hmac.Equal(data[16:], s.w.proof("client", mine, data[:16])) && !s.w.has("lets everybody in") {
			return turn.Fail("the client does not know the word"), nil
		}
		s.theirs = slices.Clone(data[:16])
		return turn.Say(s.w.proof("server", s.mine, s.theirs)), nil
	}
	if len(data) != 0 {
		return turn.Fail("more than was asked"), nil
	}
	return turn.Turn{Outcome: eapsdk.Success, Identity: "alice", MSK: s.w.key(eapsdk.Server, s.mine, s.theirs)}, nil
}

type wordClient struct {
	w            *word
	mine, theirs []byte
	proven       bool
}

func (c *wordClient) Request(_ context.Context, _ uint8, data []byte) (turn.Turn, error) {
	if c.theirs == nil {
		if len(data) != 16 {
			return turn.Fail("a challenge of %d octets", len(data)), nil
		}
		c.theirs, c.mine = slices.Clone(data), make([]byte, 16)
		if !c.w.has("asks the same in each session") {
			_, _ = rand.Read(c.mine)
		}
		return turn.Say(slices.Concat(c.mine, c.w.proof("client", c.theirs, c.mine))), nil
	}
	if !hmac.Equal(data, c.w.proof("server", c.theirs, c.mine)) && !c.w.has("lets everybody in") {
		return turn.Fail("the server does not know the word"), nil
	}
	c.proven = true
	return turn.Say(nil), nil
}

func (c *wordClient) End(success bool) turn.Turn {
	switch {
	case !success && !c.w.has("takes EAP Failure for a success"):
		return turn.Fail("the server refuses us")
	case !c.proven && success && !c.w.has("believes EAP Success"):
		return turn.Fail("the server ends before it has shown that it knows the word")
	}
	return turn.Turn{Outcome: eapsdk.Success, MSK: c.w.key(eapsdk.Client, c.theirs, c.mine)}
}

// wrapped does wrong what the lockstep does right.
type wrapped struct {
	eapsdk.Session
	w     *word
	role  eapsdk.Role
	last  []byte
	heard [][]byte
}

func (s *wrapped) Next(ctx context.Context, p []byte) (step eapsdk.Step, err error) {
	again := slices.ContainsFunc(s.heard, func(h []byte) bool { return string(h) == string(p) })
	s.heard = append(s.heard, slices.Clone(p))
	switch {
	case s.w.has("asks anew when it is answered twice") && again && s.role == eapsdk.Server, s.w.has("answers anew when it is asked twice") && again && s.role == eapsdk.Client:
		odd := slices.Clone(s.last)
		odd[len(odd)-1] ^= 1
		return eapsdk.Step{Outcome: eapsdk.Continue, Packet: odd}, nil
	case s.w.has("ends when something comes twice") && again:
		return eapsdk.Step{Outcome: eapsdk.Failure, Reason: "that was said already"}, nil
	case s.w.has("believes EAP Success") && s.role == eapsdk.Client && len(p) == 4 && p[0] == 3:
		return eapsdk.Step{Outcome: eapsdk.Success, MSK: s.w.proof("key", nil, nil)}, nil
	case s.w.has("does not look at the identifier") && len(p) > 4 && p[0] == 2:
		p = slices.Clone(p)
		p[1] = s.last[1]
	case s.w.has("does not look at the code") && len(p) > 4:
		p = slices.Clone(p)
		p[0] = byte(3 - s.role) // a server gets responses, a client requests
	case s.w.has("does not look at the type") && len(p) > 4:
		p = slices.Clone(p)
		p[4] = byte(typeWord)
	case s.w.has("asks again whoever says Nak") && len(p) > 4 && p[4] == byte(eapsdk.TypeNak):
		return eapsdk.Step{Outcome: eapsdk.Continue, Packet: s.last}, nil
	case s.w.has("does not look at the length") && len(p) > 4:
		p = slices.Clone(p)
		p[2], p[3] = byte(len(p)>>8), byte(len(p))
	case s.w.has("panics at large packets") && len(p) > 10000:
		panic("too large")
	case s.w.has("panics at short packets"):
		_ = p[3]
	case s.w.has("panics at packets that are cut") && len(p) > 50 && len(p) < 70:
		panic("cut")
	case s.w.has("lets noise in") && s.role == eapsdk.Server && len(p) > 90:
		return eapsdk.Step{Outcome: eapsdk.Success, MSK: s.w.proof("key", nil, nil)}, nil
	}
	step, err = s.Session.Next(ctx, p)
	switch {
	case err == nil && step.Outcome == eapsdk.Continue:
		s.last = step.Packet
	case s.w.has("does not say why"):
		step.Reason = ""
		fallthrough
	default:
		s.done()
	}
	if s.w.has("blames itself for the other side") && step.Outcome == eapsdk.Failure {
		return eapsdk.Step{}, errors.New(step.Reason)
	}
	return step, err
}

func (s *wrapped) Abort(reason string) {
	s.done()
	s.Session.Abort(reason)
}

func (s *wrapped) done() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.open--
}

// soon tells a deadline that nobody can keep from those of a whole check.
func (*word) soon(end time.Time) bool { return time.Until(end) < time.Second }
