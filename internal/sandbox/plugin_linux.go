package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// Plugin is what bounds a program that somebody else wrote. Unlike a Profile it lists what is taken away: a plugin may be written in any language.
type Plugin struct {
	File      string `json:"file"`      // the executable's path, for its own eyes
	Dir       string `json:"dir"`       // the one folder that it may write to
	User      int    `json:"user"`      // user and group that it is by now
	MemoryMB  int    `json:"memory_mb"` // of data
	Processes int    `json:"processes"` // with threads
	Network   bool   `json:"network"`   // it may open sockets of the internet
}

// executable is the descriptor of the plugin's executable, which RunPlugin finds open.
const executable = 3

// Bounds on a plugin that a policy does not speak of.
const (
	maxPluginFiles = 512      // open at once
	maxPluginFile  = 64 << 20 // octets of one that it writes
)

// PluginNamespaces has cmd start in namespaces of its own, as user and group uid: no network (unless allowed), no other processes in sight, no capability that counts outside.
func PluginNamespaces(attr *syscall.SysProcAttr, p Plugin) {
	attr.Cloneflags |= syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	if !p.Network {
		attr.Cloneflags |= syscall.CLONE_NEWNET
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: p.User, HostID: p.User, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: p.User, HostID: p.User, Size: 1}}
	attr.GidMappingsEnableSetgroups = true // to leave root's groups
	attr.Credential = &syscall.Credential{Uid: uint32(p.User), Gid: uint32(p.User)}
}

// RunPlugin turns this process into the plugin that argument, a Plugin in JSON, describes. It was started by PluginNamespaces, and its executable is open. It returns only with an
// error.
func RunPlugin(argument string) error {
	var p Plugin
	if err := json.Unmarshal([]byte(argument), &p); err != nil {
		return err
	}
	if p.User <= 0 || p.Dir == "" || p.File == "" || p.MemoryMB <= 0 || p.Processes <= 0 {
		return errors.New("this is how triked starts a plugin, and not for people")
	}
	if os.Geteuid() != p.User || os.Getegid() != p.User {
		return fmt.Errorf("user %d and group %d instead of %d", os.Geteuid(), os.Getegid(), p.User)
	}
	runtime.LockOSThread() // what is not for the whole process is for the thread that becomes the plugin
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"bounds", func() error { return boundPlugin(p) }},
		{"no_new_privs", noNewPrivs},
		{"Landlock", func() error { return landlockPlugin(p) }},
		{"the seccomp filter", func() error { return filterPlugin(p) }},
		{"start " + p.File, func() error { return runOpened(p) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

func boundPlugin(p Plugin) error {
	unix.Umask(0o007) // triked reaches the plugin's socket through its group
	if err := os.Chdir(p.Dir); err != nil {
		return err
	}
	for _, l := range []struct {
		what int
		most uint64
	}{
		{unix.RLIMIT_CORE, 1}, // no file is that short, and 1 keeps a program that takes cores from being started
		{unix.RLIMIT_NPROC, uint64(p.Processes)},
		{unix.RLIMIT_NOFILE, maxPluginFiles},
		{unix.RLIMIT_FSIZE, maxPluginFile},
		{unix.RLIMIT_MEMLOCK, 0},
		{unix.RLIMIT_MSGQUEUE, 0},
	} {
		if err := limit(l.what, l.most); err != nil {
			return err
		}
	}
	return nil
}

// limit bounds by the system call itself: the library's function would have the plugin given back what the runtime had raised for itself.
func limit(what int, most uint64) error {
	l := unix.Rlimit{Cur: most, Max: most}
	if _, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, uintptr(what), uintptr(unsafe.Pointer(&l)), 0, 0, 0); errno != 0 {
		return fmt.Errorf("limit %d: %w", what, errno)
	}
	return nil
}

// landlockPlugin leaves the plugin the programs and libraries of the host, to read and run, and its folder, to write.
func landlockPlugin(p Plugin) error {
	read := []string{"/usr", "/bin", "/lib", "/lib32", "/lib64", "/opt", "/proc", "/sys/devices/system/cpu", "/sys/kernel/mm/transparent_hugepage",
		"/etc/ld.so.cache", "/etc/ssl", "/etc/localtime", "/etc/alternatives"}
	if p.Network {
		read = append(read, "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/run/systemd/resolve")
	}
	rules := []landlock.Rule{landlock.RWDirs(p.Dir), landlock.ROFiles(fmt.Sprintf("/proc/self/fd/%d", executable)), // its own path may lead through folders of others

		landlock.RWFiles("/dev/null", "/dev/zero").IgnoreIfMissing(), landlock.ROFiles("/dev/urandom", "/dev/random").IgnoreIfMissing()}
	for _, path := range read {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			rules = append(rules, landlock.RODirs(path))
		} else if err == nil {
			rules = append(rules, landlock.ROFiles(path))
		}
	}
	if err := landlock.V9.BestEffort().RestrictPaths(rules...); err != nil {
		return err
	}
	if !p.Network {
		if err := landlock.V9.BestEffort().RestrictNet(); err != nil {
			return err
		}
	}
	return landlock.V9.BestEffort().RestrictScoped()
}

// allowedInPlugins are those of fatal that other people's programs make by right.
var allowedInPlugins = map[string]bool{"execve": true, "execveat": true, "fork": true, "vfork": true, "connect": true, "listen": true, "accept": true, "accept4": true,
	"setuid": true, "setresuid": true, "setgid": true, "setresgid": true, "setgroups": true, "capset": true}

// filterPlugin refuses what no authentication needs: other kinds of sockets, namespaces, other processes' memory, the kernel's machinery.
func filterPlugin(p Plugin) error {
	info, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	refused := seccomp.SyscallGroup{Action: seccomp.ActionErrno}
	for _, name := range append([]string{"fanotify_init", "quotactl", "acct", "syslog", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname",
		"fsopen", "fsmount", "open_tree", "move_mount", "mount_setattr", "pidfd_getfd", "pidfd_open", "lookup_dcookie", "nfsservctl", "vhangup", "kcmp", "personality"}, fatal...) {
		if _, ok := info.SyscallNames[name]; ok && !allowedInPlugins[name] {
			refused.Names = append(refused.Names, name)
		}
	}
	const newUser = 0x10000000
	conditions := []seccomp.NameWithConditions{{Name: "clone", Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.BitsSet, Value: newUser}}}}
	family := seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.NotEqual, Value: unix.AF_UNIX}}
	if p.Network {
		family = append(family, seccomp.Condition{Argument: 0, Operation: seccomp.NotEqual, Value: unix.AF_INET}, seccomp.Condition{Argument: 0, Operation: seccomp.NotEqual, Value: unix.AF_INET6},
			seccomp.Condition{Argument: 0, Operation: seccomp.NotEqual, Value: unix.AF_NETLINK}) // glibc and Go ask it for addresses
	}
	conditions = append(conditions, seccomp.NameWithConditions{Name: "socket", Conditions: family},
		seccomp.NameWithConditions{Name: "socket", Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.Equal, Value: unix.AF_NETLINK},
			{Argument: 2, Operation: seccomp.NotEqual, Value: unix.NETLINK_ROUTE}}})
	refused.NamesWithCondtions = conditions
	unknown := seccomp.SyscallGroup{Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS), Names: []string{"clone3"}} // its flags cannot be seen; programs go back to clone
	return seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: []seccomp.SyscallGroup{refused, unknown}}})
}

// runOpened runs the executable that was opened, whatever its path leads to by now.
func runOpened(p Plugin) error {
	var start [2]byte
	if _, err := unix.Pread(executable, start[:], 0); err != nil {
		return err
	}
	if string(start[:]) != "#!" { // a script's interpreter opens it once more, by this descriptor
		unix.CloseOnExec(executable)
	}
	empty, argv := [1]byte{}, []*byte{nil, nil}
	name, err := unix.BytePtrFromString(p.File)
	if err != nil {
		return err
	}
	argv[0] = name
	envp, err := syscall.SlicePtrFromStrings(os.Environ())
	if err != nil {
		return err
	}
	if err := limit(unix.RLIMIT_DATA, uint64(p.MemoryMB)<<20); err != nil { // last: this program itself may need more
		return err
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, executable, uintptr(unsafe.Pointer(&empty[0])), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envp[0])), unix.AT_EMPTY_PATH, 0)
	return errno
}
