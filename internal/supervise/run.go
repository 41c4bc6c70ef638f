package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/trike-ipsec/trike/internal/control"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/status"
)

// Run is triked: it puts a plan in force and keeps the processes running until ctx ends. With a plan that cannot be put in force and none to go back to, it ends at once.
func Run(ctx context.Context, cfg Config) error {
	if os.Geteuid() != 0 {
		return errors.New("triked opens ports and starts the processes as their users: it must run as root")
	}
	if err := cfg.validate(); err != nil {
		return err
	}
	// What the one who started us left open is no business of the processes.
	if err := forgetInherited(); err != nil {
		return fmt.Errorf("keep inherited descriptors from the processes: %w", err)
	}
	h, err := newMachine(cfg)
	if err != nil {
		return err
	}
	l, err := control.Listen(cfg.Control)
	if err != nil {
		return err
	}
	defer os.Remove(cfg.Control)
	return serve(ctx, cfg, h, func(ctx context.Context, g control.Handler) error { return control.Serve(ctx, l, g) })
}

// serve runs the loop with this machine, and answers operators until ctx ends.
func serve(ctx context.Context, cfg Config, h host, operators func(context.Context, control.Handler) error) error {
	s, err := newSupervisor(cfg, h)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	go s.run(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- operators(ctx, gateway{s}) }()
	err = s.boot(ctx)
	if s.post(booted{}); err == nil {
		select {
		case <-ctx.Done():
		case err = <-stopped:
			stopped <- nil
		}
	}
	notify(cfg.Notify, "STOPPING=1")
	cancel()
	<-s.done
	<-stopped
	return err
}

// boot puts the first plan in force: the one of Config.Plan if it is news, else the last good one.
func (s *supervisor) boot(ctx context.Context) error {
	last, err := s.host.Load()
	if err != nil {
		s.note("error", "start", "the last good plan cannot be used: %v", err)
	}
	var file *version
	if s.cfg.Plan != "" {
		b, err := readFile(s.cfg.Plan, plan.MaxSize)
		if err == nil {
			file, err = newVersion(b, "")
		}
		switch {
		case err != nil && last == nil:
			return fmt.Errorf("plan %s: %w", s.cfg.Plan, err)
		case err != nil:
			s.note("error", "start", "plan %s cannot be used, the last good one is: %v", s.cfg.Plan, err)
		case last != nil && last.Seed == file.hash.String():
			file = nil // nothing new since it was last read: what was applied later counts
		}
	}
	// Whatever is applied by the operator comes after this file, until the file is another.
	seed := ""
	if last != nil {
		seed = last.Seed
	}
	if file != nil {
		err := s.put(ctx, file, file.hash.String())
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if last == nil {
			return fmt.Errorf("plan %s: %w", s.cfg.Plan, err)
		}
		s.note("error", "start", "plan %s cannot be put in force, the last good one is: %v", s.cfg.Plan, err)
	}
	if last == nil {
		s.note("warn", "start", "there is no plan: nothing is protected until `trike apply` brings one")
		notify(s.cfg.Notify, "READY=1\nSTATUS=no plan")
		return nil
	}
	v, err := newVersion(last.Plan, last.Hash)
	if err != nil {
		return fmt.Errorf("the last good plan: %w", err)
	}
	if err := s.put(ctx, v, seed); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the last good plan: %w", err)
	}
	return nil
}

// put applies a plan at start.
func (s *supervisor) put(ctx context.Context, v *version, seed string) error {
	_, err := s.applyAndWait(ctx, &applyRequest{v: v, lenient: true, rename: true, seed: &seed, reply: make(chan applyReply, 1)})
	return err
}

func (s *supervisor) applyAndWait(ctx context.Context, r *applyRequest) (applied, error) {
	if !s.post(r) {
		return applied{}, errEnding
	}
	select {
	case a := <-r.reply:
		return a.applied, a.err
	case <-s.done:
		return applied{}, errEnding
	case <-ctx.Done():
		return applied{}, ctx.Err()
	}
}

// gateway is what operators see of triked.
type gateway struct{ s *supervisor }

func (g gateway) ask(ctx context.Context, q *question) (status.Gateway, error) {
	q.reply = make(chan answer, 1)
	if !g.s.post(q) {
		return status.Gateway{}, errEnding
	}
	select {
	case a := <-q.reply:
		return a.status, a.err
	case <-g.s.done:
		return status.Gateway{}, errEnding
	case <-ctx.Done():
		return status.Gateway{}, ctx.Err()
	}
}

// Status asks all processes for their part of the status.
func (g gateway) Status(ctx context.Context) (status.Gateway, error) {
	return g.ask(ctx, &question{})
}

// Do passes up, down and rekey on to ikeproc.
func (g gateway) Do(ctx context.Context, q control.Request) error {
	_, err := g.ask(ctx, &question{control: &msg.Control{Verb: q.Verb, Connection: q.Connection, Child: q.Child, IKE: q.IKE, Wait: q.Wait}})
	return err
}

// Apply puts a plan in force, or changes nothing. An apply that has begun goes on when the operator goes away.
func (g gateway) Apply(_ context.Context, b []byte, rename bool) (control.Applied, error) {
	v, err := newVersion(b, "")
	if err != nil {
		return control.Applied{}, fmt.Errorf("%w. Nothing was changed", err)
	}
	a, err := g.s.applyAndWait(context.Background(), &applyRequest{v: v, rename: rename, reply: make(chan applyReply, 1)})
	if err != nil {
		return control.Applied{}, fmt.Errorf("%w. Nothing was changed: the plan before stays in force", err)
	}
	out := control.Applied{Serial: a.serial, Hash: v.hash.String(), Problems: a.warnings}
	for _, c := range a.changes {
		out.Changes = append(out.Changes, control.Change{Kind: string(c.Kind), Object: c.Object, Connection: c.Connection, Name: c.Name})
	}
	return out, nil
}

// Log hands out what is kept of the log, and what comes.
func (g gateway) Log(ctx context.Context, follow bool, send func(status.Event) error) error {
	return g.s.log.send(ctx, follow, send)
}
