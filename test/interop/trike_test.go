//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/status"
	"github.com/trike-ipsec/trike/test/bed"
)

const psk = "correct horse battery staple"

// gateway is a trike that runs in one namespace.
type gateway struct {
	*bed.Trike
	t testing.TB
}

// startTrike compiles this policy (the inside of `policy: {…}`), takes the plan of one gateway and runs it. The secret "peer" holds
// the pre-shared key.
func startTrike(t testing.TB, b *bed.Bed, h *bed.Host, name, policy string) *gateway {
	t.Helper()
	dir, bin := filepath.Join(b.Dir, h.Name), os.Getenv("TRIKE_BIN")
	if err := os.MkdirAll(filepath.Join(dir, "policy"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "peer.psk"), psk+"\n")
	write(t, filepath.Join(dir, "policy/policy.cue"), fmt.Sprintf(`package interop

import "github.com/trike-ipsec/trike/schema"

policy: schema.#Policy
policy: {
	secrets: peer: file: "%s/peer.psk"
%s
}
`, dir, policy))
	if out, err := h.Run(t.Context(), filepath.Join(bin, "trike"), "compile", "-o", filepath.Join(dir, "plans"), filepath.Join(dir, "policy")); err != nil {
		t.Fatal(err, out)
	}
	trike, err := h.StartTrike(bin, filepath.Join(dir, "plans/"+name+".plan.json"))
	if trike != nil && trike.Proc != nil {
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("triked of %s said:\n%s", h.Name, trike.Proc.Output())
			}
			_ = trike.Proc.Stop(5 * time.Second)
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return &gateway{trike, t}
}

// must runs a command against the running gateway and fails the test when it fails.
func (g *gateway) must(verb string, args ...string) string {
	g.t.Helper()
	out, err := g.Ask(verb, args...)
	if err != nil {
		g.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// connection is the status of connection "peer".
func (g *gateway) connection() status.Connection {
	g.t.Helper()
	c, err := g.Connection("peer")
	if err != nil {
		g.t.Fatal(err)
	}
	return c
}

// settled waits until connection "peer" has exactly so many IKE SAs and pairs of child SAs.
func (g *gateway) settled(ike, children int) status.Connection {
	g.t.Helper()
	c, err := g.Settled(20*time.Second, "peer", ike, children)
	if err != nil {
		g.t.Fatal(err)
	}
	return c
}
