package eaptest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Config says what is tried, and with what. Zero values take the default.
type Config struct {
	// Start starts the plugin; see Program and InProcess.
	Start Starter
	// Server and Client are what a run that plays this role is given. Each role has a run of its own, even where one program plays both.
	Server, Client Side
	// Wrong is a client that must be refused: with a wrong password, or an unknown certificate. nil: nobody is.
	Wrong *Side
	// Identity is who the client is, default "alice". ServerName is what the client is told that the server proved by IKE, default "gateway.example".
	Identity, ServerName string
	// Call bounds one call, default 20 s, as trike does. Startup bounds the plugin's start, default 1 minute; trike allows 15 s.
	Call, Startup time.Duration
	// Sessions is how many are open at once, default 64.
	Sessions int
	// Seed is of what is random: the link's losses and the packets of noise.
	Seed uint64
}

// Side is one role's run of a plugin.
type Side struct {
	// Start is of this role, where it is another plugin that plays it. nil: Config.Start.
	Start    Starter
	Settings eapsdk.Config
}

// Verdict is what came of a check.
type Verdict string

// Skip is a check that could not be made; Finding.Why says what it lacks.
const (
	Pass Verdict = "pass"
	Fail Verdict = "fail"
	Skip Verdict = "skip"
)

// Finding is what one check found.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Claim   string  `json:"claim"`         // what has to hold
	Clause  string  `json:"clause"`        // who says so
	Why     string  `json:"why,omitempty"` // it does not hold, or was not tried
	Log     string  `json:"log,omitempty"` // of a check that failed: what the plugin wrote last to standard error
}

// Run makes all checks, one after the other, and gives a finding for each. It ends early with ctx alone; what was not tried then is skipped.
func Run(ctx context.Context, c Config) []Finding {
	b := newBench(c)
	defer b.stop()
	var out []Finding
	for _, x := range checks {
		out = append(out, x.finding(ctx, b))
	}
	return out
}

// T is what Conformance needs of testing.T, so that the package does not link package testing.
type T[Sub any] interface {
	Helper()
	Context() context.Context
	Run(name string, f func(Sub)) bool
	Errorf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Conformance makes all checks, each as a subtest.
func Conformance[Test T[Test]](t Test, c Config) {
	t.Helper()
	b := newBench(c)
	defer b.stop()
	for _, x := range checks {
		t.Run(x.name, func(t Test) {
			t.Helper()
			switch f := x.finding(t.Context(), b); f.Verdict {
			case Fail:
				t.Errorf("%s (%s): %s\n%s", f.Claim, f.Clause, f.Why, f.Log)
			case Skip:
				t.Skipf("%s", f.Why)
			}
		})
	}
}

// check is one thing that has to hold.
type check struct {
	name, claim, clause string
	// run gives what is wrong, or a lack where it cannot be tried.
	run func(context.Context, *bench) error
}

// lack is why something cannot be tried.
type lack string

func (l lack) Error() string { return string(l) }

func (x check) finding(ctx context.Context, b *bench) Finding {
	f := Finding{Check: x.name, Verdict: Pass, Claim: x.claim, Clause: x.clause}
	err := x.run(ctx, b)
	var missing lack
	switch {
	case ctx.Err() != nil:
		f.Verdict, f.Why = Skip, fmt.Sprintf("the time was over: %v", context.Cause(ctx))
	case errors.As(err, &missing):
		f.Verdict, f.Why = Skip, string(missing)
	case err != nil:
		f.Verdict, f.Why, f.Log = Fail, err.Error(), b.words()
	}
	if err != nil && missing == "" {
		b.stop() // the next check begins with a plugin that has come to no harm
	}
	return f
}

// Failed tells whether any check failed.
func Failed(findings []Finding) bool {
	for _, f := range findings {
		if f.Verdict == Fail {
			return true
		}
	}
	return false
}

// checks are all that is tried, in this order: a reader who mends the first finding often mends those that follow.
var checks = []check{
	{"describe", "the plugin starts, says what it is, and says the same again", "eap.proto, Describe", describesItself},
	{"settings", "it takes its settings, which are among those that it describes", "eap.proto, Configure", takesSettings},
	{"no-settings", "without any setting it says what it lacks, and does not end", "eap.proto, Configure", survivesWithoutSettings},

	{"login", "a server and a client that know each other both come to success, and the server says who the client is", "RFC 3748 section 4.2", logsIn},
	{"requests", "the first request has the identifier that it was told to have, each further one another; responses repeat theirs; all are of the method's type", "RFC 3748 section 4.1", keepsIdentifiers},
	{"keys", "a method that makes keys ends with the same 64 octets on both sides, and one that makes none with none", "RFC 3748 section 7.10", makesKeys},
	{"fresh-keys", "each session has keys of its own", "RFC 3748 section 7.10", makesFreshKeys},
	{"wrong-credential", "a client with a wrong credential is refused, and both sides say why", "RFC 3748 section 4.2", refusesWrong},
	{"early-success", "EAP Success before the method is complete is no success", "RFC 3748 section 4.2", refusesEarlySuccess},
	{"early-failure", "EAP Failure is a failure, whenever it comes", "RFC 3748 section 4.2", takesFailure},
	{"replay", "a login that was recorded does not open another session", "RFC 3748 section 7.2.1", refusesReplay},
	{"other-sessions-packet", "a packet of another session does not help in this one", "RFC 3748 section 7.2.1", refusesCrossed},

	{"packet-empty", "a packet of no octets ends the session with a reason", "RFC 3748 section 4", hostile(empty)},
	{"packet-short", "a packet that is shorter than its header ends the session with a reason", "RFC 3748 section 4.1", hostile(short)},
	{"packet-length", "a packet whose length field lies ends the session with a reason", "RFC 3748 section 4.1", hostile(lyingLength)},
	{"packet-code", "a packet with a code that does not belong there ends the session with a reason", "RFC 3748 section 4", hostile(wrongCode)},
	{"packet-identifier", "a response to another request is none: the session ends, or the server asks the same again", "RFC 3748 section 4.1", hostile(wrongIdentifier)},
	{"packet-type", "a packet of another method ends the session with a reason", "RFC 3748 section 5", hostile(wrongType)},
	{"packet-nak", "a Nak, plain or expanded, ends the session with a reason", "RFC 3748 section 5.3", hostile(naks)},
	{"packet-large", "a packet of 65535 octets is answered, and not with success", "RFC 3748 section 4.1", hostile(large)},
	{"packet-cut", "a packet of which the end is missing is answered, without a fault", "RFC 3748 section 4.1", survivesCuts},
	{"packet-noise", "packets of noise are answered, without a fault and without success", "RFC 3748 section 4", survivesNoise},

	{"request-again", "a request that comes twice is answered by the same response again", "RFC 3748 section 4.1", answersAgain},
	{"response-again", "a response that comes twice is answered by the same request again", "RFC 3748 section 4.1", asksAgain},
	{"lossy-link", "a login over a link that loses a third of the packets and repeats another comes to success", "RFC 3748 section 4.1", logsInOverALossyLink},

	{"session-unknown", "a session that there is not is an error for Next, and none for Abort", "eap.proto, Next and Abort", knowsNoOther},
	{"session-twice", "a number that is in use is refused, and the session that has it goes on", "eap.proto, Begin", refusesTheNumberTwice},
	{"session-over", "a session that has ended does not go on", "eap.proto, Next", endsOnce},
	{"session-abort", "Abort ends a session, and that one alone", "eap.proto, Abort", aborts},
	{"sessions-in-turn", "sessions that take turns do not know of each other, while others beside them are given up", "eap.proto, Begin", keepsSessionsApart},
	{"sessions-at-once", "many sessions at once all come to their end, each with keys of its own", "eap.proto, Begin", servesMany},
	{"sessions-left", "a thousand sessions that were begun and given up leave room for another", "eap.proto, Abort", forgets},
	{"deadline", "calls that are given up in the middle harm no session that comes after", "eap.proto, Begin and Next", survivesDeadlines},
}
