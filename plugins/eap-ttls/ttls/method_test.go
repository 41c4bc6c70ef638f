package ttls

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/eapsdk/eaptest"
	"github.com/trike-ipsec/trike/plugins/internal/pkitest"
)

type sides struct {
	ca     *pkitest.Authority
	server pkitest.Pair
}

func newSides() sides {
	ca := pkitest.New("root", pkitest.ECDSA)
	return sides{ca, ca.Issue(pkitest.Leaf{CN: "gw", DNS: "gw.example", Server: true})}
}

func configure(t *testing.T, c eapsdk.Config) *Method {
	t.Helper()
	m := &Method{}
	if err := m.Configure(context.Background(), c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return m
}

func (s sides) serve(t *testing.T, values map[string]string) *Method {
	t.Helper()
	return configure(t, eapsdk.Config{Values: values, Secrets: map[string][]byte{"certificate": s.server.Chain, "key": s.server.Key,
		"users": []byte("alice: wonderland staff\n")}})
}

func (s sides) dial(t *testing.T, password string, values map[string]string) *Method {
	t.Helper()
	return configure(t, eapsdk.Config{Values: values, Secrets: map[string][]byte{"ca": s.ca.PEM(), "password": []byte(password)}})
}

func (s sides) talk(t *testing.T, server, client *Method) eaptest.Talk {
	t.Helper()
	said, err := eaptest.Converse(context.Background(), server, client, eapsdk.Begin{Identity: "anonymous", ServerName: "gw.example"}, eaptest.Link{})
	if err != nil {
		t.Fatal(err)
	}
	return said
}

func TestEveryInnerMethodUnderBothVersions(t *testing.T) {
	s := newSides()
	for _, version := range []string{"1.2", "1.3"} {
		for _, inner := range []string{"pap", "mschapv2", "eap-mschapv2", "eap-gtc", "eap-md5"} {
			t.Run(version+" "+inner, func(t *testing.T) {
				both := map[string]string{"max-version": version, "inner": inner, "inner-identity": "alice", "fragment-size": "200"}
				said := s.talk(t, s.serve(t, both), s.dial(t, "wonderland", both))
				if said.Server.Outcome != eapsdk.Success || said.Client.Outcome != eapsdk.Success {
					t.Fatalf("server %v, %s; client %v, %s", said.Server.Outcome, said.Server.Reason, said.Client.Outcome, said.Client.Reason)
				}
				if len(said.Server.MSK) != 64 || !bytes.Equal(said.Server.MSK, said.Client.MSK) {
					t.Error("the keys are not the same")
				}
				if said.Server.Identity != "alice" || fmt.Sprint(said.Server.Groups) != "[staff]" {
					t.Errorf("the peer proved to be %q of %v", said.Server.Identity, said.Server.Groups)
				}
				for _, p := range said.Packets {
					if bytes.Contains(p, []byte("wonderland")) || bytes.Contains(p, []byte("alice")) {
						t.Error("the name or the password is to be seen outside the tunnel")
					}
				}
			})
			t.Run(version+" "+inner+" with a wrong password", func(t *testing.T) {
				both := map[string]string{"max-version": version, "inner": inner, "inner-identity": "alice"}
				said := s.talk(t, s.serve(t, both), s.dial(t, "looking glass", both))
				if said.Server.Outcome != eapsdk.Failure || said.Client.Outcome != eapsdk.Failure || said.Server.MSK != nil || said.Client.MSK != nil {
					t.Fatalf("server %v, client %v", said.Server.Outcome, said.Client.Outcome)
				}
				if !strings.Contains(said.Server.Reason, `"alice"`) || strings.Contains(said.Server.Reason+said.Client.Reason, "looking") {
					t.Errorf("server: %q, client: %q", said.Server.Reason, said.Client.Reason)
				}
			})
			t.Run(version+" "+inner+" of nobody", func(t *testing.T) {
				both := map[string]string{"max-version": version, "inner": inner, "inner-identity": "mallory"}
				said := s.talk(t, s.serve(t, both), s.dial(t, "wonderland", both))
				if said.Server.Outcome != eapsdk.Failure || said.Client.Outcome != eapsdk.Failure {
					t.Fatalf("server %v, client %v", said.Server.Outcome, said.Client.Outcome)
				}
			})
		}
	}
}

func TestWhatTheServerDoesNotAllow(t *testing.T) {
	s := newSides()
	for _, c := range []struct{ server, client, want string }{
		{"mschapv2", "pap", "wants PAP"},
		{"pap", "mschapv2", "wants MS-CHAPv2"},
		{"pap", "eap-mschapv2", "wants EAP"},
		{"eap-gtc", "eap-md5", "none of the methods"},
	} {
		said := s.talk(t, s.serve(t, map[string]string{"inner": c.server}), s.dial(t, "wonderland", map[string]string{"inner": c.client, "inner-identity": "alice"}))
		if said.Server.Outcome != eapsdk.Failure || !strings.Contains(said.Server.Reason, c.want) {
			t.Errorf("%s and %s: %v, %q", c.server, c.client, said.Server.Outcome, said.Server.Reason)
		}
	}
}

func TestANakFindsTheMethodInCommon(t *testing.T) {
	s := newSides()
	said := s.talk(t, s.serve(t, map[string]string{"inner": "eap-mschapv2 eap-gtc"}), s.dial(t, "wonderland", map[string]string{"inner": "eap-gtc", "inner-identity": "alice"}))
	if said.Server.Outcome != eapsdk.Success || said.Client.Outcome != eapsdk.Success {
		t.Errorf("server %v, %s; client %v, %s", said.Server.Outcome, said.Server.Reason, said.Client.Outcome, said.Client.Reason)
	}
}

func TestAClientTellsNothingToAnotherServer(t *testing.T) {
	s, other := newSides(), newSides()
	said := s.talk(t, other.serve(t, nil), s.dial(t, "wonderland", map[string]string{"inner": "pap"}))
	if said.Client.Outcome != eapsdk.Failure || !strings.Contains(said.Client.Reason, "unknown authority") {
		t.Errorf("client %v, %q", said.Client.Outcome, said.Client.Reason)
	}
}

func TestAMethodDoesNotPrintItsPassword(t *testing.T) {
	m := newSides().dial(t, "wonderland", map[string]string{"inner": "pap"})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if said := fmt.Sprintf(verb, *m); strings.Contains(said, "wonderland") || strings.Contains(said, fmt.Sprintf("%x", "wonderland")) || strings.Contains(said, "119, 111") {
			t.Errorf("%s shows the password", verb)
		}
	}
}

func TestSettingsThatDoNotFit(t *testing.T) {
	s := newSides()
	server := map[string][]byte{"certificate": s.server.Chain, "key": s.server.Key, "users": []byte("alice: wonderland\n")}
	without := func(name string) map[string][]byte {
		m := maps.Clone(server)
		delete(m, name)
		return m
	}
	client := map[string][]byte{"ca": s.ca.PEM(), "password": []byte("wonderland")}
	for _, c := range []struct {
		name    string
		secrets map[string][]byte
		values  map[string]string
		want    string
	}{
		{"no secret at all", nil, nil, "needs the secret users"},
		{"both sides", map[string][]byte{"users": server["users"], "password": client["password"]}, nil, "not both"},
		{"a server without a key", without("key"), nil, "key: is missing"},
		{"a server without a certificate", without("certificate"), nil, "certificate: is missing"},
		{"a client without an authority", map[string][]byte{"password": client["password"]}, nil, "needs ca"},
		{"an inner method of nobody", client, map[string]string{"inner": "chap"}, `"chap" is none of`},
		{"an inner EAP method of nobody", client, map[string]string{"inner": "eap-tls"}, `no inner method is called "tls"`},
		{"a version of old", client, map[string]string{"min-version": "1.0"}, `"1.0" is neither`},
		{"a fragment too small", client, map[string]string{"fragment-size": "10"}, "not a number from"},
	} {
		err := (&Method{}).Configure(context.Background(), eapsdk.Config{Values: c.values, Secrets: c.secrets}, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "wonderland") {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
}
