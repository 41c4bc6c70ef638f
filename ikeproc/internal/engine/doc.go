// Package engine is IKEv2 itself: initiator and responder as one pure state machine (RFC 7296, 7383, 9242, 9370).
//
// An Engine has no socket, clock, goroutine or logger. Whoever drives it hands in what happened and does what it says, in order:
//
//	e := engine.New(engine.Config{View: view, Entropy: rand.Reader, Now: time.Now()})
//	for {
//		var ev engine.Event // a datagram, a neighbour's answer, a finished KEJob, or Tick when Deadline has come
//		for _, eff := range e.Step(time.Now(), ev) {
//			switch eff := eff.(type) {
//			case engine.Send:    // one UDP datagram; port 4500 gets the non-ESP marker, a keepalive does not
//			case engine.ToAuth:  // to authproc
//			case engine.ToXFRM:  // to xfrmproc
//			case engine.Compute: // a worker runs it and hands the result back as Computed
//			case engine.Log, engine.ControlDone, engine.Exit:
//			}
//		}
//	}
//
// The same Config and the same sequence of (now, event) give the same effects. An Engine is not safe for concurrent use.
//
// # How it is made
//
// An ikeSA is one IKE SA. The window is one: an exchange of ours is a task that waits in the SA's queue for its turn. Whatever needs a neighbour
// process or a key exchange is asked, and goes on in a continuation that gets the answer; an IKE SA that was closed meanwhile is not called any more.
//
// A file a concern: init_*.go auth_*.go child_*.go followup.go rekey_ike.go delete.go are the exchanges, sa.go receive.go request.go what all of
// them stand on, conn.go is what a connection of the plan wants, propose.go and narrow.go are the negotiations as pure functions.
package engine
