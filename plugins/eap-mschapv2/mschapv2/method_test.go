package mschapv2

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/internal/mschap"
)

const house = "alice: wonderland staff,admins\nbob: nt-hash:44ebba8d5312b8d611474411f56989ae\n"

func configured(t *testing.T, values map[string]string, secrets ...string) *Method {
	t.Helper()
	c := eapsdk.Config{Values: values, Secrets: map[string][]byte{}}
	for i := 0; i < len(secrets); i += 2 {
		c.Secrets[secrets[i]] = []byte(secrets[i+1])
	}
	m := new(Method)
	if err := m.Configure(t.Context(), c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return m
}

func begin(t *testing.T, m *Method, b eapsdk.Begin) (eapsdk.Session, eapsdk.Step) {
	t.Helper()
	s, step, err := m.Begin(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return s, step
}

func next(t *testing.T, s eapsdk.Session, p []byte) eapsdk.Step {
	t.Helper()
	step, err := s.Next(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return step
}

// eap puts EAP's header before data.
func eap(code, id byte, data []byte) []byte {
	n := 5 + len(data)
	return append([]byte{code, id, byte(n >> 8), byte(n), byte(eapsdk.TypeMSCHAPv2)}, data...)
}

// peer is the other side of a server under test, written out by hand.
type peer struct {
	t        *testing.T
	session  eapsdk.Session
	step     eapsdk.Step
	name     string
	password string
	auth     mschap.Challenge
	own      mschap.Challenge
	nt       mschap.NTResponse
}

func newPeer(t *testing.T, m *Method, name, password string) *peer {
	t.Helper()
	p := &peer{t: t, name: name, password: password, own: mschap.Challenge{9, 8, 7}}
	p.session, p.step = begin(t, m, eapsdk.Begin{Role: eapsdk.Server, Identity: "outer", Identifier: 41})
	c, err := parseChallenge(p.message().body)
	if err != nil {
		t.Fatal(err)
	}
	p.auth = c.value
	return p
}

// message is what the server has sent last.
func (p *peer) message() message {
	p.t.Helper()
	m, err := parseMessage(p.step.Packet[5:])
	if err != nil {
		p.t.Fatalf("%v in %+v", err, p.step)
	}
	return m
}

// say answers the last request.
func (p *peer) say(data []byte) {
	p.t.Helper()
	p.step = next(p.t, p.session, eap(2, p.step.Packet[1], data))
}

// respond proves the password to challenge id.
func (p *peer) respond(id uint8) {
	p.t.Helper()
	h, err := mschap.HashPassword(p.password)
	if err != nil {
		p.t.Fatal(err)
	}
	p.nt = mschap.Response(h, p.auth, p.own, p.name)
	p.say(message{opResponse, id, response{p.own, p.nt, p.name}.marshal()}.marshal())
}

func (p *peer) fails(reason string) {
	p.t.Helper()
	if p.step.Outcome != eapsdk.Failure || !strings.Contains(p.step.Reason, reason) || p.step.MSK != nil {
		p.t.Errorf("%v for %q, want a failure for %q", p.step.Outcome, p.step.Reason, reason)
	}
}

func TestBothSidesComeToOneKey(t *testing.T) {
	for _, c := range []struct {
		name, password string
		values         map[string]string
		known          string
		groups         []string
	}{
		{"alice", "wonderland", nil, "alice", []string{"staff", "admins"}},
		{"bob", "clientPass\r\n", nil, "bob", nil},
		{`EXAMPLE\Alice@example.com`, "wonderland", map[string]string{"strip-domain": "yes", "strip-realm": "yes", "fold-case": "yes"}, "alice", []string{"staff", "admins"}},
	} {
		server, client := configured(t, c.values, "users", house), configured(t, nil, "password", c.password)
		s, ask := begin(t, server, eapsdk.Begin{Role: eapsdk.Server, Identity: c.name, Identifier: 255})
		// --> challenge
		cs, answer := begin(t, client, eapsdk.Begin{Role: eapsdk.Client, Identity: c.name, Packet: ask.Packet})
		// <-- response, --> success
		ask = next(t, s, answer.Packet)
		// <-- success
		answer = next(t, cs, ask.Packet)
		served := next(t, s, answer.Packet)
		// --> EAP Success
		came := next(t, cs, []byte{3, 1, 0, 4})
		if served.Outcome != eapsdk.Success || came.Outcome != eapsdk.Success {
			t.Errorf("%s: %+v and %+v", c.name, served, came)
			continue
		}
		if len(served.MSK) != eapsdk.MaxMSK || !bytes.Equal(served.MSK, came.MSK) {
			t.Errorf("%s: the keys differ", c.name)
		}
		if served.Identity != c.known || !slices.Equal(served.Groups, c.groups) {
			t.Errorf("%s is taken for %s of %v", c.name, served.Identity, served.Groups)
		}
	}
}

// Nothing that the peer sees, but the random challenge, differs between a name that is not there and a password that is wrong.
func TestAPeerCannotTellWhoExists(t *testing.T) {
	m := configured(t, nil, "users", house)
	said := map[string]string{}
	for name, reason := range map[string]string{"alice": "wrong password of user \"alice\"", "mallory": "\"mallory\" is not in the user file", "": "not in the user file"} {
		p := newPeer(t, m, name, "guess")
		p.respond(41)
		f, err := parseFailure(p.message().body)
		if err != nil || f.code != 691 || f.retry || f.challenge == p.auth {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
		said[strings.SplitN(string(p.message().body), " C=", 2)[0]+f.text] = name
		p.say([]byte{byte(opFailure)})
		p.fails(reason)
	}
	if len(said) != 1 {
		t.Errorf("the answers differ: %v", said)
	}
}

func TestRetriesAreCounted(t *testing.T) {
	p := newPeer(t, configured(t, map[string]string{"retries": "2"}, "users", house), "alice", "guess")
	id := uint8(41)
	for range 2 {
		// <-- response, --> failure R=1
		p.respond(id)
		f, err := parseFailure(p.message().body)
		if err != nil || !f.retry || f.challenge == p.auth {
			t.Fatalf("%+v, %v", f, err)
		}
		p.auth, id = f.challenge, p.message().id
	}
	p.password = "wonderland"
	p.respond(id + 1) // as Windows counts
	h, err := mschap.HashPassword("wonderland")
	if err != nil {
		t.Fatal(err)
	}
	if m := p.message(); m.op != opSuccess || !strings.HasPrefix(string(m.body), mschap.AuthenticatorResponse(h, p.nt, p.auth, p.own, "alice")) {
		t.Fatalf("%v %q", m.op, m.body)
	}
	p.say([]byte{byte(opSuccess)})
	if p.step.Outcome != eapsdk.Success || p.step.Identity != "alice" {
		t.Errorf("%+v", p.step)
	}

	p = newPeer(t, configured(t, map[string]string{"retries": "1"}, "users", house), "alice", "guess")
	p.respond(41)
	p.respond(p.message().id) // the old challenge counts no more, and neither does a guess
	if f, err := parseFailure(p.message().body); err != nil || f.retry {
		t.Fatalf("%+v, %v", f, err)
	}
	p.respond(p.message().id)
	p.fails("response out of order")
}

// A response to the challenge of before is worth nothing to the one that stands.
func TestARetryNeedsTheNewChallenge(t *testing.T) {
	p := newPeer(t, configured(t, map[string]string{"retries": "1"}, "users", house), "alice", "guess")
	p.respond(41)
	p.password = "wonderland"
	p.respond(p.message().id) // p.auth is the old one
	if m := p.message(); m.op != opFailure {
		t.Errorf("%v", m.op)
	}
}

func TestWhatAServerDoesNotTake(t *testing.T) {
	good := func(p *peer) { p.respond(41) }
	for name, c := range map[string]struct {
		do     []func(p *peer)
		reason string
	}{
		"a success first":            {[]func(*peer){func(p *peer) { p.say([]byte{3}) }}, "success out of order"},
		"a failure first":            {[]func(*peer){func(p *peer) { p.say([]byte{4}) }}, "failure out of order"},
		"a challenge":                {[]func(*peer){func(p *peer) { p.say(message{opChallenge, 41, challenge{}.marshal()}.marshal()) }}, "challenge out of order"},
		"another challenge's number": {[]func(*peer){func(p *peer) { p.respond(42) }}, "answers MS-CHAPv2 challenge 42"},
		"a second response":          {[]func(*peer){good, good}, "response out of order"},
		"our proof refused":          {[]func(*peer){good, func(p *peer) { p.say([]byte{4}) }}, "refuses the server's proof"},
		"a change of password": {[]func(*peer){func(p *peer) {
			p.say(message{opChangePassword, 41, make([]byte, 582)}.marshal())
		}}, "wants to change its password"},
		"a lying MS-Length": {[]func(*peer){func(p *peer) { p.say([]byte{2, 41, 0xff, 0xff}) }}, "MS-Length"},
		"an unknown opcode": {[]func(*peer){func(p *peer) { p.say([]byte{99, 41, 0, 4}) }}, "opcode 99 out of order"},
		"nothing":           {[]func(*peer){func(p *peer) { p.say(nil) }}, "shorter"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, configured(t, nil, "users", house), "alice", "wonderland")
			for _, do := range c.do {
				do(p)
			}
			p.fails(c.reason)
		})
	}
}

func TestWhatAClientDoesNotTake(t *testing.T) {
	ask := message{opChallenge, 7, challenge{mschap.Challenge{1}, "vpn"}.marshal()}.marshal()
	forged := message{opSuccess, 7, []byte("S=407A5589115FD0D6209F510FE9C04566932CDA56 M=OK")}.marshal()
	refusal := message{opFailure, 7, failure{691, true, mschap.Challenge{2}, "\x1b[31mgo away" + strings.Repeat("!", 300)}.marshal()}.marshal()
	for name, c := range map[string]struct {
		packets [][]byte
		reason  string
	}{
		"a proof that is none":            {[][]byte{eap(1, 8, forged)}, "does not know the password"},
		"EAP Success without a proof":     {[][]byte{{3, 7, 0, 4}}, "without having proved"},
		"EAP Failure without a reason":    {[][]byte{{4, 7, 0, 4}}, "in the midst"},
		"a second challenge":              {[][]byte{eap(1, 8, ask)}, "challenge out of order"},
		"a failure, then Success":         {[][]byte{eap(1, 8, refusal), {3, 8, 0, 4}}, "without having proved"},
		"a failure, then Failure":         {[][]byte{eap(1, 8, refusal), {4, 8, 0, 4}}, `refuses "alice": E=691, wrong name or password; it says "\x1b[31mgo away!!`},
		"a failure, then another success": {[][]byte{eap(1, 8, refusal), eap(1, 9, forged)}, "success out of order"},
	} {
		t.Run(name, func(t *testing.T) {
			s, step := begin(t, configured(t, nil, "password", "wonderland"), eapsdk.Begin{Role: eapsdk.Client, Identity: "alice", Packet: eap(1, 7, ask)})
			for i, p := range c.packets {
				if step = next(t, s, p); i < len(c.packets)-1 && step.Outcome != eapsdk.Continue {
					t.Fatalf("packet %d: %+v", i, step)
				}
			}
			if step.Outcome != eapsdk.Failure || !strings.Contains(step.Reason, c.reason) || step.MSK != nil || len(step.Reason) > 400 {
				t.Errorf("%v: %s", step.Outcome, step.Reason)
			}
		})
	}
}

func TestSettingsThatAreWrong(t *testing.T) {
	for name, c := range map[string]eapsdk.Config{
		"no secret":             {},
		"retries is":            {Values: map[string]string{"retries": "4"}, Secrets: map[string][]byte{"users": []byte(house)}},
		"fold-case is":          {Values: map[string]string{"fold-case": "1"}, Secrets: map[string][]byte{"users": []byte(house)}},
		"setting name":          {Values: map[string]string{"name": "a\nb"}, Secrets: map[string][]byte{"users": []byte(house)}},
		"line 1: there is no c": {Secrets: map[string][]byte{"users": []byte("hunter2")}},
		"password is empty":     {Secrets: map[string][]byte{"password": []byte("\n")}},
		"secret password":       {Secrets: map[string][]byte{"password": []byte(strings.Repeat("hunter2", 50))}},
	} {
		err := new(Method).Configure(context.Background(), c, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := configured(t, nil, "password", "x").Begin(t.Context(), eapsdk.Begin{Role: eapsdk.Server}); err == nil {
		t.Error("a server without users")
	}
	if _, _, err := configured(t, nil, "users", house).Begin(t.Context(), eapsdk.Begin{Role: eapsdk.Client, Identity: "a"}); err == nil {
		t.Error("a client without a password")
	}
}

func TestTheDescriptionFits(t *testing.T) {
	d := new(Method).Describe()
	if !d.MakesKeys || !d.Mutual || d.Type != 26 || len(d.Roles) != 2 {
		t.Errorf("%+v", d)
	}
}
