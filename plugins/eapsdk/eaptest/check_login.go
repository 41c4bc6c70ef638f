package eaptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eappacket"
)

func describesItself(ctx context.Context, b *bench) error {
	p, err := b.start(ctx, nil)
	if err != nil {
		return err
	}
	defer p.Stop()
	again, err := p.Remote.Describe(ctx)
	if err == nil && !reflect.DeepEqual(again, p.about) {
		err = fmt.Errorf("it says %+v, and then %+v", p.about, again)
	}
	return err
}

func takesSettings(ctx context.Context, b *bench) error {
	var errs []error
	lacks := 0
	for _, role := range []eapsdk.Role{eapsdk.Server, eapsdk.Client} {
		var missing lack
		if err := b.prepare(ctx, role); errors.As(err, &missing) {
			lacks++
		} else if err != nil {
			errs = append(errs, err)
		}
	}
	if lacks == 2 {
		return errors.New("it plays neither role")
	}
	return errors.Join(errs...)
}

func survivesWithoutSettings(ctx context.Context, b *bench) error {
	p, err := b.start(ctx, nil)
	if err != nil {
		return err
	}
	defer p.Stop()
	call, cancel := context.WithTimeout(ctx, b.cfg.Call)
	defer cancel()
	said := p.Remote.Configure(call, eapsdk.Config{})
	if err := late(call, b.cfg.Call, said); call.Err() != nil {
		return fmt.Errorf("the call of Configure: %w", err)
	}
	if _, err := p.Remote.Describe(ctx); err != nil {
		return fmt.Errorf("it said %q, and then nothing more: %w%s", fmt.Sprint(said), err, wrote(p.Running))
	}
	return nil
}

func logsIn(ctx context.Context, b *bench) error {
	t, err := b.login(ctx, Link{})
	if err == nil && t.Server.Identity != "" && !isText(t.Server.Identity) {
		err = fmt.Errorf("the server says that the client is %q, which is no text", t.Server.Identity)
	}
	return err
}

func isText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func keepsIdentifiers(ctx context.Context, b *bench) error {
	server, client, err := b.both(ctx)
	if err != nil {
		return err
	}
	for _, identifier := range []uint8{0, first, 254, 255} {
		t, err := Converse(ctx, server, client, b.begin(identifier), Link{})
		if err = errors.Join(err, failed(t, err)); err != nil {
			return fmt.Errorf("the first request is to have identifier %d: %w", identifier, err)
		}
		if err := inOrder(t.Packets, identifier, server.about.Type); err != nil {
			return err
		}
	}
	return nil
}

// inOrder looks at a whole conversation: request, response, and so on, to EAP Success.
func inOrder(packets [][]byte, identifier uint8, kind eapsdk.Type) error {
	var before eappacket.Packet
	for i, raw := range packets {
		p, err := eappacket.Parse(raw)
		want := eappacket.Request
		switch {
		case i%2 == 1:
			want = eappacket.Response
		case i == len(packets)-1:
			want = eappacket.Success
		}
		switch {
		case err != nil:
			return fmt.Errorf("packet %d: %w", i+1, err)
		case p.Code != want:
			return fmt.Errorf("packet %d is an EAP %v, where a %v belongs", i+1, p.Code, want)
		case want == eappacket.Request && kind != 0 && i == 0 && p.Identifier != identifier:
			return fmt.Errorf("the first request has identifier %d; Begin said %d", p.Identifier, identifier)
		case want == eappacket.Request && i > 0 && p.Identifier == before.Identifier:
			return fmt.Errorf("packet %d is a new request with the identifier of the one before it, %d", i+1, p.Identifier)
		case want == eappacket.Response && p.Identifier != before.Identifier:
			return fmt.Errorf("packet %d is a response with identifier %d, and request %d was asked", i+1, p.Identifier, before.Identifier)
		case want != eappacket.Success && kind != 0 && p.Type != kind:
			return fmt.Errorf("packet %d is of EAP type %d, and the method's is %d", i+1, p.Type, kind)
		}
		before = p
	}
	return nil
}

func makesKeys(ctx context.Context, b *bench) error {
	t, err := b.login(ctx, Link{})
	if err != nil {
		return err
	}
	return sameKeys(b, t.Server, t.Client)
}

// sameKeys looks at the keys of both sides. They are told by their lengths alone.
func sameKeys(b *bench, s, c eapsdk.Step) error {
	makes := b.server.about.MakesKeys
	switch {
	case makes != b.client.about.MakesKeys && b.server.about.Type != 0:
		return fmt.Errorf("the server's plugin says makes_keys %v, and the client's %v", makes, b.client.about.MakesKeys)
	case !makes && b.server.about.Type != 0 && len(s.MSK)+len(c.MSK) > 0:
		return fmt.Errorf("the plugin says that it makes no keys, and gives %d octets to the server and %d to the client", len(s.MSK), len(c.MSK))
	case makes && (len(s.MSK) != eapsdk.MaxMSK || len(c.MSK) != eapsdk.MaxMSK):
		return fmt.Errorf("the server has a key of %d octets and the client one of %d: an MSK has %d", len(s.MSK), len(c.MSK), eapsdk.MaxMSK)
	case !bytes.Equal(s.MSK, c.MSK):
		return errors.New("the server's key is not the client's")
	case makes && bytes.Equal(s.MSK, make([]byte, eapsdk.MaxMSK)):
		return errors.New("the key is all zeros")
	}
	return nil
}

func makesFreshKeys(ctx context.Context, b *bench) error {
	one, err := b.login(ctx, Link{})
	if err != nil {
		return err
	}
	if len(one.Server.MSK) == 0 {
		return lack("the method makes no keys")
	}
	two, err := b.login(ctx, Link{})
	if err == nil && bytes.Equal(one.Server.MSK, two.Server.MSK) {
		err = errors.New("two sessions have the same key: both sides have to put something of their own into it that was never used before")
	}
	return err
}

func refusesWrong(ctx context.Context, b *bench) error {
	if b.cfg.Wrong == nil {
		return lack("the settings have no client with a wrong credential (\"wrong\")")
	}
	server, err := b.asks(ctx)
	if err != nil {
		return err
	}
	wrong, err := b.play(ctx, eapsdk.Client, *b.cfg.Wrong)
	if err != nil {
		return err
	}
	defer wrong.Stop()
	t, err := Converse(ctx, server, wrong, b.begin(first), Link{})
	switch {
	case err != nil:
		return err
	case t.Server.Outcome == eapsdk.Success:
		return errors.New("the server lets it in")
	case t.Client.Outcome == eapsdk.Success:
		return errors.New("the client takes it for a success")
	case t.Server.Outcome == eapsdk.Failure && t.Server.Reason == "", t.Client.Outcome == eapsdk.Failure && t.Client.Reason == "":
		return fmt.Errorf("the operator is not told why: the server comes to %v and the client to %v", told(t.Server), told(t.Client))
	}
	return nil
}

func refusesEarlySuccess(ctx context.Context, b *bench) error {
	client, err := b.answers(ctx)
	if err != nil {
		return err
	}
	// A canned Success, before any request.
	if s, step, err := client.Begin(ctx, eapsdk.Begin{Identity: b.cfg.Identity, ServerName: b.cfg.ServerName, Packet: []byte{3, first, 0, 4}}); err == nil && step.Outcome == eapsdk.Success {
		return errors.New("a client whose first packet is EAP Success takes it for one")
	} else if err == nil && step.Outcome == eapsdk.Continue {
		s.Abort("the check is over")
	}
	whole, err := b.login(ctx, Link{})
	if err != nil {
		return err
	}
	if !client.about.Mutual {
		return nil // the server proves nothing, so there is nothing that it may not skip
	}
	responses := (len(whole.Packets) - 1) / 2
	for before := 1; before < responses; before++ {
		x, err := b.meet(ctx)
		if err != nil {
			return err
		}
		for n := 1; n < before; n++ {
			if _, _, _, err := x.turn(ctx); err != nil {
				return err
			}
		}
		step, err := x.client.Next(ctx, []byte{3, x.response[1], 0, 4})
		x.abort("the check is over")
		switch {
		case err != nil:
			return fmt.Errorf("the client has a fault: %w", err)
		case step.Outcome == eapsdk.Success && before == 1:
			return errors.New("the client takes EAP Success for one after its first response, before the server has proved anything")
		case step.Outcome == eapsdk.Success:
			return fmt.Errorf("the client takes EAP Success for one after %d of %d responses", before, responses)
		}
	}
	return nil
}

func takesFailure(ctx context.Context, b *bench) error {
	x, err := b.meet(ctx)
	if err != nil {
		return err
	}
	defer x.server.Abort("the check is over")
	step, err := x.client.Next(ctx, []byte{4, x.response[1], 0, 4})
	switch {
	case err != nil:
		return fmt.Errorf("the client has a fault: %w", err)
	case step.Outcome != eapsdk.Failure:
		return fmt.Errorf("the client comes to %v", told(step))
	case step.Reason == "":
		return errors.New("the client does not tell the operator why")
	}
	return nil
}

// replayed gives the responses of a recorded login in place of the client's, all of them or the one with this number, and counts those that differ.
func replayed(recorded [][]byte, only int, differ *int) Link {
	n := 0
	return Link{Mangle: func(to eapsdk.Role, packet []byte) []byte {
		if to != eapsdk.Server {
			return packet
		}
		i := n
		n++
		if at := 2*i + 1; (only < 0 || only == i) && at < len(recorded) {
			if !bytes.Equal(recorded[at], packet) {
				*differ++
			}
			return recorded[at]
		}
		return packet
	}}
}

func refusesReplay(ctx context.Context, b *bench) error {
	old, err := b.login(ctx, Link{})
	if err != nil {
		return err
	}
	return intrude(ctx, b, old, -1)
}

func refusesCrossed(ctx context.Context, b *bench) error {
	old, err := b.login(ctx, Link{})
	if err != nil {
		return err
	}
	tried := false
	for i := range len(old.Packets) / 2 {
		err := intrude(ctx, b, old, i)
		var missing lack
		if err != nil && !errors.As(err, &missing) {
			return fmt.Errorf("response %d of another session: %w", i+1, err)
		}
		tried = tried || err == nil
	}
	if !tried {
		return lack("the client's packets are the same in every session, as the method has no challenge")
	}
	return nil
}

// intrude logs in with packets of an old login.
func intrude(ctx context.Context, b *bench, old Talk, only int) error {
	server, client, err := b.both(ctx)
	if err != nil {
		return err
	}
	differ := 0
	t, err := Converse(ctx, server, client, b.begin(first), replayed(old.Packets, only, &differ))
	switch {
	case err != nil:
		return err
	case differ == 0:
		return lack("the client's packets are the same in every session, as the method has no challenge")
	case t.Server.Outcome == eapsdk.Success && (only < 0 || t.Client.Outcome == eapsdk.Success):
		return errors.New("the server lets it in")
	}
	return nil
}
