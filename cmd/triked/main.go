// Command triked runs the gateway: it opens ports and files of secrets, starts ikeproc, authproc and xfrmproc as users of their own, and puts plans in force.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/trike-ipsec/trike/internal/sandbox"
	"github.com/trike-ipsec/trike/internal/supervise"
)

var version = "unknown" // set by the linker

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) == 2 && args[0] == "run-plugin" { // started by triked, and already another user
		fmt.Fprintln(os.Stderr, "triked: start a plugin:", sandbox.RunPlugin(args[1]))
		return 1
	}
	c := supervise.Config{Version: version, Log: os.Stderr, Notify: os.Getenv("NOTIFY_SOCKET"), Credentials: os.Getenv("CREDENTIALS_DIRECTORY")}
	f := flag.NewFlagSet("triked", flag.ContinueOnError)
	f.StringVar(&c.Plan, "plan", "", "`FILE` of the plan to put in force; without it the last good plan is")
	f.StringVar(&c.Control, "control", "/run/trike/control.sock", "`SOCKET` on which `trike` finds the gateway")
	f.StringVar(&c.State, "state", "/var/lib/trike", "`DIR` that holds the last good plan")
	f.StringVar(&c.Libexec, "libexec", beside(), "`DIR` of the programs ikeproc, authproc and xfrmproc")
	onExit := f.String("on-exit", "keep", "what becomes of protection when triked ends: `keep` holds back what the plan protects until trike runs again, flush lets it out in clear")
	logAs := f.String("log", "text", "how the log is written to standard error: `text` or json")
	showVersion := f.Bool("version", false, "print the version")
	if err := f.Parse(args); err != nil {
		return 2
	}
	if *showVersion {
		fmt.Println("triked", version)
		return 0
	}
	if f.NArg() > 0 || *onExit != "keep" && *onExit != "flush" || *logAs != "text" && *logAs != "json" {
		fmt.Fprintln(os.Stderr, "triked: unknown argument or value")
		f.Usage()
		return 2
	}
	if os.Geteuid() == 0 { // supervise.Run says what is wrong otherwise
		if err := sandbox.Supervise(); err != nil {
			fmt.Fprintf(os.Stderr, "triked: %v\n", err)
			return 1
		}
	}
	c.Flush, c.LogJSON = *onExit == "flush", *logAs == "json"
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := supervise.Run(ctx, c); err != nil {
		fmt.Fprintf(os.Stderr, "triked: %v\n", err)
		return 1
	}
	return 0
}

// beside is where `make install` puts the programs: libexec/trike beside bin, or triked's own folder.
func beside() string {
	self, err := os.Executable()
	if err != nil {
		return "/usr/local/libexec/trike"
	}
	dir := filepath.Join(filepath.Dir(filepath.Dir(self)), "libexec", "trike")
	if _, err := os.Stat(filepath.Join(dir, "xfrmproc")); err == nil {
		return dir
	}
	return filepath.Dir(self)
}
