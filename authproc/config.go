package authproc

import (
	"errors"
	"os"
	"time"

	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
)

// Link is the link to a neighbour, ControlLink the one to triked.
type (
	Link        = ipc.Link
	ControlLink = ipc.ControlLink
)

// Config is what Run works with.
type Config struct {
	// Control is the link to triked.
	Control ControlLink
	// Connect makes a link of the descriptors of a Link message, read end and write end. nil: ipc.Connect.
	Connect func(peer msg.Process, files []*os.File) (Link, error)
	// Version is said in Hello.
	Version string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Plugins runs EAP methods; nil: a pluginhost.Host, which has triked start them.
	Plugins Plugins
	// PID is said in Hello; 0: this process's.
	PID int
}

func (c *Config) validate() error {
	if c.Control == nil {
		return errors.New("authproc: Control is needed")
	}
	if c.Connect == nil {
		c.Connect = func(peer msg.Process, files []*os.File) (Link, error) { return ipc.Connect(msg.AuthProc, peer, files) }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.PID == 0 {
		c.PID = os.Getpid()
	}
	return nil
}
