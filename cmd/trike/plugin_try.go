package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/trike-ipsec/trike/plugins/eapsdk/eaptest"
	"github.com/urfave/cli/v2"
)

func pluginTestCommand() *cli.Command {
	return &cli.Command{
		Name: "test", Usage: "try a plugin in any language: right packets and hostile ones, losses, keys, many sessions at once", ArgsUsage: "FILE",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "settings", Usage: "JSON `FILE` with what the server, the client and a client that must be refused are given"},
			&cli.StringFlag{Name: "format", Value: "text", Usage: "how findings are written: text or json"},
			&cli.DurationFlag{Name: "timeout", Value: 5 * time.Minute, Usage: "leave out what is not tried by this `TIME`"},
			&cli.Uint64Flag{Name: "seed", Usage: "`NUMBER` that the random packets and losses come of"},
		},
		Action: func(c *cli.Context) error {
			file, err := oneArgument(c, "FILE")
			if err != nil {
				return err
			}
			write, err := pluginFindingsWriter(c)
			if err != nil {
				return err
			}
			conf, err := pluginConfig(c, file)
			if err != nil {
				return cli.Exit("trike: "+err.Error(), 2)
			}
			ctx, interrupted := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer interrupted()
			ctx, late := context.WithTimeoutCause(ctx, c.Duration("timeout"), fmt.Errorf("it took longer than %v (--timeout allows more)", c.Duration("timeout")))
			defer late()
			findings := eaptest.Run(ctx, conf)
			if err := write(findings); err != nil {
				return err
			}
			if eaptest.Failed(findings) || ctx.Err() != nil {
				return cli.Exit("", 1)
			}
			return nil
		},
	}
}

// pluginConfig is what the suite works with.
func pluginConfig(c *cli.Context, file string) (conf eaptest.Config, err error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return conf, err
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return conf, fmt.Errorf("%s is no program: its mode is %v", file, info.Mode())
	}
	if name := c.String("settings"); name != "" {
		if conf, err = eaptest.ReadSettings(name); err != nil {
			return conf, err
		}
	}
	conf.Start, conf.Seed = eaptest.Program(file), c.Uint64("seed")
	return conf, nil
}

func pluginFindingsWriter(c *cli.Context) (func([]eaptest.Finding) error, error) {
	switch format := c.String("format"); format {
	case "text":
		return func(fs []eaptest.Finding) error { return eaptest.WriteText(c.App.Writer, fs) }, nil
	case "json":
		return func(fs []eaptest.Finding) error {
			enc := json.NewEncoder(c.App.Writer)
			for _, f := range fs {
				if err := enc.Encode(f); err != nil {
					return err
				}
			}
			return nil
		}, nil
	default:
		return nil, cli.Exit(fmt.Sprintf("trike: no format %q: want text or json", format), 2)
	}
}
