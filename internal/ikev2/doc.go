// Package ikev2 holds the numbers and names of the IANA registry "Internet Key Exchange Version 2
// (IKEv2) Parameters": exchange, payload, transform, notify, identity and selector types.
//
// It has no behaviour and imports nothing of ours, so every other package can speak the same names.
// A transform identifier marshals to its IANA name (for example "ENCR_AES_GCM_16"), which is how
// plans, logs and `trike status` write it.
package ikev2
