package eaptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eappacket"
)

// bench is what the checks work on: a run of the plugin for each role, started when a check needs it and again after one has failed.
type bench struct {
	cfg            Config
	server, client *player
	began          map[eapsdk.Role]bool // it has run as this role
}

// player is a plugin that runs, configured for a role, whose calls are bounded in time.
type player struct {
	*Running
	role  eapsdk.Role
	about eapsdk.Description
	call  time.Duration
}

func newBench(c Config) *bench {
	for _, d := range []struct{ v, def *string }{{&c.Identity, ptr("alice")}, {&c.ServerName, ptr("gateway.example")}} {
		if *d.v == "" {
			*d.v = *d.def
		}
	}
	if c.Call == 0 {
		c.Call = 20 * time.Second
	}
	if c.Startup == 0 {
		c.Startup = time.Minute
	}
	if c.Sessions == 0 {
		c.Sessions = 64
	}
	return &bench{cfg: c, began: map[eapsdk.Role]bool{}}
}

func ptr(s string) *string { return &s }

func (b *bench) stop() {
	for _, p := range []**player{&b.server, &b.client} {
		if *p != nil {
			(*p).Stop()
			*p = nil
		}
	}
}

// words are the last lines that the plugins wrote, for who looks for the cause of a finding.
func (b *bench) words() string {
	const most = 4 // lines of each
	var out []string
	for _, p := range []*player{b.server, b.client} {
		if p == nil || p.Words() == "" {
			continue
		}
		lines := strings.Split(p.Words(), "\n")
		for _, line := range lines[max(0, len(lines)-most):] {
			out = append(out, fmt.Sprintf("%v: %s", p.role, line))
		}
	}
	return strings.Join(out, "\n")
}

func (b *bench) rand() *rand.Rand { return rand.New(rand.NewPCG(b.cfg.Seed, 1)) }

// start starts a plugin and asks it what it is.
func (b *bench) start(ctx context.Context, start Starter) (*player, error) {
	if start == nil {
		start = b.cfg.Start
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Startup)
	defer cancel()
	r, err := start(ctx)
	if err != nil {
		return nil, fmt.Errorf("it does not start: %w", err)
	}
	p := &player{Running: r, call: b.cfg.Call}
	if p.about, err = r.Remote.Describe(ctx); err != nil {
		r.Stop()
		return nil, fmt.Errorf("it does not describe itself: %w%s", err, wrote(r))
	}
	return p, nil
}

func wrote(r *Running) string {
	if w := r.Words(); w != "" {
		return "; it wrote: " + w
	}
	return ""
}

// play starts a plugin for a role and gives it its settings.
func (b *bench) play(ctx context.Context, role eapsdk.Role, s Side) (*player, error) {
	p, err := b.start(ctx, s.Start)
	if err != nil {
		return nil, err
	}
	p.role = role
	if !slices.Contains(p.about.Roles, role) {
		p.Stop()
		return nil, lack(fmt.Sprintf("the plugin plays no %v, and the settings name no other that does", role))
	}
	if err = p.about.Check(s.Settings); err == nil {
		ctx, cancel := context.WithTimeout(ctx, b.cfg.Startup)
		defer cancel()
		err = p.Remote.Configure(ctx, s.Settings)
	}
	if err != nil {
		p.Stop()
		return nil, fmt.Errorf("the %v does not take its settings: %w", role, err)
	}
	return p, nil
}

// prepare starts a role's plugin, unless it runs.
func (b *bench) prepare(ctx context.Context, role eapsdk.Role) (err error) {
	at, side := &b.server, b.cfg.Server
	if role == eapsdk.Client {
		at, side = &b.client, b.cfg.Client
	}
	if *at == nil {
		*at, err = b.play(ctx, role, side)
	}
	b.began[role] = b.began[role] || err == nil
	return err
}

// ready is prepare for all checks but that of the settings, whose finding need not come again and again.
func (b *bench) ready(ctx context.Context, role eapsdk.Role) error {
	err := b.prepare(ctx, role)
	var missing lack
	if err == nil || b.began[role] || errors.As(err, &missing) {
		return err
	}
	return lack(fmt.Sprintf("the %v cannot begin: see the check \"settings\"", role))
}

// asks gives the plugin that plays the server.
func (b *bench) asks(ctx context.Context) (*player, error) {
	err := b.ready(ctx, eapsdk.Server)
	return b.server, err
}

// answers gives the one that plays the client.
func (b *bench) answers(ctx context.Context) (*player, error) {
	err := b.ready(ctx, eapsdk.Client)
	return b.client, err
}

// both gives both; it is a lack when one of them has no player.
func (b *bench) both(ctx context.Context) (server, client *player, err error) {
	server, err = b.asks(ctx)
	if err != nil {
		return nil, nil, err
	}
	client, err = b.answers(ctx)
	return server, client, err
}

// first is the identifier of a first request, unless a check is about that.
const first = 7

// begin is how a session of a server begins: with the Response/Identity that was before it.
func (b *bench) begin(identifier uint8) eapsdk.Begin {
	said := eappacket.Packet{Code: eappacket.Response, Identifier: identifier - 1, Type: eapsdk.TypeIdentity, Data: []byte(b.cfg.Identity)}
	return eapsdk.Begin{Identity: b.cfg.Identity, ServerName: b.cfg.ServerName, Connection: "eaptest", Identifier: identifier, Packet: said.Append(nil)}
}

// login has both talk to the end, and tells what went wrong.
func (b *bench) login(ctx context.Context, link Link) (Talk, error) {
	server, client, err := b.both(ctx)
	if err != nil {
		return Talk{}, err
	}
	t, err := Converse(ctx, server, client, b.begin(first), link)
	return t, errors.Join(err, failed(t, err))
}

// failed tells which side of a talk refused.
func failed(t Talk, err error) error {
	switch {
	case err != nil:
		return nil
	case t.Server.Outcome != eapsdk.Success && t.Client.Outcome == eapsdk.Failure:
		return fmt.Errorf("the server comes to %v, and the client to %v", told(t.Server), told(t.Client))
	case t.Server.Outcome != eapsdk.Success:
		return fmt.Errorf("the server comes to %v", told(t.Server))
	case t.Client.Outcome != eapsdk.Success:
		return fmt.Errorf("the client comes to %v", told(t.Client))
	}
	return nil
}

// Begin implements Beginner, in time or not at all.
func (p *player) Begin(ctx context.Context, b eapsdk.Begin) (eapsdk.Session, eapsdk.Step, error) {
	b.Role = p.role
	ctx, cancel := context.WithTimeout(ctx, p.call)
	defer cancel()
	s, step, err := p.Running.Begin(ctx, b)
	return &timed{s, p.call}, step, p.late(ctx, err)
}

func (p *player) late(ctx context.Context, err error) error { return late(ctx, p.call, err) }

func late(ctx context.Context, call time.Duration, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("it did not answer within %v", call)
	}
	return err
}

// timed is a session whose calls are bounded.
type timed struct {
	eapsdk.Session
	call time.Duration
}

func (s *timed) Next(ctx context.Context, packet []byte) (eapsdk.Step, error) {
	ctx, cancel := context.WithTimeout(ctx, s.call)
	defer cancel()
	step, err := s.Session.Next(ctx, packet)
	return step, late(ctx, s.call, err)
}

// header is the code, identifier and length of an EAP packet. A request or response is longer (RFC 3748 section 4.1).
type header [4]byte

// pair is a server's and a client's session in the midst of a login: the client has answered the first request.
type pair struct {
	server, client    eapsdk.Session
	request, response []byte // request is the last that the server said, response the client's to it
	twice             bool   // responses come twice
}

// meet begins a login on both sides.
func (b *bench) meet(ctx context.Context) (*pair, error) {
	server, client, err := b.both(ctx)
	if err != nil {
		return nil, err
	}
	x := &pair{}
	begin := b.begin(first)
	var step eapsdk.Step
	if x.server, step, err = server.Begin(ctx, begin); err != nil || step.Outcome != eapsdk.Continue {
		return nil, fmt.Errorf("the server does not begin: %w", fault(step, err))
	}
	if x.request = step.Packet; len(x.request) <= len(header{}) {
		x.server.Abort("its request has no type")
		return nil, fmt.Errorf("the server begins with a request of %d octets, which has no type", len(x.request))
	}
	begin.Packet = step.Packet
	if x.client, step, err = client.Begin(ctx, begin); err != nil || step.Outcome != eapsdk.Continue {
		x.server.Abort("the client does not begin")
		return nil, fmt.Errorf("the client does not begin: %w", fault(step, err))
	}
	if x.response = step.Packet; len(x.response) <= len(header{}) {
		x.abort("the response has no type")
		return nil, fmt.Errorf("the client answers with a response of %d octets, which has no type", len(x.response))
	}
	return x, nil
}

func fault(step eapsdk.Step, err error) error {
	if err != nil {
		return err
	}
	return errors.New(told(step))
}

// turn brings the response to the server, and what comes of it to the client. It reports whether both have come to success.
func (x *pair) turn(ctx context.Context) (done bool, s, c eapsdk.Step, err error) {
	if s, err = x.server.Next(ctx, x.response); err != nil {
		return false, s, c, fmt.Errorf("the server has a fault: %w", err)
	}
	if x.twice && s.Outcome == eapsdk.Continue {
		again, err := x.server.Next(ctx, x.response)
		if err != nil || again.Outcome != eapsdk.Continue || !bytes.Equal(again.Packet, s.Packet) {
			x.client.Abort("the check has failed")
			return false, s, c, fmt.Errorf("the server gets %s for the second time and comes to %w", show(x.response), fault(again, err))
		}
	}
	x.request = verdict(s, x.response)
	if c, err = x.client.Next(ctx, x.request); err != nil {
		return false, s, c, fmt.Errorf("the client has a fault: %w", err)
	}
	x.response = c.Packet
	switch {
	case s.Outcome == eapsdk.Continue && c.Outcome == eapsdk.Continue:
		return false, s, c, nil
	case s.Outcome != eapsdk.Success || c.Outcome != eapsdk.Success:
		return false, s, c, fmt.Errorf("the server comes to %v and the client to %v", told(s), told(c))
	}
	return true, s, c, nil
}

// finish goes on to the end, which has to be success.
func (x *pair) finish(ctx context.Context) (s, c eapsdk.Step, err error) {
	for range maxRounds {
		done, s, c, err := x.turn(ctx)
		if done || err != nil {
			return s, c, err
		}
	}
	return s, c, errors.New("the conversation has no end")
}

func (x *pair) abort(why string) {
	x.server.Abort(why)
	x.client.Abort(why)
}
