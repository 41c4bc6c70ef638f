package xfrmproc

import (
	"errors"
	"os"
	"time"

	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// Datapath carries ESP. It and its types are named here so that a test can bring one of its own.
type Datapath = backend.Backend

// Link is the link to a neighbour, ControlLink the one to triked.
type (
	Link        = ipc.Link
	ControlLink = ipc.ControlLink
)

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
	// Connect makes a link of the descriptors of a Link message, read end and write end. nil: ipc.Connect.
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
		c.Connect = func(peer msg.Process, files []*os.File) (Link, error) { return ipc.Connect(msg.XFRMProc, peer, files) }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.PID == 0 {
		c.PID = os.Getpid()
	}
	return nil
}
