package authproc

import (
	"context"
	"fmt"
	"io"

	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
)

// Main is the program authproc: it serves triked on descriptor 3. restrict gives up every right that is not needed; it is called before the first octet is read
// from anybody. Main returns the exit code.
func Main(version string, args []string, stderr io.Writer, restrict func() error) int {
	if err := serve(version, args, restrict); err != nil {
		fmt.Fprintf(stderr, "authproc: %v\n", err)
		return 1
	}
	return 0
}

func serve(version string, args []string, restrict func() error) error {
	if len(args) > 0 {
		return fmt.Errorf("it takes no arguments, and got %q", args)
	}
	control, err := ipc.FromTriked(msg.AuthProc, restrict)
	if err != nil {
		return err
	}
	return Run(context.Background(), Config{Control: control, Version: version})
}
