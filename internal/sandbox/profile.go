package sandbox

import "fmt"

// Profile is what one process keeps. Everything else it gives up.
type Profile struct {
	// User is the name of the user that the process becomes. Where the host has none, it becomes user and group Number.
	User   string
	Number int
	// Capabilities are kept, by number and with a reason.
	Capabilities []Capability
	// Rights are the system calls that are left, by reason.
	Rights []Right
}

// Capability is a capability that a process keeps.
type Capability struct {
	Value uint // as in capabilities(7)
	Name  string
	Why   string
}

// Right is a group of system calls that a process keeps, for one reason.
type Right struct {
	Why   string
	Calls []string
	// Where narrows each call by its arguments; all must hold.
	Where []Condition
}

// Condition is on one argument of a system call.
type Condition struct {
	Argument uint32
	Test     Test
	Value    uint64
}

// Test is how an argument is compared.
type Test int

const (
	Equals  Test = iota + 1
	HasAny       // some bit of Value is set
	HasNone      // no bit of Value is set
)

// Numbers that the processes take where the host has no user of their name. They are outside the ranges that Debian and systemd give out.
const (
	numberIKE  = 64741
	numberAuth = 64742
	numberXFRM = 64743
)

// Triked is what triked keeps of root's capabilities.
func Triked() []Capability {
	return []Capability{
		{12, "cap_net_admin", "XFRM policies of sockets, the TUN device, routes and rules; and xfrmproc, which it starts, keeps it"},
		{10, "cap_net_bind_service", "UDP port 500"},
		{13, "cap_net_raw", "protocol 50"},
		{2, "cap_dac_read_search", "secrets in folders of other users"},
		{5, "cap_kill", "the three run as other users, and must end when they do not obey"},
		{7, "cap_setuid", "the three become users of their own"},
		{6, "cap_setgid", "and groups"},
		{8, "cap_setpcap", "and drop what they may ever have again"},
		{18, "cap_sys_chroot", "and enter an empty root directory"},
		{0, "cap_chown", "each plugin has a folder of its own, which is triked's again when the plugin has gone"},
	}
}

// IKEProc is the process that faces the network: sockets that it was handed, and links to its neighbours.
func IKEProc() Profile {
	return Profile{User: "trike-ike", Number: numberIKE, Rights: append(runtimeRights(), linkRights,
		Right{Why: "IKE datagrams on the UDP sockets that triked opened", Calls: []string{"recvfrom", "sendto", "recvmmsg", "sendmmsg", "setsockopt"}})}
}

// AuthProc is the process that holds the secrets: it reads files that it was handed, and answers ikeproc.
func AuthProc() Profile {
	return Profile{User: "trike-auth", Number: numberAuth, Rights: append(runtimeRights(), linkRights,
		Right{Why: "secrets and certificates are read from descriptors that triked opened", Calls: []string{"pread64", "lseek"}},
		Right{Why: "leases are written down in the file that triked opened", Calls: []string{"pwrite64"}})}
}

// XFRMKernel is the datapath's process with the kernel's ESP: XFRM over netlink.
func XFRMKernel() Profile {
	const afNetlink, netlinkXFRM = 16, 6
	return Profile{User: "trike-xfrm", Number: numberXFRM,
		Capabilities: []Capability{{12, "cap_net_admin", "the kernel lets nobody else change SAs and policies, and asks for it with every message"}},
		Rights: append(runtimeRights(), linkRights,
			Right{Why: "sockets of netlink's XFRM family, and of no other", Calls: []string{"socket"},
				Where: []Condition{{0, Equals, afNetlink}, {2, Equals, netlinkXFRM}}},
			Right{Why: "requests to the kernel, its answers and events", Calls: []string{"bind", "setsockopt", "sendto", "recvfrom"}},
			Right{Why: "counters of /proc/net/xfrm_stat, opened at start", Calls: []string{"pread64", "lseek"}})}
}

// XFRMUserspace is the datapath's process with the built-in ESP: the TUN device and the sockets that it was handed.
func XFRMUserspace() Profile {
	const tunGetIff, tunSetOffload = 0x800454d2, 0x400454d0
	return Profile{User: "trike-xfrm", Number: numberXFRM, Rights: append(runtimeRights(), linkRights,
		Right{Why: "ESP packets on the sockets that triked opened", Calls: []string{"recvfrom", "sendto", "recvmmsg", "sendmmsg", "setsockopt"}},
		Right{Why: "packets of the TUN device", Calls: []string{"readv", "writev"}},
		Right{Why: "what the TUN device can do", Calls: []string{"ioctl"}, Where: []Condition{{1, Equals, tunGetIff}}},
		Right{Why: "batches on the TUN device", Calls: []string{"ioctl"}, Where: []Condition{{1, Equals, tunSetOffload}}})}
}

// linkRights: all processes have links, and are handed descriptors over the one to triked.
var linkRights = Right{Why: "links to triked and the neighbours, and sockets that come over them",
	Calls: []string{"recvmsg", "sendmsg", "getsockopt", "getsockname", "getpeername", "shutdown"}}

// runtimeRights are what a Go program cannot do without.
func runtimeRights() []Right {
	const cloneThread, protExec = 0x10000, 4
	return []Right{
		{Why: "files and pipes that are open already", Calls: []string{"read", "write", "close", "fcntl", "fstat", "dup3"}},
		{Why: "memory", Calls: []string{"munmap", "madvise", "mincore", "brk"}},
		{Why: "memory that holds no code", Calls: []string{"mmap", "mprotect"}, Where: []Condition{{2, HasNone, protExec}}},
		{Why: "threads of this process, no new process", Calls: []string{"clone"}, Where: []Condition{{0, HasAny, cloneThread}}},
		{Why: "threads wait, yield, get their names and end", Calls: []string{"futex", "sched_yield", "sched_getaffinity", "gettid", "getpid", "set_robust_list", "arch_prctl",
			"exit", "exit_group", "restart_syscall", "rseq"}},
		{Why: "signals among its own threads: the runtime preempts by them", Calls: []string{"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "tgkill"}},
		{Why: "time and sleep", Calls: []string{"nanosleep", "clock_nanosleep", "clock_gettime", "gettimeofday", "timer_create", "timer_settime", "timer_delete", "setitimer"}},
		{Why: "the runtime's poller", Calls: []string{"epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2", "pipe2", "ppoll", "poll"}},
		{Why: "randomness", Calls: []string{"getrandom"}},
		{Why: "names for its memory in /proc", Calls: []string{"prctl"}, Where: []Condition{{0, Equals, 0x53564d41}}},
		{Why: "bounds of its own, which it can only lower", Calls: []string{"prlimit64", "getrlimit"}},
		{Why: "who it is", Calls: []string{"getuid", "geteuid", "getgid", "getegid", "uname"}},
	}
}

// fatal are system calls that no part of the processes makes, ever: one that is seen means that the process was taken over, and kills it.
var fatal = []string{"execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "bpf", "mount", "umount2", "pivot_root", "chroot", "unshare", "setns",
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "keyctl", "add_key", "request_key", "userfaultfd",
	"perf_event_open", "io_uring_setup", "open_by_handle_at", "setuid", "setresuid", "setgid", "setresgid", "setgroups", "capset", "connect", "listen", "accept", "accept4"}

func (p Profile) validate() error {
	if p.User == "" || p.Number <= 0 || len(p.Rights) == 0 {
		return fmt.Errorf("sandbox: a profile needs a user, a number and rights")
	}
	for _, r := range p.Rights {
		if r.Why == "" || len(r.Calls) == 0 {
			return fmt.Errorf("sandbox: a right without a reason or a call: %+v", r)
		}
	}
	return nil
}
