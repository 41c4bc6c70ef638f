package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// seen is what a plugin sees of itself, and what came of its attempts.
type seen struct {
	UID, GID int
	Groups   []int
	PID      int
	Status   string
	Env      []string
	Files    []string
	Network  []string
	Core     uint64
	Attempts map[string]string
}

// inPlugin is the test's binary as a plugin.
func inPlugin() {
	s := seen{UID: os.Getuid(), GID: os.Getgid(), PID: os.Getpid(), Env: os.Environ(), Attempts: map[string]string{}}
	s.Groups, _ = os.Getgroups()
	status, _ := os.ReadFile("/proc/thread-self/status")
	s.Status = string(status)
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.Contains(to, "anon_inode") && !strings.HasSuffix(to, "/fd") {
			s.Files = append(s.Files, e.Name()+" "+strings.SplitN(to, ":", 2)[0])
		}
	}
	var core unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &core)
	s.Core = core.Max
	interfaces, err := net.Interfaces()
	s.Network = append(s.Network, fmt.Sprint(err))
	for _, i := range interfaces {
		s.Network = append(s.Network, i.Name)
	}
	for name, do := range map[string]func() error{
		"a unix socket in its folder": func() error { l, err := net.Listen("unix", "own.sock"); closeListener(l); return err },
		"a file in its folder":        func() error { return os.WriteFile("own", nil, 0o600) },
		"a file elsewhere":            func() error { return os.WriteFile("/var/tmp/trike-plugin-was-here", nil, 0o600) },
		"a file of the host":          func() error { _, err := os.ReadFile("/etc/hostname"); return err },
		"a program":                   func() error { return exec.Command("/bin/true").Run() },
		"a UDP socket":                func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0); return err },
		"an XFRM socket":              func() error { _, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM); return err },
		"a packet socket":             func() error { _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); return err },
		"another namespace":           func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"the superuser":               func() error { return syscall.Setresuid(0, 0, 0) },
		"a look into another process": func() error {
			_, err := os.ReadFile(fmt.Sprintf("/proc/%s/environ", os.Getenv("PLUGIN_PARENT")))
			return err
		},
		"a signal to who started it":     func() error { _, _, e := unix.RawSyscall(unix.SYS_KILL, 1<<20, 0, 0); return errOf(e) },
		"to look into processes":         func() error { return unix.PtraceAttach(1) },
		"a kernel module":                func() error { return unix.InitModule(nil, "") },
		"a program for the kernel":       func() error { _, _, e := unix.RawSyscall(unix.SYS_BPF, 0, 0, 0); return errOf(e) },
		"memory beyond all measure":      func() error { return tooMuch() },
		"more files than it may have":    func() error { return manyFiles() },
		"a limit back that it was given": func() error { return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}) },
	} {
		s.Attempts[name] = fmt.Sprint(do())
	}
	_ = json.NewEncoder(os.Stdout).Encode(s)
	os.Exit(0)
}

func closeListener(l net.Listener) {
	if l != nil {
		_ = l.Close()
	}
}

func errOf(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

func tooMuch() error {
	b, err := unix.Mmap(-1, 0, 1<<30, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		_ = unix.Munmap(b)
	}
	return err
}

func manyFiles() error {
	var open []*os.File
	defer func() {
		for _, f := range open {
			_ = f.Close()
		}
	}()
	for range 4 * maxPluginFiles {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return err
		}
		open = append(open, f)
	}
	return nil
}

func startPlugin(t *testing.T, p Plugin, file string, env ...string) (stdout, stderr string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: to become another user")
	}
	// A folder that the plugin's user can reach, unlike t.TempDir's.
	dir, err := os.MkdirTemp("/tmp", "trike-plugin-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chown(dir, p.User, 0); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p.Dir, p.File = dir, file
	arg, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var out, words bytes.Buffer
	cmd := exec.Command("/proc/self/exe", "run-plugin", string(arg))
	cmd.Env, cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = append(env, "TMPDIR="+dir), []*os.File{f}, &out, &words
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	PluginNamespaces(cmd.SysProcAttr, p)
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil { // as triked does: what started the test may have left some open
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
	return out.String(), words.String()
}

// A plugin has its folder, the programs of the host and what it was handed, and no way to anything else.
func TestPluginIsBounded(t *testing.T) {
	out, words := startPlugin(t, Plugin{User: 64801, MemoryMB: 256, Processes: 64}, os.Args[0], "PLUGIN_TEST=1", fmt.Sprintf("PLUGIN_PARENT=%d", os.Getpid()))
	var s seen
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, words)
	}
	if s.UID != 64801 || s.GID != 64801 || len(s.Groups) != 0 {
		t.Errorf("user %d, group %d, groups %d", s.UID, s.GID, s.Groups)
	}
	if s.PID != 1 {
		t.Errorf("pid %d: it should see no processes but its own", s.PID)
	}
	if s.Core != 1 {
		t.Errorf("cores of %d octets", s.Core)
	}
	for _, want := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(s.Status, want) {
			t.Errorf("no %q in\n%s", want, s.Status)
		}
	}
	for _, f := range s.Files {
		if !slices.Contains([]string{"0 /dev/null", "1 pipe", "2 pipe"}, f) {
			t.Errorf("it has descriptor %s", f)
		}
	}
	if len(s.Env) != 3 {
		t.Errorf("environment %q", s.Env)
	}
	for name, got := range s.Attempts {
		allowed := slices.Contains([]string{"a unix socket in its folder", "a file in its folder", "a program"}, name)
		if allowed != (got == "<nil>") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// With `network` a plugin has the host's network, and nothing else more.
func TestPluginWithNetwork(t *testing.T) {
	out, words := startPlugin(t, Plugin{User: 64802, MemoryMB: 256, Processes: 64, Network: true}, os.Args[0], "PLUGIN_TEST=1")
	var s seen
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, words)
	}
	if got := s.Attempts["a UDP socket"]; got != "<nil>" {
		t.Errorf("a UDP socket: %s", got)
	}
	for _, name := range []string{"a packet socket", "an XFRM socket", "a file elsewhere", "another namespace"} {
		if s.Attempts[name] == "<nil>" {
			t.Errorf("%s was given", name)
		}
	}
}

// Scripts run too: their interpreter finds them by the descriptor that was checked.
func TestPluginThatIsAScript(t *testing.T) {
	script := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nid -u\numask\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, words := startPlugin(t, Plugin{User: 64803, MemoryMB: 64, Processes: 16}, script)
	if out != "64803\n0007\n" {
		t.Errorf("it said %q, %q", out, words)
	}
}

// What is no description of a plugin starts nothing.
func TestRunPluginRefuses(t *testing.T) {
	for _, arg := range []string{"", "{}", "[]", `{"file":"/bin/true","dir":"/tmp","user":1,"memory_mb":1,"processes":1}`} {
		if err := RunPlugin(arg); err == nil {
			t.Fatalf("%q was taken", arg)
		}
	}
}
