// Package xfrmproc is the process that holds the datapath: it alone may have an SA or a policy installed, and it does so only where its
// view of the plan says so and authproc vouched for the peer (package guard).
//
// Run is one loop with one owner of all state. It reads from three sides, each with a dispatch file of its own:
//
//	triked   Prepare, Commit, Abort, Link, StatusRequest, Shutdown                     (triked.go)
//	ikeproc  AllocSPI, InstallChild, UpdateChild, RemoveChild, QueryChild, ReloadDone  (ikeproc.go)
//	the datapath's events: Acquire, Expire, Mapping, Lost                              (events.go)
//
// and reconcile.go brings what the datapath carries in line with the plan: what is ours is adopted or removed, what is not ours is left alone.
// Policies stand from Commit until the plan drops them, whether or not ikeproc or this process lives, and stay when it shuts down: what policy
// protects does not leave in clear during a restart.
package xfrmproc
