package msg

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// The table of docs/ipc.md says of every message what this package says: number, name, from, to, the largest payload, descriptors, and fields.
func TestDocumentedMessages(t *testing.T) {
	page, err := os.ReadFile("../../docs/ipc.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| *\d+ *\|.*→.*$`).FindAllString(string(page), -1)
	for i, r := range routes {
		want := row(&r)
		if i >= len(rows) {
			t.Errorf("docs/ipc.md lacks:\n%s what it is for |", want)
		} else if !strings.HasPrefix(rows[i], want+" ") || len(rows[i]) < len(want)+10 {
			t.Errorf("docs/ipc.md has\n%s\nand the row should begin with\n%s", rows[i], want)
		}
	}
	if len(rows) > len(routes) {
		t.Errorf("docs/ipc.md has rows that are no messages: %q", rows[len(routes):])
	}
}

func row(r *route) string {
	names := func(ps []Process) string {
		if len(ps) == len(trio) {
			return "each"
		}
		return string(ps[0])
	}
	files, fields := "", []string{}
	if n := r.kind.MaxFiles(); n > 0 {
		files = fmt.Sprint(n)
	}
	for m, i := reflect.TypeOf(r.make()).Elem(), 0; i < m.NumField(); i++ {
		fields = append(fields, m.Field(i).Name)
	}
	size := fmt.Sprintf("%d KiB", r.max>>10)
	if r.max >= 1<<20 {
		size = fmt.Sprintf("%d MiB", r.max>>20)
	}
	return fmt.Sprintf("| %d | %s | %s → %s | %s | %s | %s |", r.kind, r.name, names(r.from), names(r.to), size, files, strings.Join(fields, ", "))
}
