package xfrmproc

import "github.com/trike-ipsec/trike/xfrmproc/internal/backend/userspace"

// What NewUserspace works over, named here so that a simulated network and host can be made of it: a device, sockets, and what a socket receives and sends.
type (
	Device      = userspace.Device
	Socket      = userspace.Socket
	ESPReceived = userspace.Received
	ESPDatagram = userspace.Datagram
)
