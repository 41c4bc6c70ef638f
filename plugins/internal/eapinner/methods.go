// Package eapinner is EAP within a tunnel, for TTLS and PEAP: the identity, the choice of a method with Naks, and the method's own conversation. What carries the packets is
// the outer method's affair, and so is how success is told: neither of the two carries an inner EAP Success.
package eapinner

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/trike-ipsec/trike/plugins/eap-gtc/gtc"
	"github.com/trike-ipsec/trike/plugins/eap-md5/md5"
	"github.com/trike-ipsec/trike/plugins/eap-mschapv2/mschapv2"
	"github.com/trike-ipsec/trike/plugins/eapsdk"
)

// Methods are those that may run inside, the first being the one that a server proposes.
type Methods struct{ list []eapsdk.Method }

// Names are the methods that Configure knows.
func Names() []string { return []string{"mschapv2", "gtc", "md5"} }

// Configure makes the named methods of the outer method's settings: the secrets users and password, and the values that concern names.
func Configure(ctx context.Context, c eapsdk.Config, names []string, log *slog.Logger) (*Methods, error) {
	m := &Methods{}
	for _, name := range names {
		method, err := byName(name)
		if err != nil {
			return nil, err
		}
		if err := method.Configure(ctx, only(c, method.Describe().Settings), log.With("inner", name)); err != nil {
			return nil, fmt.Errorf("inner method %s: %w", name, err)
		}
		m.list = append(m.list, method)
	}
	return m, nil
}

func byName(name string) (eapsdk.Method, error) {
	switch name {
	case "mschapv2":
		return &mschapv2.Method{}, nil
	case "gtc":
		return &gtc.Method{}, nil
	case "md5":
		return &md5.Method{}, nil
	}
	return nil, fmt.Errorf("no inner method is called %q: there are %v", name, Names())
}

// only gives a method the settings that it knows.
func only(c eapsdk.Config, settings []eapsdk.Setting) eapsdk.Config {
	out := eapsdk.Config{Values: map[string]string{}, Secrets: map[string][]byte{}}
	for _, s := range settings {
		if v, ok := c.Values[s.Name]; ok && !s.Secret {
			out.Values[s.Name] = v
		}
		if v, ok := c.Secrets[s.Name]; ok && s.Secret {
			out.Secrets[s.Name] = v
		}
	}
	return out
}

// of is the method with that type, or nil.
func (m *Methods) of(t eapsdk.Type) eapsdk.Method {
	i := slices.IndexFunc(m.list, func(m eapsdk.Method) bool { return m.Describe().Type == t })
	if i < 0 {
		return nil
	}
	return m.list[i]
}

// types are those of the methods, in order.
func (m *Methods) types() []byte {
	var out []byte
	for _, method := range m.list {
		out = append(out, byte(method.Describe().Type))
	}
	return out
}
