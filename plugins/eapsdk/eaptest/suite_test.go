package eaptest

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	wire "github.com/trike-ipsec/trike/plugins/eapsdk/trikeeapv1"
)

func wordSide(text string) Side {
	return Side{Settings: eapsdk.Config{Secrets: map[string][]byte{"word": []byte(text)}}}
}

func wordConfig(start Starter) Config {
	wrong := wordSide("closed")
	return Config{Start: start, Server: wordSide("open"), Client: wordSide("open"), Wrong: &wrong, Sessions: 8, Seed: 3}
}

func withFault(fault string) Config {
	return wordConfig(InProcess(func() eapsdk.Method { return &word{fault: fault} }))
}

func TestAMethodThatIsRightPasses(t *testing.T) { Conformance(t, withFault("")) }

// Every check finds what it is there for, and says it in a finding.
func TestFaultsAreFound(t *testing.T) {
	found := map[string]bool{}
	for fault, want := range map[string][]string{
		"describes itself otherwise":           {"describe"},
		"takes no settings":                    {"settings"},
		"cannot bear to have no settings":      {"no-settings"},
		"begins with an identifier of its own": {"requests"},
		"makes a key of its own on each side":  {"keys", "lossy-link", "sessions-at-once"},
		"makes the same key each time":         {"fresh-keys", "sessions-in-turn", "sessions-at-once"},
		"lets everybody in":                    {"wrong-credential", "replay"},
		"believes EAP Success":                 {"early-success"},
		"takes EAP Failure for a success":      {"early-failure"},
		"asks the same in each session":        {"fresh-keys"},
		"has one challenge for all":            {"sessions-in-turn"},
		"has one session at a time":            {"sessions-in-turn", "sessions-at-once"},
		"keeps what was given up":              {"sessions-left"},
		"breaks when it is hurried":            {"deadline"},
		"answers anew when it is asked twice":  {"request-again", "lossy-link"},
		"asks anew when it is answered twice":  {"response-again", "lossy-link"},
		"ends when something comes twice":      {"request-again", "response-again"},
		"does not say why":                     {"wrong-credential", "packet-type"},
		"blames itself for the other side":     {"packet-type", "packet-nak", "packet-empty"},
		"does not look at the code":            {"packet-code"},
		"does not look at the identifier":      {"packet-identifier"},
		"does not look at the type":            {"packet-type"},
		"asks again whoever says Nak":          {"packet-nak"},
		"does not look at the length":          {"packet-length"},
		"panics at large packets":              {"packet-large"},
		"panics at short packets":              {"packet-empty", "packet-short"},
		"panics at packets that are cut":       {"packet-cut"},
		"lets noise in":                        {"packet-noise"},
	} {
		t.Run(fault, func(t *testing.T) { expect(t, Run(t.Context(), withFault(fault)), want, found) })
	}
	// What package eapsdk does right for its authors, others have to do themselves.
	for fault, want := range map[string][]string{
		"knows every session":         {"session-unknown"},
		"refuses Abort":               {"session-unknown"},
		"begins over":                 {"session-twice"},
		"goes on after the end":       {"session-over"},
		"goes on after Abort":         {"session-abort"},
		"lets replayed responses in":  {"replay", "other-sessions-packet"},
		"describes itself wrongly":    {"describe"},
		"gives a key without success": {"login"},
		"begins without a type":       {"login", "packet-type", "request-again"},
	} {
		t.Run(fault, func(t *testing.T) {
			start := serving(func(g *grpc.Server, words io.Writer) {
				wire.RegisterMethodServer(g, &foreign{Service: eapsdk.NewService(&word{fault: map[bool]string{true: "lets everybody in"}[fault == "lets replayed responses in"]}, words), fault: fault})
			})
			expect(t, Run(t.Context(), wordConfig(start)), want, found)
		})
	}
	for _, x := range checks {
		if !found[x.name] {
			t.Errorf("no fault here makes the check %q fail", x.name)
		}
	}
}

func expect(t *testing.T, findings []Finding, want []string, found map[string]bool) {
	t.Helper()
	var failed []string
	for _, f := range findings {
		if f.Verdict != Fail {
			continue
		}
		failed, found[f.Check] = append(failed, f.Check), true
		if f.Why == "" || f.Clause == "" || f.Claim == "" {
			t.Errorf("the finding says too little: %+v", f)
		}
	}
	for _, w := range want {
		if !slices.Contains(failed, w) {
			t.Errorf("%s does not fail; these do: %q", w, failed)
		}
	}
	if len(findings) != len(checks) || !Failed(findings) {
		t.Errorf("%d findings of %d checks, failed: %v", len(findings), len(checks), Failed(findings))
	}
}

// foreign is a plugin in some other language, whose author kept the books of its sessions badly.
type foreign struct {
	*eapsdk.Service
	fault string
}

var goesOn = &wire.Step{Outcome: wire.Outcome_OUTCOME_CONTINUE, Packet: []byte{1, 9, 0, 5, byte(typeWord)}}

func (f *foreign) Describe(ctx context.Context, r *wire.DescribeRequest) (*wire.Description, error) {
	d, err := f.Service.Describe(ctx, r)
	if f.fault == "describes itself wrongly" {
		d.Roles = nil
	}
	return d, err
}

func (f *foreign) Begin(ctx context.Context, r *wire.BeginRequest) (*wire.Step, error) {
	s, err := f.Service.Begin(ctx, r)
	switch {
	case err != nil && f.fault == "begins over":
		return goesOn, nil
	case err == nil && f.fault == "begins without a type":
		s.Packet = []byte{byte(r.Role), byte(r.Identifier), 0, 4}
	case err == nil && f.fault == "gives a key without success":
		s.Msk = bytes.Repeat([]byte{1}, eapsdk.MaxMSK)
	}
	return s, err
}

func (f *foreign) Next(ctx context.Context, r *wire.NextRequest) (*wire.Step, error) {
	s, err := f.Service.Next(ctx, r)
	if err != nil && (f.fault == "knows every session" && r.Id == unused || f.fault == "goes on after the end" && r.Id != unused || f.fault == "goes on after Abort" && strings.Contains(err.Error(), "no session")) {
		return goesOn, nil
	}
	return s, err
}

func (f *foreign) Abort(ctx context.Context, r *wire.AbortRequest) (*wire.Aborted, error) {
	if f.fault == "refuses Abort" && r.Id == unused {
		return nil, os.ErrInvalid
	}
	return f.Service.Abort(ctx, r)
}

// A program that is no plugin is told from one by what it said.
func TestProgramsThatAreNoPlugins(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ script, want string }{
		"says nothing":                    {"echo >&2 no secrets here\n", "no secrets here"},
		"says hello":                      {"echo hello\n", "it said \"hello\""},
		"says a socket that is not there": {"echo '1|1|unix|/nonexistent/socket|grpc'\n", "no such file"},
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"+c.script), 0o755); err != nil {
			t.Fatal(err)
		}
		r, err := Program(file)(t.Context())
		if err == nil {
			r.Stop()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := Program(filepath.Join(dir, "nosuch"))(t.Context()); err == nil {
		t.Error("a program that there is not was started")
	}
}

// What a plugin has started ends with it.
func TestProgramsEndWhole(t *testing.T) {
	file, mark := filepath.Join(t.TempDir(), "plugin"), filepath.Join(t.TempDir(), "mark")
	script := "#!/bin/sh\nsleep 1000 &\necho $! >" + mark + "\necho hello\nwait\n"
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if r, err := Program(file)(t.Context()); err == nil {
		r.Stop()
		t.Fatal("it is no plugin, and was taken for one")
	}
	b, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 { // a signal takes its time, and so does who takes over orphans
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(b)) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("its child runs on")
}

func TestReportIsForPeople(t *testing.T) {
	var out strings.Builder
	err := WriteText(&out, []Finding{{Check: "login", Verdict: Pass, Claim: "it works"},
		{Check: "keys", Verdict: Fail, Claim: "keys agree", Clause: "RFC 3748 section 7.10", Why: "one\x1b[2Jtwo\nthree", Log: "server: ready"}, {Check: "replay", Verdict: Skip, Claim: "none", Why: "no client"}})
	want := `pass  login                  it works
FAIL  keys                   keys agree
      what happened: one [2Jtwo
                     three
      who says so:   RFC 3748 section 7.10
      its log:       server: ready
skip  replay                 none
      not tried: no client
1 passed, 1 failed, 1 not tried
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
}
