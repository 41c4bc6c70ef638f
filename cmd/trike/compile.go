package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/urfave/cli/v2"
)

func compileCommand() *cli.Command {
	return &cli.Command{
		Name: "compile", Usage: "write one plan a gateway, if the policy has no mistake", ArgsUsage: "[DIR]",
		Flags: policyFlags(
			&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Value: "plans", Usage: "`DIR` for the plans, NAME.plan.json each; - writes one plan to the standard output"},
			&cli.StringFlag{Name: "gateway", Usage: "only the plan of this gateway"}),
		Action: func(c *cli.Context) error {
			dir, err := policyDir(c)
			if err != nil {
				return err
			}
			result, err := compilePolicy(c, dir, c.App.ErrWriter)
			if err != nil {
				return err
			}
			plans := result.Plans
			if only := c.String("gateway"); only != "" {
				p, err := planFor(result.Plans, only)
				if err != nil {
					return err
				}
				plans = []*plan.Plan{p}
			}
			return writePlans(c, plans)
		},
	}
}

func writePlans(c *cli.Context, plans []*plan.Plan) error {
	out := c.String("out")
	if out == "-" {
		if len(plans) != 1 {
			return cli.Exit(fmt.Sprintf("trike: %d plans do not fit the standard output: choose one with --gateway", len(plans)), 2)
		}
		_, err := c.App.Writer.Write(plan.Encode(plans[0]))
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return cli.Exit("trike: "+err.Error(), 2)
	}
	for _, p := range plans {
		file := filepath.Join(out, p.Gateway+".plan.json")
		if err := writeWhole(file, plan.Encode(p)); err != nil {
			return cli.Exit("trike: "+err.Error(), 2)
		}
		fmt.Fprintf(c.App.Writer, "%s  %.12s  %d connections\n", file, p.Hash(), len(p.Connections))
	}
	return nil
}

// writeWhole replaces a file all at once: whoever reads it sees the old one or the new one.
func writeWhole(file string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(b); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Sync(); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
