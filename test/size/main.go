// Command size prints the sizes of the programs and fails when one that runs with privilege outgrows its bound: what is
// small can be read.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// bounds are in octets; 0 means that there is none.
var bounds = []struct {
	program string
	limit   int64
}{
	{"triked", 8_000_000}, {"xfrmproc", 8_000_000}, {"ikeproc", 0}, {"authproc", 0}, {"trike", 0},
}

func main() {
	failed := false
	for _, b := range bounds {
		info, err := os.Stat(filepath.Join(os.Args[1], b.program))
		if err != nil {
			fmt.Println("size:", err)
			failed = true
			continue
		}
		verdict := ""
		if b.limit > 0 {
			verdict = fmt.Sprintf("of %.1f MB at most", float64(b.limit)/1e6)
			if info.Size() > b.limit {
				verdict, failed = "TOO LARGE: "+verdict, true
			}
		}
		fmt.Printf("figure: %-9s %5.1f MB %s\n", b.program, float64(info.Size())/1e6, verdict)
	}
	if failed {
		os.Exit(1)
	}
}
