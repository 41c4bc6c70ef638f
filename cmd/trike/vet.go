package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/compiler"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/urfave/cli/v2"
)

func vetCommand() *cli.Command {
	return &cli.Command{
		Name: "vet", Usage: "find every mistake in a policy, each with its line and how to mend it", ArgsUsage: "[DIR]", Flags: policyFlags(),
		Action: func(c *cli.Context) error {
			dir, err := policyDir(c)
			if err != nil {
				return err
			}
			_, err = compilePolicy(c, dir, c.App.Writer)
			return err
		},
	}
}

// policyFlags are what every command has that reads a policy.
func policyFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		tagFlag(), formatFlag(), timeoutFlag(),
		&cli.BoolFlag{Name: "on-box", Usage: "this is the gateway: a secret that is missing or that others can read is an error, not a warning"},
	}, more...)
}

func tagFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}, Usage: "CUE tag `NAME=VALUE` for the policy"}
}

func timeoutFlag() cli.Flag {
	return &cli.DurationFlag{Name: "timeout", Value: 5 * time.Minute, Usage: "give the policy up after this `TIME`"}
}

func formatFlag() cli.Flag {
	return &cli.StringFlag{Name: "format", Value: "text", Usage: "how findings are written: text, json or github"}
}

// policyDir is the command's only argument, the policy's directory; the current one without it.
func policyDir(c *cli.Context) (string, error) {
	if c.NArg() == 0 {
		return ".", nil
	}
	if c.Args().First() == "-" {
		return "", cli.Exit("trike: a policy is a directory, it is not read from the standard input", 2)
	}
	return oneArgument(c, "DIR")
}

// compilePolicy compiles and writes the findings: to the standard error where the standard output is for something else. The error, if any, is the exit
// status: everything has been said.
func compilePolicy(c *cli.Context, dir string, findingsTo io.Writer) (*compiler.Result, error) {
	write, err := findingsWriter(c.String("format"))
	if err != nil {
		return nil, err
	}
	ctx, stop := bounded(c.Duration("timeout"))
	defer stop()
	result, findings := compiler.Compile(ctx, compiler.Options{Dir: dir, Tags: c.StringSlice("tag"), OnBox: c.Bool("on-box"), Now: time.Now()})
	write(findingsTo, below(dir, findings))
	if !compiler.Failed(findings) {
		return result, nil
	}
	for _, d := range findings {
		if d.Severity == compiler.Error && compiler.CouldNotRead(d.Code) {
			return nil, cli.Exit("", 2)
		}
	}
	return nil, cli.Exit("", 1)
}

// below names files as they are named from where trike was called, so that editors and GitHub find them.
func below(dir string, ds []compiler.Diagnostic) []compiler.Diagnostic {
	for i := range ds {
		for _, file := range append([]*string{&ds[i].File}, files(ds[i].Related)...) {
			if *file != "" {
				*file = filepath.ToSlash(filepath.Join(dir, *file))
			}
		}
	}
	return ds
}

func files(places []compiler.Place) (out []*string) {
	for i := range places {
		out = append(out, &places[i].File)
	}
	return out
}

func findingsWriter(format string) (func(io.Writer, []compiler.Diagnostic), error) {
	switch format {
	case "text":
		return compiler.WriteText, nil
	case "github":
		return compiler.WriteGitHub, nil
	case "json":
		return func(w io.Writer, ds []compiler.Diagnostic) {
			enc := json.NewEncoder(w)
			for _, d := range ds {
				_ = enc.Encode(d)
			}
		}, nil
	}
	return nil, cli.Exit(fmt.Sprintf("trike: no format %q: want text, json or github", format), 2)
}

// compileFor compiles a policy and returns the plan of one gateway.
func compileFor(c *cli.Context, dir, gateway string) ([]byte, error) {
	result, err := compilePolicy(c, dir, c.App.ErrWriter)
	if err != nil {
		return nil, err
	}
	p, err := planFor(result.Plans, gateway)
	if err != nil {
		return nil, err
	}
	return plan.Encode(p), nil
}

func planFor(plans []*plan.Plan, gateway string) (*plan.Plan, error) {
	var names []string
	for _, p := range plans {
		if p.Gateway == gateway {
			return p, nil
		}
		names = append(names, p.Gateway)
	}
	return nil, cli.Exit(fmt.Sprintf("trike: there is no gateway %q here, but %s", gateway, strings.Join(names, ", ")), 2)
}
