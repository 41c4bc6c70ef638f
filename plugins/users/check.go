package users

import (
	"fmt"
	"io"
)

// Check reads a user file as the plugin would and tells what is wrong with it, a line each, or how many users it has. The result is whether it may be used.
// Plugins call it for --check.
func Check(text []byte, names Names, out io.Writer) bool {
	f, err := Read(text, names)
	if problems, ok := err.(Problems); ok {
		for _, p := range problems {
			fmt.Fprintln(out, p)
		}
		return false
	}
	if err != nil {
		fmt.Fprintln(out, err)
		return false
	}
	hashes, groups := 0, map[string]bool{}
	for _, e := range f.entries {
		if _, ok := e.Password(); !ok {
			hashes++
		}
		for _, g := range e.Groups {
			groups[g] = true
		}
	}
	fmt.Fprintf(out, "%d users, %d of them with an NT hash (no EAP-MD5), in %d groups\n", f.Len(), hashes, len(groups))
	return true
}
