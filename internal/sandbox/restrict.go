package sandbox

import (
	"fmt"
	"io"
)

// Restrict enters a profile and writes one line about it, for the log: what is left, and what this kernel could not do.
func Restrict(w io.Writer, p Profile) error {
	r, err := Enter(p)
	if err != nil {
		return err
	}
	user := r.User
	if user == "" {
		user = fmt.Sprintf("without a name, as this host has no user %s", p.User)
	}
	caps := "no capability"
	if len(r.Capabilities) > 0 {
		caps = fmt.Sprintf("%s", r.Capabilities)
	}
	_, err = fmt.Fprintf(w, "sandbox: user %d (%s), %s, %d system calls, landlock %s\n", r.UID, user, caps, r.Syscalls, r.Landlock)
	return err
}
