package userspace

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/trike-ipsec/trike/internal/msg"
)

// Open makes a backend of the descriptors that came with a plan: one of kind "tun", and "esp" and "espudp" sockets as AddFiles takes them. It owns them all from
// here on, also when it fails.
func Open(names []msg.File, files []*os.File) (*Backend, error) {
	if len(names) != len(files) {
		return nil, errors.Join(fmt.Errorf("%d descriptors for %d names", len(files), len(names)), closeAll(files))
	}
	at := slices.IndexFunc(names, func(f msg.File) bool { return f.Kind == "tun" })
	if at < 0 {
		return nil, errors.Join(errors.New("no TUN device came with the plan: is the tun module loaded, and may triked open /dev/net/tun?"), closeAll(files))
	}
	d, err := OpenDevice(files[at])
	if err != nil {
		return nil, errors.Join(err, closeAll(slices.Delete(slices.Clone(files), at, at+1)))
	}
	b := New(d)
	if err := b.AddFiles(slices.Delete(slices.Clone(names), at, at+1), slices.Delete(slices.Clone(files), at, at+1)); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// AddFiles adopts the sockets that came with a plan: kind "esp", raw protocol 50, and "espudp", UDP that carries nothing but ESP. What the backend has
// already, and what is of another kind, is closed.
func (b *Backend) AddFiles(names []msg.File, files []*os.File) error {
	if len(names) != len(files) {
		return errors.Join(fmt.Errorf("%d descriptors for %d names", len(files), len(names)), closeAll(files))
	}
	var errs []error
	for i, n := range names {
		if n.Kind != "esp" && n.Kind != "espudp" {
			errs = append(errs, files[i].Close())
			continue
		}
		s, err := OpenSocket(files[i], n.Kind == "espudp")
		if err == nil {
			err = b.AddSocket(s)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", n.Name, err))
		}
	}
	return errors.Join(errs...)
}

func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
