package ikeproc

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/trike-ipsec/trike/ikeproc/internal/engine"
	"github.com/trike-ipsec/trike/ikeproc/internal/udp"
	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
)

// Transport is one local UDP address and port. It and its Datagram are named here so that a test can bring a network of its own.
type (
	Transport = udp.Transport
	Datagram  = udp.Datagram
)

// Limits bound what strangers can make this process hold. Zero fields take the default.
type Limits = engine.Limits

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
	// OpenSocket adopts a UDP socket by its name, "address:port", and takes the descriptor over. nil: a socket of the kernel's.
	OpenSocket func(name string, f *os.File) (Transport, error)
	// Entropy gives fresh randomness and never fails; nil: crypto/rand.
	Entropy io.Reader
	Limits  Limits
	// Workers is how many goroutines do public-key work; 0: as many as there are cores.
	Workers int
	// Farewell bounds how long a Shutdown waits for the peers to answer; 0: 4 s, which is less than triked waits.
	Farewell time.Duration
	// Version is said in Hello.
	Version string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// PID is said in Hello; 0: this process's.
	PID int
}

func (c *Config) validate() error {
	if c.Control == nil {
		return errors.New("ikeproc: Control is needed")
	}
	if c.Connect == nil {
		c.Connect = func(peer msg.Process, files []*os.File) (Link, error) { return ipc.Connect(msg.IKEProc, peer, files) }
	}
	if c.OpenSocket == nil {
		c.OpenSocket = udp.Open
	}
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	if c.Workers <= 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.Farewell <= 0 {
		c.Farewell = 4 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.PID == 0 {
		c.PID = os.Getpid()
	}
	return nil
}
