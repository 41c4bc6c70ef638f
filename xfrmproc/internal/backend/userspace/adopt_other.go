//go:build !linux

package userspace

import (
	"os"

	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// Open is for Linux only: elsewhere there is no TUN device to adopt.
func Open([]msg.File, []*os.File) (*Backend, error) { return nil, backend.ErrUnsupported }

// AddFiles is for Linux only.
func (b *Backend) AddFiles([]msg.File, []*os.File) error { return backend.ErrUnsupported }
