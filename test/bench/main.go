// Command bench reads what `go test -bench` printed and writes the table of `make bench`: trike's figures, strongSwan's that are known from elsewhere, and those of a strongSwan that
// was measured in the same run, with the ratios. A ratio above 1 is in trike's favour.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// results are figures by benchmark and unit.
type results map[string]map[string]float64

var cores = regexp.MustCompile(`-\d+$`)

// read takes the lines of benchmarks and passes over all else.
func read(r io.Reader) (results, error) {
	out := results{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		figures := map[string]float64{}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", lines.Text(), err)
			}
			figures[f[i+1]] = v
		}
		out[cores.ReplaceAllString(strings.TrimPrefix(f[0], "Benchmark"), "")] = figures
	}
	return out, lines.Err()
}

// row is one line of the table.
type row struct {
	what  string
	bench string
	unit  string
	scale float64 // from the benchmark's unit to the table's
	in    string  // the table's unit
	known float64 // strongSwan 6 on such a machine, in the table's unit; 0: not known
	peer  string  // the benchmark that measures the peer in this run
	more  bool    // more is better
	part  bool    // trike's figure is of one part, the known one of the whole program: no like for like
}

func rows() []row {
	const ms, us, kB = 1e-6, 1e-3, 1e-3
	out := []row{}
	for _, suite := range []string{"psk-x25519", "psk-modp2048", "default"} {
		known := 0.0
		if suite == "psk-x25519" {
			known = 0.54
		}
		out = append(out,
			row{what: "engine, responder, " + suite, bench: "Responder/" + suite, unit: "ns/op", scale: ms, in: "ms CPU", known: known, part: true},
			row{what: "engine, both sides, " + suite, bench: "Handshake/" + suite, unit: "ns/op", scale: us, in: "µs"},
			row{what: "  bytes allocated", bench: "Handshake/" + suite, unit: "B/op", scale: kB, in: "kB"},
			row{what: "whole trio, both sides, " + suite, bench: "TrioHandshake/" + suite, unit: "handshakes/s", scale: 1, in: "handshakes/s", more: true},
			row{what: "  CPU", bench: "TrioHandshake/" + suite, unit: "cpu-ns/op", scale: ms, in: "ms CPU"},
			row{what: "  bytes allocated", bench: "TrioHandshake/" + suite, unit: "B/op", scale: kB, in: "kB"})
	}
	return append(out,
		row{what: "responder, processes, one by one", bench: "PeerResponder/trike", unit: "cpu-ms/handshake", scale: 1, in: "ms CPU", peer: "PeerResponder/strongSwan"},
		row{what: "responder, processes, 100 at once", bench: "PeerResponderLoad/trike", unit: "cpu-ms/handshake", scale: 1, in: "ms CPU", known: 0.54, peer: "PeerResponderLoad/strongSwan"},
		row{what: "engine, memory an SA, of 1,000", bench: "Memory/1000", unit: "B/SA", scale: kB, in: "kB", known: 12.3, part: true},
		row{what: "engine, memory an SA, of 10,000", bench: "Memory/10000", unit: "B/SA", scale: kB, in: "kB", known: 12.3, part: true},
		row{what: "compile 100 connections", bench: "Compile/Written/100", unit: "ns/op", scale: 1e-9, in: "s"},
		row{what: "compile 1,000", bench: "Compile/Written/1000", unit: "ns/op", scale: 1e-9, in: "s"},
		row{what: "compile 10,000", bench: "Compile/Written/10000", unit: "ns/op", scale: 1e-9, in: "s", known: 8.5, part: true},
		row{what: "  heap at its highest", bench: "Compile/Written/10000", unit: "MB-heap", scale: 1, in: "MB"},
		row{what: "userspace ESP, a packet both ways", bench: "Across/ENCR_AES_GCM_16/1400", unit: "MB/s", scale: 8e-3, in: "Gbit/s", more: true},
		row{what: "userspace ESP, a TCP stream", bench: "PeerThroughput/trike", unit: "Gbit/s", scale: 1, in: "Gbit/s", known: 0.59, peer: "PeerThroughput/strongSwan", more: true},
	)
}

// write prints the table. The answer is how many figures of trike's are missing.
func write(w io.Writer, got results) (missing int) {
	fmt.Fprintf(w, "\n%-42s %18s %24s %24s\n", "", "trike", "strongSwan, known", "strongSwan, this run")
	for _, r := range rows() {
		ours, ok := got[r.bench][r.unit]
		if !ok {
			if r.peer == "" {
				missing++
			}
			fmt.Fprintf(w, "%-42s %18s\n", r.what, "not measured")
			continue
		}
		ours *= r.scale
		fmt.Fprintf(w, "%-42s %18s", r.what, figure(ours, r.in))
		if r.known != 0 {
			known := figure(r.known, r.in) + against(ours, r.known, r.more)
			if r.part {
				known += "*"
			}
			fmt.Fprintf(w, " %24s", known)
		} else if r.peer != "" {
			fmt.Fprintf(w, " %24s", "")
		}
		if theirs, ok := got[r.peer][r.unit]; ok {
			theirs *= r.scale
			fmt.Fprintf(w, " %24s", figure(theirs, r.in)+against(ours, theirs, r.more))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, `
Above ×1 trike does better. Known figures are from another machine; those of this run are from the same load on this one.
* not like for like: the engine without sockets, links and the other processes, or the compiler without putting the plan in force, beside all of strongSwan.`)
	return missing
}

func figure(v float64, in string) string { return fmt.Sprintf("%.3g %s", v, in) }

// against is the ratio, above 1 where trike does better.
func against(ours, theirs float64, more bool) string {
	if more {
		ours, theirs = theirs, ours
	}
	return fmt.Sprintf(" (×%.2f)", theirs/ours)
}

func main() {
	got, err := read(os.Stdin)
	if err == nil {
		if n := write(os.Stdout, got); n > 0 {
			err = fmt.Errorf("%d figures are missing: did a benchmark fail, or change its name?", n)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
