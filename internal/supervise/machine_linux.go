package supervise

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// Names and numbers of the userspace datapath's device. Its MTU leaves room for ESP in UDP in IPv6 on an Ethernet; what a path carries less is found out.
const (
	tunName = "trike0"
	tunMTU  = 1400
)

// probeTimeout bounds `xfrmproc --probe`.
const probeTimeout = 20 * time.Second

// machine is the host that triked runs on.
type machine struct {
	cfg   Config
	empty string // the processes' empty root directory
	guard *guard
}

func newMachine(cfg Config) (*machine, error) {
	m := &machine{cfg: cfg, empty: filepath.Join(cfg.State, "empty"), guard: new(guard)}
	// The processes become users that must be able to enter it, and could never write to it.
	if err := errors.Join(os.MkdirAll(cfg.State, 0o755), os.MkdirAll(m.empty, 0o755), os.Chmod(m.empty, 0o555)); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	for _, name := range trio {
		if _, err := os.Stat(m.program(name)); err != nil {
			return nil, fmt.Errorf("%s is not where --libexec says: %w", name, err)
		}
	}
	return m, nil
}

// forgetInherited marks all descriptors but the standard ones to be closed when a process is started.
func forgetInherited() error {
	return unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
}

func (m *machine) program(name msg.Process) string {
	return filepath.Join(m.cfg.Libexec, string(name))
}

// Decide asks xfrmproc, which knows what the kernel must be able to do, unless the plan has decided.
func (m *machine) Decide(want plan.Datapath) (plan.Datapath, string, error) {
	if want != plan.DatapathAuto {
		return want, "the policy says so", nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.program(msg.XFRMProc), "--probe")
	cmd.Env, cmd.Dir = []string{}, m.empty
	out, err := cmd.Output()
	if err != nil {
		return "", "", fmt.Errorf("ask which datapath this host can carry: xfrmproc --probe: %w%s", err, lastWords(err))
	}
	var r struct {
		Datapath plan.Datapath `json:"datapath"`
		Why      string        `json:"why"`
	}
	if err := json.Unmarshal(out, &r); err != nil || r.Datapath != plan.DatapathKernel && r.Datapath != plan.DatapathUserspace {
		return "", "", fmt.Errorf("xfrmproc --probe said %.200q (%v)", out, err)
	}
	return r.Datapath, r.Why, nil
}

// lastWords is what a program that failed wrote to standard error.
func lastWords(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return ": " + strings.TrimSpace(string(exit.Stderr))
	}
	return ""
}

// Start starts a process with nothing but its end of the control link, and standard error for its last words.
func (m *machine) Start(name msg.Process, args []string, said func(string)) (child, error) {
	ours, its, err := ipc.Socketpair()
	if err != nil {
		return nil, err
	}
	defer its.Close()
	link, err := ipc.NewFileConn(ours, msg.Triked, name)
	if err != nil {
		return nil, err
	}
	words, wordsIn, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, link.Close())
	}
	defer wordsIn.Close()
	cmd := exec.Command(m.program(name), args...)
	cmd.Env, cmd.Dir, cmd.Stderr, cmd.ExtraFiles = []string{}, m.empty, wordsIn, []*os.File{its}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at triked's terminal is triked's alone
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, link.Close(), words.Close())
	}
	c := &process{cmd: cmd, link: link}
	c.words.Add(1)
	go func() {
		defer c.words.Done()
		defer words.Close()
		listen(words, said)
	}()
	return c, nil
}

// Bounds on what a process may write to standard error: enough for a panic.
const (
	maxWords     = 4 << 10
	maxWordLines = 500
)

func listen(r io.Reader, said func(string)) {
	in := bufio.NewReaderSize(r, maxWords)
	for n := 0; ; n++ {
		line, cut, err := in.ReadLine()
		if err != nil {
			return
		}
		for cut && err == nil {
			_, cut, err = in.ReadLine()
		}
		if n < maxWordLines {
			said(string(line))
		}
	}
}

// process is a child that really runs.
type process struct {
	cmd   *exec.Cmd
	link  *ipc.FileConn
	words sync.WaitGroup
}

func (p *process) PID() int                               { return p.cmd.Process.Pid }
func (p *process) Send(m msg.Message, f []*os.File) error { return p.link.SendFiles(m, f) }
func (p *process) Receive() (msg.Message, error)          { return p.link.Receive() }
func (p *process) Kill()                                  { _ = p.cmd.Process.Kill() }
func (p *process) Wait() error {
	err := p.cmd.Wait()
	p.words.Wait()
	_ = p.link.Close()
	return err
}

// Pipes makes a pair of pipes and gives each side its ends.
func (m *machine) Pipes() (a, b [2]*os.File, err error) {
	ar, bw, err := os.Pipe()
	if err != nil {
		return a, b, err
	}
	br, aw, err := os.Pipe()
	if err != nil {
		return a, b, errors.Join(err, ar.Close(), bw.Close())
	}
	return [2]*os.File{ar, aw}, [2]*os.File{br, bw}, nil
}

// Open opens the sockets of a plan's addresses, and for the userspace datapath its device and ESP sockets. What have has is taken from there.
func (m *machine) Open(p *plan.Plan, datapath plan.Datapath, have *openings) (*openings, error) {
	o := &openings{byName: map[msg.File]*os.File{}}
	var err error
	need := func(name msg.File, open func() (*os.File, error)) {
		if err != nil || o.byName[name] != nil {
			return
		}
		if have != nil && have.byName[name] != nil {
			o.byName[name] = have.byName[name]
			return
		}
		var f *os.File
		if f, err = open(); err == nil {
			o.byName[name] = f
		}
	}
	for _, addr := range p.Listen {
		m.openAddress(addr, datapath, o, need)
	}
	if datapath == plan.DatapathUserspace {
		name := msg.File{Kind: "tun", Name: tunName}
		need(name, func() (*os.File, error) { return OpenTUN(tunName, tunMTU) })
		o.forXFRM = append(o.forXFRM, name)
	}
	if err != nil {
		o.closeBut(have)
		return nil, err
	}
	return o, nil
}

// openAddress opens what one address needs.
func (m *machine) openAddress(addr netip.Addr, datapath plan.Datapath, o *openings, need func(msg.File, func() (*os.File, error))) {
	ike500 := msg.File{Kind: "ike", Name: netip.AddrPortFrom(addr, IKEPort).String()}
	ike4500 := msg.File{Kind: "ike", Name: netip.AddrPortFrom(addr, NATPort).String()}
	o.forIKE = append(o.forIKE, ike500, ike4500)
	need(ike500, func() (*os.File, error) { return openIKE(addr, IKEPort, datapath) })
	if datapath == plan.DatapathKernel {
		need(ike4500, func() (*os.File, error) { return openIKE(addr, NATPort, datapath) })
		return
	}
	espUDP := msg.File{Kind: "espudp", Name: ike4500.Name}
	esp := msg.File{Kind: "esp", Name: addr.String()}
	o.forXFRM = append(o.forXFRM, espUDP, esp)
	need(ike4500, func() (*os.File, error) {
		ike, udp, err := OpenSplit(netip.AddrPortFrom(addr, NATPort))
		if err != nil {
			return nil, err
		}
		if err := errors.Join(exempt(ike, addr, datapath), exempt(udp, addr, datapath)); err != nil {
			return nil, errors.Join(err, ike.Close(), udp.Close())
		}
		o.byName[espUDP] = udp
		return ike, nil
	})
	need(espUDP, func() (*os.File, error) {
		return nil, errors.New("the socket for ESP in UDP is missing beside that for IKE")
	})
	need(esp, func() (*os.File, error) {
		f, err := OpenESP(addr)
		if err == nil {
			if err = exempt(f, addr, datapath); err != nil {
				err = errors.Join(err, f.Close())
			}
		}
		return f, err
	})
}

// openIKE opens a UDP socket for IKE; with the kernel's ESP, port 4500 hands ESP in UDP to the kernel.
func openIKE(addr netip.Addr, port uint16, datapath plan.Datapath) (*os.File, error) {
	at := netip.AddrPortFrom(addr, port)
	f, err := OpenUDP(at)
	if err != nil {
		return nil, err
	}
	err = exempt(f, addr, datapath)
	if err == nil && port == NATPort && datapath == plan.DatapathKernel {
		err = onSocket(f, func(fd int) error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_ENCAP, unix.UDP_ENCAP_ESPINUDP)
		})
		if err != nil {
			err = fmt.Errorf("UDP socket %v: ESP in UDP: %w", at, err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func onSocket(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	return errors.Join(raw.Control(func(fd uintptr) { inner = do(int(fd)) }), inner)
}

// Secrets opens what filesOf lists for reading, the leases also for writing, and reads none.
func (m *machine) Secrets(p *plan.Plan) ([]*os.File, []error) {
	list := filesOf(p)
	files, errs := make([]*os.File, len(list)), make([]error, len(list))
	for i, x := range list {
		switch {
		case x.Kind == leasesKind:
			files[i], errs[i] = os.OpenFile(filepath.Join(m.cfg.State, leasesKind), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		case x.credential != "":
			files[i], errs[i] = m.openCredential(x.credential)
		case x.Kind == "secret":
			files[i], errs[i] = openSecret(x.path)
		default:
			files[i], errs[i] = openRegular(x.path)
		}
	}
	return files, errs
}

// openCredential opens a credential that systemd gave triked's unit (systemd.exec(5), LoadCredential=).
func (m *machine) openCredential(name string) (*os.File, error) {
	if m.cfg.Credentials == "" {
		return nil, fmt.Errorf("systemd gave triked no credentials: add LoadCredential=%s:/path to its unit", name)
	}
	if name != filepath.Base(name) || name == "." || name == ".." {
		return nil, fmt.Errorf("%q is no name of a credential", name)
	}
	return openSecret(filepath.Join(m.cfg.Credentials, name))
}

func openRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0) // a pipe must not make us wait
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		return f, nil
	}
	if err == nil {
		err = fmt.Errorf("%s is no regular file", name)
	}
	return nil, errors.Join(err, f.Close())
}

func openSecret(name string) (*os.File, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().Perm()&0o007 != 0 {
		err = fmt.Errorf("%s may be read or changed by everybody (mode %04o): chmod 600 it, and change the secret", name, info.Mode().Perm())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Protect leads what the plan protects into the userspace datapath's device. With the kernel's, xfrmproc's policies do it.
func (m *machine) Protect(p *plan.Plan, datapath plan.Datapath, addOnly bool) ([]string, error) {
	if datapath != plan.DatapathUserspace {
		return nil, nil
	}
	return m.guard.apply(p, addOnly)
}

// Flush takes away what stands in the kernel of our protection.
func (m *machine) Flush(datapath plan.Datapath) error {
	if datapath == plan.DatapathUserspace {
		return m.guard.flush()
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.program(msg.XFRMProc), "--clear")
	cmd.Env, cmd.Dir = []string{}, m.empty
	if _, err := cmd.Output(); err != nil {
		return fmt.Errorf("xfrmproc --clear: %w%s", err, lastWords(err))
	}
	return nil
}

// lastGood is the file of the last good plan in the state folder: a line of JSON about it, then the plan.
const lastGood = "last-good.plan"

type savedHeader struct {
	Hash string `json:"hash"`
	Seed string `json:"seed"`
}

// Load reads the last good plan.
func (m *machine) Load() (*saved, error) {
	b, err := readFile(filepath.Join(m.cfg.State, lastGood), plan.MaxSize+1024)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	at := slices.Index(b, '\n')
	var h savedHeader
	if at < 0 || json.Unmarshal(b[:at], &h) != nil || h.Hash == "" {
		return nil, fmt.Errorf("%s has no header", lastGood)
	}
	return &saved{Hash: h.Hash, Seed: h.Seed, Plan: b[at+1:]}, nil
}

// Save replaces it in one step.
func (m *machine) Save(s *saved) error {
	head, err := json.Marshal(savedHeader{s.Hash, s.Seed})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(m.cfg.State, lastGood+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(append(head, '\n'), s.Plan...))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(m.cfg.State, lastGood)); err != nil {
		return err
	}
	d, err := os.Open(m.cfg.State)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readFile reads a file of at most so many octets.
func readFile(name string, most int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("%s has more than %d octets", name, most)
	}
	return b, err
}
