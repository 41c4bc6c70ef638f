package eapsdk

import (
	"strings"
	"testing"
)

func TestSettingsAreHeldAgainstTheDescription(t *testing.T) {
	d := Description{Settings: []Setting{{Name: "users", Secret: true, Required: true, Help: "who may come in"}, {Name: "prompt"}}}
	users := map[string][]byte{"users": nil}
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Secrets: users}, ""},
		{Config{Secrets: users, Values: map[string]string{"prompt": ""}}, ""},
		{Config{}, `its setting "users" is needed: who may come in`},
		{Config{Values: map[string]string{"users": "x"}}, `"users" is a secret`},
		{Config{Secrets: map[string][]byte{"users": nil, "prompt": nil}}, `"prompt" is no secret`},
		{Config{Secrets: users, Values: map[string]string{"promt": ""}}, `knows no setting "promt"; it knows prompt, users`},
		{Config{Secrets: map[string][]byte{"users": nil, "usrs": nil}}, `knows no secret "usrs"`},
	} {
		err := d.Check(c.config)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.config, err, c.want)
		}
	}
}

// FuzzSocketOf: a line leads to a socket only if it is the handshake's.
func FuzzSocketOf(f *testing.F) {
	for _, line := range []string{"1|1|unix|/tmp/s|grpc", "1|1|unix|/tmp/s|grpc|cert|more\n", "1|1|tcp|127.0.0.1:1|grpc", "2|1|unix|/tmp/s|grpc", "1|1|unix||grpc", "1|1|unix|/tmp/s|netrpc", ""} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		socket, err := SocketOf(line)
		trimmed := strings.TrimSpace(line)
		if good := err == nil; good != (strings.HasPrefix(trimmed, "1|1|unix|"+socket+"|grpc") && socket != "") {
			t.Errorf("%q leads to %q, %v", line, socket, err)
		}
	})
}
