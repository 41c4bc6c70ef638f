// Package simnet is a simulated network of UDP datagrams for tests: loss, duplication, reordering, delay, MTU, cut
// links, and NAT boxes that rebind. It is a plain data structure driven by the caller's clock: no goroutines, no timers,
// no wall clock, and the same seed with the same calls gives the same deliveries.
//
//	net := simnet.New(seed)
//	net.SetDefault(simnet.Link{Loss: 0.1, Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond})
//	net.Send(now, from, to, data)
//	for {
//		at, ok := net.NextDelivery()
//		if !ok {
//			break
//		}
//		now = at
//		for _, d := range net.Deliver(now) {
//			// hand d.Data to the host d.To; its answers go to net.Send(now, …)
//		}
//	}
//
// Hosts need no registration: whoever drives the network looks at Datagram.To. A Net is not safe for concurrent use.
package simnet
