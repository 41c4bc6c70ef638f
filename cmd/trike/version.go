package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/trike-ipsec/trike/schema"
	"github.com/urfave/cli/v2"
)

// versions is what `trike version --json` writes.
type versions struct {
	Trike      string `json:"trike"`
	PlanFormat int    `json:"plan_format"` // of the plans that compile writes, and that triked must know
	Schema     string `json:"schema"`      // of the policy language
	Go         string `json:"go"`
	Platform   string `json:"platform"`
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "tell which trike this is",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "for programs"}},
		Action: func(c *cli.Context) error {
			if c.NArg() != 0 {
				return cli.Exit("trike: version takes no argument", 2)
			}
			if c.Bool("json") {
				return json.NewEncoder(c.App.Writer).Encode(versions{version, plan.Format, schema.Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
			}
			_, err := fmt.Fprintf(c.App.Writer, "trike %s, plan format %d, %s %s/%s\n", version, plan.Format, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
