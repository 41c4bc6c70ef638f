package eaptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eappacket"
)

// approach is a session in a scene.
type approach struct {
	scene
	session eapsdk.Session
	before  []byte // what it said last
	leave   func()
}

// approachServer leads to a server that has asked once, with the client's response at hand; or with something that looks like one, where there is no client.
func (b *bench) approachServer(ctx context.Context) (*approach, error) {
	server, err := b.asks(ctx)
	if err != nil {
		return nil, err
	}
	at := &approach{scene: scene{to: eapsdk.Server, kind: server.about.Type}}
	x, err := b.meet(ctx)
	var missing lack
	if errors.As(err, &missing) {
		s, step, err := server.Begin(ctx, b.begin(first))
		if err != nil || step.Outcome != eapsdk.Continue {
			return nil, fmt.Errorf("the server does not begin: %w", fault(step, err))
		}
		p := eappacket.Packet{Code: eappacket.Response, Identifier: step.Packet[1], Type: server.about.Type, Data: []byte("0123456789abcdef0")}
		at.identifier, at.good, at.before, at.session, at.leave = step.Packet[1], p.Append(nil), step.Packet, s, func() { s.Abort("the check is over") }
		return at, nil
	}
	if err != nil {
		return nil, err
	}
	at.kind = eapsdk.Type(x.response[4]) // a relay has none of its own
	at.identifier, at.good, at.before, at.session, at.leave = x.response[1], x.response, x.request, x.server, func() { x.abort("the check is over") }
	return at, nil
}

// approachClient leads to a client that has answered once, with the server's next request at hand; or with its first one under another identifier, where there is no next.
func (b *bench) approachClient(ctx context.Context) (*approach, error) {
	x, err := b.meet(ctx)
	if err != nil {
		return nil, err
	}
	good := bytes.Clone(x.request)
	good[1]++
	if step, err := x.server.Next(ctx, x.response); err != nil {
		return nil, fmt.Errorf("the server has a fault: %w", err)
	} else if step.Outcome == eapsdk.Continue && len(step.Packet) > len(header{}) {
		good = step.Packet
	}
	return &approach{scene{to: eapsdk.Client, kind: b.client.about.Type, identifier: good[1], good: good}, x.client, x.response, func() { x.abort("the check is over") }}, nil
}

// scene is where a hostile packet comes: to the side of this role, which waits for the answer to its request, or for the request after its response.
type scene struct {
	to         eapsdk.Role
	kind       eapsdk.Type
	identifier uint8  // that a good packet would have
	good       []byte // one, of the right code, identifier and type
}

// code is that of good packets.
func (s scene) code() eappacket.Code {
	if s.to == eapsdk.Server {
		return eappacket.Response
	}
	return eappacket.Request
}

func (s scene) frame(code eappacket.Code, identifier uint8, body ...byte) []byte {
	n := 4 + len(body)
	return append([]byte{byte(code), identifier, byte(n >> 8), byte(n)}, body...)
}

// attack is a group of packets that a side may get.
type attack struct {
	packets func(scene) [][]byte
	// lawful: in another place the packet would be good, so that an answer other than the end is right, but never success.
	lawful bool
	// silent: going on with what was said last is as good as the end, as RFC 3748 would have such a packet discarded.
	silent bool
	// servers: it makes sense on the way to a server alone.
	servers bool
}

var (
	empty = attack{packets: func(scene) [][]byte { return [][]byte{nil} }, silent: true}

	short = attack{silent: true, packets: func(s scene) [][]byte {
		return [][]byte{{byte(s.code())}, {byte(s.code()), s.identifier}, {byte(s.code()), s.identifier, 0}, s.frame(s.code(), s.identifier)}
	}}

	lyingLength = attack{silent: true, packets: func(s scene) (out [][]byte) {
		for _, length := range []int{0, 3, 4, len(s.good) + 1, 2 * len(s.good), 65535} {
			p := bytes.Clone(s.good)
			p[2], p[3] = byte(length>>8), byte(length)
			out = append(out, p)
		}
		return out
	}}

	wrongCode = attack{silent: true, packets: func(s scene) (out [][]byte) {
		other := eappacket.Request + eappacket.Response - s.code()
		for _, code := range []eappacket.Code{0, other, 5, 6, 128, 255} { // 5 and 6 are RFC 6696's
			p := bytes.Clone(s.good)
			p[0] = byte(code)
			out = append(out, p)
		}
		if s.to == eapsdk.Server {
			out = append(out, s.frame(eappacket.Success, s.identifier), s.frame(eappacket.Failure, s.identifier))
		}
		return out
	}}

	wrongIdentifier = attack{silent: true, servers: true, packets: func(s scene) (out [][]byte) {
		for _, far := range []uint8{1, 2, 128, 255} {
			p := bytes.Clone(s.good)
			p[1] += far
			out = append(out, p)
		}
		return out
	}}

	wrongType = attack{silent: true, packets: func(s scene) (out [][]byte) {
		types := []eapsdk.Type{0, eapsdk.TypeIdentity, s.kind ^ 1, s.kind ^ 128, 252}
		if s.to == eapsdk.Client {
			types = append(types, eapsdk.TypeNak) // a request never is one
		}
		for _, t := range types {
			p := bytes.Clone(s.good)
			p[4] = byte(t)
			if t != s.kind {
				out = append(out, p)
			}
		}
		return out
	}}

	naks = attack{servers: true, packets: func(s scene) [][]byte {
		return [][]byte{
			s.frame(s.code(), s.identifier, byte(eapsdk.TypeNak)),
			s.frame(s.code(), s.identifier, byte(eapsdk.TypeNak), 0),
			s.frame(s.code(), s.identifier, append([]byte{byte(eapsdk.TypeNak)}, bytes.Repeat([]byte{byte(s.kind ^ 1)}, 300)...)...),
			s.frame(s.code(), s.identifier, byte(eapsdk.TypeExpanded), 0, 0, 0, 0, 0, 0, 3, byte(eapsdk.TypeExpanded), 0, 0, 0, 0, 0, 0, 4),
		}
	}}

	large = attack{lawful: true, packets: func(s scene) (out [][]byte) {
		for _, fill := range []byte{0, 1, 0x80, 0xc0, 0xff} {
			out = append(out, s.frame(s.code(), s.identifier, append([]byte{byte(s.kind)}, bytes.Repeat([]byte{fill}, eapsdk.MaxPacket-5)...)...))
		}
		return out
	}}
)

// hostile makes a check of an attack: each packet comes to a session of its own, in the middle of a login and, to a client, at its beginning.
func hostile(a attack) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) error {
		errS := b.attackServer(ctx, a)
		var missing lack
		if errS != nil && !errors.As(errS, &missing) || a.servers {
			return errS
		}
		errC := b.attackClient(ctx, a)
		if errors.As(errC, &missing) && errS == nil {
			return nil // a plugin of servers alone
		}
		return errC
	}
}

// attackServer sends each packet in answer to a first request. Then a session that stands beside has to come to its end.
func (b *bench) attackServer(ctx context.Context, a attack) error {
	server, err := b.asks(ctx)
	if err != nil {
		return err
	}
	a.lawful = a.lawful || server.about.Type == 0 // what a relay answers is its server's to say
	return b.beside(ctx, func() error {
		for i := 0; ; i++ {
			at, err := b.approachServer(ctx)
			if err != nil {
				return err
			}
			packets := a.packets(at.scene)
			if i == len(packets) {
				at.leave()
				return nil
			}
			if err := a.send(ctx, at, packets[i]); err != nil {
				return fmt.Errorf("the server gets %s: %w", show(packets[i]), err)
			}
		}
	})
}

// attackClient sends each packet as the first request, and once more as the second.
func (b *bench) attackClient(ctx context.Context, a attack) error {
	_, client, err := b.both(ctx)
	if err != nil {
		return err
	}
	return b.beside(ctx, func() error {
		for i := 0; ; i++ {
			at, err := b.approachClient(ctx)
			if err != nil {
				return err
			}
			packets := a.packets(at.scene)
			if i == len(packets) {
				at.leave()
				return nil
			}
			if err := a.send(ctx, at, packets[i]); err != nil {
				return fmt.Errorf("the client gets %s after its first response: %w", show(packets[i]), err)
			}
			s, step, err := client.Begin(ctx, eapsdk.Begin{Identity: b.cfg.Identity, ServerName: b.cfg.ServerName, Packet: packets[i]})
			if err == nil && step.Outcome == eapsdk.Continue {
				s.Abort("the check is over")
			}
			if err := a.judge(step, err, nil); err != nil {
				return fmt.Errorf("the client begins with %s: %w", show(packets[i]), err)
			}
		}
	})
}

// send gives a session the packet, and leaves.
func (a attack) send(ctx context.Context, at *approach, packet []byte) error {
	step, err := at.session.Next(ctx, packet)
	at.leave()
	return a.judge(step, err, at.before)
}

// judge looks at what came of a hostile packet; before is what the session had said last.
func (a attack) judge(step eapsdk.Step, err error, before []byte) error {
	switch {
	case err != nil:
		return fmt.Errorf("it has a fault (%w), where the other side made the mistake: say Failure with a reason", err)
	case step.Outcome == eapsdk.Success:
		return errors.New("it comes to success")
	case step.Outcome == eapsdk.Failure && step.Reason == "":
		return errors.New("it ends without a reason for the operator")
	case step.Outcome == eapsdk.Failure, a.lawful:
		return nil
	case a.silent && before != nil && bytes.Equal(step.Packet, before):
		return nil
	}
	return fmt.Errorf("it goes on: %v", told(step))
}

// beside does something while a login stands, which then has to come to its end: what one peer does is nothing to another.
func (b *bench) beside(ctx context.Context, do func() error) error {
	x, err := b.meet(ctx)
	var missing lack
	if errors.As(err, &missing) {
		return do()
	}
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		x.abort("the check has failed")
		return err
	}
	if _, _, err := x.finish(ctx); err != nil {
		return fmt.Errorf("after that a session that stood beside it fails: %w", err)
	}
	return nil
}

// show tells a packet by its length and its beginning.
func show(p []byte) string {
	if len(p) == 0 {
		return "a packet of no octets"
	}
	return fmt.Sprintf("a packet of %d octets (% x)", len(p), p[:min(len(p), 12)])
}

// maxCuts is how many lengths of one packet are tried.
const maxCuts = 48

// survivesCuts cuts good packets, and corrects the length field. The end of a packet may be a name that nobody checks, so even success may be right.
func survivesCuts(ctx context.Context, b *bench) error {
	cut := attack{lawful: true}
	for _, lead := range []func(context.Context) (*approach, error){b.approachServer, b.approachClient} {
		for n, step := 5, 0; ; n += step {
			at, err := lead(ctx)
			if err != nil {
				return err
			}
			if step = 1 + (len(at.good)-5)/maxCuts; n >= len(at.good) {
				at.leave()
				break
			}
			packet := bytes.Clone(at.good[:n])
			packet[2], packet[3] = byte(n>>8), byte(n)
			got, err := at.session.Next(ctx, packet)
			at.leave()
			got.Outcome = notSuccess(got)
			if err := cut.judge(got, err, nil); err != nil {
				return fmt.Errorf("the %v gets %s: %w", at.to, show(packet), err)
			}
		}
	}
	return nil
}

func notSuccess(s eapsdk.Step) eapsdk.Outcome {
	if s.Outcome == eapsdk.Success {
		return eapsdk.Continue
	}
	return s.Outcome
}

// noisePackets is how many packets of noise each side gets.
const noisePackets = 64

// survivesNoise gives both sides packets whose data is random, behind a good header, and good packets with some octets changed. Changed ones may be right: only noise must not be success.
func survivesNoise(ctx context.Context, b *bench) error {
	noise, r := attack{lawful: true}, b.rand()
	changed := func(p []byte) ([]byte, bool) {
		p = bytes.Clone(p)
		if r.IntN(2) == 0 {
			for range 1 + r.IntN(4) {
				p[5+r.IntN(len(p)-5)] ^= 1 << r.IntN(8)
			}
			return p, false
		}
		n := 6 + r.IntN(300)
		p = append(p[:5], make([]byte, n-5)...)
		for i := range p[5:] {
			p[5+i] = byte(r.Uint32())
		}
		p[2], p[3] = byte(n>>8), byte(n)
		return p, true
	}
	for i := range noisePackets {
		lead := []func(context.Context) (*approach, error){b.approachServer, b.approachClient}[i%2]
		at, err := lead(ctx)
		if err != nil {
			return err
		}
		good := at.good
		if len(good) < 6 {
			good = append(bytes.Clone(good), 0)
			good[3] = byte(len(good))
		}
		packet, wholly := changed(good)
		step, err := at.session.Next(ctx, packet)
		at.leave()
		if !wholly {
			step.Outcome = notSuccess(step)
		}
		if err := noise.judge(step, err, nil); err != nil {
			return fmt.Errorf("the %v gets %s: %w", at.to, show(packet), err)
		}
	}
	return nil
}
