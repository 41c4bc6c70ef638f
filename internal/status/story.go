package status

import (
	"fmt"
	"strings"
)

// Story writes a problem in full, as people read it: what happened, both sides' lists, the line of policy, what to do.
func (p Problem) Story() string {
	var b strings.Builder
	b.WriteString(p.Text)
	for _, side := range []struct {
		name  string
		lines []string
	}{{"ours", p.Ours}, {"theirs", p.Theirs}} {
		if len(side.lines) > 0 {
			fmt.Fprintf(&b, "\n%s:\n  %s", side.name, strings.Join(side.lines, "\n  "))
		}
	}
	if p.Policy != "" {
		fmt.Fprintf(&b, "\npolicy: %s", p.Policy)
	}
	if p.Hint != "" {
		fmt.Fprintf(&b, "\nhint: %s", p.Hint)
	}
	return b.String()
}
