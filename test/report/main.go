// Command report reads `go test -json` and prints what a person wants to see of it: a line a package, the output of what
// failed, the reason of every skip, and a closing line that counts. It exits 1 when anything failed or nothing ran.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

func main() {
	start := time.Now()
	var passed, failed, skipped int
	output := map[string]*strings.Builder{}
	var skips []string
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var e event
		if json.Unmarshal(in.Bytes(), &e) != nil {
			fmt.Println(in.Text()) // the toolchain's own words, a build error for one
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			if output[key] == nil {
				output[key] = new(strings.Builder)
			}
			output[key].WriteString(e.Output)
			if e.Action == "build-output" {
				fmt.Print(e.Output)
			}
		case "pass":
			if e.Test == "" {
				fmt.Printf("ok    %-70s %6.1fs\n", e.Package, e.Elapsed)
				// A package's own lines are figures that it wants seen.
				for _, line := range strings.Split(text(output[key]), "\n") {
					if strings.HasPrefix(line, "figure: ") {
						fmt.Println("      " + line)
					}
				}
			} else {
				passed++
			}
			for _, line := range strings.Split(text(output[key]), "\n") {
				if _, figure, ok := strings.Cut(line, "figure: "); ok && e.Test != "" {
					fmt.Printf("      figure: %s\n", figure)
				}
			}
			delete(output, key)
		case "skip":
			if e.Test != "" {
				skipped++
				skips = append(skips, fmt.Sprintf("skip  %s: %s", key, lastReason(text(output[key]))))
			}
			delete(output, key)
		case "fail":
			if e.Test != "" {
				failed++
			}
			fmt.Printf("FAIL  %s %.1fs\n%s", key, e.Elapsed, text(output[key]))
			if e.Test == "" && text(output[key]) != "" {
				failed++ // a package that failed outside of any test: a build error, a panic, a time-out
			}
			delete(output, key)
		}
	}
	for _, s := range skips {
		fmt.Println(s)
	}
	fmt.Printf("took %v\n", time.Since(start).Round(time.Second))
	fmt.Printf("tests: %d passed, %d failed, %d skipped\n", passed, failed, skipped)
	if failed > 0 || passed == 0 || in.Err() != nil {
		os.Exit(1)
	}
}

func text(b *strings.Builder) string {
	if b == nil {
		return ""
	}
	return b.String()
}

// lastReason is the line that t.Skip wrote, without its place.
func lastReason(out string) string {
	reason := "no reason given"
	for _, line := range strings.Split(out, "\n") {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "===") {
			reason = line
		}
	}
	return reason
}
