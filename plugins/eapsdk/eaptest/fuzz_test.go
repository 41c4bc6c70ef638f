package eaptest

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	wire "github.com/trike-ipsec/trike/plugins/eapsdk/trikeeapv1"
)

// babbler is a plugin that says whatever the fuzzer likes, in order and from the beginning again.
type babbler struct {
	wire.UnimplementedMethodServer
	mu   sync.Mutex // calls come side by side
	text []byte
	at   int
}

func (b *babbler) step() *wire.Step {
	b.mu.Lock()
	defer b.mu.Unlock()
	octet := func() byte {
		if len(b.text) == 0 {
			return 0
		}
		b.at++
		return b.text[b.at%len(b.text)]
	}
	s := &wire.Step{Outcome: wire.Outcome(octet() % 5), Reason: "so"}
	for range octet() % 16 {
		s.Packet = append(s.Packet, octet())
	}
	if octet()%2 == 0 && len(s.Packet) >= 4 { // most lengths would be refused, and nothing else looked at
		s.Packet[2], s.Packet[3] = 0, byte(len(s.Packet))
	}
	if octet()%4 == 0 {
		s.Msk = make([]byte, eapsdk.MaxMSK)
	}
	return s
}

func (*babbler) Describe(context.Context, *wire.DescribeRequest) (*wire.Description, error) {
	return &wire.Description{Name: "babbler", Type: uint32(typeWord), Roles: []wire.Role{wire.Role_ROLE_SERVER, wire.Role_ROLE_CLIENT}, MakesKeys: true, Mutual: true}, nil
}

func (*babbler) Configure(context.Context, *wire.Config) (*wire.Configured, error) {
	return &wire.Configured{}, nil
}
func (b *babbler) Begin(context.Context, *wire.BeginRequest) (*wire.Step, error) {
	return b.step(), nil
}
func (b *babbler) Next(context.Context, *wire.NextRequest) (*wire.Step, error) { return b.step(), nil }
func (*babbler) Abort(context.Context, *wire.AbortRequest) (*wire.Aborted, error) {
	return &wire.Aborted{}, nil
}

// FuzzPluginUnderTest: whatever a plugin says, the suite comes to its end and has a finding for each check.
func FuzzPluginUnderTest(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 5, 1, 7, 0, 5, 255, 0, 1})
	f.Add([]byte{1, 4, 1, 7, 0, 4, 0, 1, 1, 6, 2, 7, 0, 6, 255, 1, 0, 1, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, text []byte) {
		start := serving(func(g *grpc.Server, _ io.Writer) { wire.RegisterMethodServer(g, &babbler{text: text}) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if findings := Run(ctx, Config{Start: start, Sessions: 2}); len(findings) != len(checks) {
			t.Errorf("%d findings of %d checks", len(findings), len(checks))
		}
	})
}

// FuzzSettings: a settings file leads to settings or to an error.
func FuzzSettings(f *testing.F) {
	f.Add([]byte(`{"identity": "bob", "server": {"settings": {"a": "b"}}, "wrong": {}}`))
	f.Add([]byte(`{"identity": 1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseSettings(text, t.TempDir())
		if err == nil && len(c.Identity) > eapsdk.MaxIdentity {
			t.Errorf("an identity of %d octets", len(c.Identity))
		}
	})
}
