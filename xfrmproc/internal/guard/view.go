package guard

import (
	"fmt"
	"net/netip"

	"github.com/trike-ipsec/trike/internal/plan"
)

// CheckView refuses a view that this package could not rely on: names out of order, reqids that are not unique, sizes beyond the plan's
// bounds, selectors that say nothing. The compiler makes none such; triked is trusted, but a plan file comes from elsewhere.
func CheckView(v *plan.XFRMView) error {
	if len(v.Connections) > plan.MaxConnections {
		return fmt.Errorf("%d connections: at most %d", len(v.Connections), plan.MaxConnections)
	}
	reqids := map[uint32]string{}
	for i := range v.Connections {
		c := &v.Connections[i]
		if c.Name == "" || i > 0 && v.Connections[i-1].Name >= c.Name {
			return fmt.Errorf("connection %q: names must be unique and sorted", c.Name)
		}
		if !c.Local.Address.IsValid() {
			return fmt.Errorf("connection %q: no local address", c.Name)
		}
		if r := c.Remote.Address; r.IsValid() && r.Is4() != c.Local.Address.Is4() {
			return fmt.Errorf("connection %q: local and remote address of two families", c.Name)
		}
		if len(c.Children) > plan.MaxChildren {
			return fmt.Errorf("connection %q: %d children, at most %d", c.Name, len(c.Children), plan.MaxChildren)
		}
		for j := range c.Children {
			ch := &c.Children[j]
			if ch.Name == "" || j > 0 && c.Children[j-1].Name >= ch.Name {
				return fmt.Errorf("connection %q: child %q: names must be unique and sorted", c.Name, ch.Name)
			}
			if err := checkChild(ch); err != nil {
				return fmt.Errorf("connection %q: child %q: %w", c.Name, ch.Name, err)
			}
			if other, taken := reqids[ch.Reqid]; taken {
				return fmt.Errorf("connection %q: child %q: reqid %d is %s's too", c.Name, ch.Name, ch.Reqid, other)
			}
			reqids[ch.Reqid] = fmt.Sprintf("%q/%q", c.Name, ch.Name)
		}
	}
	for _, b := range v.Bypass {
		if err := checkSelectors(b.Local); err != nil {
			return fmt.Errorf("bypass %q: local %w", b.Name, err)
		}
		if err := checkSelectors(b.Remote); err != nil {
			return fmt.Errorf("bypass %q: remote %w", b.Name, err)
		}
	}
	return nil
}

func checkChild(ch *plan.Child) error {
	if ch.Reqid == 0 {
		return fmt.Errorf("no reqid")
	}
	if ch.Mode != plan.ModeTunnel && ch.Mode != plan.ModeTransport {
		return fmt.Errorf("unknown mode %q", ch.Mode)
	}
	if ch.ReplayWindow < 0 || ch.ReplayWindow > 4096 {
		return fmt.Errorf("replay window of %d packets, at most 4096", ch.ReplayWindow)
	}
	if err := checkSelectors(ch.Local); err != nil {
		return fmt.Errorf("local %w", err)
	}
	if err := checkSelectors(ch.Remote); err != nil {
		return fmt.Errorf("remote %w", err)
	}
	return nil
}

func checkSelectors(sel []plan.Selector) error {
	if len(sel) == 0 || len(sel) > plan.MaxSelectors {
		return fmt.Errorf("selectors: %d, 1 to %d are possible", len(sel), plan.MaxSelectors)
	}
	for _, s := range sel {
		if s.PortFirst > s.PortLast {
			return fmt.Errorf("selector %v: ports %d-%d", s.Prefix, s.PortFirst, s.PortLast)
		}
		if (s.Prefix != netip.Prefix{}) && (!s.Prefix.IsValid() || s.Prefix.Addr().Is4In6()) {
			return fmt.Errorf("selector with a prefix that is none")
		}
	}
	return nil
}
