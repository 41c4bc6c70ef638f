package directory

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/users"
)

func directory(t *testing.T, ca []byte, values map[string]string) *Directory {
	t.Helper()
	d, err := New(eapsdk.Config{Values: values, Secrets: map[string][]byte{"ca": ca, "service-password": []byte("service\n")}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// with is a policy's settings: a way, and what comes to it.
func with(way map[string]string, more ...string) map[string]string {
	out := map[string]string{}
	for k, v := range way {
		out[k] = v
	}
	for i := 0; i < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

func TestLoginsAtOpenLDAP(t *testing.T) {
	s := startSlapd(t)
	direct := map[string]string{"url": "ldaps://" + s.ldaps, "bind-dn": "uid={user},ou=people,dc=example,dc=org", "strip-domain": "yes", "strip-realm": "yes"}
	service := map[string]string{"url": "ldap://" + s.plain, "service-dn": "cn=trike,dc=example,dc=org", "search-base": "ou=people,dc=example,dc=org",
		"search-filter": "(&(objectClass=inetOrgPerson)(uid={user}))"}
	groups := []string{"group-base", "ou=groups,dc=example,dc=org", "group-filter", "(&(objectClass=groupOfNames)(member={dn}))"}
	ways := map[string]map[string]string{
		"bind-dn over TLS":              direct,
		"bind-dn with StartTLS":         with(direct, "url", "ldap://"+s.plain),
		"a service with StartTLS":       service,
		"bind-dn and groups":            with(direct, groups...),
		"a service and groups":          with(service, groups...),
		"a first server that is closed": with(direct, "url", "ldaps://"+freePort(t)+" ldaps://"+s.ldaps),
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			d := directory(t, s.ca, way)
			got, err := d.Verify(t.Context(), "Alice", []byte("wonderland"))
			if err != nil {
				t.Fatal(err)
			}
			want := users.Account{Name: "alice"}
			if way["group-base"] != "" {
				want.Groups = []string{"Domain Admins", "staff"}
			}
			if got.Name != want.Name || !slices.Equal(got.Groups, want.Groups) {
				t.Errorf("%+v, want %+v", got, want)
			}
			for _, wrong := range [][2]string{
				{"alice", "builder"}, {"alice", ""}, {"mallory", "wonderland"}, {"", "wonderland"}, {"nopass", "x"}, {"nopass", ""}, {"al*", "wonderland"}, {"*", "wonderland"},
				{"alice)(uid=*", "wonderland"}, {"alice,ou=people", "wonderland"}, {" alice", "wonderland"}, {"alice ", "wonderland"}, {"\u00e1lice", "wonderland"}, {"alice\x00", "wonderland"},
			} {
				if got, err := d.Verify(t.Context(), wrong[0], []byte(wrong[1])); !errors.Is(err, users.ErrRefused) || strings.Contains(err.Error(), "wonderland") {
					t.Errorf("%q with %q: %+v, %v", wrong[0], wrong[1], got, err)
				}
			}
			// A name may have what a DN or a filter gives a meaning to: it is itself.
			if got, err := d.Verify(t.Context(), "bob,ou=groups", []byte("builder")); err != nil || got.Name != "bob,ou=groups" {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}

	t.Run("more logins at once than ask the directory at once", func(t *testing.T) {
		d := directory(t, s.ca, with(with(service, groups...), "timeout", "30"))
		results := make(chan error)
		const many = 2*maxBusy + 1
		for i := range many {
			go func() {
				password := []string{"wonderland", "guess"}[i%2]
				_, err := d.Verify(t.Context(), "alice", []byte(password))
				if refused := errors.Is(err, users.ErrRefused); err != nil && !refused || refused != (i%2 == 1) {
					results <- fmt.Errorf("%s: %w", password, err)
					return
				}
				results <- nil
			}()
		}
		for range many {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("a domain and a realm", func(t *testing.T) {
		if got, err := directory(t, s.ca, direct).Verify(t.Context(), `EXAMPLE\alice@example.org`, []byte("wonderland")); err != nil || got.Name != "alice" {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("groups of the user's own entry", func(t *testing.T) {
		d := directory(t, s.ca, with(direct, "group-attribute", "businessCategory"))
		if got, err := d.Verify(t.Context(), "alice", []byte("wonderland")); err != nil || !slices.Equal(got.Groups, []string{"crew"}) {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("the groups that count", func(t *testing.T) {
		d := directory(t, s.ca, with(with(direct, groups...), "groups", "domain admins, other"))
		if got, err := d.Verify(t.Context(), "alice", []byte("wonderland")); err != nil || !slices.Equal(got.Groups, []string{"Domain Admins"}) {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("a name that is two users", func(t *testing.T) {
		if got, err := directory(t, s.ca, service).Verify(t.Context(), "twin", []byte("twin")); err == nil || !strings.Contains(err.Error(), "several users") {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("a service that is refused", func(t *testing.T) {
		_, err := directory(t, s.ca, with(service, "service-dn", "cn=other,dc=example,dc=org")).Verify(t.Context(), "alice", []byte("wonderland"))
		if err == nil || errors.Is(err, users.ErrRefused) || !strings.Contains(err.Error(), "service-dn") {
			t.Error(err)
		}
	})
	t.Run("another CA", func(t *testing.T) {
		if _, err := directory(t, newAuthority(t).ca, direct).Verify(t.Context(), "alice", []byte("wonderland")); err == nil || !strings.Contains(err.Error(), "TLS") {
			t.Error(err)
		}
	})
	t.Run("another name in the certificate", func(t *testing.T) {
		for _, url := range []string{"ldaps://" + s.ldaps, "ldap://" + s.plain} {
			if _, err := directory(t, s.ca, with(direct, "url", url, "server-name", "dc2.example.org")).Verify(t.Context(), "alice", []byte("wonderland")); err == nil || !strings.Contains(err.Error(), "TLS") {
				t.Error(err)
			}
		}
		if _, err := directory(t, s.ca, with(direct, "server-name", "dc.example.org")).Verify(t.Context(), "alice", []byte("wonderland")); err != nil {
			t.Error(err)
		}
	})
	t.Run("through EAP-GTC", func(t *testing.T) {
		m := new(Method)
		if err := m.Configure(t.Context(), eapsdk.Config{Values: direct, Secrets: map[string][]byte{"ca": s.ca}}, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		session, step, err := m.Begin(t.Context(), eapsdk.Begin{Role: eapsdk.Server, Identity: "alice", Identifier: 3})
		if err != nil || step.Packet[4] != byte(eapsdk.TypeGTC) {
			t.Fatal(step, err)
		}
		step, err = session.Next(t.Context(), append([]byte{2, 3, 0, 15, 6}, "wonderland"...))
		if err != nil || step.Outcome != eapsdk.Success || step.Identity != "alice" {
			t.Errorf("%+v, %v", step, err)
		}
	})
}

// serve runs a server of TLS that does with each connection what do says.
func serve(t *testing.T, a authority, do func(net.Conn)) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{a.pair}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { do(conn); _ = conn.Close() }()
		}
	}()
	return "ldaps://" + l.Addr().String()
}

// The login ends, and lets nobody in.
func TestDirectoriesThatMisbehave(t *testing.T) {
	a := newAuthority(t)
	for name, do := range map[string]func(net.Conn){
		"hangs up":     func(c net.Conn) { _, _ = c.Read(make([]byte, 100)) },
		"says nothing": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"says rubbish": func(c net.Conn) {
			_, _ = c.Read(make([]byte, 100))
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		},
		"claims gigabytes": func(c net.Conn) {
			_, _ = c.Read(make([]byte, 100))
			_, _ = c.Write([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff})
			_, _ = io.Copy(c, zeros{})
		},
		"answers another": func(c net.Conn) {
			_, _ = c.Read(make([]byte, 100))
			_, _ = c.Write([]byte{0x30, 0x0c, 2, 1, 99, 0x61, 7, 10, 1, 0, 4, 0, 4, 0})
			_, _ = io.Copy(io.Discard, c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := directory(t, a.ca, map[string]string{"url": serve(t, a, do), "bind-dn": "uid={user},dc=example", "timeout": "1"})
			if got, err := d.Verify(t.Context(), "alice", []byte("wonderland")); err == nil || errors.Is(err, users.ErrRefused) || strings.Contains(err.Error(), "wonderland") {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A plain LDAP server that knows no StartTLS does not see a password.
func TestNoPasswordGoesWithoutTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan []byte, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		first := make([]byte, 100)
		n, _ := conn.Read(first)
		// ExtendedResponse, protocolError (RFC 4511 section 4.12)
		_, _ = conn.Write([]byte{0x30, 0x0c, 2, 1, 1, 0x78, 7, 10, 1, 2, 4, 0, 4, 0})
		rest, _ := io.ReadAll(conn)
		heard <- append(first[:n], rest...)
	}()
	defer func() { _ = l.Close() }()
	d := directory(t, newAuthority(t).ca, map[string]string{"url": "ldap://" + l.Addr().String(), "bind-dn": "uid={user},dc=example", "timeout": "1"})
	if _, err := d.Verify(t.Context(), "alice", []byte("wonderland")); err == nil || !strings.Contains(err.Error(), "StartTLS") {
		t.Error(err)
	}
	if all := <-heard; bytes.Contains(all, []byte("wonderland")) || bytes.Contains(all, []byte("alice")) {
		t.Errorf("in clear: %q", all)
	}
}

func TestSettingsThatAreWrong(t *testing.T) {
	ca := newAuthority(t).ca
	good := map[string]string{"url": "ldaps://dc.example.org", "bind-dn": "uid={user},dc=example,dc=org"}
	for want, values := range map[string]map[string]string{
		"names 0 servers":              with(good, "url", " "),
		"has to begin with":            with(good, "url", "https://dc.example.org"),
		"ldaps://HOST":                 with(good, "url", "ldaps://admin:secret@dc.example.org"),
		"1 to 30 seconds":              with(good, "timeout", "31"),
		"0 of bind-dn":                 with(good, "bind-dn", ""),
		"2 of bind-dn":                 with(good, "bind-name", "{user}@example.org"),
		"bind-dn has no {user}":        with(good, "bind-dn", "uid=alice,dc=example,dc=org"),
		"bind-dn is no distinguished":  with(good, "bind-dn", "{user}"),
		"search-filter is no filter":   with(good, "search-base", "dc=example", "search-filter", "(uid={user}"),
		"search-base and search-filt":  with(good, "search-base", "dc=example"),
		"group-base and group-filter":  with(good, "group-filter", "(member={dn})"),
		"group-filter has neither":     with(good, "group-base", "dc=example", "group-filter", "(cn=staff)"),
		"bind-name does not say":       with(good, "bind-dn", "", "bind-name", "{user}@example.org", "group-attribute", "memberOf"),
		"strip-realm is \"perhaps\"":   with(good, "strip-realm", "perhaps"),
		"without the secret service-p": with(good, "bind-dn", "", "service-dn", "cn=trike,dc=example", "search-base", "dc=example", "search-filter", "(uid={user})"),
	} {
		_, err := New(eapsdk.Config{Values: values, Secrets: map[string][]byte{"ca": ca}}, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	lost := with(good, "bind-dn", "", "service-dn", "cn=trike,dc=example")
	if _, err := New(eapsdk.Config{Values: lost, Secrets: map[string][]byte{"ca": ca, "service-password": []byte("x")}}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "what to search for") {
		t.Error(err)
	}
	if _, err := New(eapsdk.Config{Values: good}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "secret ca") {
		t.Error(err)
	}
}

func TestActiveDirectoryHearsNamesAlone(t *testing.T) {
	d := directory(t, newAuthority(t).ca, map[string]string{"url": "ldaps://127.0.0.1:9", "bind-name": "{user}@example.org", "timeout": "1"})
	for _, name := range []string{"alice@other.org", `OTHER\alice`, "cn=alice,dc=other", "S-1-5 21", "alice(x)"} {
		if _, err := d.Verify(t.Context(), name, []byte("wonderland")); !errors.Is(err, users.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGroupsAreBounded(t *testing.T) {
	d := directory(t, newAuthority(t).ca, map[string]string{"url": "ldaps://127.0.0.1:9", "bind-dn": "uid={user},dc=x"})
	names := []string{"", strings.Repeat("x", users.MaxGroup+1), "b", "a", "b"}
	if got := d.choose("alice", names); !slices.Equal(got, []string{"a", "b"}) {
		t.Error(got)
	}
	for i := range 200 {
		names = append(names, strings.Repeat("g", 1+i%60)+string(rune('a'+i%26)))
	}
	if got := d.choose("alice", names); len(got) != users.MaxGroups {
		t.Error(len(got))
	}
}

// However a name is made, it stays one value of a DN and of a filter.
func FuzzTemplates(f *testing.F) {
	f.Add("alice")
	f.Add("bob,ou=groups")
	f.Add("*)(uid=*")
	f.Add(" #\\\"+;<>=\x00")
	f.Fuzz(func(t *testing.T, name string) {
		if !plain(name) {
			return
		}
		if err := oneValue(fillDN("uid={user},dc=example", name), name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if err := oneAssertion(fillFilter("(uid={user})", name, ""), name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	})
}
