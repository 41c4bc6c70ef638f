package supervise

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// host is what the loop has of the machine. machine (host_linux.go) is the real one; tests have one of their own.
type host interface {
	// Decide says which datapath carries ESP for a plan that wants this one, and why.
	Decide(want plan.Datapath) (datapath plan.Datapath, why string, err error)
	// Start starts a process of the trio. said gets the lines of its standard error.
	Start(name msg.Process, args []string, said func(line string)) (child, error)
	// Open opens the descriptors that a plan needs beyond those of have.
	Open(p *plan.Plan, datapath plan.Datapath, have *openings) (*openings, error)
	// Secrets opens what filesOf lists: secrets, certificates, authorities, revocation lists, leases. A nil file stands for one that cannot be had, for the reason in the error.
	Secrets(p *plan.Plan) ([]*os.File, []error)
	// StartPlugin starts a plugin as this user, with these variables in its environment.
	StartPlugin(p plan.Plugin, user int, env []string) (pluginChild, error)
	// Pipes makes a link between two processes: the read and write end of each.
	Pipes() (a, b [2]*os.File, err error)
	// Protect makes the host lead what the plan protects into the datapath, and nowhere else. With addOnly what stands already stays. notes are for the operator.
	Protect(p *plan.Plan, datapath plan.Datapath, addOnly bool) (notes []string, err error)
	// Flush takes away all protection that is in force.
	Flush(datapath plan.Datapath) error
	// Load reads the last good plan; nil when there is none. Save replaces it.
	Load() (*saved, error)
	Save(s *saved) error
}

// child is one run of a process.
type child interface {
	PID() int
	// Send writes one message with descriptors, which stay the caller's.
	Send(m msg.Message, files []*os.File) error
	// Receive waits for the process's next message.
	Receive() (msg.Message, error)
	// Kill ends it now. It may have ended already.
	Kill()
	// Wait waits for its end, and says how it ended.
	Wait() error
}

// openings are the descriptors that a plan's datapath and IKE need, by process, in the order in which they are handed over. triked keeps them, so that ports,
// the TUN device and the routes into it outlive a process.
type openings struct {
	byName  map[msg.File]*os.File
	forIKE  []msg.File
	forXFRM []msg.File
}

// files are copies of the descriptors with these names.
func (o *openings) files(names []msg.File) ([]*os.File, error) {
	out := make([]*os.File, 0, len(names))
	for _, n := range names {
		f, err := duplicate(o.byName[n])
		if err != nil {
			closeAll(out)
			return nil, fmt.Errorf("copy the descriptor of %s %s: %w", n.Kind, n.Name, err)
		}
		out = append(out, f)
	}
	return out, nil
}

func duplicate(f *os.File) (*os.File, error) {
	var fd int
	err := onSocket(f, func(old int) (err error) {
		fd, err = unix.FcntlInt(uintptr(old), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// closeBut closes what keep does not have.
func (o *openings) closeBut(keep *openings) {
	if o == nil {
		return
	}
	for name, f := range o.byName {
		if keep == nil || keep.byName[name] != f {
			_ = f.Close()
		}
	}
}

// saved is the last good plan as it is kept.
type saved struct {
	Hash string // of the plan
	// Seed is the hash of the plan that was in Config.Plan's file when this one was applied. A file that has another is news, and wins at the next start.
	Seed string
	Plan []byte
}
