package live

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/test/bed"
)

// TestLog: what happened is in the log, for people and for programs, and a follower sees what happens.
func TestLog(t *testing.T) {
	s := newSite(t)
	follow, err := s.berlin.Start("log", nil, bin("trike"), "log", "--control", s.b.Control(), "--follow", "--json")
	s.must(err)
	s.must(bed.Until(10*time.Second, "the follower to be told of the past", func() bool { return strings.Contains(follow.Output(), "child-up") }))
	s.ask(s.b, "rekey", "berlin-paris")
	s.must(bed.Until(10*time.Second, "the follower to be told of the rekey", func() bool { return strings.Contains(follow.Output(), "child-rekeyed") }))
	events := map[string]status.Event{}
	for line := range strings.Lines(s.ask(s.b, "log", "--json")) {
		var e status.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		events[e.Event] = e
	}
	for _, want := range []string{"apply", "applied", "sandbox", "ike-up", "child-up", "child-rekeyed"} {
		if e, ok := events[want]; !ok || e.Time.IsZero() || e.Process == "" || e.Text == "" {
			t.Errorf("%s: %+v", want, e)
		}
	}
	if out := s.ask(s.b, "log"); !strings.Contains(out, "child-rekeyed") || !strings.Contains(out, "berlin-paris/net") {
		t.Errorf("for people:\n%s", out)
	}
	if strings.Contains(follow.Output(), psk) {
		t.Error("the log holds the key")
	}
}
