// Package eaptalk lets both sides of a method talk to the end, as authproc would on each side, and keeps what was said. It is for tests.
package eaptalk

import (
	"context"
	"errors"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

const maxRounds = 1000

// Talk is a conversation that has ended.
type Talk struct {
	Server, Client eapsdk.Step
	Packets        [][]byte // in both directions, the server's first
}

// Run has the conversation. mangle, unless nil, sees each packet on its way to the server and gives what comes.
func Run(ctx context.Context, server, client eapsdk.Method, b eapsdk.Begin, mangle func([]byte) []byte) (t Talk, err error) {
	b.Role, b.Identifier = eapsdk.Server, 7
	ss, step, err := server.Begin(ctx, b)
	if err != nil {
		return t, err
	}
	defer ss.Abort("the test is over")
	t.Server = step
	b.Role, b.Packet = eapsdk.Client, t.Server.Packet
	cs, step, err := client.Begin(ctx, b)
	if err != nil {
		return t, err
	}
	defer cs.Abort("the test is over")
	t.Client, t.Packets = step, append(t.Packets, t.Server.Packet)
	for range maxRounds {
		if t.Client.Outcome != eapsdk.Continue {
			return t, nil
		}
		out := t.Client.Packet
		if mangle != nil {
			out = mangle(out)
		}
		if t.Server, err = ss.Next(ctx, out); err != nil {
			return t, err
		}
		next := t.Server.Packet
		switch t.Server.Outcome {
		case eapsdk.Success:
			next = []byte{3, out[1], 0, 4}
		case eapsdk.Failure:
			next = []byte{4, out[1], 0, 4}
		}
		t.Packets = append(t.Packets, out, next)
		if t.Client, err = cs.Next(ctx, next); err != nil {
			return t, err
		}
	}
	return t, errors.New("the conversation does not end")
}
