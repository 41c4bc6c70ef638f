package supervise

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/sandbox"
)

// Bounds on a plugin of which the plan does not say.
const (
	pluginMemoryMB  = 256
	pluginProcesses = 64
	maxExecutable   = 512 << 20 // octets of a plugin's file
)

// StartPlugin starts the file that the plan pins by its hash.
func (m *machine) StartPlugin(p plan.Plugin, user int, env []string) (pluginChild, error) {
	file, err := openPlugin(p)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	c := &pluginProcess{user: user, ended: make(chan struct{})}
	if c.home, c.name, err = m.pluginFolder(p.Name, user); err != nil {
		return nil, fmt.Errorf("its folder: %w", err)
	}
	out, outIn, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, c.clean())
	}
	words, wordsIn, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, out.Close(), outIn.Close(), c.clean())
	}
	defer outIn.Close()
	defer wordsIn.Close()
	bounds := sandbox.Plugin{File: p.File, Dir: c.Dir(), User: user, MemoryMB: p.MemoryMB, Processes: p.Processes, Network: p.Network}
	if bounds.MemoryMB == 0 {
		bounds.MemoryMB = pluginMemoryMB
	}
	if bounds.Processes == 0 {
		bounds.Processes = pluginProcesses
	}
	argument, err := json.Marshal(bounds)
	if err == nil {
		c.cmd = exec.Command("/proc/self/exe", "run-plugin", string(argument))
		c.cmd.Env = append([]string{"TMPDIR=" + c.Dir()}, env...)
		c.cmd.Stdout, c.cmd.Stderr, c.cmd.ExtraFiles = outIn, wordsIn, []*os.File{file}
		c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		sandbox.PluginNamespaces(c.cmd.SysProcAttr, bounds)
		c.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // no plugin outlives triked
		if err = c.start(); err != nil {
			err = fmt.Errorf("%w (plugins need user namespaces: look at sysctl user.max_user_namespaces and kernel.unprivileged_userns_clone)", err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, out.Close(), words.Close(), c.clean())
	}
	c.stdout, c.stderr = out, words
	return c, nil
}

// openPlugin opens a plugin's file and reads all of it: nothing but what the plan pins is ever run.
func openPlugin(p plan.Plugin) (*os.File, error) {
	f, err := openRegular(p.File)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*os.File, error) { return nil, errors.Join(err, f.Close()) }
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || st.Uid != 0 || info.Mode().Perm()&0o022 != 0:
		return fail(fmt.Errorf("%s can be changed by others than root (user %d, mode %04o): chown root and chmod 755 it", p.File, st.Uid, info.Mode().Perm()))
	case info.Size() > maxExecutable:
		return fail(fmt.Errorf("%s has %d octets, more than %d", p.File, info.Size(), maxExecutable))
	case info.Mode().Perm()&0o005 != 0o005:
		return fail(fmt.Errorf("%s may not be read and run by others (mode %04o): chmod 755 it", p.File, info.Mode().Perm()))
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, maxExecutable+1)); err != nil {
		return fail(err)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != p.SHA256 {
		return fail(fmt.Errorf("%s is not the file that the plan pins: its SHA-256 is %s, the plan's %s. If it is meant, compile the policy with the new sum", p.File, sum, p.SHA256))
	}
	return f, nil
}

// pluginFolder makes the folder of one run: the plugin's user owns it, and what is made in it can be reached by root's group.
func (m *machine) pluginFolder(plugin string, user int) (home *os.Root, name string, err error) {
	base := filepath.Join(m.cfg.State, "plugins")
	if err := os.Mkdir(base, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, "", err
	}
	if home, err = os.OpenRoot(base); err != nil {
		return nil, "", err
	}
	name = fmt.Sprintf("%s-%08x", plugin, rand.Uint32())
	if err = home.Mkdir(name, 0o700); err == nil {
		// In this order: triked may change the mode of what it owns alone.
		err = errors.Join(home.Chmod(name, 0o770|fs.ModeSetgid), home.Chown(name, user, 0))
	}
	if err != nil {
		return nil, "", errors.Join(err, home.Close())
	}
	return home, name, nil
}

// pluginProcess is a plugin that really runs.
type pluginProcess struct {
	cmd            *exec.Cmd
	user           int
	home           *os.Root // the folder of plugins' folders
	name           string   // of its own there
	stdout, stderr *os.File
	ended          chan struct{}
}

// start starts the plugin from a thread that lives as long as it: the end of the thread is what the kernel takes for the end of triked.
func (p *pluginProcess) start() error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		result <- err
		if err == nil {
			<-p.ended
		}
	}()
	return <-result
}

func (p *pluginProcess) PID() int    { return p.cmd.Process.Pid }
func (p *pluginProcess) Dir() string { return filepath.Join(p.home.Name(), p.name) }
func (p *pluginProcess) Kill()       { _ = p.cmd.Process.Kill() } // the first of its process namespace: all others go with it

func (p *pluginProcess) Output() (stdout, stderr *os.File) { return p.stdout, p.stderr }

func (p *pluginProcess) Wait() error {
	err := p.cmd.Wait()
	close(p.ended)
	return errors.Join(err, p.clean())
}

// clean takes the folder away, with what the plugin left in it. All its processes have gone. Links are not followed.
func (p *pluginProcess) clean() error {
	defer p.home.Close()
	err := fs.WalkDir(p.home.FS(), p.name, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return errors.Join(p.home.Chown(path, 0, 0), p.home.Chmod(path, 0o700)) // to remove what is in it
		}
		return err
	})
	return errors.Join(err, p.home.RemoveAll(p.name))
}

// Dial connects to a socket of the plugin's. The plugin may put anything under that name: a link to somebody else's socket is not followed, and a socket that is not its own not taken.
func (p *pluginProcess) Dial(socket string) (*os.File, error) {
	select {
	case <-p.ended:
		return nil, errors.New("the plugin has ended")
	default:
	}
	below, ok := strings.CutPrefix(filepath.Clean(socket), p.Dir()+"/")
	if !ok {
		return nil, fmt.Errorf("%q: %w", clipText(socket), errForeignSocket)
	}
	dir, err := p.home.OpenFile(p.name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	fd, err := unix.Openat2(int(dir.Fd()), below, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return nil, fmt.Errorf("%q: %w", clipText(below), err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || int(st.Uid) != p.user {
		return nil, fmt.Errorf("%q: %w", clipText(below), errForeignSocket)
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("/proc/self/fd/%d", fd)})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.File()
}
