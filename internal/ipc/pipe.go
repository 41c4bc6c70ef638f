package ipc

import (
	"errors"
	"io"
	"os"

	"github.com/trike-ipsec/trike/internal/msg"
)

// duplex is the two ends that one process has of a pair of pipes.
type duplex struct {
	io.Reader
	io.Writer
	close func() error
}

func (d duplex) Close() error { return d.close() }

// Pipe makes a link from the read end of one pipe and the write end of another.
func Pipe(r, w *os.File, self, peer msg.Process) *Conn {
	return New(duplex{r, w, func() error { return errors.Join(r.Close(), w.Close()) }}, self, peer)
}
