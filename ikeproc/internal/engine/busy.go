package engine

import "time"

// A peer that says TEMPORARY_FAILURE is asked again after a while that doubles from busyFirst to busyMost, for some minutes in all; then the two ends
// do not agree on what there is, and the IKE SA is made anew (RFC 7296 section 2.25).
const (
	busyFirst  = 2 * time.Second
	busyMost   = time.Minute
	busyEnough = 10
)

// patience counts a refusal and reports whether another try makes sense.
func (sa *ikeSA) patience() bool {
	sa.refusals++
	return sa.refusals < busyEnough
}

// busyFor is the time to wait after the refusals so far.
func (sa *ikeSA) busyFor() time.Duration {
	return min(busyFirst<<max(sa.refusals-1, 0), busyMost)
}
