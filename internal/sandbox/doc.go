// Package sandbox takes away what a process does not need, before it reads anything that somebody else wrote.
//
//	report, err := sandbox.Enter(sandbox.IKEProc())
//
// In this order: no core dumps, Landlock over all that Landlock knows, an empty root directory, a user of its own, no capability but those of the profile, no new
// privileges, and a seccomp filter that names every system call that is left, with the reason why. All of it holds for every thread of the process, and none of it can
// be taken back. What a process works with (sockets, the TUN device, files of secrets, its links) it is handed as open descriptors.
//
// Landlock is enforced as far as the kernel has it; everything else must succeed or the process does not start.
package sandbox

// Report says what Enter did, for the log and for tests.
type Report struct {
	User     string // name of the user, or "" when the host has no such user and the fixed number was taken
	UID, GID int
	Landlock string // what is enforced of it: "abi 7", or why nothing is
	Syscalls int    // how many system calls are left
	// Capabilities that are left, by name, lower case.
	Capabilities []string
}
