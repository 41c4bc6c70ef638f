package engine

import (
	"testing"
	"time"
)

// Cancelled alarms do not pile up, whether few or many others wait; and many that wait cost no more each than few.
func TestAlarmsArePlentyAndCheap(t *testing.T) {
	for _, waiting := range []int{0, 100, 200_000} {
		e := &Engine{now: time.Unix(1000, 0)}
		rang := 0
		for range waiting {
			e.after(time.Hour, func() { rang++ })
		}
		for range 500_000 {
			e.after(time.Minute, func() { t.Error("a cancelled alarm went off") }).stop()
		}
		if most := 64 + 2*waiting + 1; len(e.timers) > most {
			t.Errorf("%d alarms wait, and %d are held", waiting, len(e.timers))
		}
		e.now = e.now.Add(2 * time.Hour)
		if e.fire(); rang != waiting {
			t.Errorf("%d of %d alarms went off", rang, waiting)
		}
	}
}
