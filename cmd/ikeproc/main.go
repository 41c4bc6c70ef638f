// Command ikeproc speaks IKEv2 with the network, and has no right but that. It is started by triked.
package main

import (
	"os"

	"github.com/trike-ipsec/trike/ikeproc"
	"github.com/trike-ipsec/trike/internal/sandbox"
)

var version = "unknown" // set by the linker

func main() {
	os.Exit(ikeproc.Main(version, os.Args[1:], os.Stderr, func() error { return sandbox.Restrict(os.Stderr, sandbox.IKEProc()) }))
}
