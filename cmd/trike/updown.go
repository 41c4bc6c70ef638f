package main

import (
	"fmt"
	"strings"

	"github.com/trike-ipsec/trike/internal/control"
	"github.com/urfave/cli/v2"
)

func upCommand() *cli.Command {
	return tunnelCommand(control.Up, "bring a connection up, or one of its children", "is up", nil)
}

func downCommand() *cli.Command {
	return tunnelCommand(control.Down, "take a connection down, or one of its children; what policy protects stays protected", "is down", nil)
}

func rekeyCommand() *cli.Command {
	return tunnelCommand(control.Rekey, "replace the keys of a connection's children, or of its IKE SA", "has new keys",
		&cli.BoolFlag{Name: "ike", Usage: "rekey the IKE SA instead of the children"})
}

// tunnelCommand is one of the three that name a connection.
func tunnelCommand(verb, usage, done string, extra cli.Flag) *cli.Command {
	flags := []cli.Flag{controlFlag(), &cli.BoolFlag{Name: "no-wait", Usage: "return when it has begun, not when it is done"}}
	if extra != nil {
		flags = append(flags, extra)
	}
	return &cli.Command{
		Name: verb, Usage: usage, ArgsUsage: "CONNECTION[/CHILD]", Flags: flags,
		Action: func(c *cli.Context) error {
			name, err := oneArgument(c, "CONNECTION[/CHILD]")
			if err != nil {
				return err
			}
			q := control.Request{Verb: verb, IKE: c.Bool("ike"), Wait: !c.Bool("no-wait")}
			q.Connection, q.Child, _ = strings.Cut(name, "/")
			if q.IKE && q.Child != "" {
				return cli.Exit("trike: --ike is for the connection, not for a child", 2)
			}
			if _, err := ask(c, q); err != nil {
				return failed(err)
			}
			if q.Wait {
				fmt.Fprintln(c.App.Writer, name, done)
			}
			return nil
		},
	}
}
