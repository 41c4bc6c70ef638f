package directory

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/users"
)

// Bounds of the settings.
const (
	maxServers     = 8
	defaultTimeout = 5 * time.Second
	maxTimeout     = 30 * time.Second
)

// What a template replaces.
const (
	userMark = "{user}"
	dnMark   = "{dn}"
)

// config is what a policy says, checked.
type config struct {
	servers []server
	tls     *tls.Config
	timeout time.Duration
	names   users.Names

	bindDN, bindName           string
	serviceDN, servicePassword string
	searchBase, searchFilter   string

	groupAttribute, groupBase, groupFilter string
	keep                                   map[string]bool // nil: all groups
}

// server is one directory server.
type server struct {
	address string // host:port
	name    string // for its certificate
	start   bool   // LDAP with StartTLS; false: TLS from the first octet
}

func settings() []eapsdk.Setting {
	return []eapsdk.Setting{
		{Name: "url", Required: true, Help: "ldaps://host or ldap://host (then StartTLS), several with spaces between, tried in order"},
		{Name: "ca", Secret: true, Required: true, Help: "the CA certificates, in PEM, for the directory's own"},
		{Name: "server-name", Help: "the name in the directory's certificate (the URL's host unless set)"},
		{Name: "timeout", Help: "seconds that one login may take, 1 to 30 (5 unless set)"},
		{Name: "bind-dn", Help: "where every user lies: uid={user},ou=people,dc=example,dc=org"},
		{Name: "bind-name", Help: "how Active Directory names a user: {user}@example.org"},
		{Name: "service-dn", Help: "who searches for users, when neither bind-dn nor bind-name fits"},
		{Name: "service-password", Secret: true, Help: "the password of service-dn"},
		{Name: "search-base", Help: "below what users are searched for"},
		{Name: "search-filter", Help: "what fits one user alone: (uid={user})"},
		{Name: "group-attribute", Help: "the attribute of a user that has the groups' DNs: memberOf"},
		{Name: "group-base", Help: "below what groups are searched for"},
		{Name: "group-filter", Help: "what fits a user's groups: (member={dn}) or (memberUid={user})"},
		{Name: "groups", Help: "the groups that count, with commas between (all unless set)"},
		{Name: "strip-domain", Help: `yes: EXAMPLE\alice is the user alice (no unless set)`},
		{Name: "strip-realm", Help: "yes: alice@example.com is the user alice (no unless set)"},
	}
}

// read takes the settings, and says all that is wrong with them.
func read(c eapsdk.Config) (config, error) {
	v := c.Values
	out := config{
		bindDN: v["bind-dn"], bindName: v["bind-name"], serviceDN: v["service-dn"], searchBase: v["search-base"], searchFilter: v["search-filter"],
		servicePassword: strings.TrimRight(string(c.Secrets["service-password"]), "\r\n"),
		groupAttribute:  v["group-attribute"], groupBase: v["group-base"], groupFilter: v["group-filter"],
	}
	var wrong []error
	note := func(err error) {
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	var err error
	out.servers, err = readURLs(v["url"], v["server-name"])
	note(err)
	out.tls, err = readCA(c.Secrets["ca"])
	note(err)
	out.timeout, err = readTimeout(v["timeout"])
	note(err)
	out.names, err = users.NamesFrom(map[string]string{"strip-domain": v["strip-domain"], "strip-realm": v["strip-realm"], "fold-case": "yes"})
	note(err)
	note(out.checkWay())
	note(out.checkTemplates())
	note(out.checkGroups())
	if list := v["groups"]; list != "" {
		out.keep = make(map[string]bool)
		for g := range strings.SplitSeq(list, ",") {
			out.keep[strings.ToLower(strings.TrimSpace(g))] = true
		}
	}
	return out, errors.Join(wrong...)
}

func readURLs(text, name string) (servers []server, err error) {
	for _, word := range strings.Fields(text) {
		u, err := url.Parse(word)
		if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("setting url: %q has to be ldaps://HOST[:PORT] or ldap://HOST[:PORT]", word)
		}
		s := server{name: name, start: u.Scheme == "ldap"}
		port := u.Port()
		switch {
		case u.Scheme != "ldap" && u.Scheme != "ldaps":
			return nil, fmt.Errorf("setting url: %q has to begin with ldaps:// or ldap://", word)
		case port == "" && s.start:
			port = ldap.DefaultLdapPort
		case port == "":
			port = ldap.DefaultLdapsPort
		}
		if s.name == "" {
			s.name = u.Hostname()
		}
		s.address = net.JoinHostPort(u.Hostname(), port)
		servers = append(servers, s)
	}
	if len(servers) == 0 || len(servers) > maxServers {
		return nil, fmt.Errorf("setting url names %d servers: it has to name 1 to %d", len(servers), maxServers)
	}
	return servers, nil
}

func readCA(pem []byte) (*tls.Config, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("secret ca has no certificate in PEM: passwords go to a directory that proves itself, and to no other")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

func readTimeout(text string) (time.Duration, error) {
	if text == "" {
		return defaultTimeout, nil
	}
	n, err := strconv.Atoi(text)
	if d := time.Duration(n) * time.Second; err == nil && n >= 1 && d <= maxTimeout {
		return d, nil
	}
	return 0, fmt.Errorf("setting timeout is %q: it has to be 1 to %d seconds", text, int(maxTimeout.Seconds()))
}

// checkWay wants one way to find the user.
func (c config) checkWay() error {
	ways := 0
	for _, w := range []string{c.bindDN, c.bindName, c.serviceDN} {
		if w != "" {
			ways++
		}
	}
	switch {
	case ways != 1:
		return fmt.Errorf("%d of bind-dn, bind-name and service-dn are set: set one", ways)
	case c.serviceDN != "" && c.servicePassword == "":
		return errors.New("service-dn is set without the secret service-password")
	case c.serviceDN != "" && (c.searchBase == "" || c.searchFilter == ""):
		return errors.New("service-dn is set without search-base and search-filter: it would not know what to search for")
	case (c.searchBase == "") != (c.searchFilter == ""):
		return errors.New("search-base and search-filter belong together, and one is missing")
	}
	return nil
}

// checkTemplates fills the templates in and sees whether they are what they should be.
func (c config) checkTemplates() error {
	var wrong []error
	for _, t := range []struct{ name, text string }{{"bind-dn", c.bindDN}, {"bind-name", c.bindName}, {"search-filter", c.searchFilter}} {
		if t.text != "" && !strings.Contains(t.text, userMark) {
			wrong = append(wrong, fmt.Errorf("setting %s has no %s: every user would be the same", t.name, userMark))
		}
	}
	if c.groupFilter != "" && !strings.Contains(c.groupFilter, userMark) && !strings.Contains(c.groupFilter, dnMark) {
		wrong = append(wrong, fmt.Errorf("setting group-filter has neither %s nor %s: every user would have the same groups", dnMark, userMark))
	}
	for _, t := range []struct{ name, text string }{{"bind-dn", fillDN(c.bindDN, "x")}, {"service-dn", c.serviceDN}, {"search-base", c.searchBase}, {"group-base", c.groupBase}} {
		if _, err := ldap.ParseDN(t.text); err != nil {
			wrong = append(wrong, fmt.Errorf("setting %s is no distinguished name: %w", t.name, err))
		}
	}
	for _, t := range []struct{ name, text string }{{"search-filter", c.searchFilter}, {"group-filter", c.groupFilter}} {
		if t.text == "" {
			continue
		}
		if _, err := ldap.CompileFilter(fillFilter(t.text, "x", "dc=x")); err != nil {
			wrong = append(wrong, fmt.Errorf("setting %s is no filter of RFC 4515: %w", t.name, err))
		}
	}
	return errors.Join(wrong...)
}

// checkGroups wants to be able to look for groups where it is told to.
func (c config) checkGroups() error {
	switch {
	case (c.groupBase == "") != (c.groupFilter == ""):
		return errors.New("group-base and group-filter belong together, and one is missing")
	case c.bindName != "" && c.searchBase == "" && (c.groupAttribute != "" || strings.Contains(c.groupFilter, dnMark)):
		return errors.New("groups need the user's DN, which bind-name does not say: set search-base and search-filter")
	}
	return nil
}

// wantsGroups is whether a login asks for groups.
func (c config) wantsGroups() bool { return c.groupAttribute != "" || c.groupFilter != "" }

// fillDN puts a name into a DN, where it cannot end its value (RFC 4514 section 2.4).
func fillDN(template, user string) string {
	return strings.ReplaceAll(template, userMark, ldap.EscapeDN(user))
}

// fillFilter puts a name and a DN into a filter, where they match themselves alone (RFC 4515 section 3).
func fillFilter(template, user, dn string) string {
	return strings.NewReplacer(userMark, ldap.EscapeFilter(user), dnMark, ldap.EscapeFilter(dn)).Replace(template)
}
