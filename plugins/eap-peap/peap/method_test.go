package peap

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
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

func TestInnerMethodsAndBindings(t *testing.T) {
	s := newSides()
	for _, version := range []string{"1.2", "1.3"} {
		for _, inner := range []string{"mschapv2", "gtc"} {
			for _, c := range []struct{ server, client, wantServer, wantClient string }{
				{"optional", "optional", "", ""},
				{"required", "required", "", ""},
				{"no", "no", "", ""},
				{"no", "optional", "", ""},
				{"optional", "no", "", ""},
				{"no", "required", "by its Result TLV", "does not do crypto binding"},
				{"required", "no", "does not do crypto binding", "refused"},
			} {
				t.Run(version+" "+inner+" "+c.server+" "+c.client, func(t *testing.T) {
					values := func(binding string) map[string]string {
						return map[string]string{"max-version": version, "inner": inner, "inner-identity": "alice", "fragment-size": "200", "crypto-binding": binding}
					}
					said := s.talk(t, s.serve(t, values(c.server)), s.dial(t, "wonderland", values(c.client)))
					if c.wantServer != "" {
						if said.Server.Outcome != eapsdk.Failure || said.Client.Outcome != eapsdk.Failure ||
							!strings.Contains(said.Server.Reason, c.wantServer) || !strings.Contains(said.Client.Reason, c.wantClient) {
							t.Errorf("server %v, %s; client %v, %s", said.Server.Outcome, said.Server.Reason, said.Client.Outcome, said.Client.Reason)
						}
						return
					}
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
			}
		}
	}
}

func TestWrongPasswordsAndNames(t *testing.T) {
	s := newSides()
	for _, c := range []struct{ inner, name, password, want string }{
		{"mschapv2", "alice", "looking glass", `wrong password of user "alice"`},
		{"mschapv2", "mallory", "wonderland", `"mallory" is not in the user file`},
		{"gtc", "alice", "looking glass", `wrong password of user "alice"`},
		{"gtc", "mallory", "wonderland", `"mallory" is not in the user file`},
	} {
		for _, version := range []string{"1.2", "1.3"} {
			both := map[string]string{"max-version": version, "inner": c.inner, "inner-identity": c.name}
			said := s.talk(t, s.serve(t, both), s.dial(t, c.password, both))
			if said.Server.Outcome != eapsdk.Failure || said.Client.Outcome != eapsdk.Failure || said.Server.MSK != nil || said.Client.MSK != nil {
				t.Errorf("%v: server %v, client %v", c, said.Server.Outcome, said.Client.Outcome)
			}
			if !strings.Contains(said.Server.Reason, c.want) || strings.Contains(said.Server.Reason+said.Client.Reason, c.password) {
				t.Errorf("%v: server %q, client %q", c, said.Server.Reason, said.Client.Reason)
			}
		}
	}
}

func TestANakFindsTheMethodInCommon(t *testing.T) {
	s := newSides()
	said := s.talk(t, s.serve(t, map[string]string{"inner": "mschapv2 gtc"}), s.dial(t, "wonderland", map[string]string{"inner": "gtc", "inner-identity": "alice"}))
	if said.Server.Outcome != eapsdk.Success || said.Client.Outcome != eapsdk.Success {
		t.Errorf("server %v, %s; client %v, %s", said.Server.Outcome, said.Server.Reason, said.Client.Outcome, said.Client.Reason)
	}
}

func TestNothingInCommonIsToldToBoth(t *testing.T) {
	s := newSides()
	said := s.talk(t, s.serve(t, map[string]string{"inner": "mschapv2"}), s.dial(t, "wonderland", map[string]string{"inner": "gtc", "inner-identity": "alice"}))
	if said.Server.Outcome != eapsdk.Failure || said.Client.Outcome != eapsdk.Failure || !strings.Contains(said.Server.Reason, "none of the methods") {
		t.Errorf("server %v, %s; client %v, %s", said.Server.Outcome, said.Server.Reason, said.Client.Outcome, said.Client.Reason)
	}
}

func TestAClientTellsNothingToAnotherServer(t *testing.T) {
	s, other := newSides(), newSides()
	said := s.talk(t, other.serve(t, nil), s.dial(t, "wonderland", nil))
	if said.Client.Outcome != eapsdk.Failure || !strings.Contains(said.Client.Reason, "unknown authority") {
		t.Errorf("client %v, %q", said.Client.Outcome, said.Client.Reason)
	}
}

func TestSettingsThatDoNotFit(t *testing.T) {
	s := newSides()
	server := map[string][]byte{"certificate": s.server.Chain, "key": s.server.Key, "users": []byte("alice: wonderland\n")}
	client := map[string][]byte{"ca": s.ca.PEM(), "password": []byte("wonderland")}
	for _, c := range []struct {
		name    string
		secrets map[string][]byte
		values  map[string]string
		want    string
	}{
		{"no secret", nil, nil, "needs the secret users"},
		{"a server without a certificate", map[string][]byte{"users": server["users"]}, nil, "needs certificate and key"},
		{"a client without an authority", map[string][]byte{"password": client["password"]}, nil, "needs ca"},
		{"a key among the authorities", map[string][]byte{"password": client["password"], "ca": s.server.Key}, nil, `"PRIVATE KEY" where "CERTIFICATE" belongs`},
		{"an inner method without keys in a tunnel of nobody", client, map[string]string{"inner": "md5"}, "neither mschapv2 nor gtc"},
		{"a binding of nobody", client, map[string]string{"crypto-binding": "maybe"}, `"maybe" is none of`},
	} {
		err := (&Method{}).Configure(context.Background(), eapsdk.Config{Values: c.values, Secrets: c.secrets}, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "wonderland") {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
}
