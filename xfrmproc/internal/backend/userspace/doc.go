// Package userspace carries ESP (RFC 4303) between a TUN device and sockets, for hosts whose kernel has no ESP or does not give it away. It implements
// backend.Backend and needs no capability: TUN device and sockets are opened by triked and handed over.
//
//	b := userspace.New(device, userspace.Config{})
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
// System calls after start, for the sandbox: read, write, readv, writev (TUN), recvmmsg, sendmmsg, sendmsg, recvmsg (sockets), setsockopt, getsockopt, getsockname
// (adopting a socket), ioctl TUNGETIFF and TUNSETOFFLOAD, fcntl, close (adopting a device), epoll_ctl, epoll_pwait, futex, getrandom, and what the Go
// runtime needs anyway. Never socket, connect or bind.
package userspace
