package main

import (
	"errors"
	"fmt"

	"github.com/trike-ipsec/trike/plugins/eapsdk/scaffold"
	"github.com/urfave/cli/v2"
)

func pluginNewCommand() *cli.Command {
	return &cli.Command{
		Name: "new", Usage: "write a project in Go for an EAP method: one that works, its tests, and what builds it", ArgsUsage: "NAME",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "`DIR` of the project, new or empty (default: eap-NAME)"},
			&cli.StringFlag{Name: "module", Usage: "the project's module `PATH` (default: eap-NAME)"},
			&cli.IntFlag{Name: "type", Value: 255, Usage: "EAP method type `N`; 255 is for experiments (RFC 3748 section 5)"},
			&cli.StringFlag{Name: "trike-version", Usage: "`VERSION` of trike that it needs, v1.2.3 for example (default: this program's)"},
			&cli.StringFlag{Name: "trike-source", Usage: "`DIR` with trike's source, to be used in place of a version: nothing need be fetched"},
		},
		Action: func(c *cli.Context) error {
			name, err := oneArgument(c, "NAME")
			if err != nil {
				return err
			}
			p := scaffold.Project{Name: name, Dir: c.String("dir"), Module: c.String("module"), Type: c.Int("type"), Version: c.String("trike-version"), Source: c.String("trike-source")}
			if p.Version == "" && p.Source == "" {
				p.Version = version
			}
			dir, err := scaffold.Write(p)
			switch {
			case errors.Is(err, scaffold.ErrVersion):
				return cli.Exit(fmt.Sprintf("trike: %v (--trike-version or --trike-source)", err), 2)
			case err != nil:
				return cli.Exit("trike: "+err.Error(), 2)
			}
			_, err = fmt.Fprintf(c.App.Writer, "%s holds a method that works: make test and make check there try it, method.go is what to change\n", dir)
			return err
		},
	}
}
