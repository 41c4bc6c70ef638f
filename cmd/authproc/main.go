// Command authproc holds the secrets, and answers who may. It is started by triked.
package main

import (
	"os"

	"github.com/trike-ipsec/trike/authproc"
	"github.com/trike-ipsec/trike/internal/sandbox"
)

var version = "unknown" // set by the linker

func main() {
	os.Exit(authproc.Main(version, os.Args[1:], os.Stderr, func() error { return sandbox.Restrict(os.Stderr, sandbox.AuthProc()) }))
}
