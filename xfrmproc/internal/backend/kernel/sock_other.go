//go:build !linux

package kernel

import (
	"os"
	"syscall"

	"github.com/trike-ipsec/trike/xfrmproc/internal/backend"
)

// Only Linux has XFRM: everything here says so.

type sock struct{}

func dial() (*sock, error)                                           { return nil, backend.ErrUnsupported }
func (*sock) close() error                                           { return nil }
func (*sock) one(message) error                                      { return backend.ErrUnsupported }
func (*sock) ask(message, func(typ uint16, data []byte) error) error { return backend.ErrUnsupported }
func (*sock) dump(uint16, func(), func(typ uint16, data []byte) error) error {
	return backend.ErrUnsupported
}
func (*sock) do(msgs ...message) []error {
	errs := make([]error, len(msgs))
	for i := range errs {
		errs[i] = backend.ErrUnsupported
	}
	return errs
}

type header struct {
	typ, flags uint16
	seq        uint32
}

func split([]byte, func(h header, data []byte) error) error { return backend.ErrUnsupported }

type eventSock struct{}

func dialEvents() (*eventSock, error)             { return nil, backend.ErrUnsupported }
func (*eventSock) read([]byte) (int, bool, error) { return 0, false, backend.ErrUnsupported }
func (*eventSock) close() error                   { return nil }
func openStats() *os.File                         { return nil }

const (
	errnoExists   = syscall.EEXIST
	errnoNotFound = syscall.ESRCH
	errnoNoEntry  = syscall.ENOENT
	errnoInvalid  = syscall.EINVAL
	errnoNoAlg    = syscall.ENOSYS
	errnoNoProto  = syscall.EPROTONOSUPPORT
)
