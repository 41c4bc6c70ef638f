package sandbox

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var profiles = map[string]Profile{"ikeproc": IKEProc(), "authproc": AuthProc(), "xfrmproc-kernel": XFRMKernel(), "xfrmproc-userspace": XFRMUserspace()}

// TestMain lets the test binary be a process of its own that enters a profile, says what came of it and of one attempt, and waits.
func TestMain(m *testing.M) {
	if os.Getenv("PLUGIN_TEST") != "" && len(os.Args) == 1 {
		inPlugin()
	}
	if len(os.Args) == 3 && os.Args[1] == "run-plugin" {
		fmt.Fprintln(os.Stderr, RunPlugin(os.Args[2]))
		os.Exit(1)
	}
	if len(os.Args) == 4 && os.Args[1] == "enter" {
		child(profiles[os.Args[2]], os.Args[3])
	}
	os.Exit(m.Run())
}

// said is what the child says of itself.
type said struct {
	Report  Report
	Error   string
	Attempt string
}

func child(p Profile, attempt string) {
	// Threads that exist before the sandbox is entered must be in it, too.
	for range 4 {
		go func() {
			b := make([]byte, 1)
			r, _, _ := os.Pipe()
			_, _ = unix.Read(int(r.Fd()), b)
		}()
	}
	r, err := Enter(p)
	out := said{Report: r}
	if err != nil {
		out.Error = err.Error()
	} else {
		out.Attempt = fmt.Sprint(attempts[attempt]())
	}
	b, _ := json.Marshal(out)
	fmt.Println(string(b))
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

var attempts = map[string]func() error{
	"nothing": func() error { return nil },
	"open a file": func() error {
		_, err := os.Open("/etc/passwd")
		return err
	},
	"make a file":    func() error { return os.WriteFile("/x", nil, 0o600) },
	"a UDP socket":   func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0); return err },
	"a unix socket":  func() error { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err },
	"an XFRM socket": func() error { _, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM); return err },
	"a route socket": func() error { _, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE); return err },
	"memory for code": func() error {
		_, err := unix.Mmap(-1, 0, 4096, unix.PROT_EXEC|unix.PROT_READ, unix.MAP_ANON|unix.MAP_PRIVATE)
		return err
	},
	"a new process":     func() error { _, _, e := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0); return e },
	"a signal to init":  func() error { return unix.Kill(1, 0) },
	"a program":         func() error { return syscall.Exec("/bin/true", []string{"true"}, nil) },
	"the superuser":     func() error { _, _, e := unix.RawSyscall(unix.SYS_SETUID, 0, 0, 0); return e },
	"threads and waits": threads,
}

// threads shows that a Go program lives on in the sandbox: threads, timers, garbage collection, the poller.
func threads() error {
	done := make(chan int)
	for i := range 32 {
		go func() {
			s := 0
			for range 50 {
				s += len(make([]byte, 1<<16))
			}
			r, w, err := os.Pipe()
			if err == nil {
				_, _ = w.Write([]byte{1})
				_, _ = r.Read(make([]byte, 1))
			}
			done <- s + i
		}()
	}
	for range 32 {
		<-done
	}
	return nil
}

// run starts a child, and returns what it said with its process directory. killed is the signal that ended it instead.
func run(t *testing.T, profile, attempt string) (out said, proc string, killed syscall.Signal) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a process can only give up what it has: this test needs root")
	}
	dir := filepath.Join(t.TempDir(), "empty")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "enter", profile, attempt)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, []string{}, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		werr := cmd.Wait()
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return out, "", ws.Signal()
		}
		t.Fatalf("%s: %v, %v", profile, err, werr)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	if err := json.Unmarshal(line, &out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.Error, "CGO_ENABLED=0") {
		t.Skip(out.Error)
	}
	if out.Error != "" {
		t.Fatalf("%s: %s", profile, out.Error)
	}
	return out, fmt.Sprintf("/proc/%d", cmd.Process.Pid), 0
}

// TestWhatIsLeft reads from /proc what each process still has: it names every right but system calls.
func TestWhatIsLeft(t *testing.T) {
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			out, proc, _ := run(t, name, "threads and waits")
			t.Logf("%+v", out.Report)
			caps := "0000000000000000"
			if len(p.Capabilities) > 0 {
				caps = "0000000000001000" // CAP_NET_ADMIN
			}
			id := fmt.Sprintf("%d\t%[1]d\t%[1]d\t%[1]d", out.Report.UID)
			gid := fmt.Sprintf("%d\t%[1]d\t%[1]d\t%[1]d", out.Report.GID)
			want := map[string]string{"Uid": id, "Gid": gid, "Groups": "", "CapInh": "0000000000000000", "CapPrm": caps, "CapEff": caps, "CapBnd": caps,
				"CapAmb": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"}
			tasks, err := filepath.Glob(proc + "/task/*/status")
			if err != nil || len(tasks) < 2 {
				t.Fatalf("%d threads, %v", len(tasks), err)
			}
			for _, task := range tasks {
				got := statusOf(t, task)
				for k, v := range want {
					if got[k] != v {
						t.Errorf("%s: %s is %q, want %q", task, k, got[k], v)
					}
				}
			}
			root, err := os.Readlink(proc + "/root")
			if err != nil || !strings.HasSuffix(root, "/empty") {
				t.Errorf("root directory %q, %v", root, err)
			}
			if names, err := os.ReadDir(proc + "/root"); err != nil || len(names) != 0 {
				t.Errorf("the root directory holds %v, %v", names, err)
			}
			limits, err := os.ReadFile(proc + "/limits")
			if err != nil || !strings.Contains(string(limits), "Max core file size        1                    1 ") {
				t.Errorf("core dumps: %s %v", limits, err)
			}
			if st, err := os.Stat(proc + "/maps"); err != nil || st.Sys().(*syscall.Stat_t).Uid != 0 {
				t.Errorf("the process is dumpable (%v): /proc would be root's otherwise", err)
			}
		})
	}
}

func statusOf(t *testing.T, file string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, line := range strings.Split(string(b), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			m[k] = strings.TrimSpace(v)
		}
	}
	return m
}

func TestAttempts(t *testing.T) {
	for _, a := range []struct {
		attempt string
		may     string // who may
	}{
		{"nothing", "ikeproc authproc xfrmproc-kernel xfrmproc-userspace"}, {"open a file", ""}, {"make a file", ""}, {"a UDP socket", ""}, {"a unix socket", ""},
		{"an XFRM socket", "xfrmproc-kernel"}, {"a route socket", ""}, {"memory for code", ""}, {"a new process", ""}, {"a signal to init", ""},
	} {
		for name := range profiles {
			out, _, killed := run(t, name, a.attempt)
			ok := out.Attempt == "<nil>"
			if killed != 0 || ok != slices.Contains(strings.Fields(a.may), name) {
				t.Errorf("%s tries %s: %s, killed by %d", name, a.attempt, out.Attempt, killed)
			}
		}
	}
}

// What only an intruder would try ends the process.
func TestIntruderIsKilled(t *testing.T) {
	for _, attempt := range []string{"a program", "the superuser"} {
		for name := range profiles {
			if _, _, killed := run(t, name, attempt); killed != syscall.SIGSYS {
				t.Errorf("%s tries %s and is ended by signal %d, want SIGSYS", name, attempt, killed)
			}
		}
	}
}

func TestEveryRightHasAReason(t *testing.T) {
	for name, p := range profiles {
		if err := p.validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, n, err := filterOf(p.Rights); err != nil || n < 30 {
			t.Errorf("%s: %d calls, %v", name, n, err)
		}
	}
}
