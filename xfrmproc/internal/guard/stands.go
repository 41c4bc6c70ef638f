package guard

import (
	"github.com/trike-ipsec/trike/internal/plan"
)

// Stands says whether a pair that stands may go on standing under a view that is new since it was installed. The engine should have
// rekeyed or deleted what changed; this makes sure of it. Of a pair found in the datapath only child and addresses are known.
func Stands(view *plan.XFRMView, sa *SA) error {
	c := check{view: view}
	if r := c.find(sa.Connection, sa.Child); r != nil {
		return r
	}
	if c.conn.ForceEncap && !sa.Encap {
		return c.refuse("the plan forces ESP in UDP, and this is plain ESP")
	}
	if r := c.outer(sa.Local, sa.Remote, sa.Encap); r != nil {
		return r
	}
	if sa.asked == nil {
		return nil
	}
	m := *sa.asked
	m.Local, m.Remote = sa.Local, sa.Remote
	if r := c.endpoints(&m); r != nil {
		return r
	}
	if r := c.suite(m.Transform); r != nil {
		return r
	}
	if r := c.selectors(&m); r != nil {
		return r
	}
	return nil
}
