// Package pool gives addresses to peers (RFC 7296 section 2.19): sticky by identity, never one twice, and remembered through restarts.
//
//	book, err := pool.Open(file)          // what was given before; nil for a book that forgets
//	book.Use(view.Pools, now)             // after each Commit
//	a, err := book.Lease(pool.Wish{…}, now)
//	book.Confirm(session) · book.Extend(session, until) · book.Release(session, now)
//
// A lease is first provisional: it is free again after Provisional unless Confirm says that the IKE SA stands. What was released stays with its identity until the
// pool has no address left that nobody had.
//
// The file is an array of slots of 128 octets, each with a checksum and written by one write: a crash in the middle of one costs at most that lease. It holds
// a hash of the identity, not the identity.
package pool
