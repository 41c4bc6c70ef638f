package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/trike-ipsec/trike/internal/control"
	"github.com/urfave/cli/v2"
)

// runtimeCommands talk to the running gateway.
func runtimeCommands() []*cli.Command {
	return []*cli.Command{statusCommand(), upCommand(), downCommand(), rekeyCommand(), applyCommand(), logCommand()}
}

func controlFlag() cli.Flag {
	return &cli.StringFlag{Name: "control", Value: control.DefaultSocket, Usage: "triked's control `SOCKET`"}
}

// ask sends one request to the gateway that --control names. An interrupt ends the wait, not the gateway's work.
func ask(c *cli.Context, q control.Request) (control.Reply, error) { return askWith(c, q, nil) }

// askWith sends a plan along.
func askWith(c *cli.Context, q control.Request, body []byte) (control.Reply, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return control.Client{Socket: c.String("control")}.Do(ctx, q, body, nil)
}

// failed turns an error of the gateway's or of the way to it into the command's: 1 when the gateway said no, 2 when it could not be asked.
func failed(err error) error {
	if err == nil {
		return nil
	}
	var said *control.GatewayError
	if errors.As(err, &said) {
		return cli.Exit("trike: "+said.Text, 1)
	}
	return cli.Exit("trike: "+err.Error(), 2)
}

// oneArgument is the command's only argument. Flags behind it would be silently taken for arguments, so they are refused.
func oneArgument(c *cli.Context, what string) (string, error) {
	for _, a := range c.Args().Slice() {
		if strings.HasPrefix(a, "-") {
			return "", cli.Exit(fmt.Sprintf("trike: put %s before %s", a, what), 2)
		}
	}
	if c.NArg() != 1 {
		return "", cli.Exit(fmt.Sprintf("trike: want one argument: %s (see trike %s --help)", what, c.Command.Name), 2)
	}
	return c.Args().First(), nil
}
