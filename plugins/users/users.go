// Package users is where the password methods find their users: a static file for small sites, and behind the same Verifier whatever a site has, a directory for
// example (plugins/eap-ldap).
//
// # The user file
//
// One user a line, in UTF-8:
//
//	# name: password, or the NT hash of one; groups behind it
//	alice: wonderland
//	bob: nt-hash:44ebba8d5312b8d611474411f56989ae
//	carol: "pass: \"word\" # with anything" staff,admins
//	SALES\dave: s3cret sales
//	"erin: of the mill": "x"
//
// A line that begins with # is a comment, and so is # behind the last word. A name ends at the first colon. A password without quotes has no spaces; within
// quotes \" is a quote and \\ a backslash, and nothing else is special. Groups are separated by commas, without spaces; they are letters, digits, dot, hyphen and underscore.
// nt-hash: is 32 hexadecimal digits, MD4 of the password in UTF-16; it serves MS-CHAPv2, GTC and PAP, but not MD5, which needs the password itself. An NT hash is as good as the
// password to whoever steals it: it hides nothing but the words.
//
// Every method takes the whole file as its secret "users", so the file is a credential and lies with the others. A changed file is a changed policy:
// the plugin starts again with it, and sessions that stand are not touched. Each plugin checks a file before it counts:
//
//	eap-mschapv2 --check /etc/trike/users
//
// tells every line that is wrong, by number and never by its words, and ends with status 1. A plugin that is given a bad file does not start.
//
// # Names
//
// A peer says "alice", "alice@example.com" or "EXAMPLE\alice" as its software likes. Three settings say what counts, all "no" unless set to "yes": strip-domain (all up to the
// first backslash goes), strip-realm (all from the last @ goes) and fold-case (letters count alike). They apply to the names of the file and of the peer. A user is
// known to the rest of trike, its logs, pools and rules of uniqueness, by the name in the file, however the peer has spelt it.
// A connection that the policy keeps for certain names is for that name, too: where realms choose connections, the file has them and strip-realm is no.
package users

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/trike-ipsec/trike/plugins/internal/mschap"
)

// Bounds of a user file. The file crosses to the plugin in one message.
const (
	MaxFile   = 1 << 20 // octets
	MaxUsers  = 20000
	MaxLine   = 2048 // octets
	MaxName   = 253  // octets, as in RADIUS
	MaxGroup  = 63   // octets of a group's name
	MaxGroups = 64   // of one user, as eapsdk.MaxGroups
)

// Account is who has proved to be whom.
type Account struct {
	Name   string
	Groups []string
}

// ErrRefused is what a Verifier says of a name or a password that is wrong. What it wraps is for the operator; the peer hears one answer for all.
var ErrRefused = errors.New("refused")

// Verifier checks a password that the peer has sent as it is: EAP-GTC, or PAP within TTLS. An unknown name takes as long as a wrong password.
type Verifier interface {
	// Verify returns an error that wraps ErrRefused when the name or the password is wrong, and any other when the back end could not say.
	Verify(ctx context.Context, name string, password []byte) (Account, error)
}

// Entry is what a file says of a name. There is one for every name: of one that is not in the file it has a password that nobody knows, so that a method goes the same
// way with it to the same end.
type Entry struct {
	Account
	// Known is whether the name is in the file. A method asks it last.
	Known  bool
	hash   mschap.Hash
	clear  []byte
	hashed bool // the file has the hash alone
}

// NTHash is the hash that MS-CHAPv2 is made of.
func (e Entry) NTHash() mschap.Hash { return e.hash }

// Password is the password itself, the entry's own memory. Where the file has but a hash, it is one that nobody knows, and the second result is false.
func (e Entry) Password() ([]byte, bool) { return e.clear, !e.hashed }

// String keeps what is secret from being printed with the rest.
func (e Entry) String() string { return fmt.Sprintf("user %q", e.Name) }

// GoString is String.
func (e Entry) GoString() string { return e.String() }

// File is a user file that has been read. It never changes.
type File struct {
	names   Names
	entries map[string]Entry
	nobody  Entry
}

// Read takes the whole text of a file. Its error is Problems: all that is wrong.
func Read(text []byte, names Names) (*File, error) {
	entries, problems := parse(text, names)
	if len(problems) > 0 {
		return nil, problems
	}
	f := &File{names: names, entries: entries}
	var err error
	// A password of a random number: nobody's.
	if f.nobody.hash, err = mschap.HashPassword(rand.Text()); err != nil {
		return nil, err
	}
	f.nobody.clear = []byte(rand.Text())
	return f, nil
}

// Len is how many users the file has.
func (f *File) Len() int { return len(f.entries) }

// Find looks a name up as the peer has said it.
func (f *File) Find(name string) Entry {
	e, ok := f.entries[f.names.Key(name)]
	if !ok {
		e = f.nobody
		e.Name = name
	}
	if e.hashed {
		e.clear = f.nobody.clear
	}
	return e
}

// Verify implements Verifier. It compares NT hashes, which every entry has, in the same time for every name.
func (f *File) Verify(_ context.Context, name string, password []byte) (Account, error) {
	e := f.Find(name)
	hash, err := mschap.HashPassword(string(password))
	same := subtle.ConstantTimeCompare(hash[:], e.hash[:]) == 1 && err == nil
	switch {
	case !e.Known:
		return Account{}, fmt.Errorf("%w: user %q is not in the user file", ErrRefused, name)
	case !same:
		return Account{}, fmt.Errorf("%w: wrong password of user %q", ErrRefused, e.Name)
	}
	return e.Account, nil
}
