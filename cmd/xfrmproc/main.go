// Command xfrmproc holds the datapath: the kernel's ESP, or the built-in one. It is started by triked.
package main

import (
	"os"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/internal/sandbox"
	"github.com/trike-ipsec/trike/xfrmproc"
)

var version = "unknown" // set by the linker

func main() {
	os.Exit(xfrmproc.Main(version, os.Args[1:], os.Stdout, os.Stderr, func(datapath plan.Datapath) error {
		if datapath == plan.DatapathUserspace {
			return sandbox.Restrict(os.Stderr, sandbox.XFRMUserspace())
		}
		return sandbox.Restrict(os.Stderr, sandbox.XFRMKernel())
	}))
}
