package xfrmproc

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"

	"github.com/trike-ipsec/trike/internal/ipc"
	"github.com/trike-ipsec/trike/internal/msg"
	"github.com/trike-ipsec/trike/internal/plan"
)

// ProbeResult is the one line that `xfrmproc --probe` prints, as JSON.
type ProbeResult struct {
	Datapath plan.Datapath `json:"datapath"` // kernel or userspace
	Why      string        `json:"why"`
}

// Main is the program xfrmproc: with --probe it says which datapath this host can carry, with --clear it takes away what trike left in the
// kernel, and otherwise it serves triked on descriptor 3. restrict gives up every right that the datapath does not need; it is called before
// the first octet is read from anybody. Main returns the exit code.
func Main(version string, args []string, stdout, stderr io.Writer, restrict func(plan.Datapath) error) int {
	f := flag.NewFlagSet("xfrmproc", flag.ContinueOnError)
	f.SetOutput(stderr)
	probe := f.Bool("probe", false, "print which datapath this host can carry, as one line of JSON")
	clearAll := f.Bool("clear", false, "remove trike's SAs and policies from the kernel: nothing is protected or held back afterwards")
	datapath := f.String("datapath", string(plan.DatapathKernel), "which datapath to keep rights for: kernel or userspace")
	why := f.String("why", "", "what decided on the datapath, for the status")
	if err := f.Parse(args); err != nil || f.NArg() > 0 {
		return 2
	}
	var err error
	switch {
	case *probe:
		var r ProbeResult
		r.Datapath, r.Why = Probe()
		err = json.NewEncoder(stdout).Encode(r)
	case *clearAll:
		err = Clear()
	default:
		err = serve(version, plan.Datapath(*datapath), *why, restrict)
	}
	if err != nil {
		fmt.Fprintf(stderr, "xfrmproc: %v\n", err)
		return 1
	}
	return 0
}

func serve(version string, datapath plan.Datapath, why string, restrict func(plan.Datapath) error) error {
	if datapath != plan.DatapathKernel && datapath != plan.DatapathUserspace {
		return fmt.Errorf("unknown datapath %q", datapath)
	}
	control, err := ipc.FromTriked(msg.XFRMProc, func() error { return restrict(datapath) })
	if err != nil {
		return err
	}
	return Run(context.Background(), Config{Control: control, Datapaths: HostDatapaths{Auto: datapath, Why: why}, Version: version})
}
