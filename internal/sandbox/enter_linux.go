package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	lls "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Enter gives up all that p does not name. The caller is root, and its working directory is the empty directory that becomes its root. After an error the process must
// end: it is somewhere in between.
func Enter(p Profile) (Report, error) {
	var r Report
	if err := p.validate(); err != nil {
		return r, err
	}
	if os.Geteuid() != 0 {
		return r, errors.New("this program gives its rights up itself and must be started by triked as root")
	}
	r.User, r.UID, r.GID = account(p)
	for _, c := range p.Capabilities {
		r.Capabilities = append(r.Capabilities, c.Name)
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"switch core dumps off", noCoreDumps},
		{"look at the next root directory", emptyHere},
		{"enter Landlock", func() (err error) { r.Landlock, err = enterLandlock(); return err }},
		{"change the root directory", changeRoot},
		{"become user " + strconv.Itoa(r.UID), func() error { return become(r.UID, r.GID, p.Capabilities) }},
		{"set no_new_privs", noNewPrivs},
		{"load the seccomp filter", func() (err error) { r.Syscalls, err = enterSeccomp(p.Rights); return err }},
	} {
		if err := step.do(); err != nil {
			return r, fmt.Errorf("sandbox: %s: %w", step.what, err)
		}
	}
	return r, nil
}

// noCoreDumps: a core file would hold keys. No file is as short as the limit, and 1 (0 would not) also keeps the kernel from starting a program that takes cores. Not being dumpable also keeps others of the same user from looking in.
func noCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// emptyHere makes sure that the working directory has nothing in it and that the process could put nothing there.
func emptyHere() error {
	d, err := os.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	if names, err := d.Readdirnames(1); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the working directory is not empty: %q (%v)", names, err)
	}
	info, err := d.Stat()
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 || info.Mode().Perm()&0o022 != 0 {
		return errors.New("the working directory is another user's, or others may write to it")
	}
	return nil
}

// changeRoot makes the working directory the root.
func changeRoot() error { return errors.Join(unix.Chroot("."), unix.Chdir("/")) }

// account finds the profile's user in /etc/passwd. Not by os/user, which would have this process read whatever nsswitch names.
func account(p Profile) (name string, uid, gid int) {
	f, err := os.Open("/etc/passwd")
	if err != nil {
		return "", p.Number, p.Number
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Split(s.Text(), ":")
		if len(fields) < 4 || fields[0] != p.User {
			continue
		}
		uid, err1 := strconv.Atoi(fields[2])
		gid, err2 := strconv.Atoi(fields[3])
		if err1 == nil && err2 == nil && uid > 0 && gid > 0 {
			return p.User, uid, gid
		}
	}
	return "", p.Number, p.Number
}

// become changes the user of all threads, and leaves only the capabilities in keep, in all their sets but the ambient and the inheritable one. By system calls and not by
// libcap: that looks at /proc for its threads, which is out of sight by now.
func become(uid, gid int, keep []Capability) error {
	if err := bound(keep); err != nil {
		return err
	}
	// Keeps the permitted set over the change of user, so that what is to stay can be chosen from it.
	if err := onAllThreads(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	if err := syscall.Setgroups([]int{}); err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("group %d: %w", gid, err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return err
	}
	if err := onAllThreads(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	if err := keepOnly(keep); err != nil {
		return err
	}
	// The change of user made the process dumpable by the host's rule for such programs: once more.
	return noCoreDumps()
}

func bits(keep []Capability) (left uint64) {
	for _, k := range keep {
		left |= 1 << k.Value
	}
	return left
}

// bound leaves only these capabilities in the bounding set, and none in the ambient one, of all threads.
func bound(keep []Capability) error {
	left := bits(keep)
	for v := uintptr(0); v < 64; v++ {
		on, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, v, 0, 0, 0)
		if err != nil {
			break // past the last that this kernel knows
		}
		if on == 1 && left&(1<<v) == 0 {
			if err := onAllThreads(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, v); err != nil {
				return fmt.Errorf("bounding set, capability %d: %w", v, err)
			}
		}
	}
	if err := onAllThreads(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil {
		return fmt.Errorf("ambient set: %w", err)
	}
	return nil
}

// keepOnly leaves only these capabilities in the effective and the permitted set of all threads, and none in the inheritable one. What this process never had it does not get.
func keepOnly(keep []Capability) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	left := bits(keep) & (uint64(data[1].Permitted)<<32 | uint64(data[0].Permitted))
	data = [2]unix.CapUserData{{Effective: uint32(left), Permitted: uint32(left)}, {Effective: uint32(left >> 32), Permitted: uint32(left >> 32)}}
	if err := onAllThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0]))); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	return nil
}

// Supervise gives up what triked does not need: it stays root, which opens ports and secrets and starts the three, but with few of root's capabilities, and neither it nor
// what it starts gets more by running a program. After an error the process must end.
func Supervise() error {
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"switch core dumps off", noCoreDumps},
		{"bound the capabilities", func() error { return bound(Triked()) }},
		{"give capabilities up", func() error { return keepOnly(Triked()) }},
		{"set no_new_privs", noNewPrivs},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("sandbox: %s: %w", step.what, err)
		}
	}
	return nil
}

// onAllThreads makes a system call that changes the calling thread alone on every thread.
//
//go:uintptrescapes
func onAllThreads(call uintptr, args ...uintptr) error {
	var a [5]uintptr
	copy(a[:], args)
	_, _, errno := syscall.AllThreadsSyscall6(call, a[0], a[1], a[2], a[3], a[4], 0)
	if errno == syscall.ENOTSUP {
		return errors.New("this program was built with cgo, whose threads it cannot reach: build it with CGO_ENABLED=0")
	}
	if errno != 0 {
		return errno
	}
	return nil
}

func noNewPrivs() error { return onAllThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1) }

// enterLandlock denies all that the kernel's Landlock can deny up to its version 9, which is everything but the use of UDP sockets that are open already: those are
// ikeproc's work. It comes before the change of root because the library looks at /proc for the threads.
func enterLandlock() (string, error) {
	abi, err := lls.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		return "not enforced: this kernel has no Landlock, or it is switched off at boot", nil
	}
	if err := landlock.V9.BestEffort().RestrictPaths(); err != nil {
		return "", err
	}
	text := fmt.Sprintf("abi %d: no files", abi)
	if abi >= 4 {
		if err := landlock.V9.BestEffort().RestrictNet(); err != nil {
			return "", err
		}
		text += ", no TCP"
	}
	if abi >= 6 {
		if err := landlock.V9.BestEffort().RestrictScoped(); err != nil {
			return "", err
		}
		text += ", no signals or abstract sockets beyond itself"
	}
	return text, nil
}

// enterSeccomp loads the filter for all threads. What is not named fails with EPERM; what nothing but an intruder would try kills the process.
func enterSeccomp(rights []Right) (int, error) {
	policy, n, err := filterOf(rights)
	if err != nil {
		return 0, err
	}
	return n, seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: policy})
}

func filterOf(rights []Right) (seccomp.Policy, int, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return seccomp.Policy{}, 0, err
	}
	here := func(name string) bool { _, ok := info.SyscallNames[name]; return ok } // arm64 has no epoll_wait
	free, narrow := seccomp.SyscallGroup{Action: seccomp.ActionAllow}, seccomp.SyscallGroup{Action: seccomp.ActionAllow}
	some := map[string]bool{}
	for _, r := range rights {
		for _, name := range r.Calls {
			if !here(name) || some[name] && len(r.Where) == 0 {
				continue
			}
			some[name] = true
			if len(r.Where) == 0 {
				free.Names = append(free.Names, name)
				continue
			}
			with := seccomp.NameWithConditions{Name: name}
			for _, c := range r.Where {
				op := map[Test]seccomp.Operation{Equals: seccomp.Equal, HasAny: seccomp.BitsSet, HasNone: seccomp.BitsNotSet}[c.Test]
				with.Conditions = append(with.Conditions, seccomp.Condition{Argument: c.Argument, Operation: op, Value: c.Value})
			}
			narrow.NamesWithCondtions = append(narrow.NamesWithCondtions, with)
		}
	}
	kill := seccomp.SyscallGroup{Action: seccomp.ActionKillProcess}
	for _, name := range fatal {
		if here(name) {
			if some[name] {
				return seccomp.Policy{}, 0, fmt.Errorf("%s is a right and fatal", name)
			}
			kill.Names = append(kill.Names, name)
		}
	}
	return seccomp.Policy{DefaultAction: seccomp.ActionErrno, Syscalls: []seccomp.SyscallGroup{free, narrow, kill}}, len(some), nil
}
