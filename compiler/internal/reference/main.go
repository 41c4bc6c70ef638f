// Command reference writes docs/policy-reference.md from the schema: `go generate` runs it.
//
//	reference FILE
//
// It refuses a schema that leaves something unsaid: a field without a comment, an optional field without "Default: …", a duration or number without
// its bounds or unit.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: reference FILE")
		os.Exit(2)
	}
	text, err := render()
	if err == nil {
		err = os.WriteFile(os.Args[1], text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}
