//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/test/bed"
)

const psk = "correct horse battery staple"

// gateway is a trike that runs in one namespace.
type gateway struct {
	t    *testing.T
	host *bed.Host
	dir  string
	proc *bed.Proc
}

// startTrike compiles this policy (the inside of `policy: {…}`), takes the plan of gateway "left" and runs it. The secret "peer" holds
// the pre-shared key.
func startTrike(t *testing.T, b *bed.Bed, h *bed.Host, policy string) *gateway {
	t.Helper()
	g := &gateway{t: t, host: h, dir: filepath.Join(b.Dir, "trike-"+h.Name)}
	if err := os.MkdirAll(filepath.Join(g.dir, "policy"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(g.dir, "peer.psk"), psk+"\n")
	g.writePolicy(policy)
	if out, err := g.trike("compile", "-o", filepath.Join(g.dir, "plans"), filepath.Join(g.dir, "policy")); err != nil {
		t.Fatal(err, out)
	}
	p, err := h.Start("triked", nil, g.bin("triked"), "--plan", filepath.Join(g.dir, "plans/left.plan.json"),
		"--control", g.control(), "--state", g.dir, "--libexec", os.Getenv("TRIKE_BIN"))
	if err != nil {
		t.Fatal(err)
	}
	g.proc = p
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("triked of %s said:\n%s", h.Name, p.Output())
		}
		_ = p.Stop(5 * time.Second)
	})
	if err := bed.Until(20*time.Second, "triked to answer", func() bool {
		_, err := g.trike("status", "--control", g.control())
		return err == nil || !p.Running()
	}); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *gateway) writePolicy(policy string) {
	g.t.Helper()
	write(g.t, filepath.Join(g.dir, "policy/policy.cue"), fmt.Sprintf(`package interop

import "github.com/trike-ipsec/trike/schema"

policy: schema.#Policy
policy: {
	secrets: peer: file: "%s/peer.psk"
%s
}
`, g.dir, policy))
}

func (g *gateway) bin(name string) string { return filepath.Join(os.Getenv("TRIKE_BIN"), name) }
func (g *gateway) control() string        { return filepath.Join(g.dir, "control.sock") }

// trike runs one command of the trike program on the gateway.
func (g *gateway) trike(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	return g.host.Run(ctx, append([]string{g.bin("trike")}, args...)...)
}

// must runs a command against the running gateway and fails the test when it fails.
func (g *gateway) must(verb string, args ...string) string {
	g.t.Helper()
	out, err := g.trike(append([]string{verb, "--control", g.control()}, args...)...)
	if err != nil {
		g.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// status is `trike status --json`.
func (g *gateway) status() status.Gateway {
	g.t.Helper()
	var s status.Gateway
	out := g.must("status", "--json")
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		g.t.Fatalf("%v: %s", err, out)
	}
	return s
}

// connection is the status of connection "peer".
func (g *gateway) connection() status.Connection {
	g.t.Helper()
	for _, c := range g.status().IKE.Connections {
		if c.Name == "peer" {
			return c
		}
	}
	g.t.Fatal("status does not have the connection")
	return status.Connection{}
}

// settled waits until connection "peer" has exactly so many IKE SAs and pairs of child SAs.
func (g *gateway) settled(ike, children int) status.Connection {
	g.t.Helper()
	var c status.Connection
	err := bed.Until(20*time.Second, fmt.Sprintf("%d IKE SAs and %d pairs of child SAs", ike, children), func() bool {
		c = g.connection()
		n := 0
		for _, child := range c.Children {
			n += len(child.SAs)
		}
		return len(c.SAs) == ike && n == children
	})
	if err != nil {
		g.t.Fatalf("%v\n%s", err, g.must("status"))
	}
	return c
}

// spis names the SAs of a connection: what a rekey must change.
func spis(c status.Connection) (ike, child string) {
	for _, sa := range c.SAs {
		ike += sa.SPIi + sa.SPIr + " "
	}
	for _, ch := range c.Children {
		for _, sa := range ch.SAs {
			child += sa.SPIIn + sa.SPIOut + " "
		}
	}
	return strings.TrimSpace(ike), strings.TrimSpace(child)
}
