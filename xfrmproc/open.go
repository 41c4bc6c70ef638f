package xfrmproc

import (
	"errors"
	"fmt"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/kernel"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace"
)

// HostDatapaths opens the datapaths of this host: the kernel's, or the built-in one over the TUN device and the sockets that triked opened.
type HostDatapaths struct {
	// Auto is what a plan means that leaves the datapath open.
	Auto plan.Datapath
	// Why is what decided on Auto, for the operator.
	Why string
}

// Probe says which datapath auto means here, and why.
func Probe() (plan.Datapath, string) {
	if err := kernel.Probe(); err != nil {
		return plan.DatapathUserspace, err.Error()
	}
	return plan.DatapathKernel, "the kernel took an ESP SA"
}

// Open opens the datapath that the plan asks for. It takes the descriptors, or closes them.
func (h HostDatapaths) Open(want plan.Datapath, d Descriptors) (Datapath, string, error) {
	why := "the policy says so"
	if want == plan.DatapathAuto {
		want, why = h.Auto, h.Why
	}
	switch want {
	case plan.DatapathKernel:
		for _, f := range d.Files {
			_ = f.Close()
		}
		b, err := kernel.New()
		if err != nil {
			return nil, "", err
		}
		return b, why, nil
	case plan.DatapathUserspace:
		b, err := userspace.Open(d.Names, d.Files)
		if err != nil {
			return nil, "", err
		}
		return b, why, nil
	}
	for _, f := range d.Files {
		_ = f.Close()
	}
	return nil, "", fmt.Errorf("unknown datapath %q", want)
}

// Adopt hands the sockets of a later plan to the built-in datapath; the kernel's needs none.
func (h HostDatapaths) Adopt(b Datapath, d Descriptors) error {
	if u, ok := b.(*userspace.Backend); ok {
		return u.AddFiles(d.Names, d.Files)
	}
	for _, f := range d.Files {
		_ = f.Close()
	}
	return nil
}

// NewUserspace is the built-in datapath over a device and sockets of the caller's: for a network that is simulated in one process.
func NewUserspace(device userspace.Device, sockets ...userspace.Socket) (Datapath, error) {
	b := userspace.New(device)
	for _, s := range sockets {
		if err := b.AddSocket(s); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Clear takes away whatever trike left in this host's kernel, SAs and policies: from then on nothing is protected, and nothing held back. For when
// trike leaves the host for good.
func Clear() error {
	b, err := kernel.New()
	if err != nil {
		return err
	}
	err = b.SetPolicies(backend.Policies{}, false)
	carried, derr := b.Dump()
	err = errors.Join(err, derr)
	for _, c := range carried {
		err = errors.Join(err, b.Remove(c.SPIIn))
	}
	return errors.Join(err, b.Close())
}
