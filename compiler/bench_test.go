package compiler_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/compiler"
)

// shapes are the ways in which large policies are written: connection by connection, by a template over a list of sites, and looking at themselves.
var shapes = [...]struct {
	name  string
	files func(n int) map[string]string
}{
	{"Written", writtenOut}, {"Template", fromTemplate}, {"Referring", referring},
}

const benchHead = `package fleet

import "github.com/trike-ipsec/trike/schema"

policy: schema.#Policy
policy: gateways: hub: {address: "192.0.2.1", id: "hub.example.com", networks: ["172.16.0.0/12"]}
policy: secrets: fleet: file: "/nowhere/fleet.psk"
`

func siteAddress(i int) string { return fmt.Sprintf("198.%d.%d.%d", 18+i/65536, i/256%256, i%256) }
func siteNetwork(i int) string { return fmt.Sprintf("10.%d.%d.0/24", i/256%256, i%256) }

func writtenOut(n int) map[string]string {
	var b strings.Builder
	b.WriteString(benchHead)
	for i := range n {
		fmt.Fprintf(&b, `policy: connections: "site-%05d": {
	gateway: "hub"
	peer: {address: %q, id: "site-%05d.example.com", networks: [%q]}
	auth: psk: secret: "fleet"
	dpd: delay: "15s"
	children: net: lifetime: rekey: "30m"
}
`, i, siteAddress(i), i, siteNetwork(i))
	}
	return map[string]string{"policy.cue": b.String()}
}

func fromTemplate(n int) map[string]string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "site-%05d: {address: %q, network: %q}\n", i, siteAddress(i), siteNetwork(i))
	}
	return map[string]string{"sites.yaml": b.String(), "policy.cue": "@extern(embed)\n\n" + benchHead + `
_sites: _ @embed(file=sites.yaml)

for name, site in _sites {
	policy: connections: (name): {
		gateway: "hub"
		peer: {address: site.address, id: "\(name).example.com", networks: [site.network]}
		auth: psk: secret: "fleet"
		dpd: delay: "15s"
		children: net: lifetime: rekey: "30m"
	}
}
`}
}

// referring looks at the policy from within itself, so that its parts cannot be held against the schema one by one.
func referring(n int) map[string]string {
	files := writtenOut(n)
	files["policy.cue"] += "\n_count: len(policy.connections)\n"
	return files
}

// BenchmarkCompile compiles a hub with so many connections. Beside time and allocations it reports the heap at its highest, sampled, in MB.
func BenchmarkCompile(b *testing.B) {
	for _, shape := range shapes {
		for _, n := range []int{100, 1_000, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", shape.name, n), func(b *testing.B) { benchmark(b, shape.files(n), n) })
		}
	}
}

func benchmark(b *testing.B, files map[string]string, connections int) {
	dir := b.TempDir()
	for name, text := range files {
		write(b, filepath.Join(dir, name), []byte(text))
	}
	b.ReportAllocs()
	stop, peak := make(chan struct{}), make(chan uint64, 1)
	runtime.GC()
	go highest(stop, peak)
	for b.Loop() {
		r, ds := compiler.Compile(b.Context(), compiler.Options{Dir: dir})
		if compiler.Failed(ds) || len(r.Plans) != 1 || len(r.Plans[0].Connections) != connections {
			b.Fatalf("%d plans, findings %v", len(r.Plans), ds)
		}
	}
	close(stop)
	b.ReportMetric(float64(<-peak)/1e6, "MB-heap")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(connections), "µs/connection")
}

// highest samples the live heap until stop is closed.
func highest(stop <-chan struct{}, peak chan<- uint64) {
	most := uint64(0)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var m runtime.MemStats
	for {
		select {
		case <-stop:
			peak <- most
			return
		case <-tick.C:
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
		}
	}
}
