// Command trike checks policies, compiles them into plans, and talks to a running gateway.
//
// Exit status: 0 all is well, 1 findings or a failure, 2 wrong usage, or something could not be read or written.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(run(os.Args)) }

// run is main with its arguments and exit status in the open, so that tests can call it.
func run(args []string) int {
	err := newApp().Run(args)
	if err == nil {
		return 0
	}
	var exit cli.ExitCoder
	if errors.As(err, &exit) {
		if text := exit.Error(); text != "" {
			fmt.Fprintln(os.Stderr, text)
		}
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "trike:", err)
	return 2
}

func newApp() *cli.App {
	commands := append([]*cli.Command{vetCommand(), compileCommand(), showCommand(), schemaCommand(), explainCommand(), pluginCommand(), versionCommand()}, runtimeCommands()...)
	for _, c := range commands {
		terse(c)
		for _, s := range c.Subcommands {
			terse(s)
		}
	}
	return &cli.App{
		Name: "trike", Usage: "policy in, tunnels out: the IKEv2/IPsec gateway", Version: version, HideVersion: true,
		Commands: commands, OnUsageError: wrongUsage,
		// The library would exit by itself, and with 3 for an unknown command.
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return cli.Exit(fmt.Sprintf("trike: no command %q; trike --help lists them", c.Args().First()), 2)
			}
			return cli.ShowAppHelp(c)
		},
	}
}

// terse makes a command answer a wrong flag in one line instead of with its whole help.
func terse(c *cli.Command) { c.HideHelpCommand, c.OnUsageError = true, wrongUsage }

func wrongUsage(c *cli.Context, err error, _ bool) error {
	of := "trike"
	if c.Command != nil && c.Command.HelpName != "" {
		of = c.Command.HelpName
	}
	return cli.Exit(fmt.Sprintf("trike: %v (%s --help lists them)", err, of), 2)
}
