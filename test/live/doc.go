// Package live runs whole gateways, with their real processes and their whole sandbox, in network namespaces: what their processes may do while a tunnel is up, what becomes of
// traffic when one of them is killed, and what a changed policy touches.
//
// The tests need root and the programs, whose folder TRIKE_BIN names. They use the userspace datapath, or with TRIKE_DATAPATH=kernel the kernel's.
package live
