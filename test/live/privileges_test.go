package live

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// rights are what a process may still do, as /proc tells it, beside what all have: a user and a group of their own, no_new_privs, a seccomp filter, an empty root directory that
// they cannot write to, no core dumps. Whatever is not named here it must not have. What Landlock denies is tried by the tests of internal/sandbox.
type rights struct {
	capabilities uint64 // permitted, effective and in the bounding set
	files        map[string]int
}

const (
	capNetAdmin = 1 << 12
	// triked's: CAP_NET_ADMIN for sockets' XFRM policies, the TUN device, routes and rules; NET_BIND_SERVICE and NET_RAW for UDP 500 and protocol 50; DAC_READ_SEARCH for secrets in
	// folders of others; KILL, SETUID, SETGID, SETPCAP and SYS_CHROOT for the processes that it starts; CHOWN for the folders of plugins.
	triked = capNetAdmin | 1<<10 | 1<<13 | 1<<2 | 1<<5 | 1<<7 | 1<<6 | 1<<8 | 1<<18 | 1<<0
)

// everyone has these of the Go runtime and of triked's start: they lead nowhere.
var everyone = map[string]int{"eventpoll": 1, "eventfd": 1, "null, read": 1, "null, write": 1}

func with(more map[string]int) map[string]int {
	out := maps.Clone(everyone)
	for k, n := range more {
		out[k] += n
	}
	return out
}

// expected names every right that is left, and why.
func expected() map[string]rights {
	ike := map[string]int{
		"pipe, read": 2, "pipe, write": 2, // links to authproc and xfrmproc
		"pipe, write to triked": 1, // standard error: a crash must be able to say so
		"unix socket":           1, // link to triked
		"UDP socket":            2, // ports 500 and 4500 of the one address
	}
	auth := map[string]int{
		"pipe, read": 1, "pipe, write": 1, // link to ikeproc
		"pipe, write to triked": 1,
		"unix socket":           1, // link to triked. Secrets were read and closed
	}
	xfrm := maps.Clone(auth) // link to ikeproc, link to triked, and:
	capabilities := uint64(0)
	if inKernel() {
		capabilities = capNetAdmin // SAs and policies are set with it, and nothing else is
		xfrm["netlink socket"] = 2 // requests, and the kernel's events
	} else {
		xfrm["TUN device"] = 1
		xfrm["UDP socket"] = 1 // port 4500, ESP in UDP alone
		xfrm["raw socket"] = 1 // protocol 50
	}
	return map[string]rights{
		"ikeproc":  {files: with(ike)},
		"authproc": {files: with(auth)},
		"xfrmproc": {files: with(xfrm), capabilities: capabilities},
	}
}

// TestPrivileges looks at each process while a tunnel carries traffic.
func TestPrivileges(t *testing.T) {
	s := newSite(t)
	s.unharmed(1, func() {
		users := map[string]string{}
		for name, want := range expected() {
			pid := s.pid(s.b, name)
			p := lookAt(t, pid, s.pid(s.b, "triked"))
			if p.uid == "0" || p.gid == "0" || users[p.uid] != "" || p.groups != "" {
				t.Errorf("%s: user %s, group %s, more groups %q; %s has the same user", name, p.uid, p.gid, p.groups, users[p.uid])
			}
			users[p.uid] = name
			for set, got := range p.capabilities {
				may := want.capabilities
				if set == "CapInh" || set == "CapAmb" {
					may = 0
				}
				if got != may {
					t.Errorf("%s: %s is %x, want %x", name, set, got, may)
				}
			}
			if p.noNewPrivs != "1" || p.seccomp != "2" {
				t.Errorf("%s: NoNewPrivs %s, Seccomp %s", name, p.noNewPrivs, p.seccomp)
			}
			if p.core != "1 1" {
				t.Errorf("%s: core files of %s octets", name, p.core)
			}
			if !p.closed {
				t.Errorf("%s: its memory is open to others of its user: it is dumpable", name)
			}
			if p.root == "/" || p.cwd != p.root || p.inRoot != 0 || p.rootMode&0o222 != 0 {
				t.Errorf("%s: root directory %s (%v) with %d entries, working directory %s", name, p.root, p.rootMode, p.inRoot, p.cwd)
			}
			if !maps.Equal(p.files, want.files) {
				t.Errorf("%s: open files\n%swant\n%s", name, listed(p.files), listed(want.files))
			}
		}
		// triked is root. It has a root directory and no filter, and parses plans and control requests alone.
		p := lookAt(t, s.pid(s.b, "triked"), 0)
		for set, got := range p.capabilities {
			if want := map[bool]uint64{true: 0, false: triked}[set == "CapInh" || set == "CapAmb"]; got != want {
				t.Errorf("triked: %s is %x, want %x", set, got, want)
			}
		}
		if p.uid != "0" || p.groups != "" && p.groups != "0" || p.noNewPrivs != "1" || p.core != "1 1" {
			t.Errorf("triked: user %s, groups %q, NoNewPrivs %s, core files of %s octets", p.uid, p.groups, p.noNewPrivs, p.core)
		}
	})
}

// /proc does not show Landlock. Each process says what it entered, and it must not say that there is none where the kernel has it.
func TestLandlock(t *testing.T) {
	s := newSite(t)
	const versionFlag = 1
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, versionFlag)
	if errno != 0 {
		t.Skipf("this kernel has no Landlock: %v", errno)
	}
	for name := range expected() {
		want := fmt.Sprintf("landlock abi %d: no files", abi)
		if !slices.ContainsFunc(strings.Split(s.b.Proc.Output(), "\n"), func(line string) bool {
			return strings.Contains(line, name) && strings.Contains(line, "sandbox") && strings.Contains(line, want)
		}) {
			t.Errorf("%s did not say that it entered %q", name, want)
		}
	}
}

// process is what /proc says.
type process struct {
	uid, gid, groups    string
	capabilities        map[string]uint64
	noNewPrivs, seccomp string
	core                string // soft and hard limit in octets
	closed              bool   // root owns its files in /proc and not its user: it is not dumpable, and nobody else may trace it
	root, cwd           string
	rootMode            os.FileMode
	inRoot              int // entries of the root directory
	files               map[string]int
}

func lookAt(t *testing.T, pid, triked int) process {
	t.Helper()
	read := func(name string) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	link := func(name string) string {
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		return to
	}
	field := func(name string) string {
		for line := range strings.Lines(read("status")) {
			if value, ok := strings.CutPrefix(line, name+":"); ok {
				return strings.TrimSpace(value)
			}
		}
		t.Fatalf("/proc/%d/status has no %s", pid, name)
		return ""
	}
	same := func(name string) string { // real, effective, saved and of the file system
		ids := slices.Compact(strings.Fields(field(name)))
		return strings.Join(ids, " and ")
	}
	p := process{uid: same("Uid"), gid: same("Gid"), groups: field("Groups"), noNewPrivs: field("NoNewPrivs"), seccomp: field("Seccomp"),
		root: link("root"), cwd: link("cwd"), capabilities: map[string]uint64{}, files: map[string]int{}}
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		var bits uint64
		if _, err := fmt.Sscanf(field(set), "%x", &bits); err != nil {
			t.Fatal(err)
		}
		p.capabilities[set] = bits
	}
	if m := regexp.MustCompile(`Max core file size\s+(\S+)\s+(\S+)`).FindStringSubmatch(read("limits")); m != nil {
		p.core = m[1] + " " + m[2]
	}
	var memory unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/maps", pid), &memory); err != nil {
		t.Fatal(err)
	}
	p.closed = memory.Uid == 0
	if info, err := os.Stat(fmt.Sprintf("/proc/%d/root", pid)); err == nil {
		p.rootMode = info.Mode().Perm()
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		t.Fatal(err)
	}
	p.inRoot = len(entries)
	sockets := socketKinds(read)
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		p.files[kindOf(fd, sockets, triked)]++
	}
	return p
}

// socketKinds says of each socket of the process's network namespace what it is.
func socketKinds(read func(string) string) map[string]string {
	kinds := map[string]string{}
	for _, table := range []struct {
		file, kind string
		column     int // of the inode
	}{{"udp", "UDP socket", 9}, {"udp6", "UDP socket", 9}, {"raw", "raw socket", 9}, {"raw6", "raw socket", 9}, {"tcp", "TCP socket", 9}, {"tcp6", "TCP socket", 9},
		{"packet", "packet socket", 8}, {"netlink", "netlink socket", 9}, {"unix", "unix socket", 6}} {
		for line := range strings.Lines(read("net/" + table.file)) {
			if f := strings.Fields(line); len(f) > table.column {
				kinds["socket:["+f[table.column]+"]"] = table.kind
			}
		}
	}
	return kinds
}

// kindOf names what a descriptor is. A pipe whose other end triked has is told from the others.
func kindOf(fd string, sockets map[string]string, triked int) string {
	to, err := os.Readlink(fd)
	if err != nil {
		return "gone"
	}
	mode := ", read and write"
	if info, err := os.Lstat(fd); err == nil {
		switch info.Mode().Perm() & 0o600 {
		case 0o400:
			mode = ", read"
		case 0o200:
			mode = ", write"
		}
	}
	switch {
	case strings.HasPrefix(to, "pipe:"):
		if others, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", triked)); triked != 0 && slices.ContainsFunc(others, func(o string) bool {
			there, _ := os.Readlink(o)
			return there == to
		}) {
			mode += " to triked"
		}
		return "pipe" + mode
	case strings.HasPrefix(to, "socket:"):
		if kind := sockets[to]; kind != "" {
			return kind
		}
		return "a socket of no known kind"
	case strings.HasSuffix(to, "/dev/null"):
		return "null" + mode
	case strings.HasPrefix(to, "anon_inode:["):
		return strings.TrimSuffix(strings.TrimPrefix(to, "anon_inode:["), "]")
	case strings.HasSuffix(to, "/dev/net/tun"):
		return "TUN device"
	}
	return to + mode
}

func listed(files map[string]int) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "\t%d %s\n", files[name], name)
	}
	return b.String()
}

// The idle trio with its supervisor.
func TestMemory(t *testing.T) {
	s := newSite(t)
	var sum, shared int
	for _, name := range []string{"triked", "ikeproc", "authproc", "xfrmproc"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", s.pid(s.b, name)))
		s.must(err)
		var rss, pss int
		for line := range strings.Lines(string(b)) {
			_, _ = fmt.Sscanf(line, "Rss: %d kB", &rss)
			_, _ = fmt.Sscanf(line, "Pss: %d kB", &pss)
		}
		if rss == 0 {
			t.Fatalf("%s: no Rss in smaps_rollup", name)
		}
		sum, shared = sum+rss, shared+pss
	}
	const most = 60
	t.Logf("figure: the idle trio with its supervisor: %.1f MB resident (%.1f MB with what is shared counted once) of %d MB at most", float64(sum)/1e3, float64(shared)/1e3, most)
	if sum > most*1000 {
		t.Errorf("%d kB are resident, more than %d MB", sum, most)
	}
}
