package users

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/trike-ipsec/trike/plugins/internal/mschap"
)

// Problem is one thing that is wrong with a user file. It never shows a word of the file: the word may be a password.
type Problem struct {
	Line int // from 1; 0: the file as a whole
	What string
}

// String is "line 3: …".
func (p Problem) String() string {
	if p.Line == 0 {
		return p.What
	}
	return fmt.Sprintf("line %d: %s", p.Line, p.What)
}

// Problems is all that is wrong with a user file, in the order of its lines.
type Problems []Problem

// shownProblems is how many of them an error has room for.
const shownProblems = 8

// Error implements error.
func (p Problems) Error() string {
	var b strings.Builder
	b.WriteString("user file: ")
	for i, one := range p {
		if i == shownProblems {
			fmt.Fprintf(&b, "; and %d more", len(p)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(one.String())
	}
	return b.String()
}

// parse reads a file's text.
func parse(text []byte, names Names) (map[string]Entry, Problems) {
	if len(text) > MaxFile {
		return nil, Problems{{0, fmt.Sprintf("it has %d octets, and may have %d: more users belong into a directory or behind RADIUS", len(text), MaxFile)}}
	}
	if !utf8.Valid(text) {
		return nil, Problems{{0, "it is not UTF-8"}}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	entries := make(map[string]Entry)
	first := make(map[string]int)
	var problems Problems
	number := 0
	for line := range bytes.Lines(text) {
		number++
		e, err := parseLine(strings.TrimSpace(string(line)))
		if err != nil {
			problems = append(problems, Problem{number, err.Error()})
			continue
		}
		if !e.Known {
			continue
		}
		key := names.Key(e.Name)
		if key == "" {
			problems = append(problems, Problem{number, "nothing is left of the name without its domain and realm (strip-domain, strip-realm)"})
			continue
		}
		if at, twice := first[key]; twice {
			problems = append(problems, Problem{number, fmt.Sprintf("the user of line %d again: one name, one line (strip-domain, strip-realm and fold-case count)", at)})
			continue
		}
		first[key], entries[key] = number, e
	}
	switch {
	case len(entries) > MaxUsers:
		problems = append(problems, Problem{0, fmt.Sprintf("it has %d users, and may have %d", len(entries), MaxUsers)})
	case len(entries) == 0 && len(problems) == 0:
		problems = Problems{{0, "it has no user"}}
	}
	return entries, problems
}

// parseLine reads one line without the space around it. An empty one is an Entry that is not Known.
func parseLine(line string) (e Entry, err error) {
	if line == "" || line[0] == '#' {
		return Entry{}, nil
	}
	if len(line) > MaxLine {
		return Entry{}, fmt.Errorf("it has %d octets, and may have %d", len(line), MaxLine)
	}
	rest := ""
	if e.Name, rest, err = parseName(line); err != nil {
		return Entry{}, err
	}
	if rest, err = e.parsePassword(strings.TrimLeftFunc(rest, unicode.IsSpace)); err != nil {
		return Entry{}, err
	}
	if e.Groups, err = parseGroups(rest); err != nil {
		return Entry{}, err
	}
	e.Known = true
	return e, nil
}

// parseName reads up to the colon and over it.
func parseName(line string) (name, rest string, err error) {
	found := false
	if line[0] == '"' {
		if name, rest, err = quoted(line); err != nil {
			return "", "", fmt.Errorf("name: %w", err)
		}
		rest, found = strings.CutPrefix(strings.TrimLeftFunc(rest, unicode.IsSpace), ":")
	} else {
		name, rest, found = strings.Cut(line, ":")
		name = strings.TrimRightFunc(name, unicode.IsSpace)
	}
	switch {
	case !found:
		return "", "", fmt.Errorf("there is no colon behind a name: write name: password")
	case name == "":
		return "", "", fmt.Errorf("the name before the colon is missing")
	case len(name) > MaxName:
		return "", "", fmt.Errorf("the name has %d octets, and may have %d", len(name), MaxName)
	case strings.ContainsFunc(name, unicode.IsControl):
		return "", "", fmt.Errorf("the name has a control character")
	}
	return name, rest, nil
}

// hashPrefix stands before an NT hash. A password that begins so is written in quotes.
const hashPrefix = "nt-hash:"

// parsePassword reads the password or the hash, and gives what is behind.
func (e *Entry) parsePassword(s string) (rest string, err error) {
	password := ""
	switch {
	case s == "":
		return "", fmt.Errorf("the password is missing")
	case s[0] == '"':
		if password, rest, err = quoted(s); err != nil {
			return "", fmt.Errorf("password: %w", err)
		}
		if rest != "" && !unicode.IsSpace(rune(rest[0])) {
			return "", fmt.Errorf("password: something follows the closing quote without a space")
		}
	default:
		password = s
		if i := strings.IndexFunc(s, unicode.IsSpace); i >= 0 {
			password, rest = s[:i], s[i:]
		}
		if digits, ok := strings.CutPrefix(password, hashPrefix); ok {
			e.hashed = true
			return rest, e.parseHash(digits)
		}
		if strings.Contains(password, `"`) {
			return "", fmt.Errorf(`password: a quote within it: put the whole in quotes, and \ before the quote`)
		}
	}
	if password == "" {
		return "", fmt.Errorf("the password is empty")
	}
	if strings.ContainsFunc(password, unicode.IsControl) {
		return "", fmt.Errorf("the password has a control character")
	}
	e.clear = []byte(password)
	e.hash, err = mschap.HashPassword(password)
	return rest, err
}

func (e *Entry) parseHash(digits string) error {
	if len(digits) != 2*mschap.HashSize {
		return fmt.Errorf("%s takes 32 hexadecimal digits, and has %d characters", hashPrefix, len(digits))
	}
	if _, err := hex.Decode(e.hash[:], []byte(digits)); err != nil {
		return fmt.Errorf("%s takes 32 hexadecimal digits, and one is none", hashPrefix)
	}
	return nil
}

// parseGroups reads "staff,admins" and a comment behind it.
func parseGroups(s string) ([]string, error) {
	words := strings.Fields(s)
	for i, w := range words {
		if w[0] == '#' {
			words = words[:i]
			break
		}
	}
	switch len(words) {
	case 0:
		return nil, nil
	case 1:
	default:
		return nil, fmt.Errorf("there is more behind the groups: groups have commas and no spaces, and a password with spaces stands in quotes")
	}
	groups := strings.Split(words[0], ",")
	if len(groups) > MaxGroups {
		return nil, fmt.Errorf("there are %d groups, and may be %d", len(groups), MaxGroups)
	}
	for i, g := range groups {
		if !groupName(g) {
			return nil, fmt.Errorf("group %d is not 1 to %d of letters, digits, dot, hyphen and underscore", i+1, MaxGroup)
		}
	}
	return groups, nil
}

func groupName(g string) bool {
	return g != "" && len(g) <= MaxGroup && strings.IndexFunc(g, func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) < 0
}

// quoted reads a string that begins with a quote, and gives what is behind the one that closes it.
func quoted(s string) (text, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], nil
		case '\\':
			if i++; i >= len(s) || s[i] != '"' && s[i] != '\\' {
				return "", "", fmt.Errorf(`within quotes a backslash stands before " or \ alone`)
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", fmt.Errorf("the closing quote is missing")
}
