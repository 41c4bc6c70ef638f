package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/trike-ipsec/trike/internal/control"
	"github.com/trike-ipsec/trike/internal/status"
	"github.com/urfave/cli/v2"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "tell how the running gateway stands", ArgsUsage: "[CONNECTION]",
		Flags: []cli.Flag{controlFlag(), &cli.BoolFlag{Name: "json", Usage: "the whole document, for programs"}},
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 || strings.HasPrefix(c.Args().First(), "-") {
				return cli.Exit("trike: status takes the name of one connection at most, after the flags", 2)
			}
			r, err := ask(c, control.Request{Verb: control.Status})
			if err != nil {
				return failed(err)
			}
			if r.Status == nil {
				return cli.Exit("trike: the gateway answered without a status", 2)
			}
			if only := c.Args().First(); only != "" {
				if err := keepConnection(r.Status, only); err != nil {
					return cli.Exit("trike: "+err.Error(), 1)
				}
			}
			if c.Bool("json") {
				enc := json.NewEncoder(c.App.Writer)
				enc.SetIndent("", "  ")
				return enc.Encode(r.Status)
			}
			return showStatus(c.App.Writer, r.Status, time.Now())
		},
	}
}

func keepConnection(s *status.Gateway, name string) error {
	for _, c := range s.IKE.Connections {
		if c.Name == name {
			s.IKE.Connections = []status.Connection{c}
			return nil
		}
	}
	return fmt.Errorf("no connection %q in the plan in force", name)
}

// showStatus writes the document for people: the gateway, its processes, a row a tunnel, then every problem in full.
func showStatus(out io.Writer, s *status.Gateway, now time.Time) error {
	fmt.Fprintf(out, "gateway %s, plan %.12s (serial %d), since %s\n", s.Gateway, s.PlanHash, s.Serial, ago(s.Since, now))
	fmt.Fprintf(out, "datapath %s: %s\n", s.XFRM.Datapath, s.XFRM.Why)
	var ps []string
	for _, p := range s.Processes {
		text := fmt.Sprintf("%s %s (pid %d, %s", p.Name, p.State, p.PID, ago(p.Since, now))
		if p.Restarts > 0 {
			text += fmt.Sprintf(", restarted %d times", p.Restarts)
		}
		ps = append(ps, text+")")
	}
	fmt.Fprintf(out, "%s\n\n", strings.Join(ps, ", "))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CONNECTION\tSTATE\tPEER\tSUITE\tREKEY IN\tTRAFFIC IN/OUT")
	for _, c := range s.IKE.Connections {
		rows(w, c, now)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, c := range s.IKE.Connections {
		if c.Problem != nil {
			fmt.Fprintf(out, "\n%s, %s:\n  %s\n", c.Name, ago(c.Problem.Time, now), strings.ReplaceAll(c.Problem.Story(), "\n", "\n  "))
		}
	}
	for _, p := range s.Auth.Problems {
		fmt.Fprintf(out, "\n%s: %s\n  policy: %s\n", p.Connection, p.Text, p.Policy)
	}
	return showCredentials(out, &s.Auth, now)
}

// showCredentials writes a row for each certificate, plugin and pool, where the plan has some.
func showCredentials(out io.Writer, a *status.Auth, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(a.Certificates) > 0 {
		fmt.Fprintln(w, "\nCERTIFICATE\tSUBJECT\tENDS\t")
	}
	for _, c := range a.Certificates {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Name, c.Subject, ends(c.NotAfter, now), c.Problem)
	}
	if len(a.Plugins) > 0 {
		fmt.Fprintln(w, "\nPLUGIN\tSTATE\tMETHOD\t")
	}
	for _, p := range a.Plugins {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Name, p.State, p.Method, p.Problem)
	}
	if len(a.Pools) > 0 {
		fmt.Fprintln(w, "\nPOOL\tADDRESSES\tIN USE\t")
	}
	for _, p := range a.Pools {
		fmt.Fprintf(w, "%s\t%d\t%d\t\n", p.Name, p.Size, p.Held)
	}
	return w.Flush()
}

// ends says when a certificate comes to its end; a raw key does not.
func ends(t, now time.Time) string {
	switch left := t.Sub(now); {
	case t.IsZero():
		return "never"
	case left < 0:
		return "ENDED " + t.UTC().Format(time.DateTime)
	case left < 48*time.Hour:
		return "in " + left.Round(time.Minute).String()
	default:
		return fmt.Sprintf("in %d days", int(left.Hours()/24))
	}
}

func rows(w io.Writer, c status.Connection, now time.Time) {
	peer := c.Remote + " " + c.RemoteID
	if len(c.SAs) == 0 {
		fmt.Fprintf(w, "%s\t%s\t%s\t\t\t\n", c.Name, c.State, peer)
	}
	for _, sa := range c.SAs {
		state := sa.State
		if sa.NAT != "none" {
			state += ", NAT " + sa.NAT
		}
		peer := sa.Remote + " " + sa.PeerID
		if sa.User != "" {
			peer += ", user " + sa.User
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t\n", c.Name, state, peer, sa.Suite, in(sa.RekeyAt, now))
	}
	for _, ch := range c.Children {
		if len(ch.SAs) == 0 {
			fmt.Fprintf(w, "  %s\t%s\t\t\t\t\n", ch.Name, ch.State)
		}
		for _, sa := range ch.SAs {
			esp := "ESP"
			if sa.Encap {
				esp = "ESP in UDP"
			}
			fmt.Fprintf(w, "  %s\t%s\t%s → %s\t%s, %s %s\t%s\t%s / %s\n", ch.Name, ch.State, strings.Join(sa.TSLocal, ","), strings.Join(sa.TSRemote, ","),
				sa.Suite, esp, sa.Mode, in(sa.RekeyAt, now), octets(sa.BytesIn), octets(sa.BytesOut))
		}
	}
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return now.Sub(t).Round(time.Second).String() + " ago"
}

func in(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Sub(now).Round(time.Second).String()
}

func octets(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n), ""
	for _, s := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value /= unit; value < unit || s == "TiB" {
			suffix = s
			break
		}
	}
	return fmt.Sprintf("%.1f %s", value, suffix)
}
