package eapsdk

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Check holds what a policy says against the settings that the plugin knows. trike does it before Configure, so a method need not look for settings that it does not know.
func (d *Description) Check(c Config) error {
	known := map[string]bool{}
	for _, s := range d.Settings {
		known[s.Name] = true
		_, value := c.Values[s.Name]
		_, hidden := c.Secrets[s.Name]
		switch {
		case s.Secret && value:
			return fmt.Errorf("its setting %q is a secret: name it in the policy's `secrets` of the plugin", s.Name)
		case !s.Secret && hidden:
			return fmt.Errorf("its setting %q is no secret: say it in the policy's `settings` of the plugin", s.Name)
		case s.Required && !value && !hidden:
			return fmt.Errorf("its setting %q is needed: %s", s.Name, s.Help)
		}
	}
	names := strings.Join(slices.Sorted(maps.Keys(known)), ", ")
	for _, name := range slices.Sorted(maps.Keys(c.Values)) {
		if !known[name] {
			return fmt.Errorf("it knows no setting %q; it knows %s", name, names)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Secrets)) {
		if !known[name] {
			return fmt.Errorf("it knows no secret %q; it knows %s", name, names)
		}
	}
	return nil
}
