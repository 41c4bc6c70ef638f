package directory

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/trike-ipsec/trike/plugins/eapsdk"
	"github.com/trike-ipsec/trike/plugins/users"
)

// maxBusy is how many logins ask the directory at once. More wait, as long as their deadline lets them.
const maxBusy = 32

// maxNameSize is the most octets that a name may have.
const maxNameSize = 128

// Directory is a users.Verifier. It opens a connection for each login: a bind changes who a connection is.
type Directory struct {
	config
	log  *slog.Logger
	busy chan struct{}
}

// New reads the settings of a policy.
func New(c eapsdk.Config, log *slog.Logger) (*Directory, error) {
	cfg, err := read(c)
	if err != nil {
		return nil, err
	}
	return &Directory{config: cfg, log: log, busy: make(chan struct{}, maxBusy)}, nil
}

// Verify implements users.Verifier.
func (d *Directory) Verify(ctx context.Context, name string, password []byte) (users.Account, error) {
	// RFC 4513 section 5.1.2: a bind without a password succeeds, and says nothing of the user.
	if len(password) == 0 {
		return users.Account{}, fmt.Errorf("%w: %q sent no password", users.ErrRefused, name)
	}
	user := d.names.Key(name)
	if !plain(user) || d.bindName != "" && !simple(user) {
		return users.Account{}, fmt.Errorf("%w: the name %.*q is not 1 to %d letters, digits and signs of ASCII, without spaces at its ends", users.ErrRefused, maxNameSize, name, maxNameSize)
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	select {
	case d.busy <- struct{}{}:
		defer func() { <-d.busy }()
	case <-ctx.Done():
		return users.Account{}, fmt.Errorf("directory: %d logins wait for it already, and %q waited in vain", maxBusy, user)
	}
	conn, err := d.connect(ctx)
	if err != nil {
		return users.Account{}, err
	}
	defer func() { _ = conn.Close() }()
	l := login{Directory: d, conn: conn, user: user, password: string(password)}
	groups, err := l.run()
	if err != nil {
		return users.Account{}, err
	}
	return users.Account{Name: user, Groups: d.choose(user, groups)}, nil
}

// plain reports whether a name means one user to every directory: what they fold beyond case is not ASCII, or spaces.
func plain(name string) bool {
	if name == "" || len(name) > maxNameSize || name[0] == ' ' || name[len(name)-1] == ' ' || strings.Contains(name, "  ") {
		return false
	}
	for _, c := range []byte(name) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// simple reports whether a name is a name alone to Active Directory, which takes DNs, SIDs, domains and realms for one in a bind too.
func simple(name string) bool {
	return strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("._-'", r)
	}) < 0
}

// login is one user at one connection.
type login struct {
	*Directory
	conn     *ldap.Conn
	user     string
	password string
}

// run asks whether the password is right, and gives the groups as the directory names them.
func (l *login) run() ([]string, error) {
	if l.serviceDN != "" {
		return l.search()
	}
	dn := fillDN(l.bindDN, l.user)
	as := dn
	if l.bindName != "" {
		as = strings.ReplaceAll(l.bindName, userMark, l.user)
	}
	if err := l.bind(as); err != nil {
		return nil, err
	}
	if !l.wantsGroups() {
		return nil, nil
	}
	entry, err := l.entry(dn)
	if err != nil {
		return nil, err
	}
	if entry == nil {
		return nil, fmt.Errorf("directory has let %q in, but shows no entry of that name to it: mend search-base, search-filter or what users may read", l.user)
	}
	return l.groups(entry)
}

// search finds the user with the service's rights, and binds as whom it has found.
func (l *login) search() ([]string, error) {
	if err := l.conn.Bind(l.serviceDN, l.servicePassword); err != nil {
		return nil, fmt.Errorf("directory refuses service-dn %q: %.200s", l.serviceDN, shown(err))
	}
	entry, err := l.entry("")
	if err != nil {
		return nil, err
	}
	if entry == nil {
		// As many round trips as for a wrong password: whether a name exists must not show in the time it takes.
		nobody := "cn=" + rand.Text() + "," + l.searchBase
		_, _ = l.groups(&ldap.Entry{DN: nobody})
		_ = l.bind(nobody)
		return nil, fmt.Errorf("%w: directory has no user %q", users.ErrRefused, l.user)
	}
	groups, err := l.groups(entry)
	if err != nil {
		return nil, err
	}
	return groups, l.bind(entry.DN)
}

// bind asks whether the password is right.
func (l *login) bind(as string) error {
	err := l.conn.Bind(as, l.password)
	switch {
	case err == nil:
		return nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultInappropriateAuthentication):
		return fmt.Errorf("%w: directory refuses %q: %.200s", users.ErrRefused, as, shown(err))
	}
	return fmt.Errorf("directory cannot say whether the password of %q is right: %.200s", as, shown(err))
}

// shown is what a directory said, on one line.
func shown(err error) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, err.Error())
}

// entry reads the user's entry, by DN or by the filter; nil when there is none.
func (l *login) entry(dn string) (*ldap.Entry, error) {
	base, scope, filter := dn, ldap.ScopeBaseObject, "(objectClass=*)"
	if dn == "" {
		if l.searchBase == "" {
			return &ldap.Entry{}, nil // a group-filter that needs the name alone
		}
		base, scope, filter = l.searchBase, ldap.ScopeWholeSubtree, fillFilter(l.searchFilter, l.user, "")
	}
	attribute := "1.1" // none (RFC 4511 section 4.5.1.8)
	if l.groupAttribute != "" {
		attribute = l.groupAttribute
	}
	found, err := l.ask(base, scope, filter, attribute, 2)
	switch {
	case err != nil:
		return nil, fmt.Errorf("directory cannot look for user %q: %w", l.user, err)
	case len(found) > 1:
		return nil, fmt.Errorf("directory has several users that search-filter fits for %q: make it fit one", l.user)
	case len(found) == 0:
		return nil, nil
	}
	return found[0], nil
}

// groups gathers the names of a user's groups.
func (l *login) groups(entry *ldap.Entry) (names []string, err error) {
	if l.groupAttribute != "" {
		for _, value := range entry.GetEqualFoldAttributeValues(l.groupAttribute) {
			names = append(names, firstValue(value))
		}
	}
	if l.groupFilter == "" {
		return names, nil
	}
	const most = 1000
	found, err := l.ask(l.groupBase, ldap.ScopeWholeSubtree, fillFilter(l.groupFilter, l.user, entry.DN), "cn", most)
	if err != nil {
		return nil, fmt.Errorf("directory cannot look for the groups of %q: %w", l.user, err)
	}
	for _, g := range found {
		names = append(names, g.GetEqualFoldAttributeValue("cn"))
	}
	return names, nil
}

// ask searches. More than most entries are not an error here: they are seen as most.
func (l *login) ask(base string, scope int, filter, attribute string, most int) ([]*ldap.Entry, error) {
	seconds := int((l.timeout + time.Second - 1) / time.Second)
	r, err := l.conn.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, most, seconds, false, filter, []string{attribute}, nil))
	if r != nil && ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
		return r.Entries, nil
	}
	if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		return nil, nil
	}
	if err != nil {
		return nil, errors.New(shown(err))
	}
	return r.Entries, nil
}

// firstValue is the name in a group's DN: "staff" of "cn=staff,ou=groups,dc=example,dc=org". What is no DN is a name itself.
func firstValue(dn string) string {
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 || len(parsed.RDNs[0].Attributes) == 0 {
		return dn
	}
	return parsed.RDNs[0].Attributes[0].Value
}

// choose keeps the groups that count, each once and in order.
func (d *Directory) choose(user string, names []string) []string {
	var out []string
	for _, n := range names {
		if n == "" || len(n) > users.MaxGroup || d.keep != nil && !d.keep[strings.ToLower(n)] {
			continue
		}
		out = append(out, n)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) > users.MaxGroups {
		d.log.Warn("user has more groups than count: name those that should in the setting groups", "user", user, "has", len(out), "count", users.MaxGroups)
		out = out[:users.MaxGroups]
	}
	return out
}
