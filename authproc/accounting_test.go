package authproc

import (
	"net/netip"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/authproc/internal/pluginhost"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// keeper is a plugin that keeps accounts, and speaks for its back end.
type keeper struct {
	Plugins
	records chan eapsdk.Record
	wishes  chan pluginhost.Wish
}

func (k *keeper) Use([]plan.Plugin, func(string) secret.Bytes) {}
func (k *keeper) Events() <-chan pluginhost.Event              { return nil }
func (k *keeper) Wishes() <-chan pluginhost.Wish               { return k.wishes }
func (k *keeper) Account(_ string, r eapsdk.Record)            { k.records <- r }
func (k *keeper) Status() []status.Plugin                      { return nil }
func (k *keeper) Close()                                       {}

// wants asks for something in the back end's name.
func (k *keeper) wants(t *testing.T, plugin string, c eapsdk.Command) bool {
	t.Helper()
	w, known := pluginhost.NewWish(plugin, c)
	k.wishes <- w
	select {
	case ok := <-known:
		return ok
	case <-time.After(time.Minute):
		t.Fatal("no answer to a wish")
		return false
	}
}

// accounted is authproc with one session that is accounted.
func accounted(t *testing.T) (*bench, *keeper, msg.Grant) {
	t.Helper()
	k := &keeper{records: make(chan eapsdk.Record, 16), wishes: make(chan pluginhost.Wish)}
	b := start(t, func(c *Config) { c.Plugins = k })
	v := office("a")
	v.Connections[0].Accounting = plan.Accounting{Plugin: "radius"}
	if p := b.apply(v, keys{{"a", b.file("a", "key\n", 0o600)}}); len(p) != 0 {
		t.Fatalf("problems %+v", p)
	}
	b.link()
	b.hints()
	peer := start(t)
	turned := office("a")
	turned.Connections[0].Local, turned.Connections[0].Remote = turned.Connections[0].Remote, turned.Connections[0].Local
	peer.apply(turned, keys{{"a", peer.file("a", "key", 0o600)}})
	peer.link()
	peer.hints()
	s, _ := peer.ask(&msg.Sign{Req: 1, Connection: "a", Initiator: true, Octets: octets(true)}).(*msg.Signed)
	got, ok := b.ask(&msg.Verify{Req: 2, Connections: []string{"a"}, Initiator: true, PeerID: s.ID, Method: s.Method, Data: s.Data, Octets: octets(true)}).(*msg.Verified)
	if !ok || !got.OK {
		t.Fatalf("%+v", got)
	}
	return b, k, got.Grants[0]
}

func (k *keeper) next(t *testing.T) eapsdk.Record {
	t.Helper()
	select {
	case r := <-k.records:
		return r
	case <-time.After(time.Minute):
		t.Fatal("no record")
		return eapsdk.Record{}
	}
}

// A session's records have one name, from its begin to its end, and what ikeproc counted.
func TestSessionIsAccounted(t *testing.T) {
	b, k, g := accounted(t)
	use := func(what msg.UsageKind, octets uint64, cause string) {
		t.Helper()
		if err := b.ike.Send(&msg.Usage{Grant: g, What: what, BytesIn: octets, Cause: cause}); err != nil {
			t.Fatal(err)
		}
	}
	use(msg.UsageInterim, 5, "") // before the begin: nothing is said
	use(msg.UsageStart, 0, "")
	first := k.next(t)
	if first.Kind != eapsdk.Start || first.Session == "" || first.Connection != "a" || first.Identity == "" || !first.At.Equal(noon) {
		t.Errorf("%+v", first)
	}
	use(msg.UsageStart, 0, "") // once
	use(msg.UsageInterim, 100, "")
	if r := k.next(t); r.Kind != eapsdk.Interim || r.BytesIn != 100 || r.Session != first.Session {
		t.Errorf("%+v", r)
	}
	use(msg.UsageStop, 200, "user-request")
	if r := k.next(t); r.Kind != eapsdk.Stop || r.BytesIn != 200 || r.Cause != "user-request" || r.Session != first.Session {
		t.Errorf("%+v", r)
	}
	use(msg.UsageStop, 300, "lost") // it is over
	forged := g
	forged.Session++
	if err := b.ike.Send(&msg.Usage{Grant: forged, What: msg.UsageStart}); err != nil {
		t.Fatal(err)
	}
	if k.wants(t, "radius", eapsdk.Command{Kind: eapsdk.Disconnect, Identity: first.Identity}) {
		t.Error("a session that is over can be ended")
	}
	if len(k.records) != 0 {
		t.Errorf("one record too many: %+v", <-k.records)
	}
}

// A back end ends a session by whatever names it; what names none, or another's, ends nothing.
func TestBackEndEndsASession(t *testing.T) {
	b, k, g := accounted(t)
	if k.wants(t, "radius", eapsdk.Command{Kind: eapsdk.Disconnect, Session: "not yet"}) {
		t.Error("a session that has not begun was ended")
	}
	if err := b.ike.Send(&msg.Usage{Grant: g, What: msg.UsageStart}); err != nil {
		t.Fatal(err)
	}
	r := k.next(t)
	for what, c := range map[string]eapsdk.Command{
		"nothing is named":      {Kind: eapsdk.Disconnect},
		"another user":          {Kind: eapsdk.Disconnect, Session: r.Session, Identity: "somebody else"},
		"an address it has not": {Kind: eapsdk.Disconnect, Identity: r.Identity, Address: netip.MustParseAddr("10.99.0.1")},
	} {
		if k.wants(t, "radius", c) {
			t.Errorf("%s, and it was known", what)
		}
	}
	if k.wants(t, "another plugin", eapsdk.Command{Kind: eapsdk.Disconnect, Identity: r.Identity}) {
		t.Error("a plugin ends a session that it is not told of")
	}
	go func() { // the answer comes after the word to ikeproc, which somebody has to read
		k.wishes <- must(pluginhost.NewWish("radius", eapsdk.Command{Kind: eapsdk.Disconnect, Identity: r.Identity, Reason: "unpaid"}))
	}()
	m, err := b.ike.Receive()
	if x, ok := m.(*msg.Terminate); err != nil || !ok || x.Session != g.Session || x.Reason != "the authentication server wants it gone: unpaid" {
		t.Errorf("ikeproc hears %+v, %v", m, err)
	}
}

func must(w pluginhost.Wish, _ <-chan bool) pluginhost.Wish { return w }
