package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/trike-ipsec/trike/internal/control"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/urfave/cli/v2"
)

func applyCommand() *cli.Command {
	return &cli.Command{
		Name: "apply", Usage: "put a plan, or what a policy compiles to, in force on the running gateway: all of it or nothing", ArgsUsage: "PLANFILE | POLICYDIR",
		Flags: []cli.Flag{controlFlag(), &cli.StringFlag{Name: "gateway", Usage: "the `NAME` in the policy of the gateway that this is (default: that of the plan in force)"},
			tagFlag(), formatFlag(), timeoutFlag(), &cli.BoolFlag{Name: "rename", Usage: "take a plan of another gateway's name: this machine becomes that one"},
			&cli.BoolFlag{Name: "json", Usage: "what changed, for programs"}},
		Action: func(c *cli.Context) error {
			source, err := oneArgument(c, "PLANFILE or POLICYDIR")
			if err != nil {
				return err
			}
			body, err := planOf(c, source)
			if err != nil {
				return err
			}
			r, err := askWith(c, control.Request{Verb: control.Apply, Rename: c.Bool("rename")}, body)
			if err != nil {
				return failed(err)
			}
			if r.Applied == nil {
				return cli.Exit("trike: the gateway answered without saying what it applied", 2)
			}
			if c.Bool("json") {
				return json.NewEncoder(c.App.Writer).Encode(r.Applied)
			}
			showApplied(c.App.Writer, r.Applied)
			return nil
		},
	}
}

// planOf reads a plan file, or compiles a policy directory for one gateway. A policy with a mistake never reaches the gateway.
func planOf(c *cli.Context, source string) ([]byte, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, cli.Exit("trike: "+err.Error(), 2)
	}
	if info.IsDir() {
		name := c.String("gateway")
		if name == "" {
			r, err := ask(c, control.Request{Verb: control.Status})
			if err != nil {
				return nil, failed(err)
			}
			if r.Status == nil || r.Status.Gateway == "" {
				return nil, cli.Exit("trike: no plan is in force that says which gateway this is: name it with --gateway", 2)
			}
			name = r.Status.Gateway
		}
		return compileFor(c, source, name)
	}
	if filepath.Ext(source) == ".cue" {
		return nil, cli.Exit(fmt.Sprintf("trike: %s is one file of a policy: name its directory", source), 2)
	}
	if info.Size() > plan.MaxSize {
		return nil, cli.Exit(fmt.Sprintf("trike: %s has %d octets, a plan has %d at most", source, info.Size(), plan.MaxSize), 2)
	}
	body, err := os.ReadFile(source)
	if err != nil {
		return nil, cli.Exit("trike: "+err.Error(), 2)
	}
	if _, err := plan.Decode(body); err != nil {
		return nil, cli.Exit(fmt.Sprintf("trike: %s: %v", source, err), 1)
	}
	return body, nil
}

func showApplied(w io.Writer, a *control.Applied) {
	if len(a.Changes) == 0 {
		fmt.Fprintf(w, "plan %.12s was in force already\n", a.Hash)
	} else {
		fmt.Fprintf(w, "plan %.12s is in force (serial %d)\n", a.Hash, a.Serial)
	}
	for _, ch := range a.Changes {
		name := ch.Name
		if ch.Connection != "" {
			name = ch.Connection + "/" + name
		}
		fmt.Fprintf(w, "  %-8s %s %s\n", ch.Kind, ch.Object, name)
	}
	for _, p := range a.Problems {
		fmt.Fprintf(w, "  problem: %s\n", p)
	}
}
