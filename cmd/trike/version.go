package main

import (
	"fmt"
	"runtime"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/urfave/cli/v2"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "tell which trike this is",
		Action: func(c *cli.Context) error {
			_, err := fmt.Fprintf(c.App.Writer, "trike %s, plan format %d, %s %s/%s\n", version, plan.Format, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
