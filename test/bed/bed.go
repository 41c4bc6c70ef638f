// Package bed lays out test hosts as network namespaces on this machine: hosts, wires between them, processes in them,
// and captures. Traffic stays inside the namespaces that it made.
//
//	b := bed.New("demo")
//	defer b.Close()
//	left, right := b.Host("left"), b.Host("right")
//	b.Wire(left, "192.0.2.1/24", right, "192.0.2.2/24")
//	out, err := left.Run(ctx, "ping", "-c1", "192.0.2.2")
//
// It needs root, iproute2 and, for captures, tcpdump. The first error of the layout is kept and told by Err.
package bed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Bed is one layout. It has one owner, except for Close, which may come from a signal handler.
type Bed struct {
	Name  string
	Dir   string // scratch folder of this bed, removed by Close
	hosts []*Host
	wires int
	err   error
	mu    sync.Mutex // Close may race with Start when a signal ends the run
	procs []*Proc
	done  bool
}

// Host is one network namespace.
type Host struct {
	Name string // short name
	NS   string // name of its namespace
	bed  *Bed
}

// New begins an empty layout. Name tells its namespaces from those of other beds; keep it short and unique.
func New(name string) *Bed {
	b := &Bed{Name: name}
	if os.Geteuid() != 0 {
		b.err = errors.New("network namespaces need root")
		return b
	}
	// ikeproc and its siblings chroot and change user: every folder above must be searchable.
	dir, err := os.MkdirTemp("", "trike-"+name+"-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	b.Dir, b.err = dir, err
	return b
}

// NewFor begins a layout for a test of this process: its namespaces' names hold the process number, so that two runs at once stay apart. What runs that were killed left
// behind is removed.
func NewFor(test string) *Bed {
	names, _ := filepath.Glob("/run/netns/t*-*-*")
	for _, path := range names {
		var pid int
		if n, _ := fmt.Sscanf(filepath.Base(path), "t%d-", &pid); n == 1 && syscall.Kill(pid, 0) == syscall.ESRCH {
			_ = exec.Command("ip", "netns", "del", filepath.Base(path)).Run()
		}
	}
	return New(fmt.Sprintf("t%d-%s", os.Getpid(), test))
}

// Err is the first error of the layout.
func (b *Bed) Err() error { return b.err }

// Host adds a host with forwarding on and its loopback up.
func (b *Bed) Host(name string) *Host {
	h := &Host{Name: name, NS: b.Name + "-" + name, bed: b}
	_ = exec.Command("ip", "netns", "del", h.NS).Run() // left over from a run that was killed
	b.must("ip", "netns", "add", h.NS)
	b.hosts = append(b.hosts, h)
	h.must("ip", "link", "set", "lo", "up")
	h.must("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
		"net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
	return h
}

// Wire joins two hosts by an Ethernet link and gives its ends these addresses, space separated, in prefix form. It returns the names of the two
// interfaces.
func (b *Bed) Wire(a *Host, addrsA string, c *Host, addrsC string) (ifA, ifC string) {
	b.wires++
	ifA, ifC = fmt.Sprintf("w%d%s", b.wires, a.Name), fmt.Sprintf("w%d%s", b.wires, c.Name)
	b.must("ip", "link", "add", ifA, "netns", a.NS, "type", "veth", "peer", "name", ifC, "netns", c.NS)
	for _, end := range []struct {
		h          *Host
		dev, addrs string
	}{{a, ifA, addrsA}, {c, ifC, addrsC}} {
		for _, addr := range strings.Fields(end.addrs) {
			args := []string{"ip", "addr", "add", addr, "dev", end.dev}
			if strings.Contains(addr, ":") {
				args = append(args, "nodad")
			}
			end.h.must(args...)
		}
		end.h.must("ip", "link", "set", end.dev, "up")
	}
	return ifA, ifC
}

// Route adds a route on a host.
func (h *Host) Route(prefix, via string) {
	family := "-4"
	if strings.Contains(prefix, ":") || strings.Contains(via, ":") {
		family = "-6"
	}
	h.must("ip", family, "route", "add", prefix, "via", via)
}

// Must runs a command on the host as part of the layout: an error is kept for Err.
func (h *Host) Must(args ...string) { h.must(args...) }

func (h *Host) must(args ...string) {
	h.bed.must(append([]string{"ip", "netns", "exec", h.NS}, args...)...)
}

func (b *Bed) must(args ...string) {
	if b.err != nil {
		return
	}
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		b.err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
}

// Run runs a command on the host and returns its output, standard error included.
func (h *Host) Run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.NS}, args...)...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %s: %w", h.Name, strings.Join(args, " "), err)
	}
	return string(out), err
}

// Proc is a process that runs on a host.
type Proc struct {
	Log  string // file with its standard output and error
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts a process on the host, its output in a file of the bed. env is added to the machine's.
func (h *Host) Start(name string, env []string, args ...string) (*Proc, error) {
	p := &Proc{Log: filepath.Join(h.bed.Dir, h.Name+"-"+name+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command("ip", append([]string{"netns", "exec", h.NS}, args...)...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = out, out, append(os.Environ(), env...)
	h.bed.mu.Lock()
	defer h.bed.mu.Unlock()
	if h.bed.done {
		return nil, errors.New("the bed is closed")
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	h.bed.procs = append(h.bed.procs, p)
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	return p, nil
}

// PID is the process's own number: `ip netns exec` becomes the command that it runs.
func (p *Proc) PID() int { return p.cmd.Process.Pid }

// Running tells whether the process still runs.
func (p *Proc) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Stop asks the process to end and, after patience, ends it.
func (p *Proc) Stop(patience time.Duration) error {
	_ = p.cmd.Process.Signal(os.Interrupt)
	_ = p.cmd.Process.Signal(sigTerm)
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	return p.err
}

// Kill ends the process at once, as a crash would.
func (p *Proc) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Output is what the process has said so far.
func (p *Proc) Output() string {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Close ends all processes, last first, and removes the namespaces and the scratch folder.
func (b *Bed) Close() {
	b.mu.Lock()
	procs, done := b.procs, b.done
	b.done = true
	b.mu.Unlock()
	if done {
		return
	}
	for i := len(procs) - 1; i >= 0; i-- {
		_ = procs[i].Stop(3 * time.Second)
	}
	for _, h := range b.hosts {
		_ = exec.Command("ip", "netns", "del", h.NS).Run()
	}
	if b.Dir != "" {
		_ = os.RemoveAll(b.Dir)
	}
}
