package bed

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/internal/status"
)

// Trike is a gateway that runs on a host: triked and its trio.
type Trike struct {
	Host *Host
	Bin  string // folder with the programs
	Dir  string // its state and its control socket
	Plan string // the plan file that it starts with
	Proc *Proc
}

// StartTrike runs the programs of bin on the host with a plan file, and waits until the gateway answers.
func (h *Host) StartTrike(bin, plan string) (*Trike, error) {
	g := &Trike{Host: h, Bin: bin, Dir: filepath.Join(h.bed.Dir, "trike-"+h.Name), Plan: plan}
	if err := os.MkdirAll(g.Dir, 0o755); err != nil {
		return nil, err
	}
	return g, g.Start()
}

// Start starts triked, for the first time or again after its end.
func (g *Trike) Start() error {
	p, err := g.Host.Start("triked", nil, filepath.Join(g.Bin, "triked"), "--plan", g.Plan, "--control", g.Control(), "--state", g.Dir, "--libexec", g.Bin)
	if err != nil {
		return err
	}
	g.Proc = p
	err = Until(20*time.Second, "triked to answer", func() bool {
		_, err := g.Ask("status")
		return err == nil || !p.Running()
	})
	if err == nil && !p.Running() {
		err = fmt.Errorf("triked of %s ended: %s", g.Host.Name, p.Output())
	}
	return err
}

// Control is the path of the control socket.
func (g *Trike) Control() string { return filepath.Join(g.Dir, "control.sock") }

// Run runs one command of the trike program on the host.
func (g *Trike) Run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	return g.Host.Run(ctx, append([]string{filepath.Join(g.Bin, "trike")}, args...)...)
}

// Ask runs a command that talks to the running gateway.
func (g *Trike) Ask(verb string, args ...string) (string, error) {
	return g.Run(append([]string{verb, "--control", g.Control()}, args...)...)
}

// Status is what `trike status --json` says.
func (g *Trike) Status() (s status.Gateway, err error) {
	out, err := g.Ask("status", "--json")
	if err != nil {
		return s, fmt.Errorf("%w: %s", err, out)
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// Connection is the status of one connection, empty where there is none of this name.
func (g *Trike) Connection(name string) (status.Connection, error) {
	s, err := g.Status()
	for _, c := range s.IKE.Connections {
		if c.Name == name {
			return c, err
		}
	}
	return status.Connection{}, err
}

// Settled waits until a connection has exactly so many IKE SAs and pairs of child SAs.
func (g *Trike) Settled(limit time.Duration, name string, ike, children int) (c status.Connection, err error) {
	err = Until(limit, fmt.Sprintf("%d IKE SAs and %d pairs of child SAs of %s on %s", ike, children, name, g.Host.Name), func() bool {
		var err error
		c, err = g.Connection(name)
		pairs := 0
		for _, child := range c.Children {
			pairs += len(child.SAs)
		}
		return err == nil && len(c.SAs) == ike && pairs == children
	})
	if err != nil {
		out, _ := g.Ask("status")
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return c, err
}

// SPIs names the SAs of a connection: what a rekey changes, and nothing else should.
func SPIs(c status.Connection) (ike, child string) {
	for _, sa := range c.SAs {
		ike += sa.SPIi + sa.SPIr + " "
	}
	for _, ch := range c.Children {
		for _, sa := range ch.SAs {
			child += sa.SPIIn + sa.SPIOut + " "
		}
	}
	return strings.TrimSpace(ike), strings.TrimSpace(child)
}
