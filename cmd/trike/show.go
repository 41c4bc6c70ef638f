package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/plan"
	"github.com/urfave/cli/v2"
)

func showCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "tell in a table what a policy, or a plan, makes its gateways do", ArgsUsage: "[DIR | PLANFILE]",
		Flags: policyFlags(&cli.StringFlag{Name: "gateway", Usage: "only this gateway"}),
		Action: func(c *cli.Context) error {
			source, err := policyDir(c)
			if err != nil {
				return err
			}
			plans, err := plansOf(c, source)
			if err != nil {
				return err
			}
			if only := c.String("gateway"); only != "" {
				p, err := planFor(plans, only)
				if err != nil {
					return err
				}
				plans = []*plan.Plan{p}
			}
			for _, p := range plans {
				if err := showPlan(c.App.Writer, p); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func plansOf(c *cli.Context, source string) ([]*plan.Plan, error) {
	if info, err := os.Stat(source); err == nil && !info.IsDir() {
		b, err := planOf(c, source)
		if err != nil {
			return nil, err
		}
		p, err := plan.Decode(b)
		if err != nil {
			return nil, cli.Exit(fmt.Sprintf("trike: %s: %v", source, err), 1)
		}
		return []*plan.Plan{p}, nil
	}
	result, err := compilePolicy(c, source, c.App.ErrWriter)
	if err != nil {
		return nil, err
	}
	return result.Plans, nil
}

// showPlan writes a row a connection and a row a child, each with the line of policy that it came from.
func showPlan(out io.Writer, p *plan.Plan) error {
	fmt.Fprintf(out, "gateway %s: plan %.12s, datapath %s\n", p.Gateway, p.Hash(), p.Datapath)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	place := func(pos plan.Pos) string {
		if pos.Line == 0 || pos.File >= len(p.Sources) {
			return ""
		}
		return fmt.Sprintf("%s:%d:%d", p.Sources[pos.File], pos.Line, pos.Column)
	}
	for i := range p.Connections {
		c := &p.Connections[i]
		remote := "any"
		if c.Remote.Address.IsValid() {
			remote = c.Remote.Address.String()
		}
		fmt.Fprintf(w, "%s\t%v (%s) → %s (%s)\t%s\t%s\n", c.Name, c.Local.Address, c.Local.ID.Data, remote, c.Remote.ID.Data, ikeText(c.Proposals), place(c.Pos))
		for _, ch := range c.Children {
			fmt.Fprintf(w, "  %s\t%s → %s\t%s, %s, starts: %s\t%s\n", ch.Name, selectorsText(ch.Local), selectorsText(ch.Remote), ch.Mode, espText(ch.Proposals), ch.Initiate, place(ch.Pos))
		}
	}
	for _, b := range p.Bypass {
		fmt.Fprintf(w, "bypass %s\t%s → %s\tin clear\t%s\n", b.Name, selectorsText(b.Local), selectorsText(b.Remote), place(b.Pos))
	}
	return w.Flush()
}

func selectorsText(ss []plan.Selector) string {
	var out []string
	for _, s := range ss {
		text := "self"
		if s.Prefix.IsValid() {
			text = s.Prefix.String()
		}
		if s.Protocol != 0 {
			text += fmt.Sprintf(" protocol %d", s.Protocol)
		}
		switch {
		case s.PortFirst == 0 && s.PortLast == 65535:
		case s.PortFirst == s.PortLast:
			text += fmt.Sprintf(" port %d", s.PortFirst)
		default:
			text += fmt.Sprintf(" ports %d-%d", s.PortFirst, s.PortLast)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func ikeText(ps []plan.IKEProposal) string {
	var out []string
	for _, p := range ps {
		out = append(out, join(encrText(p.Encr), texts(p.Integ), texts(p.PRF), texts(p.KE), addkeText(p.AddKE)))
	}
	return strings.Join(out, ", ")
}

func espText(ps []plan.ESPProposal) string {
	var out []string
	for _, p := range ps {
		out = append(out, join(encrText(p.Encr), texts(p.Integ), texts(p.KE), addkeText(p.AddKE), texts(p.SN)))
	}
	return strings.Join(out, ", ")
}

func encrText(es []plan.Encr) string {
	var out []string
	for _, e := range es {
		text := e.ID.String()
		if e.KeyBits > 0 {
			text += fmt.Sprintf("-%d", e.KeyBits)
		}
		out = append(out, text)
	}
	return strings.Join(out, "|")
}

func addkeText(as []plan.AddKE) string {
	var out []string
	for _, a := range as {
		out = append(out, texts(a.KE))
	}
	return strings.Join(out, "+")
}

func texts[T ikev2.PRFID | ikev2.IntegID | ikev2.KEID | ikev2.SNID](list []T) string {
	var out []string
	for _, v := range list {
		out = append(out, fmt.Sprint(v))
	}
	return strings.Join(out, "|")
}

func join(parts ...string) string {
	kept := parts[:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "/")
}
