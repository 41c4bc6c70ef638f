package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// pluginCommand is for authors of EAP methods, and for those who put them into a policy.
func pluginCommand() *cli.Command {
	return &cli.Command{
		Name: "plugin", Usage: "write, try and pin EAP methods",
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return cli.Exit(fmt.Sprintf("trike: plugin has no command %q; it has new, test and pin", c.Args().First()), 2)
			}
			return cli.ShowSubcommandHelp(c)
		},
		Subcommands: []*cli.Command{pluginNewCommand(), pluginTestCommand(), pluginPinCommand()},
	}
}
