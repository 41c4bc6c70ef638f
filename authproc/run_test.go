package authproc

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/secret"
	"github.com/trike-ipsec/trike/internal/status"
)

func TestAPeerIsGranted(t *testing.T) {
	b := start(t)
	if p := b.apply(office("a"), keys{{"a", b.file("a", "key\n", 0o600)}}); len(p) != 0 {
		t.Fatalf("problems %+v", p)
	}
	b.link()
	if p := b.hints(); len(p) != 0 {
		t.Fatalf("hints %+v", p)
	}
	s := b.sign("a")
	if s.Error != "" || s.Req != 1 || string(s.ID.Data) != "hub.example" || len(s.Data) != 32 {
		t.Fatalf("%+v", s)
	}
	// The peer is an authproc, too.
	peer := start(t)
	v := office("a")
	v.Connections[0].Local, v.Connections[0].Remote = v.Connections[0].Remote, v.Connections[0].Local
	peer.apply(v, keys{{"a", peer.file("a", "key", 0o600)}})
	peer.link()
	peer.hints()
	ps, _ := peer.ask(&msg.Sign{Req: 3, Connection: "a", Initiator: true, Octets: octets(true)}).(*msg.Signed)
	got, ok := b.ask(&msg.Verify{Req: 4, Connections: []string{"a"}, Initiator: true, PeerID: ps.ID, Method: ps.Method, Data: ps.Data, Octets: octets(true)}).(*msg.Verified)
	if !ok || !got.OK || got.Req != 4 || len(got.Grants) != 1 || !msg.GrantMAC(secret.Copy(grantKey), got.Grants[0]) || got.Grants[0].Expiry != noon.Unix()+86400 {
		t.Fatalf("%+v", got)
	}
	r, ok := b.ask(&msg.Renew{Req: 5, Grant: got.Grants[0]}).(*msg.Renewed)
	if !ok || r.Error != "" || r.Req != 5 || r.Grant.Serial <= got.Grants[0].Serial {
		t.Fatalf("%+v", r)
	}
	_ = b.triked.Send(&msg.Shutdown{}) // the link may be gone before Send is through
	if err := b.end(); err != nil {
		t.Fatal(err)
	}
}

func TestBadSecretsAreProblems(t *testing.T) {
	b := start(t)
	dir, err := os.Open(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	problems := b.apply(office("dir", "empty", "good", "hex", "huge", "missing", "open"), keys{
		{"dir", dir}, {"empty", b.file("empty", "", 0o600)}, {"good", b.file("good", "key", 0o600)}, {"hex", b.file("hex", "0xzz", 0o600)},
		{"huge", b.file("huge", strings.Repeat("x", 50000), 0o600)}, {"open", b.file("open", "key", 0o644)}, {"stray", b.file("stray", "key", 0o600)}})
	b.link()
	hints := b.hints()
	b.say(&msg.StatusRequest{Req: 9})
	reply, ok := b.hear().(*msg.StatusReply)
	var doc status.Auth
	if !ok || reply.Req != 9 || json.Unmarshal(reply.JSON, &doc) != nil {
		t.Fatalf("status %+v", reply)
	}
	want := map[string]string{"dir": "regular", "empty": "empty", "hex": "hexadecimal", "huge": "50000", "missing": "not handed over", "open": "chmod"}
	if len(problems) != len(want) || len(hints) != len(want) || len(doc.Problems) != len(want) || len(b.logs) != len(want) {
		t.Fatalf("%+v\n%+v\n%+v\n%+v", problems, hints, doc, b.logs)
	}
	for i, p := range problems {
		contains(t, want[p.Connection], p.Text)
		if hints[i] != p || doc.Problems[i].Text != p.Text || !strings.HasPrefix(doc.Problems[i].Policy, "office.cue:") || b.logs[i].Connection != p.Connection || b.logs[i].Event != "no-credentials" {
			t.Errorf("%+v: hint %+v, status %+v, log %+v", p, hints[i], doc.Problems[i], b.logs[i])
		}
	}
	if s := b.sign("good"); s.Error != "" {
		t.Error(s.Error)
	}
	contains(t, "chmod", b.sign("open").Error)
}

// A reload is in force from Commit, not before, and one that is refused or aborted changes nothing.
func TestReload(t *testing.T) {
	b := start(t)
	b.link()
	contains(t, "no plan", b.sign("a").Error)
	if v, ok := b.ask(&msg.Verify{Req: 2}).(*msg.Verified); !ok || v.OK || v.Error == "" {
		t.Fatalf("%+v", v)
	}
	if r, ok := b.ask(&msg.Renew{Req: 2}).(*msg.Renewed); !ok || r.Error == "" {
		t.Fatalf("%+v", r)
	}
	b.say(&msg.StatusRequest{})
	if r, ok := b.hear().(*msg.StatusReply); !ok || string(r.JSON) != `{"problems":[]}` {
		t.Fatalf("%s", r.JSON)
	}
	one := func(key string) keys { return keys{{"a", b.file("a", key, 0o600)}} }
	b.apply(office("a"), one("first"))
	b.hints()
	first := b.sign("a").Data

	for what, m := range map[string]*msg.Prepare{
		"no key for grants":    {View: plan.EncodeView(office("a"))},
		"view of the plan":     {View: []byte(`{"surprise":1}`), GrantKey: secret.Copy(grantKey)},
		"0 descriptors came":   {View: plan.EncodeView(office("a")), GrantKey: secret.Copy(grantKey), Files: []msg.File{{Kind: "secret", Name: "a"}}},
		"view of the plan: EO": {GrantKey: secret.Copy(grantKey)},
	} {
		b.serial++
		m.Serial = b.serial
		b.say(m)
		n, ok := b.hear().(*msg.NotPrepared)
		if !ok || n.Serial != m.Serial {
			t.Fatalf("%s: prepared", what)
		}
		contains(t, what, n.Reason)
	}
	if _, ok := b.prepare(office("b"), one("second")).(*msg.Prepared); !ok {
		t.Fatal("not prepared")
	}
	if string(b.sign("a").Data) != string(first) {
		t.Fatal("a plan that is only prepared is in force")
	}
	b.say(&msg.Abort{Serial: b.serial})
	b.apply(office("a"), one("second"))
	b.hints()
	if s := b.sign("a"); s.Error != "" || string(s.Data) == string(first) {
		t.Fatalf("the old key is in force: %+v", s)
	}
	b.apply(office("b"), keys{{"b", b.file("b", "key", 0o600)}})
	b.hints()
	contains(t, "no such connection", b.sign("a").Error)
	b.say(&msg.Commit{Serial: b.serial})
	if err := b.end(); err == nil || !strings.Contains(err.Error(), "not prepared") {
		t.Fatalf("a second commit: %v", err)
	}
}

// An ikeproc that says what it may not is cut off; nobody else notices, and its successor is served.
func TestALinkThatMisbehavesIsCut(t *testing.T) {
	b := start(t)
	b.apply(office("a"), keys{{"a", b.file("a", "key", 0o600)}})
	for what, frame := range map[string][]byte{
		"a message of xfrmproc's":        {0, 0, 0, 3, byte(msg.KindSPI), 0, 0},
		"a message of triked's":          {0, 0, 0, 11, byte(msg.KindCommit), 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
		"authproc's own words":           {0, 0, 0, 3, byte(msg.KindVerified), 0, 0},
		"a kind that does not exist":     {0, 0, 0, 3, 255, 0, 0},
		"a Sign of 4 GB":                 {255, 255, 255, 255, byte(msg.KindSign), 0, 0},
		"a Sign of nothing":              {0, 0, 0, 3, byte(msg.KindSign), 0, 0},
		"a Renew with something behind":  append([]byte{0, 0, 1, 0, byte(msg.KindRenew), 0, 0}, make([]byte, 253)...),
		"descriptors where none can be":  {0, 0, 0, 3, byte(msg.KindRenew), 0, 1},
		"a Verify of a million nothings": append([]byte{0, 0, 0, 15, byte(msg.KindVerify), 0, 0}, 0, 0, 0, 0, 0, 0, 0, 1, 0, 15, 255, 255),
	} {
		b.link()
		b.hints()
		if _, err := b.raw.Write(frame); err != nil {
			t.Fatal(err)
		}
		if m, err := b.ike.Receive(); err == nil {
			t.Errorf("%s: answered by %+v", what, m)
		}
	}
	b.link()
	b.hints()
	if s := b.sign("a"); s.Error != "" {
		t.Fatal(s.Error)
	}
	_ = b.ike.Close() // it dies
	b.link()
	b.hints()
	if s := b.sign("a"); s.Error != "" {
		t.Fatal(s.Error)
	}
	old := b.ike
	b.link() // a new one comes before the old one was seen to die
	b.hints()
	if m, err := old.Receive(); err == nil {
		t.Errorf("the old link says %+v", m)
	}
	b.say(&msg.Link{Process: "xfrmproc"})
	if err := b.end(); err == nil || !strings.Contains(err.Error(), "no neighbour") {
		t.Errorf("a link to xfrmproc: %v", err)
	}
}

// What a hostile ikeproc, or peers through it, can make of the log is bounded.
func TestTheLogCannotBeFlooded(t *testing.T) {
	b := start(t)
	b.apply(office("a"), keys{{"a", b.file("a", "key", 0o600)}})
	b.link()
	b.hints()
	for range 3000 {
		v := &msg.Verify{Connections: []string{"a"}, PeerID: msg.ID{Type: ikev2.ID_FQDN, Data: []byte("a.example")}, Method: 2, Data: make([]byte, 32), Octets: octets(false)}
		if a, ok := b.ask(v).(*msg.Verified); !ok || a.OK {
			t.Fatalf("%+v", a)
		}
	}
	b.say(&msg.StatusRequest{})
	b.hear()
	if n := len(b.logs); n < 100 || n > 110 {
		t.Errorf("%d lines", n)
	}
	if e := b.logs[0]; e.Event != "not-authenticated" || !strings.Contains(e.Text, "pre-shared keys differ") {
		t.Errorf("%+v", e)
	}
}

func TestTheEndOfTrikedIsTheEnd(t *testing.T) {
	b := start(t)
	_ = b.triked.Close()
	if err := b.end(); err == nil {
		t.Error("it goes on without triked")
	}
	if err := Run(t.Context(), Config{}); err == nil {
		t.Error("it begins without triked")
	}
}
