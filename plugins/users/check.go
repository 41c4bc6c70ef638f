package users

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// CheckCommand is what a plugin's main does with "--check FILE [SETTING=yes…]", before it serves: it reads a user file as the plugin would and tells what is wrong
// with it, a line each, or how many users it has. args are the program's, with its name. The first result is the exit status: 0 for a file that may be used, 1 for one that may not, 2
// for a wrong command line. The second is false when the command line asks for no check.
func CheckCommand(args []string, out, errs io.Writer) (status int, asked bool) {
	if len(args) < 2 || args[1] != "--check" && args[1] != "-check" {
		return 0, false
	}
	if len(args) < 3 {
		fmt.Fprintf(errs, "usage: %s --check FILE [strip-domain=yes] [strip-realm=yes] [fold-case=yes]\n", args[0])
		return 2, true
	}
	values := map[string]string{}
	for _, a := range args[3:] {
		name, value, _ := strings.Cut(a, "=")
		values[name] = value
	}
	names, err := NamesFrom(values)
	if err != nil {
		fmt.Fprintln(errs, err)
		return 2, true
	}
	text, err := readFile(args[2])
	if err != nil {
		fmt.Fprintln(errs, err)
		return 2, true
	}
	if !Check(text, names, out) {
		return 1, true
	}
	return 0, true
}

// readFile reads a little more than a user file may have, and no more.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, MaxFile+1))
}

// Check is CheckCommand for a text at hand. The result is whether it may be used.
func Check(text []byte, names Names, out io.Writer) bool {
	f, err := Read(text, names)
	var problems Problems
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			fmt.Fprintln(out, p)
		}
		return false
	case err != nil:
		fmt.Fprintln(out, err)
		return false
	}
	hashes, groups := 0, map[string]bool{}
	for _, e := range f.entries {
		if _, whole := e.Password(); !whole {
			hashes++
		}
		for _, g := range e.Groups {
			groups[g] = true
		}
	}
	fmt.Fprintf(out, "%d users, %d of them with an NT hash (no EAP-MD5), in %d groups\n", f.Len(), hashes, len(groups))
	return true
}
