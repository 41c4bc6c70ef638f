package compiler

import (
	"fmt"
	"io"
	"sort"
	"strings"
)

// Severity tells whether a finding stops the compiler.
type Severity string

const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Diagnostic is one finding in a policy.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	Code     Code     `json:"code"` // stable; see Explain
	File     string   `json:"file"` // from the policy's directory; empty when the finding has no place
	Line     int      `json:"line"` // from 1; 0 unknown
	Column   int      `json:"column"`
	Path     string   `json:"path"`    // in the policy, "policy.links.office.auth"
	Message  string   `json:"message"` // what is wrong, and what was expected
	Hint     string   `json:"hint"`    // how to mend it; may be empty
	Related  []Place  `json:"related"` // other places that take part, with what stands there
	Source   string   `json:"source"`  // the line itself
}

// Place is another position that takes part in a finding.
type Place struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Source  string `json:"source"`
}

// Failed tells whether any of the findings is an error.
func Failed(ds []Diagnostic) bool {
	for _, d := range ds {
		if d.Severity == Error {
			return true
		}
	}
	return false
}

// WriteText writes findings for people: one message each, its place, the line and a caret, what else takes part, and how to mend it.
func WriteText(w io.Writer, ds []Diagnostic) {
	for _, d := range ds {
		fmt.Fprintf(w, "%s: %s: %s%s [%s]\n", place(d.File, d.Line, d.Column), d.Severity, prefixed(d.Path), d.Message, d.Code)
		caret(w, d.Source, d.Column)
		for _, r := range d.Related {
			fmt.Fprintf(w, "    %s: %s\n", place(r.File, r.Line, r.Column), r.Message)
			caret(w, r.Source, r.Column)
		}
		if d.Hint != "" {
			fmt.Fprintf(w, "    hint: %s\n", d.Hint)
		}
	}
}

// WriteGitHub writes findings as workflow commands, which GitHub shows beside the lines of a change.
func WriteGitHub(w io.Writer, ds []Diagnostic) {
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	for _, d := range ds {
		text := prefixed(d.Path) + d.Message
		for _, r := range d.Related {
			text += fmt.Sprintf("\n%s: %s", place(r.File, r.Line, r.Column), r.Message)
		}
		if d.Hint != "" {
			text += "\nhint: " + d.Hint
		}
		fmt.Fprintf(w, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", d.Severity, property.Replace(d.File), d.Line, d.Column, d.Code, data.Replace(text))
	}
}

func place(file string, line, column int) string {
	switch {
	case file == "":
		return "policy"
	case line == 0:
		return file
	}
	return fmt.Sprintf("%s:%d:%d", file, line, column)
}

func prefixed(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

// caret shows a line with a caret below the column. Columns count octets; tabs and what is not printable become one blank each.
func caret(w io.Writer, line string, column int) {
	if line == "" || column < 1 {
		return
	}
	const widest = 160
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return ' '
		}
		return r
	}, line)
	column = min(column, len(line)+1)
	before, after := []rune(line[:column-1]), []rune(line[column-1:])
	head, tail := "", ""
	if len(before) > widest*3/4 { // show what is round the column
		before, head = before[len(before)-widest/2:], "…"
	}
	if room := widest - len(before); len(after) > room {
		after, tail = after[:room], "…"
	}
	fmt.Fprintf(w, "    | %s%s%s%s\n    | %s^\n", head, string(before), string(after), tail, strings.Repeat(" ", len([]rune(head))+len(before)))
}

// longest is how many octets of a name or a value a message repeats.
const longest = 1_000

// clip shortens what a policy made too long.
func clip(s string) string {
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}

// order sorts findings by place, drops those said twice, and shortens what is too long to read.
func order(ds []Diagnostic) []Diagnostic {
	for i := range ds {
		ds[i].Path, ds[i].Message, ds[i].Hint = clip(ds[i].Path), clip(ds[i].Message), clip(ds[i].Hint)
	}
	sort.SliceStable(ds, func(i, j int) bool {
		a, b := &ds[i], &ds[j]
		switch {
		case a.File != b.File:
			return a.File < b.File
		case a.Line != b.Line:
			return a.Line < b.Line
		case a.Column != b.Column:
			return a.Column < b.Column
		case a.Path != b.Path:
			return a.Path < b.Path
		case a.Code != b.Code:
			return a.Code < b.Code
		}
		return a.Message < b.Message
	})
	out := ds[:0]
	for i, d := range ds {
		if i > 0 {
			last := out[len(out)-1]
			if last.File == d.File && last.Line == d.Line && last.Column == d.Column && last.Code == d.Code && last.Message == d.Message {
				continue
			}
		}
		out = append(out, d)
	}
	return out
}
