package compiler

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Bounds on how deeply a file may nest. Parsers and the evaluator call themselves for each level, and a stack that is full ends the program.
const (
	maxBrackets = 200   // open { [ ( at one place
	maxChain    = 2_000 // words and operators between two commas, as "x + y + z" and "a: b: c:" nest without brackets
)

// checkDepth refuses a file that nests too deeply.
func (t *tree) checkDepth(name string) *Diagnostic {
	kind := strings.ToLower(filepath.Ext(name))
	if kind == ".txt" { // nobody parses it
		return nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return &Diagnostic{Severity: Error, Code: CodeUnreadable, File: t.rel(name), Message: reason(t.rel(name), err)}
	}
	at, what := deep(b, kind == ".cue" || kind == ".toml")
	if what == "" {
		return nil
	}
	d := &Diagnostic{Severity: Error, Code: CodeTooLarge, File: t.rel(name), Message: what, Hint: "give inner parts names of their own, and refer to them"}
	d.Line, d.Column = 1+bytes.Count(b[:at], []byte("\n")), at-bytes.LastIndexByte(b[:at], '\n')
	d.Source = t.line(d.File, d.Line)
	return d
}

// deep finds the place where a text first nests too deeply. It looks at brackets and words alone and takes strings and comments for text like any other:
// so nothing can hide in them, and no policy that people write comes near the bounds.
func deep(b []byte, chains bool) (at int, what string) {
	counts := make([]int, 1, maxBrackets+2) // words and operators, by open bracket
	var last byte = '\n'                    // before this one, blanks left out
	inWord := false
	for i, c := range b {
		top := len(counts) - 1
		word := c == '_' || c == '$' || c == '#' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
		switch {
		case c == '{' || c == '[' || c == '(':
			if counts = append(counts, 0); len(counts)-1 > maxBrackets {
				return i, fmt.Sprintf("brackets nest deeper than %d", maxBrackets)
			}
		case c == '}' || c == ']' || c == ')':
			if top > 0 {
				counts = counts[:top]
			}
		case c == ',', c == '\n' && !strings.ContainsRune(":+-*/&|!=<>.~", rune(last)):
			counts[top] = 0
		case c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '"' || c == '\'':
		case !word || !inWord:
			if counts[top]++; chains && counts[top] > maxChain {
				return i, fmt.Sprintf("an expression has more than %d parts", maxChain)
			}
		}
		if inWord = word; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			last = c
		}
	}
	return 0, ""
}
