package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// TestMain lets the scripts of testdata run this program as `trike`.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"trike": func() { os.Exit(run(os.Args)) }})
}

// TestScripts plays the stories of testdata/script: commands as an operator types them, what they say, and their exit status.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update, RequireUniqueNames: true, RequireExplicitExec: true,
		Setup: buildsGo,
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){"status": endsWith},
	})
}

// buildsGo lets a script build Go programs of this tree, with what is in the caches of this machine and nothing from elsewhere.
func buildsGo(e *testscript.Env) error {
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		return err
	}
	source, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	caches := strings.Fields(string(out))
	if len(caches) != 2 {
		return fmt.Errorf("go env says %q", out)
	}
	e.Vars = append(e.Vars, "SOURCE="+source, "GOCACHE="+caches[0], "GOMODCACHE="+caches[1], "GOPROXY=off", "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	return nil
}

// endsWith is `status N COMMAND…` in a script: the command must end with just that exit status.
func endsWith(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND [ARG…]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if want, err := strconv.Atoi(args[0]); err != nil || got != want {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}
