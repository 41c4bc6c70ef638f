package eaptest

import (
	"fmt"
	"io"
	"strings"
)

// WriteText writes a report for people: a line a check, and below it what is wrong or missing.
func WriteText(w io.Writer, findings []Finding) error {
	var out strings.Builder
	count := map[Verdict]int{}
	for _, f := range findings {
		count[f.Verdict]++
		word := string(f.Verdict)
		if f.Verdict == Fail {
			word = "FAIL"
		}
		fmt.Fprintf(&out, "%s  %-22s %s\n", word, f.Check, f.Claim)
		switch f.Verdict {
		case Fail:
			fmt.Fprintf(&out, "      what happened: %s\n      who says so:   %s\n", oneLine(f.Why), f.Clause)
			if f.Log != "" {
				fmt.Fprintf(&out, "      its log:       %s\n", oneLine(f.Log))
			}
		case Skip:
			fmt.Fprintf(&out, "      not tried: %s\n", oneLine(f.Why))
		}
	}
	fmt.Fprintf(&out, "%d passed, %d failed, %d not tried\n", count[Pass], count[Fail], count[Skip])
	_, err := io.WriteString(w, out.String())
	return err
}

// oneLine takes from a plugin's words what could move a terminal's cursor; further lines are indented.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r != '\n' && (r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n                     ")
}
