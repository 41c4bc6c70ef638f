package main

import (
	"fmt"
	"strings"

	"github.com/trike-ipsec/trike/compiler"
	"github.com/urfave/cli/v2"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name: "explain", Usage: "tell more about a finding's code: what is wrong, why it matters, how to mend it", ArgsUsage: "[CODE]",
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				for _, code := range compiler.Codes() {
					first, _, _ := strings.Cut(compiler.Explain(code), "\n")
					fmt.Fprintf(c.App.Writer, "%s  %s\n", code, first)
				}
				return nil
			}
			code, err := oneArgument(c, "CODE")
			if err != nil {
				return err
			}
			text := compiler.Explain(compiler.Code(strings.ToUpper(code)))
			if text == "" {
				return cli.Exit(fmt.Sprintf("trike: no code %q; trike explain lists them", code), 2)
			}
			fmt.Fprintf(c.App.Writer, "%s: %s\n", strings.ToUpper(code), strings.TrimSpace(text))
			return nil
		},
	}
}
