package xfrmproc

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// Datapath carries ESP. It and its types are named here so that a test can bring one of its own.
type Datapath = backend.Backend

// Link is one end of the connection to another process. It enforces what may be said over it: whatever Receive returns, its sender was
// allowed to say. *ipc.Conn is one.
type Link interface {
	// Send says m.
	Send(m msg.Message) error
	// Receive waits for the next message. After an error the link is dead.
	Receive() (msg.Message, error)
	// Close ends the link, and a Receive that waits.
	Close() error
}

// ControlLink is the link to triked, which hands descriptors over. *ipc.FileConn is one.
type ControlLink interface {
	Send(m msg.Message) error
	// ReceiveFiles waits for the next message and the descriptors that came with it.
	ReceiveFiles() (msg.Message, []*os.File, error)
	Close() error
}

// Descriptors came with a plan: files[i] is what names[i] says.
type Descriptors struct {
	Names []msg.File
	Files []*os.File
}

// Opener opens datapaths. The process has one for its whole life.
type Opener interface {
	// Open opens the datapath that a plan asks for, or whichever the host can carry if it leaves that open, and takes the descriptors. why says
	// what decided it, for the operator.
	Open(want plan.Datapath, d Descriptors) (b Datapath, why string, err error)
	// Adopt takes the descriptors of a later plan.
	Adopt(b Datapath, d Descriptors) error
}

// Config is what Run works with.
type Config struct {
	// Control is the link to triked.
	Control ControlLink
	// Connect makes a link of the descriptors of a Link message, read end and write end. nil: ConnectPipes.
	Connect func(peer msg.Process, files []*os.File) (Link, error)
	// Datapaths opens the datapath when the first plan comes.
	Datapaths Opener
	// Version is said in Hello.
	Version string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// PID is said in Hello; 0: this process's.
	PID int
}

func (c *Config) validate() error {
	if c.Control == nil || c.Datapaths == nil {
		return errors.New("xfrmproc: Control and Datapaths are needed")
	}
	if c.Connect == nil {
		c.Connect = ConnectPipes
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.PID == 0 {
		c.PID = os.Getpid()
	}
	return nil
}

// ConnectPipes makes a link of the read end of one pipe and the write end of another.
func ConnectPipes(peer msg.Process, files []*os.File) (Link, error) {
	if len(files) != 2 {
		for _, f := range files {
			_ = f.Close()
		}
		return nil, fmt.Errorf("a link needs a read end and a write end, and %d descriptors came", len(files))
	}
	return ipc.Pipe(files[0], files[1], msg.XFRMProc, peer), nil
}
