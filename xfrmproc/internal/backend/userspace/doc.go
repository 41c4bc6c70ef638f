// Package userspace carries ESP (RFC 4303) between a TUN device and sockets, for hosts whose kernel has no ESP or does not give it away. It implements
// backend.Backend and needs no capability: TUN device and sockets are opened by triked and handed over.
//
//	b := userspace.New(device)
//	b.AddSocket(raw)                             // protocol 50, and UDP 4500 behind a filter that passes ESP only
//	b.SetPolicies(policies, false)
//	b.Install(pair)
//
// What enters the TUN device is encapsulated or dropped, nothing else: routes decide what enters (triked sets them), and the policies here decide what becomes of
// it. One goroutine reads the device, one reads each socket; both work on an immutable policy table and a sharded SA table, so that
// installing an SA never stops traffic.
//
//	TUN  → packet.Parse → spd.Lookup → pair → fits the path? → esp.Seal → socket      (outbound.go)
//	socket → SPI → pair → esp.Open → packet.Parse → fits the SA's selectors? → TUN      (inbound.go)
//
// System calls, for the sandbox. While it carries traffic: read, write (TUN), recvmmsg, sendmmsg, recvmsg (error queue), setsockopt (IP_MTU_DISCOVER and
// IPV6_MTU_DISCOVER, for the odd packet that must be fragmented outside), getrandom (SPIs, IVs of CBC). While it adopts descriptors, at start and on a reload
// that adds an address: fcntl (F_DUPFD_CLOEXEC, F_GETFL, F_SETFL), getsockname, setsockopt, getsockopt, ioctl (TUNGETIFF, TUNSETOFFLOAD), close. And what the Go
// runtime and its poller take: epoll_create1, epoll_ctl, epoll_pwait, eventfd2, futex, nanosleep and their like. Never socket, bind or connect, and no capability.
package userspace
