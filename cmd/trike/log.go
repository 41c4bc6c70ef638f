package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/trike-ipsec/trike/internal/control"
	"github.com/trike-ipsec/trike/internal/status"
	"github.com/urfave/cli/v2"
)

func logCommand() *cli.Command {
	return &cli.Command{
		Name: "log", Usage: "show what happened lately, and with --follow what happens",
		Flags: []cli.Flag{controlFlag(), &cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with what happens"},
			&cli.BoolFlag{Name: "json", Usage: "one JSON object a line"}},
		Action: func(c *cli.Context) error {
			if c.NArg() != 0 {
				return cli.Exit("trike: log takes no argument", 2)
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			show := func(e status.Event) error { return showEvent(c.App.Writer, e) }
			if c.Bool("json") {
				enc := json.NewEncoder(c.App.Writer)
				show = func(e status.Event) error { return enc.Encode(e) }
			}
			_, err := control.Client{Socket: c.String("control")}.Do(ctx, control.Request{Verb: control.Log, Follow: c.Bool("follow")}, nil, show)
			if errors.Is(err, context.Canceled) {
				return nil // an interrupt is how following ends
			}
			return failed(err)
		},
	}
}

// showEvent writes an event as people read it: time, level, what, where, and for a problem the whole story.
func showEvent(w io.Writer, e status.Event) error {
	name := e.Connection
	if e.Child != "" {
		name += "/" + e.Child
	}
	line := fmt.Sprintf("%s %-5s %-8s %-18s", e.Time.Local().Format(time.DateTime), e.Level, e.Process, e.Event)
	for _, part := range []string{name, e.Peer} {
		if part != "" {
			line += " " + part
		}
	}
	text := e.Text
	if e.Problem != nil {
		text = e.Problem.Story()
	}
	_, err := fmt.Fprintf(w, "%s: %s\n", line, strings.ReplaceAll(text, "\n", "\n    "))
	return err
}
