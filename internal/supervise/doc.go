// Package supervise is triked: it starts the three processes, hands them what they need open, and puts plans in force.
//
//	err := supervise.Run(ctx, supervise.Config{Plan: "/etc/trike/plan.json", …}) // until ctx ends
//
// One goroutine, the loop, owns all state (loop.go). Everything that happens comes to it as an event: a process said something or ended, an operator asks, a timer ran
// out, descriptors were opened. It is a state machine over messages:
//
//	a plan is put in force in two phases (change.go):  open → Prepare to all → all Prepared → Commit authproc, xfrmproc, ikeproc → links
//	a process that died is started again (trio.go):    start → Hello → Prepare of the plan in force → Commit → links
//
// Until authproc has answered Commit, any refusal, crash or time-out makes the loop say Abort: the old plan stands, with all its sockets, and the operator is told why. From
// then on the new plan is in force; a process that fails now is started again with it.
//
// triked parses no octet that came from the network. What the processes say reaches it through ipc, whose routes are the law; what it hands on of it (status, log lines) it
// bounds and does not interpret.
package supervise
