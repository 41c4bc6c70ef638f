package eapsdk

import (
	"testing"

	"google.golang.org/protobuf/proto"

	wire "github.com/trike-ipsec/trike/plugins/eapsdk/trikeeapv1"
)

// FuzzFromPlugin reads what a hostile plugin may say: nothing that breaks a bound comes through, and what comes through can be said again.
func FuzzFromPlugin(f *testing.F) {
	d := (&toy{}).Describe()
	for _, m := range []proto.Message{d.wire(), (&Step{Outcome: Success, MSK: make([]byte, MaxMSK), Identity: "a", Groups: []string{"g"}}).wire(), (&Command{Kind: Change, Session: "s"}).wire(1)} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var wd wire.Description
		if proto.Unmarshal(b, &wd) == nil {
			if d, err := description(&wd); err == nil {
				if again, err := description(d.wire()); err != nil || again.Name != d.Name {
					t.Errorf("%+v, again %+v: %v", d, again, err)
				}
			}
		}
		var ws wire.Step
		for _, role := range []Role{Server, Client} {
			if proto.Unmarshal(b, &ws) != nil {
				break
			}
			s, err := step(&ws, role)
			if err != nil {
				continue
			}
			if len(s.Packet) > MaxPacket || len(s.MSK) != 0 && len(s.MSK) != MaxMSK || len(s.Groups) > MaxGroups || s.Outcome == Continue && len(s.Packet) < 4 {
				t.Errorf("%+v came through", s)
			}
			if _, err := step(s.wire(), role); err != nil {
				t.Errorf("%+v, said again: %v", s, err)
			}
		}
		var wc wire.Command
		if proto.Unmarshal(b, &wc) == nil {
			if c, err := command(&wc); err == nil {
				if _, err := command(c.wire(1)); err != nil {
					t.Errorf("%+v, said again: %v", c, err)
				}
			}
		}
	})
}
