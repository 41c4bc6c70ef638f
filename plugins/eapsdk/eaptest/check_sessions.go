package eaptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

func answersAgain(ctx context.Context, b *bench) error {
	x, err := b.meet(ctx)
	if err != nil {
		return err
	}
	for range maxRounds {
		step, err := x.client.Next(ctx, x.request)
		if err != nil || step.Outcome != eapsdk.Continue || !bytes.Equal(step.Packet, x.response) {
			x.abort("the check has failed")
			return fmt.Errorf("the client gets %s for the second time and comes to %w", show(x.request), fault(step, err))
		}
		if done, _, _, err := x.turn(ctx); done || err != nil {
			return err
		}
	}
	return errors.New("the conversation has no end")
}

func asksAgain(ctx context.Context, b *bench) error {
	x, err := b.meet(ctx)
	if err != nil {
		return err
	}
	if b.server.about.Type == 0 {
		x.abort("the check is not for it")
		return lack("a relay asks what its server asks")
	}
	x.twice = true
	_, _, err = x.finish(ctx)
	return err
}

func logsInOverALossyLink(ctx context.Context, b *bench) error {
	for range 3 {
		t, err := b.login(ctx, Link{Lose: 1. / 3, Repeat: 1. / 3, Rand: b.rand()})
		if err != nil {
			return fmt.Errorf("with %d packets lost and %d repeated (seed %d): %w", t.Lost, t.Repeated, b.cfg.Seed, err)
		}
		if err := sameKeys(b, t.Server, t.Client); err != nil {
			return err
		}
	}
	return nil
}

// unused is a number that no session of a run has.
const unused = 1 << 60

// anyone gives a player, of whichever role.
func (b *bench) anyone(ctx context.Context) (*player, error) {
	p, err := b.asks(ctx)
	var missing lack
	if errors.As(err, &missing) {
		return b.answers(ctx)
	}
	return p, err
}

func knowsNoOther(ctx context.Context, b *bench) error {
	p, err := b.anyone(ctx)
	if err != nil {
		return err
	}
	nobody := &timed{&session{remote: p.Remote, number: unused, role: p.role}, p.call}
	if step, err := nobody.Next(ctx, []byte{2, first, 0, 6, byte(p.about.Type), 0}); err == nil {
		return fmt.Errorf("Next for session %d, which was never begun, comes to %v", uint64(unused), told(step))
	}
	call, cancel := context.WithTimeout(ctx, p.call)
	defer cancel()
	if err := p.Remote.Abort(call, unused, "the check"); err != nil {
		return fmt.Errorf("Abort for session %d, which was never begun, is an error: %w", uint64(unused), err)
	}
	return nil
}

func refusesTheNumberTwice(ctx context.Context, b *bench) error {
	server, err := b.asks(ctx)
	if err != nil {
		return err
	}
	x, err := b.meet(ctx)
	if err != nil {
		return err
	}
	number := x.server.(*timed).Session.(*session).number
	begin := b.begin(first)
	begin.Role = eapsdk.Server
	call, cancel := context.WithTimeout(ctx, server.call)
	defer cancel()
	if step, err := server.Remote.Begin(call, number, begin); err == nil {
		x.abort("the check has failed")
		return fmt.Errorf("Begin with the number of a session that is open comes to %v", told(step))
	}
	if _, _, err := x.finish(ctx); err != nil {
		return fmt.Errorf("Begin was refused, and the session that has the number fails: %w", err)
	}
	return nil
}

func endsOnce(ctx context.Context, b *bench) error {
	x, err := b.meet(ctx)
	if err != nil {
		return err
	}
	response := x.response
	if _, _, err := x.finish(ctx); err != nil {
		return err
	}
	for who, s := range map[string]eapsdk.Session{"server": x.server, "client": x.client} {
		for _, packet := range [][]byte{response, {3, first, 0, 4}} {
			if step, err := s.Next(ctx, packet); err == nil {
				return fmt.Errorf("the %s had come to success, gets %s and comes to %v: the call has to be an error", who, show(packet), told(step))
			}
		}
	}
	x.abort("after its end") // no error, and no harm
	_, err = b.login(ctx, Link{})
	return err
}

func aborts(ctx context.Context, b *bench) error {
	return b.beside(ctx, func() error {
		p, err := b.anyone(ctx)
		if err != nil {
			return err
		}
		if p.role == eapsdk.Client {
			return lack("no plugin plays the server")
		}
		s, step, err := p.Begin(ctx, b.begin(first))
		if err != nil || step.Outcome != eapsdk.Continue {
			return fmt.Errorf("the server does not begin: %w", fault(step, err))
		}
		number := s.(*timed).Session.(*session).number
		call, cancel := context.WithTimeout(ctx, p.call)
		defer cancel()
		for range 2 {
			if err := p.Remote.Abort(call, number, "the check"); err != nil {
				return fmt.Errorf("Abort is an error: %w", err)
			}
		}
		if step, err := s.Next(ctx, []byte{2, step.Packet[1], 0, 6, byte(p.about.Type), 0}); err == nil {
			return fmt.Errorf("after Abort the session comes to %v: the call has to be an error", told(step))
		}
		return nil
	})
}

// inTurn is how many sessions take turns.
const inTurn = 12

func keepsSessionsApart(ctx context.Context, b *bench) error {
	var open []*pair
	for range inTurn {
		x, err := b.meet(ctx)
		if err != nil {
			return err
		}
		open = append(open, x)
	}
	for i := 0; i < len(open); i += 3 {
		open[i].abort("given up among others")
		open[i] = nil
	}
	seen := keysSeen{}
	for range maxRounds {
		left := 0
		for i, x := range open {
			if x == nil {
				continue
			}
			done, s, c, err := x.turn(ctx)
			if err != nil {
				return fmt.Errorf("session %d of %d: %w", i+1, len(open), err)
			}
			if left++; done {
				if err := seen.add(b, s, c); err != nil {
					return err
				}
				open[i] = nil
			}
		}
		if left == 0 {
			return nil
		}
	}
	return errors.New("the sessions have no end")
}

// keysSeen holds the keys of sessions against each other.
type keysSeen map[string]bool

func (k keysSeen) add(b *bench, s, c eapsdk.Step) error {
	if err := sameKeys(b, s, c); err != nil {
		return err
	}
	if len(s.MSK) > 0 && k[string(s.MSK)] {
		return errors.New("two sessions have the same key")
	}
	k[string(s.MSK)] = true
	return nil
}

func servesMany(ctx context.Context, b *bench) error {
	server, client, err := b.both(ctx)
	if err != nil {
		return err
	}
	// A slow machine with many sessions is no fault: each may take as long as all together.
	patient := func(p *player) *player {
		q := *p
		q.call = p.call * time.Duration(b.cfg.Sessions)
		return &q
	}
	server, client = patient(server), patient(client)
	type end struct {
		talk Talk
		err  error
	}
	ends := make([]end, b.cfg.Sessions)
	var all sync.WaitGroup
	for i := range ends {
		all.Go(func() {
			ends[i].talk, ends[i].err = Converse(ctx, server, client, b.begin(uint8(i)), Link{})
		})
	}
	all.Wait()
	seen := keysSeen{}
	for i, e := range ends {
		err := errors.Join(e.err, failed(e.talk, e.err))
		if err == nil {
			err = seen.add(b, e.talk.Server, e.talk.Client)
		}
		if err == nil && !bytes.Equal([]byte(e.talk.Server.Identity), []byte(ends[0].talk.Server.Identity)) {
			err = fmt.Errorf("the client is %q to the server, and was %q in another session", e.talk.Server.Identity, ends[0].talk.Server.Identity)
		}
		if err != nil {
			return fmt.Errorf("session %d of %d at once: %w", i+1, len(ends), err)
		}
	}
	return nil
}

// givenUp is how many sessions are begun and left.
const givenUp = 1000

func forgets(ctx context.Context, b *bench) error {
	server, err := b.asks(ctx)
	if err != nil {
		return err
	}
	for i := range givenUp {
		s, step, err := server.Begin(ctx, b.begin(first))
		if err != nil || step.Outcome != eapsdk.Continue {
			return fmt.Errorf("session %d does not begin: %w", i+1, fault(step, err))
		}
		s.Abort("the peer has gone away")
	}
	return b.beside(ctx, func() error { return nil })
}

// hurried is how many calls are given up, each later than the one before it.
const hurried = 24

func survivesDeadlines(ctx context.Context, b *bench) error {
	server, err := b.asks(ctx)
	if err != nil {
		return err
	}
	err = b.beside(ctx, func() error {
		for i := range hurried {
			short, cancel := context.WithTimeout(ctx, time.Duration(i)*100*time.Microsecond)
			s, step, err := server.Running.Begin(short, b.hurry())
			if err == nil && step.Outcome == eapsdk.Continue {
				_, _ = s.Next(short, []byte{2, step.Packet[1], 0, 6, byte(server.about.Type), 0})
			}
			cancel()
			s.Abort("its caller did not wait")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return b.beside(ctx, func() error { return nil })
}

func (b *bench) hurry() eapsdk.Begin {
	x := b.begin(first)
	x.Role = eapsdk.Server
	return x
}
