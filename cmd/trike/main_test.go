package main

import (
	"flag"
	"os"
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
	testscript.Run(t, testscript.Params{Dir: "testdata/script", UpdateScripts: *update, RequireUniqueNames: true, RequireExplicitExec: true})
}
